// SPDX-License-Identifier: Apache-2.0
/*
 * The local APIC: xAPIC by memory, x2APIC by MSR, priorities, self-IPI, timer, errors.
 *
 * Sources: AMD APM vol. 2 chapter 16, Intel SDM vol. 3 chapter 11.
 */
#include "lib/guest.h"

const char guest_name[] = "lapic";

#define LOW	0x41
#define HIGH	0x91
#define TIMER	0x52
#define BASE_X2 (1UL << 10)

static unsigned int order[8], taken;

static void note(struct trap_regs *regs)
{
	if (taken < ARRAY_SIZE(order))
		order[taken++] = (unsigned int)regs->vector;
	apic_eoi();
}

static bool in(unsigned int base, unsigned int vector)
{
	return apic_read(base + vector / 32 * 16) >> vector % 32 & 1;
}

static void identity(void)
{
	uint32_t version = apic_read(APIC_VERSION), id = apic_read(APIC_ID), r[4];

	cpu_cpuid(1, 0, r);
	CHECK_EQ("ID is CPUID's", apic_x2 ? id : id >> 24, r[1] >> 24);
	CHECK("version is integrated", (version & 0xff) >= 0x10 && (version & 0xff) < 0x20);
	CHECK("has a timer's entry", (version >> 16 & 0xff) >= 3);
	print("%s id %x version %x\n", apic_x2 ? "x2APIC" : "xAPIC", id, version);
}

static void self_ipis(void)
{
	unsigned int was = trap_count[LOW];

	apic_ipi_self(LOW);
	CHECK("a self-IPI waits in IRR", in(APIC_IRR, LOW));
	CHECK("and is not in service", !in(APIC_ISR, LOW));
	apic_ipi_self(LOW);
	cpu_irq_window();
	CHECK_EQ("two of a kind are one", trap_count[LOW], was + 1);
	CHECK("IRR is clear", !in(APIC_IRR, LOW));
	CHECK("ISR is clear after EOI", !in(APIC_ISR, LOW));

	taken = 0;
	apic_ipi_self(LOW);
	apic_ipi_self(HIGH);
	__asm__ volatile("sti; nop; nop; nop; nop; cli");
	CHECK_EQ("two kinds are two", taken, 2);
	CHECK("the higher first", order[0] == HIGH && order[1] == LOW);

	apic_write(APIC_TPR, 0x50);
	CHECK_EQ("TPR reads back", apic_read(APIC_TPR), 0x50);
	CHECK_EQ("PPR follows", apic_read(APIC_PPR), 0x50);
	taken = 0;
	apic_ipi_self(LOW);
	cpu_irq_window();
	CHECK_EQ("TPR holds a lower one back", taken, 0);
	apic_ipi_self(HIGH);
	cpu_irq_window();
	CHECK_EQ("but not a higher one", taken, 1);
	apic_write(APIC_TPR, 0);
	cpu_irq_window();
	CHECK_EQ("then it comes", taken, 2);
#ifdef __x86_64__
	__asm__ volatile("mov %0, %%cr8" : : "r"(6UL));
	CHECK_EQ("CR8 is the TPR", apic_read(APIC_TPR), 0x60);
	__asm__ volatile("mov %0, %%cr8" : : "r"(0UL));
	CHECK_EQ("and back", apic_read(APIC_TPR), 0);
#endif
}

static volatile unsigned int inner;

/* While HIGH is in service a lower one waits. */
static void nested(struct trap_regs *regs)
{
	(void)regs;
	CHECK("in service", in(APIC_ISR, HIGH));
	CHECK_EQ("PPR is its class", apic_read(APIC_PPR), HIGH & 0xf0);
	taken = 0;
	apic_ipi_self(LOW);
	cpu_irq_window();
	inner = taken;
	apic_eoi();
}

static void service(void)
{
	trap_set(HIGH, nested);
	apic_ipi_self(HIGH);
	cpu_irq_window();
	__asm__ volatile("sti; nop; nop; nop; cli");
	CHECK_EQ("a lower one waits for the EOI", inner, 0);
	CHECK_EQ("and comes after it", taken, 1);
	trap_set(HIGH, note);
}

static bool spin_until(unsigned int vector, unsigned int count)
{
	for (unsigned int i = 0; i < 3000000 && trap_count[vector] < count; i++)
		cpu_irq_window();
	return trap_count[vector] >= count;
}

static void timer(void)
{
	unsigned int was = trap_count[TIMER];
	uint32_t a, b;

	apic_write(APIC_TIMER_DIV, 0xb); /* by 1 */
	apic_write(APIC_LVT_TIMER, TIMER);
	apic_write(APIC_TIMER_INIT, 200000);
	a = apic_read(APIC_TIMER_NOW);
	b = apic_read(APIC_TIMER_NOW);
	CHECK("the count goes down", a <= 200000 && b <= a);
	CHECK("one-shot fires", spin_until(TIMER, was + 1));
	CHECK("the count is over, or nearly: Xen's timers may fire a little early", apic_read(APIC_TIMER_NOW) < 60000);
	for (unsigned int i = 0; i < 20000; i++)
		cpu_irq_window();
	CHECK_EQ("once", trap_count[TIMER], was + 1);
	apic_write(APIC_LVT_TIMER, 0x20000 | TIMER);
	apic_write(APIC_TIMER_INIT, 200000);
	CHECK("periodic fires", spin_until(TIMER, was + 5));
	apic_write(APIC_LVT_TIMER, 0x10000 | TIMER);
	cpu_irq_window();
	was = trap_count[TIMER];
	CHECK("masked is silent", !spin_until(TIMER, was + 1));
	apic_write(APIC_TIMER_INIT, 0);
	apic_write(APIC_LVT_TIMER, TIMER);
	apic_write(APIC_TIMER_INIT, 100000);
	while (trap_count[TIMER] == was)
		cpu_halt();
	CHECK("it wakes a halt", trap_count[TIMER] == was + 1);
}

static void errors(void)
{
	apic_write(APIC_ESR, 0);
	apic_write(APIC_ESR, 0);
	/* Xen's never goes back to 0. */
	CHECK_EITHER("no error yet", apic_read(APIC_ESR), 0, apic_x2 ? 0x20 : 0);
	apic_ipi_self(5);
	apic_write(APIC_ESR, 0);
	CHECK_EQ("an illegal vector is an error", apic_read(APIC_ESR), 0x20);
	apic_write(APIC_ESR, 0);
	apic_write(APIC_SVR, 0xff);
	CHECK_EQ("disabled by software", apic_read(APIC_SVR) & 0x100, 0);
	CHECK("the timer's entry is then masked", apic_read(APIC_LVT_TIMER) & 0x10000);
	apic_write(APIC_SVR, 0x1ff);
}

static void x2_only(void)
{
	CHECK("APIC_BASE says x2APIC", cpu_rdmsr(APIC_BASE_MSR) & BASE_X2);
	cpu_wrmsr(0x80b, 1);
	CHECK_EQ("EOI of 1 faults", trap_seen.vector, TRAP_GP);
	cpu_rdmsr(0x83f);
	CHECK_EQ("self-IPI cannot be read", trap_seen.vector, TRAP_GP);
	cpu_wrmsr(0x802, 0);
	CHECK_EQ("ID cannot be written", trap_seen.vector, TRAP_GP);
	cpu_rdmsr(0x80e);
	CHECK_EQ("no destination format", trap_seen.vector, TRAP_GP);
	cpu_rdmsr(0x831);
	CHECK_EQ("no high half of ICR", trap_seen.vector, TRAP_GP);
	CHECK_EQ("logical id is derived", cpu_rdmsr(0x80d), 1);
	cpu_wrmsr(0x830, 0x40000 | LOW);
	CHECK_EQ("ICR is 64 bits", cpu_rdmsr(0x830), 0x40000 | LOW);
	cpu_irq_window();
	cpu_wrmsr(APIC_BASE_MSR, (cpu_rdmsr(APIC_BASE_MSR) & ~BASE_X2));
	CHECK_EQ("straight back to xAPIC faults", trap_seen.vector, TRAP_GP);
}

static void all(void)
{
	identity();
	self_ipis();
	service();
	timer();
	errors();
}

void guest_main(void)
{
	trap_set(LOW, note);
	trap_set(HIGH, note);
	trap_set(TIMER, apic_handler);
	if (cpu_rdmsr(APIC_BASE_MSR) & BASE_X2)
		apic_x2_leave();
	apic_enable();
	all();
	CHECK_EQ("logical id can be set", (apic_write(APIC_LDR, 0x04000000), apic_read(APIC_LDR)), 0x04000000);
	if (!apic_x2_enter()) {
		print("no x2APIC offered\n");
		return;
	}
	all();
	x2_only();
	apic_x2_leave();
	identity();
	self_ipis();
}
