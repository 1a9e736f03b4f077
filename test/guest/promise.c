// SPDX-License-Identifier: Apache-2.0
// xen-args: sched=rtds tsc=unstable dom0_max_vcpus=3
// cpus: 2
// xen-cpus: 1
/*
 * The first domain of a machine that was started with sched=rtds: it has what it was promised in every period and no more;
 * and with tsc=unstable: its clock does not say that it is stable, and does not go back all the same.
 *
 * Owns: its vCPUs 1 and 2, which always want to run. Sources: public headers domctl.h (xen_domctl_sched_rtds), sysctl.h, xen.h
 * (vcpu_time_info). Debian's Xen has no rtds, and is not asked.
 */
#include "lib/guest.h"

#include <xen/domctl.h>
#include <xen/sysctl.h>

const char guest_name[] = "promise";

#define MS 1000000UL

static volatile bool stop;
static volatile unsigned int went_back;

static void spin(unsigned int me)
{
	uint64_t last = 0, t;

	(void)me;
	while (!stop) {
		t = smp_now();
		went_back += t < last;
		last = t;
		smp_spin_until(t + MS / 10);
	}
}

static uint32_t scheduler(void)
{
	static struct xen_sysctl ctl;

	ctl = (struct xen_sysctl){ .cmd = XEN_SYSCTL_sched_id, .interface_version = XEN_SYSCTL_INTERFACE_VERSION };
	CHECK_EQ("sched_id", HC(__HYPERVISOR_sysctl, &ctl), 0);
	return ctl.u.sched_id.sched_id;
}

static long promise(uint32_t vcpu, uint32_t period, uint32_t budget)
{
	static xen_domctl_schedparam_vcpu_t param;
	static struct xen_domctl op;

	param = (xen_domctl_schedparam_vcpu_t){ .vcpuid = vcpu, .u.rtds = { period, budget, 0 } };
	op = (struct xen_domctl){ .cmd = XEN_DOMCTL_scheduler_op, .interface_version = XEN_DOMCTL_INTERFACE_VERSION };
	op.u.scheduler_op.sched_id = XEN_SCHEDULER_RTDS;
	op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_putvcpuinfo;
	set_xen_guest_handle(op.u.scheduler_op.u.v.vcpus, &param);
	op.u.scheduler_op.u.v.nr_vcpus = 1;
	return HC(__HYPERVISOR_domctl, &op);
}

void guest_main(void)
{
	uint64_t before[3], begin, ms;

	event_init();
	if (guest_option("oracle")) {
		print("not asked here\n");
		CHECK("runs", true);
		return;
	}
	CHECK_EQ("the scheduler", scheduler(), XEN_SCHEDULER_RTDS);
	CHECK_EQ("no clock says it is stable", event_vcpu()->time.flags & XEN_PVCLOCK_TSC_STABLE_BIT, 0);
	CHECK_EQ("a fifth", promise(1, 10000, 2000), 0);
	CHECK_EQ("more than a half", promise(2, 20000, 13000), 0);
	CHECK_EQ("more than the CPUs have", promise(1, 10000, 10000), -XEN_ENOSPC);
	if (apic_x2)
		apic_x2_leave();
	smp_jobs_init(false);
	for (unsigned int v = 1; v <= 2; v++) {
		CHECK_EQ("start", smp_start(v, smp_worker), 0);
		CHECK("it runs", SMP_UNTIL(smp_started[v]));
		smp_give(v, spin);
	}
	smp_sleep_until(smp_now() + 100 * MS);
	for (unsigned int n = 0; n < 5; n++) {
		begin = smp_now();
		before[1] = smp_ran(1);
		before[2] = smp_ran(2);
		smp_sleep_until(begin + 200 * MS);
		before[1] = smp_ran(1) - before[1];
		before[2] = smp_ran(2) - before[2];
		ms = (smp_now() - begin) / MS;
		print("in %lu ms: %lu us and %lu us\n", ms, before[1] / 1000, before[2] / 1000);
		/* A window cuts off at most a period's budget at each end. */
		CHECK("a fifth of the time", before[1] + 2 * MS > ms * MS / 5 && before[1] < ms * MS / 5 + 4 * MS);
		CHECK("more than half of it",
		      before[2] + 13 * MS > ms * MS / 20 * 13 && before[2] < ms * MS / 20 * 13 + 26 * MS);
	}
	stop = true;
	CHECK("they end", SMP_UNTIL(!smp_busy(1) && !smp_busy(2)));
	CHECK_EQ("the clock never went back", went_back, 0);
}
