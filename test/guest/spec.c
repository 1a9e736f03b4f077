// SPDX-License-Identifier: Apache-2.0
// xen-args: dom0_max_vcpus=2 spec-ctrl=yes
// vcpus: 2
/*
 * Registers that control speculation: what CPUID says is there works, what it does not say gives #GP, and each vCPU keeps its
 * own SPEC_CTRL. QEMU 7.2 has none of them; Bochs' newer Intel models do. spec-ctrl=yes: with all defences that the CPU can do.
 *
 * Owns: its vCPU 1. Source: Intel SDM vol. 4 (48h, 49h, 10Ah, 10Bh) and vol. 2, CPUID 7; APM vol. 3, CPUID Fn8000_0008.
 */
#include "lib/guest.h"

const char guest_name[] = "spec";

#define MS	  1000000UL
#define SPEC_CTRL 0x48
#define PRED_CMD  0x49
#define ARCH_CAPS 0x10a
#define FLUSH_CMD 0x10b
#define IBRS	  1UL
#define SSBD	  4UL
#define BIT(n)	  (1U << (n))

static uint32_t leaf7[4], leaf8[4];

static bool fails(void)
{
	return trap_seen.vector == TRAP_GP;
}

static bool has_ctrl(void)
{
	return (leaf7[3] & (BIT(26) | BIT(27) | BIT(31))) || (leaf8[1] & (BIT(14) | BIT(15) | BIT(24)));
}

static void absent(uint32_t msr)
{
	cpu_rdmsr(msr);
	CHECK("#GP at a read of what is not there", fails());
	cpu_wrmsr(msr, 0);
	CHECK("#GP at a write", fails());
}

static void command(uint32_t msr, bool there)
{
	if (!there) {
		absent(msr);
		return;
	}
	cpu_wrmsr(msr, 1);
	CHECK("a command", !fails());
	cpu_wrmsr(msr, 1UL << 63);
	CHECK("#GP at one that is not there", fails());
}

static volatile bool stop;
static volatile unsigned int lost, rounds;

static void keep(unsigned int me)
{
	uint64_t own = me ? SSBD : IBRS;

	cpu_wrmsr(SPEC_CTRL, own);
	do {
		smp_sleep_until(smp_now() + MS);
		lost += cpu_rdmsr(SPEC_CTRL) != own;
		rounds++;
	} while (me ? !stop : rounds < 100);
	cpu_wrmsr(SPEC_CTRL, 0);
}

static void control(void)
{
	cpu_wrmsr(SPEC_CTRL, IBRS);
	CHECK("SPEC_CTRL is written", !fails());
	CHECK_EQ("and read", cpu_rdmsr(SPEC_CTRL), IBRS);
	cpu_wrmsr(SPEC_CTRL, 1UL << 63);
	CHECK("#GP at a reserved bit", fails());
	CHECK_EQ("which changes nothing", cpu_rdmsr(SPEC_CTRL), IBRS);
	cpu_wrmsr(SPEC_CTRL, 0);
	if (!(leaf7[3] & BIT(31)))
		return;
	if (apic_x2)
		apic_x2_leave();
	smp_jobs_init(false);
	CHECK_EQ("start", smp_start(1, smp_worker), 0);
	CHECK("it runs", SMP_UNTIL(smp_started[1]));
	smp_give(1, keep);
	keep(0);
	stop = true;
	CHECK("it ends", SMP_UNTIL(!smp_busy(1)));
	CHECK_EQ("each keeps its own", lost, 0);
}

void guest_main(void)
{
	uint32_t max[4];

	event_init();
	cpu_cpuid(0, 0, max);
	if (max[0] >= 7)
		cpu_cpuid(7, 0, leaf7);
	cpu_cpuid(0x80000000, 0, max);
	if (max[0] >= 0x80000008)
		cpu_cpuid(0x80000008, 0, leaf8);
	print("CPUID 7 edx %x, 80000008 ebx %x\n", leaf7[3], leaf8[1]);
	if (has_ctrl())
		control();
	else
		absent(SPEC_CTRL);
	command(PRED_CMD, (leaf7[3] & BIT(26)) || (leaf8[1] & BIT(12)));
	command(FLUSH_CMD, leaf7[3] & BIT(28));
	if (leaf7[3] & BIT(29)) {
		print("ARCH_CAPABILITIES %lx\n", cpu_rdmsr(ARCH_CAPS));
		CHECK("it is read", !fails());
		cpu_wrmsr(ARCH_CAPS, 0);
		CHECK("and not written", fails());
	} else {
		absent(ARCH_CAPS);
	}
}
