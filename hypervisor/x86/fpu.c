/*
 * Floating-point and vector state. The hypervisor itself uses none (-mgeneral-regs-only): what is in the registers is a
 * guest's. Locks: none. Source: APM vol. 2, 11.5; SDM vol. 1, ch. 13.
 *
 * port_fpu_save() and port_fpu_restore() move all components in cpu_features.xcr0 and leave XCR0 at that value; the
 * caller sets the guest's with port_set_xcr0() before it enters.
 */
#include "lib/lib.h"
#include "port/cpu.h"
#include "x86/cpu.h"
#include "x86/x86.h"

#define XCR0_BASE   3ull     /* x87, SSE */
#define XCR0_KNOWN  0x2e7ull /* and AVX, AVX-512, PKRU: what fits a page */
#define MXCSR_RESET 0x1f80
#define FCW_RESET   0x37f

void fpu_cpu_init(void)
{
	struct cpuid_regs r;

	if (!cpu_features.xsave)
		return;
	r = x86_cpuid(0xd, 0);
	cpu_features.xcr0 = r.eax & XCR0_KNOWN;
	port_set_xcr0(cpu_features.xcr0);
	cpu_features.xsave_size = x86_cpuid(0xd, 0).ebx;
	if (cpu_features.xsave_size > PAGE_SIZE) {
		cpu_features.xcr0 &= XCR0_BASE | BIT(2);
		port_set_xcr0(cpu_features.xcr0);
	}
}

uint64_t port_host_xcr0(void)
{
	return cpu_features.xcr0;
}

void port_set_xcr0(uint64_t xcr0)
{
	struct cpu *c = cpu_this();

	if (c->xcr0 == xcr0 || !cpu_features.xsave)
		return;
	x86_xsetbv(xcr0);
	c->xcr0 = xcr0;
}

void port_fpu_save(void *area)
{
	if (cpu_features.xsave) {
		port_set_xcr0(cpu_features.xcr0);
		__asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(-1), "d"(-1) : "memory");
	} else {
		__asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
	}
}

/* False: the CPU refuses the image (#GP). */
static bool fpu_load(const void *area)
{
	uint32_t ok = 1;

	/* AMD's CPUs restore the x87 pointers only of a pending exception: else the last guest's would stay to be read. */
	__asm__ volatile("fninit");
	if (cpu_features.xsave) {
		port_set_xcr0(cpu_features.xcr0);
		__asm__ volatile("1: xrstor64 (%1)\n2:\n"
				 ".pushsection .extable, \"a\"; .long 1b, 2b; .popsection"
				 : "+D"(ok)
				 : "r"(area), "a"(-1), "d"(-1)
				 : "memory");
	} else {
		__asm__ volatile("1: fxrstor64 (%1)\n2:\n"
				 ".pushsection .extable, \"a\"; .long 1b, 2b; .popsection"
				 : "+D"(ok)
				 : "r"(area)
				 : "memory");
	}
	return ok;
}

/* An image that the CPU refuses (from a tool's hands) becomes the reset state. */
void port_fpu_restore(const void *area)
{
	if (likely(fpu_load(area)))
		return;
	port_fpu_init((void *)area);
	fpu_load(area);
}

void port_fpu_init(void *area)
{
	uint16_t fcw = FCW_RESET;
	uint32_t mxcsr = MXCSR_RESET;

	memset(area, 0, PAGE_SIZE);
	memcpy(area, &fcw, sizeof(fcw));
	memcpy((char *)area + 24, &mxcsr, sizeof(mxcsr));
}
