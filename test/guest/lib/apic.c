// SPDX-License-Identifier: Apache-2.0
/*
 * The local APIC as a guest test kernel uses it, in both of its modes.
 *
 * Owns: apic_x2, which follows the mode bits of APIC_BASE. Locks: none; all vCPUs that run are in the same mode.
 * Registers: AMD APM vol. 2 chapter 16, Intel SDM vol. 3 chapter 11; x2APIC MSR = 0x800 + offset / 16.
 */
#include "guest.h"

#define APIC_PAGE   0xfee00000UL
#define BASE_ENABLE (1UL << 11)
#define BASE_X2	    (1UL << 10)

bool apic_x2;

uint32_t apic_read(unsigned int reg)
{
	if (apic_x2)
		return (uint32_t)cpu_rdmsr(0x800 + reg / 16);
	return *(volatile uint32_t *)(APIC_PAGE + reg);
}

void apic_write(unsigned int reg, uint32_t v)
{
	if (apic_x2)
		cpu_wrmsr(0x800 + reg / 16, v);
	else
		*(volatile uint32_t *)(APIC_PAGE + reg) = v;
}

void apic_enable(void)
{
	apic_x2 = cpu_rdmsr(APIC_BASE_MSR) & BASE_X2;
	apic_write(APIC_TPR, 0);
	apic_write(APIC_SVR, 0x1ff);
}

bool apic_has_x2(void)
{
	uint32_t r[4];

	cpu_cpuid(1, 0, r);
	return r[2] & (1U << 21);
}

bool apic_x2_enter(void)
{
	if (!apic_has_x2())
		return false;
	cpu_wrmsr(APIC_BASE_MSR, cpu_rdmsr(APIC_BASE_MSR) | BASE_ENABLE | BASE_X2);
	apic_x2 = true;
	apic_enable();
	return true;
}

void apic_x2_leave(void)
{
	uint64_t base = cpu_rdmsr(APIC_BASE_MSR) & ~(uint64_t)(BASE_ENABLE | BASE_X2);

	cpu_wrmsr(APIC_BASE_MSR, base);
	cpu_wrmsr(APIC_BASE_MSR, base | BASE_ENABLE);
	apic_x2 = false;
	apic_enable();
}

void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

void apic_ipi_self(unsigned int vector)
{
	if (apic_x2) {
		apic_write(APIC_SELF_IPI, vector);
		return;
	}
	apic_write(APIC_ICR, 0x40000 | vector); /* destination shorthand: self */
}

void apic_send(uint32_t dest, uint32_t low)
{
	if (apic_x2) {
		cpu_wrmsr(0x800 + APIC_ICR / 16, (uint64_t)dest << 32 | low);
		return;
	}
	apic_write(APIC_ICR_HI, dest << 24);
	apic_write(APIC_ICR, low);
}

void apic_ipi(unsigned int vcpu, unsigned int vector)
{
	apic_send(APIC_ID_OF(vcpu), vector);
}

void apic_handler(struct trap_regs *regs)
{
	(void)regs;
	apic_eoi();
}
