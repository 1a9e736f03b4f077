/*
 * A CPU's descriptor tables, control registers and features; identification and MSR access for hvm/ (port/cpu.h).
 * No locks: each CPU writes its own block. Invariant: a CPU's stack lies in its block (x86/layout.h).
 */
#include "lib/lib.h"
#include "port/cpu.h"
#include "port/upcall.h"
#include "x86/cpu.h"
#include "x86/x86.h"

_Static_assert(offsetof(struct cpu, host_vmcb) == CPU_HOST_VMCB, "svm_enter.S");
_Static_assert(sizeof(struct cpu) <= PAGE_SIZE, "one page");
_Static_assert(sizeof(struct tss) == 104, "as the CPU has it");

_Static_assert(GUARD_RSB == PORT_GUARD_RSB && GUARD_IBPB == PORT_GUARD_IBPB && GUARD_VERW == PORT_GUARD_VERW,
	       "port/cpu.h");

struct cpu_features cpu_features;
unsigned x86_guard; /* svm_enter.S, vmx_enter.S; set once at start-up */
static unsigned cpus_online = 1;

unsigned port_cpu(void)
{
	return cpu_this()->id;
}

unsigned port_cpu_count(void)
{
	return cpus_online;
}

void cpu_count_set(unsigned n)
{
	cpus_online = n;
}

uint32_t port_cpu_apicid(unsigned cpu)
{
	return cpu_block(cpu)->apicid;
}

void port_guard_entries(unsigned guard)
{
	x86_guard = guard;
}

void cpu_features_find(void)
{
	struct cpu_features *f = &cpu_features;
	uint32_t max = x86_cpuid(0, 0).eax;
	struct cpuid_regs r = x86_cpuid(1, 0);

	f->x2apic = r.ecx & BIT(21);
	f->tsc_deadline = r.ecx & BIT(24);
	f->xsave = r.ecx & BIT(26);
	if (max >= 7) {
		r = x86_cpuid(7, 0);
		f->smep = r.ebx & BIT(7);
		f->smap = r.ebx & BIT(20);
	}
}

static void cpu_load_tables(struct cpu *c)
{
	uint64_t base = (uint64_t)&c->tss, block = (uint64_t)c;
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) gdtr = { sizeof(c->gdt) - 1, (uint64_t)c->gdt };

	c->tss.ist[0] = block + CPU_NMI_STACK_TOP;
	c->tss.ist[1] = block + CPU_DF_STACK_TOP;
	c->tss.ist[2] = block + CPU_MC_STACK_TOP;
	c->tss.iomap = sizeof(c->tss);
	c->gdt[1] = GDT_CODE64;
	c->gdt[2] = GDT_DATA;
	c->gdt[3] = (sizeof(c->tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	c->gdt[4] = base >> 32;
	__asm__ volatile("lgdt %0" : : "m"(gdtr) : "memory");
	__asm__ volatile("pushq %0; leaq 1f(%%rip), %%rax; pushq %%rax; lretq; 1:" : : "i"(SEL_CODE) : "rax", "memory");
	__asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss; mov %1, %%fs; mov %1, %%gs; lldt %w1"
			 :
			 : "r"(SEL_DATA), "r"(0)
			 : "memory");
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
}

void cpu_init(unsigned id)
{
	struct cpu *c = cpu_block(id);
	uint64_t cr4 = CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT;

	c->id = id;
	cpu_load_tables(c);
	trap_load();
	if (cpu_features.xsave)
		cr4 |= CR4_OSXSAVE;
	if (cpu_features.smep)
		cr4 |= CR4_SMEP;
	if (cpu_features.smap)
		cr4 |= CR4_SMAP;
	x86_write_cr4(cr4);
	if (cpu_features.xsave && (x86_cpuid(0xd, 1).eax & BIT(3)))
		x86_wrmsr(MSR_XSS, 0); /* guests' XSAVES has no state of its own (hvm/cpuid.c) */
}

void port_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	struct cpuid_regs r = x86_cpuid(leaf, subleaf);

	out[0] = r.eax;
	out[1] = r.ebx;
	out[2] = r.ecx;
	out[3] = r.edx;
}

/* .extable: where #GP may come, and where to go on with RDI = false (trap.c). */
bool port_rdmsr(uint32_t msr, uint64_t *value)
{
	uint32_t lo, hi, ok = 1;

	__asm__ volatile("1: rdmsr\n"
			 "2:\n"
			 ".pushsection .extable, \"a\"; .long 1b, 2b; .popsection"
			 : "=a"(lo), "=d"(hi), "+D"(ok)
			 : "c"(msr));
	if (!ok)
		return false;
	*value = lo | (uint64_t)hi << 32;
	return true;
}

bool port_wrmsr(uint32_t msr, uint64_t value)
{
	uint32_t ok = 1;

	__asm__ volatile("1: wrmsr\n"
			 "2:\n"
			 ".pushsection .extable, \"a\"; .long 1b, 2b; .popsection"
			 : "+D"(ok)
			 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
	return ok;
}

void port_dr_save(uint64_t dr[4])
{
	__asm__ volatile("mov %%dr0, %0" : "=r"(dr[0]));
	__asm__ volatile("mov %%dr1, %0" : "=r"(dr[1]));
	__asm__ volatile("mov %%dr2, %0" : "=r"(dr[2]));
	__asm__ volatile("mov %%dr3, %0" : "=r"(dr[3]));
}

void port_dr_restore(const uint64_t dr[4])
{
	__asm__ volatile("mov %0, %%dr0" : : "r"(dr[0]));
	__asm__ volatile("mov %0, %%dr1" : : "r"(dr[1]));
	__asm__ volatile("mov %0, %%dr2" : : "r"(dr[2]));
	__asm__ volatile("mov %0, %%dr3" : : "r"(dr[3]));
}

void x86_log(const char *fmt, ...)
{
	char line[200];
	va_list ap;

	va_start(ap, fmt);
	lib_vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	upcall_log(line);
}

void x86_panic(const char *fmt, ...)
{
	char line[200];
	va_list ap;

	va_start(ap, fmt);
	lib_vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	upcall_fatal(line);
}
