/*
 * Interrupt descriptor table, exceptions, interrupt dispatch, backtraces with symbols. The IDT is written once at
 * start-up. Invariant: interrupts are taken only inside port_poll() and port_idle(); an exception outside the exception
 * table is our own mistake.
 */
#include "lib/lib.h"
#include "port/upcall.h"
#include "x86/cpu.h"
#include "x86/x86.h"

struct trap_frame {
	uint64_t rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

struct gate { /* APM vol. 2, 4.8.4 */
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_middle;
	uint32_t offset_high, reserved;
};

struct symbol { /* made from the linker's output, sorted by address: see the Makefile */
	uint32_t address, name;
};

struct extable {
	uint32_t at, next;
};

#define FLAG_TF BIT(8)

extern const char trap_stubs[], image_start[], image_text_end[];
extern const struct extable extable_start[], extable_end[];
extern const struct symbol symtable[], symtable_end[];
extern const char symtable_names[];

static struct gate idt[256] __attribute__((section(".boot_once"), aligned(16)));
static unsigned stopper; /* CPU + 1 that halts or resets the machine, 0: none; atomic */

static const char *const trap_names[32] = {
	"divide error",
	"debug",
	"NMI",
	"breakpoint",
	"overflow",
	"bound",
	"invalid opcode",
	"no FPU",
	"double fault",
	"9",
	"invalid TSS",
	"segment not present",
	"stack fault",
	"general protection",
	"page fault",
	"15",
	"FPU error",
	"alignment",
	"machine check",
	"SIMD error",
	"20",
	"control protection",
	"22",
	"23",
	"24",
	"25",
	"26",
	"27",
	"hypervisor injection",
	"VMM communication",
	"security",
	"31",
};

void trap_init(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint64_t a = (uint64_t)trap_stubs + i * 16;

		idt[i] = (struct gate){ (uint16_t)a, SEL_CODE, 0, 0x8e, (uint16_t)(a >> 16), (uint32_t)(a >> 32), 0 };
	}
	idt[2].ist = 1;
	idt[8].ist = 2;
	idt[18].ist = 3;
}

void trap_load(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr = { sizeof(idt) - 1, (uint64_t)idt };

	__asm__ volatile("lidt %0" : : "m"(idtr));
}

/* The symbol that address lies in, or NULL. */
static const struct symbol *trap_symbol(uint64_t address)
{
	size_t lo = 0, hi = (size_t)(symtable_end - symtable);

	if (address < (uint64_t)image_start || address >= (uint64_t)image_text_end || !hi)
		return NULL;
	while (hi - lo > 1) {
		size_t mid = (lo + hi) / 2;

		if (symtable[mid].address <= address)
			lo = mid;
		else
			hi = mid;
	}
	return symtable[lo].address <= address ? &symtable[lo] : NULL;
}

/* back: 1 for a return address, since the call may be its function's last instruction. */
static void trap_print_address(uint64_t address, unsigned back)
{
	const struct symbol *s = trap_symbol(address - back);

	if (s)
		x86_log("  %016lx %s+0x%lx", address, symtable_names + s->name, address - s->address);
	else
		x86_log("  %016lx", address);
}

static void trap_walk(uint64_t bp)
{
	uint64_t block = (uint64_t)cpu_this();

	for (unsigned depth = 0; depth < 32; depth++) {
		const uint64_t *frame = (const uint64_t *)bp;

		if (bp - block < PAGE_SIZE || bp - block > CPU_MC_STACK_TOP - 16 || bp & 7)
			return;
		trap_print_address(frame[1], 1);
		if (frame[0] <= bp && frame[0] - block < CPU_STACK_TOP && bp - block < CPU_STACK_TOP)
			return;
		bp = frame[0];
	}
}

void port_backtrace(void)
{
	x86_log("call chain, CPU %u:", port_cpu());
	trap_walk((uint64_t)__builtin_frame_address(0));
}

void trap_stop_others(void)
{
	unsigned self = port_cpu(), none = 0;

	/* Of two at once one must go on: the other stops here. */
	if (!__atomic_compare_exchange_n(&stopper, &none, self + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) &&
	    none != self + 1)
		for (;;)
			__asm__ volatile("cli; hlt");
	for (unsigned i = 0; i < port_cpu_count(); i++)
		if (i != self)
			apic_send_nmi(port_cpu_apicid(i));
}

static bool trap_fixup(struct trap_frame *f)
{
	for (const struct extable *e = extable_start; e < extable_end; e++) {
		if (e->at == f->rip) {
			f->rip = e->next;
			f->rdi = 0;
			return true;
		}
	}
	return false;
}

static _Noreturn void trap_fatal(const struct trap_frame *f)
{
	x86_log("CPU %u: %s, error code %lx", port_cpu(), trap_names[f->vector & 31], f->error);
	x86_log("rip %016lx  cs %04lx  rflags %08lx  rsp %016lx  ss %04lx", f->rip, f->cs, f->rflags, f->rsp, f->ss);
	trap_print_address(f->rip, 0);
	x86_log("rax %016lx rbx %016lx rcx %016lx rdx %016lx", f->rax, f->rbx, f->rcx, f->rdx);
	x86_log("rsi %016lx rdi %016lx rbp %016lx r8  %016lx", f->rsi, f->rdi, f->rbp, f->r8);
	x86_log("r9  %016lx r10 %016lx r11 %016lx r12 %016lx", f->r9, f->r10, f->r11, f->r12);
	x86_log("r13 %016lx r14 %016lx r15 %016lx", f->r13, f->r14, f->r15);
	x86_log("cr0 %08lx  cr2 %016lx  cr3 %016lx  cr4 %08lx", x86_read_cr0(), x86_read_cr2(), x86_read_cr3(),
		x86_read_cr4());
	x86_panic("%s in the hypervisor at %lx", trap_names[f->vector & 31], f->rip);
}

void trap_exception(struct trap_frame *f);
void trap_exception(struct trap_frame *f)
{
	if (f->vector == 2) {
		unsigned by = __atomic_load_n(&stopper, __ATOMIC_ACQUIRE);

		if (by && by != port_cpu() + 1)
			for (;;)
				__asm__ volatile("cli; hlt");
		return; /* an NMI of the machine: nothing here can be at fault */
	}
	if (f->vector == 13 && trap_fixup(f))
		return;
	if (f->vector ==
	    1) { /* nothing here asks for one: a guest's single step that came over at its exit (Bochs' SVM) */
		f->rflags &= ~(uint64_t)FLAG_TF;
		return;
	}
	trap_fatal(f);
}

void trap_interrupt(unsigned vector);
void trap_interrupt(unsigned vector)
{
	if (vector == VECTOR_SPURIOUS)
		return;
	if (vector == VECTOR_TIMER) {
		apic_eoi();
		apic_timer_fired();
		return;
	}
	if (vector >= VECTOR_DEVICE_FIRST && vector <= VECTOR_DEVICE_LAST) {
		ioapic_interrupt(vector);
		return;
	}
	apic_eoi(); /* VECTOR_KICK: being woken is all; VECTOR_NOTIFY came between two stays; an APIC error or a stray vector changes nothing */
}

void port_vmx_interrupt(unsigned vector)
{
	trap_interrupt(vector);
}

/* Interrupt handlers save nothing (trap.S): all that C code may change is declared changed here. */
#define INTERRUPT_CLOBBERS "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc"

void port_poll(void)
{
	__asm__ volatile("sti; nop; cli" : : : INTERRUPT_CLOBBERS);
	apic_timer_poll();
	paging_flush_check();
}

void port_idle(void)
{
	paging_idle_enter();
	apic_timer_idle();
	__asm__ volatile("sti; hlt; cli" : : : INTERRUPT_CLOBBERS);
	paging_flush_check();
}
