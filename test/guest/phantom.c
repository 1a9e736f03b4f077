// SPDX-License-Identifier: Apache-2.0
// xen-args: dom0_max_vcpus=2
// cpus: 2
// xen-cpus: 1
// vcpus: 2
/*
 * No interrupt that nobody sent. One vCPU leaves the guest again and again with an interrupt waiting that it cannot take, then
 * raises its task priority above it and switches interrupts on, while the other one sends more at any moment. What is
 * taken there is a phantom: a rest of what the hypervisor offered before.
 */
#include "lib/guest.h"

const char guest_name[] = "phantom";

#define VECTOR 0x40
#define ROUNDS 5000UL

static volatile unsigned long rounds, phantoms, taken, sent;
static volatile bool over, closed;

static inline void cr8_set(unsigned long v)
{
	__asm__ volatile("mov %0, %%cr8" : : "r"(v) : "memory");
}

static void on_ipi(struct trap_regs *regs __attribute__((unused)))
{
	phantoms += closed;
	taken++;
	apic_eoi();
}

/* A fault: the vector of an empty field. */
static void on_zero(struct trap_regs *regs __attribute__((unused)))
{
	phantoms++;
}

static void target(unsigned int me __attribute__((unused)))
{
	uint32_t r[4];

	for (rounds = 0; rounds < ROUNDS; rounds++) {
		apic_ipi_self(VECTOR);
		for (unsigned int i = rounds % 4; i; i--)
			cpu_cpuid(0x40000000, 0, r);
		closed = true;
		cr8_set(15);
		cpu_irq_window();
		closed = false;
		cr8_set(0);
		cpu_irq_window();
	}
	over = true;
}

void guest_main(void)
{
	event_init();
	if (smp_count() < 2 || guest_option("oracle")) { /* Xen injects by EVENTINJ */
		print("nothing to test\n");
		CHECK("runs", true);
		return;
	}
	smp_jobs_init(apic_x2);
	CHECK_EQ("start", smp_start(1, smp_worker), 0);
	CHECK("it runs", SMP_UNTIL(smp_started[1]));
	trap_set(VECTOR, on_ipi);
	trap_set(0, on_zero);
	smp_give(1, target);
	while (!over)
		for (unsigned int i = 0; i < 50 && !over; i++) {
			apic_ipi(1, VECTOR);
			sent++;
			for (volatile unsigned int k = 0; k < i * 4; k++)
				;
		}
	CHECK_EQ("phantoms", phantoms, 0);
	CHECK("interrupts were taken", taken >= ROUNDS);
	print("%lu interrupts sent, %lu taken, %lu phantoms\n", sent, taken, phantoms);
}
