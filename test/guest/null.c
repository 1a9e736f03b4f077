// SPDX-License-Identifier: Apache-2.0
// xen-args: sched=null dom0_max_vcpus=2
// cpus: 2
// xen-cpus: 1
/*
 * The first domain of a machine that was started with sched=null: each vCPU has a CPU to itself, and never waits for it.
 *
 * Owns: its vCPU 1. Sources: public headers sysctl.h (XEN_SYSCTL_sched_id), vcpu.h (vcpu_runstate_info). Debian's Xen has no
 * null scheduler, and is not asked.
 */
#include "lib/guest.h"

#include <xen/sysctl.h>

const char guest_name[] = "null";

#define MS 1000000UL

static void spin(unsigned int me)
{
	(void)me;
	smp_spin_until(smp_now() + 100 * MS);
}

static struct vcpu_runstate_info states(unsigned int vcpu)
{
	struct vcpu_runstate_info r = { 0 };

	CHECK_EQ("run states", hc_vcpu(VCPUOP_get_runstate_info, vcpu, &r), 0);
	return r;
}

void guest_main(void)
{
	static struct xen_sysctl ctl = { .cmd = XEN_SYSCTL_sched_id,
					 .interface_version = XEN_SYSCTL_INTERFACE_VERSION };
	struct vcpu_runstate_info before, after;
	uint64_t ran[2];

	event_init();
	if (guest_option("oracle")) {
		print("not asked here\n");
		CHECK("runs", true);
		return;
	}
	CHECK_EQ("sched_id", HC(__HYPERVISOR_sysctl, &ctl), 0);
	CHECK_EQ("the scheduler", ctl.u.sched_id.sched_id, XEN_SCHEDULER_NULL);
	if (apic_x2)
		apic_x2_leave();
	smp_jobs_init(false);
	CHECK_EQ("start", smp_start(1, smp_worker), 0);
	CHECK("it runs", SMP_UNTIL(smp_started[1]));
	before = states(1);
	ran[0] = smp_ran(0);
	smp_give(1, spin);
	spin(0);
	CHECK("the other ends", SMP_UNTIL(!smp_busy(1)));
	after = states(1);
	ran[0] = smp_ran(0) - ran[0];
	ran[1] = after.time[RUNSTATE_running] - before.time[RUNSTATE_running];
	print("ran %lu us and %lu us\n", ran[0] / 1000, ran[1] / 1000);
	CHECK("both ran all the time", ran[0] > 100 * MS && ran[1] > 100 * MS);
	CHECK("and did not wait for more than the switch",
	      after.time[RUNSTATE_runnable] - before.time[RUNSTATE_runnable] < MS);
}
