// SPDX-License-Identifier: Apache-2.0
// xen-args: dom0_max_vcpus=4
// cpus: 4
// xen-cpus: 1
// vcpus: 4
/*
 * Time on several vCPUs: one clock for all that never goes back, run states that add up to the nanosecond, time stolen by
 * others, and timers of which none is lost or early. dom0 also moves its vCPUs from CPU to CPU meanwhile.
 *
 * Sources: public headers xen.h (struct vcpu_time_info), vcpu.h, sched.h (SCHEDOP_poll), domctl.h (affinity).
 */
#include "lib/guest.h"

#include <xen/domctl.h>

const char guest_name[] = "clock";

#define MS	     1000000UL
#define N	     4U
#define READS	     20000UL
#define TIMER_ROUNDS 500UL
#define STABLE	     1 /* vcpu_time_info.flags, XEN_PVCLOCK_TSC_STABLE_BIT */
/* Nobody else runs but our own vCPUs: a timer waits for a few slices at most. */
#define LATE_MAX (200 * MS)

static unsigned int cpus;

/* Where dom0 lets a vCPU of its own run. */
static long pin(unsigned int vcpu, uint64_t mask)
{
	struct xen_domctl op = {
		.cmd = XEN_DOMCTL_setvcpuaffinity,
		.interface_version = XEN_DOMCTL_INTERFACE_VERSION,
		.u.vcpuaffinity = {.vcpu = vcpu, .flags = XEN_VCPUAFFINITY_HARD, .cpumap_hard.nr_bits = 64},
	};

	set_xen_guest_handle(op.u.vcpuaffinity.cpumap_hard.bitmap, (uint8_t *)&mask);
	return HC(__HYPERVISOR_domctl, &op);
}

static void pin_all(uint64_t mask)
{
	for (unsigned int v = 0; guest_dom0 && v < N; v++)
		CHECK_EQ("pin", pin(v, mask), 0);
}

static void run_all(const char *name, smp_job *job, bool move)
{
	unsigned int late = 0, turn = 0;

	for (unsigned int v = 1; v < N; v++)
		smp_give(v, job);
	if (!move)
		job(0);
	for (unsigned int v = 1; v < N; v++)
		while (smp_busy(v) && move) {
			pin(1 + turn % (N - 1), 1UL << turn / 2 % cpus);
			turn++;
			smp_relax();
		}
	for (unsigned int v = 1; v < N; v++)
		late += !smp_wait(v);
	CHECK_EQ(name, late, 0);
}

/* ---- one clock ---- */

static volatile uint64_t latest;
static volatile unsigned int back[N], ahead;

/* Each reads its own record; whoever reads less than somebody read before went back. */
static void warp(unsigned int me)
{
	volatile struct vcpu_time_info *t = &smp_info(me)->time;

	for (unsigned long i = 0; i < READS; i++) {
		uint64_t before = __atomic_load_n(&latest, __ATOMIC_SEQ_CST), ns = event_now_by(t);

		if (ns < before)
			back[me]++;
		while (ns > before && !__atomic_compare_exchange_n(&latest, &before, ns, false, __ATOMIC_SEQ_CST,
								   __ATOMIC_SEQ_CST))
			;
		if (!(i & 255))
			smp_relax();
	}
}

static void one_clock(const char *name, bool move)
{
	unsigned int n = 0;

	run_all(name, warp, move);
	for (unsigned int v = 0; v < N; v++)
		n += back[v];
	CHECK_EQ("the clock went back", n, 0);
}

/* With the stable bit, any record may be used with any vCPU's TSC: they are the same line. */
static void stable(void)
{
	unsigned int bits = 0, apart = 0;
	uint64_t tsc = cpu_tsc(), mine = event_time_of(tsc);

	for (unsigned int v = 0; v < N; v++) {
		uint64_t other = event_time_by(&smp_info(v)->time, tsc);

		bits += smp_info(v)->time.flags & STABLE;
		apart += other > mine + 2 || mine > other + 2;
	}
	CHECK("the stable bit is set for all or for none", bits == 0 || bits == N);
	CHECK("it is set", bits == N || guest_option("oracle")); /* this CPU model has no invariant TSC: Xen does not */
	CHECK_EQ("records that tell another time", bits ? apart : 0, 0);
	print("stable bit: %u of %u\n", bits, N);
}

static struct vcpu_time_info second[N] __attribute__((aligned(64)));

static void second_area(void)
{
	for (unsigned int v = 0; v < N; v++) {
		struct vcpu_register_time_memory_area a = {.addr.p = (unsigned long)&second[v]};
		struct vcpu_time_info *t = &smp_info(v)->time;
		unsigned int same = 0;

		CHECK_EQ("register_vcpu_time_memory_area", hc_vcpu(VCPUOP_register_vcpu_time_memory_area, v, &a), 0);
		for (unsigned int i = 0; i < 100 && !same; i++) {
			uint32_t before = t->version;

			cpu_barrier();
			same = second[v].tsc_timestamp == t->tsc_timestamp && second[v].system_time == t->system_time &&
			       second[v].tsc_to_system_mul == t->tsc_to_system_mul &&
			       second[v].tsc_shift == t->tsc_shift && second[v].flags == t->flags;
			cpu_barrier();
			same = same && before == t->version && !(before & 1);
			smp_relax();
		}
		CHECK("it says what vcpu_info says", same);
		CHECK("its version is even", !(second[v].version & 1));
	}
}

/* ---- run states ---- */

static struct vcpu_runstate_info area[N];
static uint64_t born[N];

static uint64_t sum(const struct vcpu_runstate_info *r)
{
	return r->time[0] + r->time[1] + r->time[2] + r->time[3];
}

/* A snapshot of the area that the hypervisor writes: the same before and after, and not being written. */
static struct vcpu_runstate_info snapshot(unsigned int v)
{
	volatile struct vcpu_runstate_info *a = &area[v];
	struct vcpu_runstate_info r;

	do {
		r.state_entry_time = a->state_entry_time;
		cpu_barrier();
		r.state = a->state;
		for (unsigned int i = 0; i < 4; i++)
			r.time[i] = a->time[i];
		cpu_barrier();
	} while (r.state_entry_time != a->state_entry_time || r.state_entry_time & XEN_RUNSTATE_UPDATE);
	return r;
}

static void areas(void)
{
	CHECK_EQ("update flag", HC(__HYPERVISOR_vm_assist, VMASST_CMD_enable, VMASST_TYPE_runstate_update_flag), 0);
	for (unsigned int v = 0; v < N; v++) {
		struct vcpu_register_runstate_memory_area a = {.addr.v = &area[v]};

		CHECK_EQ("register_runstate_memory_area", hc_vcpu(VCPUOP_register_runstate_memory_area, v, &a), 0);
	}
}

static void births(void)
{
	for (unsigned int v = 0; v < N; v++) {
		struct vcpu_runstate_info r = snapshot(v);

		born[v] = r.state_entry_time - sum(&r);
		CHECK("a known state", r.state < 4);
	}
}

/* What an area holds adds up to when it was written; what the hypercall says, to when it was asked. */
static void add_up(const char *name)
{
	unsigned int area_wrong = 0, call_wrong = 0;

	for (unsigned int v = 0; v < N; v++) {
		struct vcpu_runstate_info r = snapshot(v), c;
		uint64_t from, to;

		if (r.state_entry_time - sum(&r) != born[v])
			area_wrong++;
		from = event_now();
		hc_vcpu(VCPUOP_get_runstate_info, v, &c);
		to = event_now();
		/* Xen's own clock and the records it gives may be a little apart. */
		if (guest_option("oracle"))
			from -= MS, to += MS;
		if (sum(&c) + born[v] < from || sum(&c) + born[v] > to)
			call_wrong++;
	}
	CHECK_EQ(name, area_wrong, 0);
	CHECK_EQ("get_runstate_info adds up to now", call_wrong, 0);
}

static void run_for_a_while(unsigned int me)
{
	uint64_t end = event_now() + 100 * MS;

	(void)me;
	while (event_now() < end)
		cpu_irq_window();
}

static void stolen(void)
{
	struct vcpu_runstate_info before[N], after[N];
	uint64_t waited[N], ran[N], all = 0;

	pin_all(1);
	for (unsigned int v = 0; v < N; v++)
		hc_vcpu(VCPUOP_get_runstate_info, v, &before[v]);
	run_all("four vCPUs run", run_for_a_while, false);
	for (unsigned int v = 0; v < N; v++) {
		hc_vcpu(VCPUOP_get_runstate_info, v, &after[v]);
		waited[v] = after[v].time[RUNSTATE_runnable] - before[v].time[RUNSTATE_runnable];
		ran[v] = after[v].time[RUNSTATE_running] - before[v].time[RUNSTATE_running];
		all += ran[v];
		/* Where they share one CPU, each waits for the others. */
		if (cpus == 1 || guest_dom0)
			CHECK("time is stolen from each", waited[v] > 20 * MS);
	}
	if (cpus == 1 || guest_dom0)
		CHECK("together they ran no longer than one CPU can", all <= sum(&after[0]) - sum(&before[0]) + 20 * MS);
	add_up("run states after sharing a CPU");
	pin_all(~0UL);
}

static void sleep_a_lot(unsigned int me)
{
	struct sched_poll p = {.nr_ports = 0};

	for (unsigned int i = 0; i < 200; i++) {
		p.timeout = event_now() + (50 + 13 * me) * 1000UL;
		hc_sched(SCHEDOP_poll, &p);
	}
}

/* ---- timers ---- */

static evtchn_port_t port[N];
static volatile unsigned long fired[N], early[N], lost[N];
static volatile uint64_t worst[N];

static void on_event(unsigned int me, evtchn_port_t p)
{
	if (p == port[me])
		fired[me]++;
}

static void note(unsigned int me, uint64_t deadline)
{
	uint64_t t = event_now(), apart = guest_option("oracle") ? MS : 0; /* Xen's own clock and its records' */

	if (t + apart < deadline)
		early[me]++;
	else if (t > deadline && t - deadline > worst[me])
		worst[me] = t - deadline;
}

static uint64_t next(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005UL + 1442695040888963407UL;
	return *seed >> 33;
}

static void singleshots(unsigned int me)
{
	struct vcpu_set_singleshot_timer t = {.flags = 0};
	uint64_t seed = me + 1;

	for (unsigned long i = 0; i < TIMER_ROUNDS; i++) {
		unsigned long was = fired[me];

		t.timeout_abs_ns = event_now() + 20000 + next(&seed) % (2 * MS);
		if (hc_vcpu(VCPUOP_set_singleshot_timer, me, &t))
			lost[me]++;
		while (fired[me] == was)
			cpu_halt();
		note(me, t.timeout_abs_ns);
	}
}

static void polls(unsigned int me)
{
	struct sched_poll p = {.nr_ports = 1};
	uint64_t seed = me + 100;

	set_xen_guest_handle(p.ports, &port[me]);
	event_set_mask(port[me], true);
	for (unsigned long i = 0; i < TIMER_ROUNDS; i++) {
		p.timeout = event_now() + 20000 + next(&seed) % MS;
		if (hc_sched(SCHEDOP_poll, &p))
			lost[me]++;
		if (!event_pending(port[me])) /* a wake-up for the job may end one */
			note(me, p.timeout);
	}
	event_set_mask(port[me], false);
}

static void periods(unsigned int me)
{
	struct vcpu_set_periodic_timer t = {.period_ns = (2 + me) * MS};
	unsigned long was = fired[me];
	uint64_t from = event_now(), ticks;

	if (hc_vcpu(VCPUOP_set_periodic_timer, me, &t))
		lost[me]++;
	while (event_now() < from + 200 * MS) /* Xen stops the timer of one that sleeps */
		cpu_irq_window();
	hc_vcpu(VCPUOP_stop_periodic_timer, me, 0);
	cpu_irq_window();
	ticks = fired[me] - was;
	/* Ticks melt together while the vCPU waits for its turn; never are there more than periods. */
	if (ticks < 2 || ticks > (event_now() - from) / t.period_ns + 1)
		lost[me]++;
}

static void timers(const char *name, smp_job *job)
{
	unsigned long e = 0, l = 0;
	uint64_t w = 0;

	run_all(name, job, false);
	for (unsigned int v = 0; v < N; v++) {
		e += early[v];
		l += lost[v];
		if (worst[v] > w)
			w = worst[v];
		early[v] = lost[v] = worst[v] = 0;
	}
	CHECK_EQ("early", e, 0);
	CHECK_EQ("refused or miscounted", l, 0);
	CHECK("late", w < LATE_MAX);
	print("%s: latest by %lu us\n", name, w / 1000);
}

void guest_main(void)
{
	event_init();
	if (apic_x2)
		apic_x2_leave();
	if (smp_count() < N) {
		print("fewer than four vCPUs: nothing to test\n");
		CHECK("runs", true);
		return;
	}
	cpus = (unsigned int)guest_number("cpus", 1);
	smp_on_event(on_event);
	smp_jobs_init(false);
	areas();
	for (unsigned int v = 0; v < N; v++) {
		CHECK_EQ("its timer's port", event_bind_virq(VIRQ_TIMER, v, &port[v]), 0);
		smp_own(v, port[v]);
		event_set_mask(port[v], false);
		if (v == 0)
			continue;
		smp_events(v);
		CHECK_EQ("start", smp_start(v, smp_worker), 0);
		CHECK("it runs", SMP_UNTIL(smp_started[v]));
	}
	stable();
	second_area();
	one_clock("all read the clock", false);
	if (guest_dom0) {
		one_clock("and move from CPU to CPU", true);
		pin_all(~0UL);
	}
	births();
	add_up("run states");
	run_all("sleepers", sleep_a_lot, false);
	add_up("run states after sleep");
	stolen();
	timers("single shots", singleshots);
	timers("polls", polls);
	timers("periods", periods);
	add_up("run states at the end");
	stable();
}
