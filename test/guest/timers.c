// SPDX-License-Identifier: Apache-2.0
/*
 * Time: the time record and its stable bit, VIRQ_TIMER by single-shot and periodic timers, runstate accounting.
 *
 * Source: public headers vcpu.h, xen.h (struct vcpu_time_info).
 */
#include "lib/guest.h"

const char guest_name[] = "timers";

#define MS	     1000000UL
#define CLOCK_STABLE 1 /* vcpu_time_info.flags, XEN_PVCLOCK_TSC_STABLE_BIT */

static evtchn_port_t port;

static long oneshot(uint64_t at, uint32_t flags)
{
	struct vcpu_set_singleshot_timer t = {.timeout_abs_ns = at, .flags = flags};

	return hc_vcpu(VCPUOP_set_singleshot_timer, 0, &t);
}

/* Halts until ns have gone by. */
static void nap(uint64_t ns)
{
	uint64_t end = event_now() + ns;

	CHECK_EQ("timer for a nap", oneshot(end, 0), 0);
	while (event_now() < end)
		cpu_halt();
}

static void clock(void)
{
	struct vcpu_time_info *t = &event_vcpu()->time;
	uint64_t last = event_now(), first = last;
	bool monotone = true;

	CHECK("time version is even", !(t->version & 1));
	CHECK("multiplier is set", t->tsc_to_system_mul != 0);
	CHECK("clock runs", last > 0);
	for (unsigned int i = 0; i < 2000; i++) {
		uint64_t now = event_now();

		monotone &= now >= last;
		last = now;
	}
	CHECK("clock is monotone", monotone);
	CHECK("clock moved", last > first);
	/* An unprivileged domain's wall clock comes when dom0 sets the time. */
	CHECK("wall clock is even", !(event_shared->wc_version & 1));
	CHECK("wall clock is after 2020", !guest_dom0 || event_shared->wc_sec > 1577836800U);
	print("time: mul %x shift %d flags %x\n", t->tsc_to_system_mul, t->tsc_shift, t->flags);
	CHECK("flags hold no unknown bit", !(t->flags & ~3));
}

static void single_shots(void)
{
	unsigned int seen = event_seen[port];
	uint64_t now = event_now();
	long rc;

	CHECK_EQ("timer in the past", oneshot(now - MS, 0), 0);
	CHECK("past fires at once", event_wait(&event_seen[port], seen, 20 * MS));
	seen = event_seen[port];
	/* The header lets a hypervisor ignore the flag; Xen does, and fires at once. */
	rc = oneshot(now - MS, VCPU_SSHOTTMR_future);
	CHECK_EITHER("timer in the past, VCPU_SSHOTTMR_future", rc, 0, -XEN_ETIME);
	CHECK_EQ("fires unless refused", event_wait(&event_seen[port], seen, 2 * MS), rc == 0);

	seen = event_seen[port];
	now = event_now();
	CHECK_EQ("timer in 2 ms", oneshot(now + 2 * MS, VCPU_SSHOTTMR_future), 0);
	while (event_seen[port] == seen && event_now() < now + 100 * MS)
		cpu_halt();
	CHECK_EQ("it fired once, from a halt", event_seen[port], seen + 1);
	CHECK("not early", event_now() >= now + 2 * MS);

	seen = event_seen[port];
	CHECK_EQ("timer in 3 ms", oneshot(event_now() + 3 * MS, 0), 0);
	CHECK_EQ("stopped", hc_vcpu(VCPUOP_stop_singleshot_timer, 0, 0), 0);
	CHECK("a stopped timer does not fire", !event_wait(&event_seen[port], seen, 6 * MS));

	CHECK_EQ("moved: first 3 ms", oneshot(event_now() + 3 * MS, 0), 0);
	CHECK_EQ("moved: then 8 ms", oneshot(event_now() + 8 * MS, 0), 0);
	CHECK("only the last counts", !event_wait(&event_seen[port], seen, 5 * MS));
	CHECK("and fires", event_wait(&event_seen[port], seen, 50 * MS));
	CHECK_EQ("far future is taken", oneshot(~0UL >> 1, 0), 0);
	CHECK_EQ("stop that", hc_vcpu(VCPUOP_stop_singleshot_timer, 0, 0), 0);
	CHECK_EQ("timer of another vCPU", hc_vcpu(VCPUOP_set_singleshot_timer, 1, &now),
		 hc_vcpu(VCPUOP_is_up, 1, 0) == -XEN_ENOENT ? -XEN_ENOENT : -XEN_EINVAL);
	CHECK_EQ("bad pointer", hc_vcpu(VCPUOP_set_singleshot_timer, 0, 0x7f0000000000UL), -XEN_EFAULT);
}

static void periodic(void)
{
	struct vcpu_set_periodic_timer t = {.period_ns = 2 * MS};
	unsigned int seen = event_seen[port];
	uint64_t end;

	CHECK_EQ("periodic timer", hc_vcpu(VCPUOP_set_periodic_timer, 0, &t), 0);
	/* Spinning: Xen stops a blocked vCPU's periodic timer. */
	end = event_now() + 200 * MS;
	while (event_seen[port] < seen + 5 && event_now() < end)
		cpu_irq_window();
	CHECK("periodic fires again and again", event_seen[port] >= seen + 5);
	CHECK_EQ("stop periodic", hc_vcpu(VCPUOP_stop_periodic_timer, 0, 0), 0);
	cpu_irq_window();
	seen = event_seen[port];
	CHECK("stopped periodic is silent", !event_wait(&event_seen[port], seen, 6 * MS));
	t.period_ns = 1000;
	CHECK_EQ("too short a period", hc_vcpu(VCPUOP_set_periodic_timer, 0, &t), -XEN_EINVAL);
	t.period_ns = 0x7fffffffffffffffUL;
	CHECK_EQ("too long a period", hc_vcpu(VCPUOP_set_periodic_timer, 0, &t), -XEN_EINVAL);
	CHECK_EQ("set_timer_op in the past", HC(__HYPERVISOR_set_timer_op, event_now() - MS), 0);
	CHECK("set_timer_op fires", event_wait(&event_seen[port], seen, 20 * MS));
	CHECK_EQ("set_timer_op 0 stops", HC(__HYPERVISOR_set_timer_op, 0), 0);
}

static uint64_t sum(const struct vcpu_runstate_info *r)
{
	return r->time[0] + r->time[1] + r->time[2] + r->time[3];
}

static void runstate(void)
{
	static struct vcpu_runstate_info a, b, area;
	struct vcpu_register_runstate_memory_area reg = {.addr.p = 0};

	CHECK_EQ("get_runstate", hc_vcpu(VCPUOP_get_runstate_info, 0, &a), 0);
	CHECK_EQ("running", a.state, RUNSTATE_running);
	nap(5 * MS);
	CHECK_EQ("get_runstate again", hc_vcpu(VCPUOP_get_runstate_info, 0, &b), 0);
	CHECK("running time grew", b.time[RUNSTATE_running] > a.time[RUNSTATE_running]);
	CHECK("a halt counts as blocked", b.time[RUNSTATE_blocked] - a.time[RUNSTATE_blocked] >= 3 * MS);
	CHECK("the sum is the time", b.state_entry_time >= a.state_entry_time && sum(&b) - sum(&a) <= event_now() &&
					     sum(&b) - sum(&a) >= 5 * MS - MS / 2);
	reg.addr.h.p = &area;
	CHECK_EQ("register runstate area", hc_vcpu(VCPUOP_register_runstate_memory_area, 0, &reg), 0);
	CHECK_EQ("area is filled in", area.state, RUNSTATE_running);
	nap(2 * MS);
	CHECK("area follows", area.time[RUNSTATE_blocked] > b.time[RUNSTATE_blocked]);
	CHECK_EQ("area says running", area.state, RUNSTATE_running);
	CHECK_EQ("runstate of no vCPU", hc_vcpu(VCPUOP_get_runstate_info, 200, &a), -XEN_ENOENT);
	CHECK_EQ("bad pointer", hc_vcpu(VCPUOP_get_runstate_info, 0, 0x7f0000000000UL), -XEN_EFAULT);
}

void guest_main(void)
{
	event_init();
	CHECK_EQ("bind timer", event_bind_virq(VIRQ_TIMER, 0, &port), 0);
	event_set_mask(port, false);
	clock();
	single_shots();
	periodic();
	runstate();
}
