// SPDX-License-Identifier: Apache-2.0
/*
 * Exceptions and interrupts of a guest test kernel.
 *
 * Owns: the IDT, the handlers. Locks: none; handlers are set before their interrupt can come.
 * Invariants: an exception at an address listed in .extable continues at its partner; any other one is the test's
 * failure.
 */
#include "guest.h"

struct gate {
	uint16_t low, selector;
	uint8_t ist, type;
	uint16_t mid;
#ifdef __x86_64__
	uint32_t high, zero;
#endif
};

struct entry {
	unsigned long at, to;
};

struct trap_seen trap_seen;
volatile unsigned int trap_count[256];
static struct gate idt[256] __attribute__((aligned(16)));
static trap_handler *handlers[256];
extern const struct entry extable_start[], extable_end[];

void trap_gate(unsigned int vector, void *entry)
{
	unsigned long a = (unsigned long)entry;

	idt[vector] = (struct gate){
		.low = (uint16_t)a,
		.type = 0x8e,
		.mid = (uint16_t)(a >> 16),
#ifdef __x86_64__
		.selector = 0x08,
		.high = (uint32_t)(a >> 32),
#else
		.selector = 0x10,
#endif
	};
}

void trap_task(unsigned int vector, uint16_t selector)
{
	idt[vector] = (struct gate){.selector = selector, .type = 0x85};
}

void trap_user(unsigned int vector)
{
	idt[vector].type |= 0x60;
}

void trap_load(void)
{
	struct {
		uint16_t limit;
		unsigned long base;
	} __attribute__((packed)) p = {sizeof(idt) - 1, (unsigned long)idt};

	__asm__ volatile("lidt %0" : : "m"(p));
}

void trap_gate_default(unsigned int vector)
{
	trap_gate(vector, (void *)(trap_stubs + 16 * vector));
}

void trap_init(void)
{
	for (unsigned int v = 0; v < 256; v++)
		trap_gate_default(v);
	trap_load();
}

void trap_set(unsigned int vector, trap_handler *fn)
{
	handlers[vector] = fn;
}

void trap_dispatch(struct trap_regs *regs)
{
	const struct entry *e;

	if (handlers[regs->vector]) {
		trap_count[regs->vector]++;
		handlers[regs->vector](regs);
		return;
	}
	trap_count[regs->vector]++;
	if (regs->vector >= 32)
		return;
	for (e = extable_start; e < extable_end; e++) {
		if (e->at != regs->ip)
			continue;
		trap_seen = (struct trap_seen){regs->vector, regs->error, regs->ip};
		regs->ip = e->to;
		return;
	}
	print("exception %lu error %#lx at %#lx\n", regs->vector, regs->error, regs->ip);
	check_true("no unexpected exception", false, 0);
	guest_end();
}
