/*
 * test/unit/sched_sim.h: a machine of many CPUs in virtual time that runs the real scheduler: every CPU has its timer and
 * its interrupts, every vCPU a workload. Time jumps from event to event; nothing depends on the clock of the host. After
 * each step all CPUs that were asked to decide have decided, and the invariants can be checked. Included once by a test
 * program that links core/sched*.c, core/cpupool.c and core/timer.c.
 */
#ifndef TEST_UNIT_SCHED_SIM_H
#define TEST_UNIT_SCHED_SIM_H

#include "core/log.h"
#include "core/sched_private.h"
#include "host/host.h"
#include "port/upcall.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#define MS	    1000000ull
#define SIM_VCPUS   512u
#define SIM_DOMAINS 512u
#define SIM_POINTS  65536u

enum work {
	WORK_OFF,
	WORK_SPIN,
	WORK_SLEEP, /* runs for run ns, sleeps for sleep ns */
	WORK_RANDOM /* the same with each time between 0 and twice that */
};

struct sim_vcpu {
	struct vcpu v;
	enum work work;
	uint64_t run, sleep; /* ns */
	uint64_t left;	     /* of the present run */
	uint64_t since;	     /* it runs since, as far as left was reckoned */
	uint64_t began;	     /* it runs since */
	uint64_t woken;	     /* when it woke, 0: it has run since */
	uint64_t worst;	     /* longest from waking to running */
	uint64_t waits;	     /* runnable without running since; worst of that */
	uint64_t worst_wait;
	uint64_t made;
	uint64_t shortest; /* that it ran before another displaced it */
	uint64_t ran_on[NR_CPUS];
	struct tree_node event; /* end of its run, or of its sleep */
	bool has_event;
};

struct sim_domain {
	struct domain d;
	struct vcpu *vcpu[16];
	/* Breakpoints of the time its vCPUs ran together, when recorded. */
	uint64_t (*points)[2];
	unsigned nr_points;
};

static struct {
	unsigned cpus, sockets;
	unsigned nr_vcpus, nr_domains;
	struct sim_vcpu *vcpu;
	struct sim_domain *domain;
	struct tree events; /* of vCPUs */
	struct tree_node timer[NR_CPUS];
	uint64_t deadline[NR_CPUS];
	bool kicked[NR_CPUS];
	struct vcpu *runs[NR_CPUS]; /* as the run loop knows it */
	uint64_t seed;
	uint64_t picks, switches;
	unsigned check_every, steps;
	bool no_idle_check;
} sim;

/* --- the machine --- */

uint32_t port_cpu_socket(unsigned cpu)
{
	return cpu * sim.sockets / sim.cpus;
}

void port_timer_arm(uint64_t deadline)
{
	struct tree_node *n = &sim.timer[host_cpu];

	if (sim.deadline[host_cpu] != NEVER)
		tree_remove(&sim.events, n);
	sim.deadline[host_cpu] = deadline;
	if (deadline != NEVER)
		tree_insert(&sim.events, n, deadline);
}

void port_kick(unsigned cpu)
{
	sim.kicked[cpu] = true;
}

void evtchn_vcpu_virq(struct vcpu *v, uint32_t virq)
{
}

static struct sim_vcpu *sim_of(struct vcpu *v)
{
	return container_of(v, struct sim_vcpu, v);
}

static uint64_t sim_random(uint64_t below)
{
	return below ? host_random(&sim.seed) % below : 0;
}

static void forget_event(struct sim_vcpu *s)
{
	if (s->has_event)
		tree_remove(&sim.events, &s->event);
	s->has_event = false;
}

static void set_event(struct sim_vcpu *s, uint64_t at)
{
	forget_event(s);
	tree_insert(&sim.events, &s->event, at);
	s->has_event = true;
}

/* --- running --- */

static void sim_point(struct domain *d, uint64_t ran)
{
	struct sim_domain *sd = container_of(d, struct sim_domain, d);

	if (!sd->points)
		return;
	assert_true(sd->nr_points + 1 < SIM_POINTS);
	sd->points[sd->nr_points][0] = host_ns;
	sd->points[sd->nr_points][1] = ran;
	sd->nr_points++;
}

static uint64_t sim_ran(struct vcpu *v)
{
	uint64_t time[4], entered;
	int state;

	sched_runstate(v, time, &entered, &state);
	return time[RUNSTATE_running];
}

static uint64_t sim_domain_ran(struct domain *d)
{
	uint64_t sum = 0;
	struct vcpu *v;

	for_each_vcpu (d, v)
		sum += sim_ran(v);
	return sum;
}

void guest_switch_out(struct vcpu *v)
{
	struct sim_vcpu *s = sim_of(v);

	s->left -= MIN(s->left, host_ns - s->since);
	s->ran_on[host_cpu] += host_ns - s->began;
	if (sched_runnable(v))
		s->shortest = MIN(s->shortest, host_ns - s->began);
	s->waits = host_ns;
	forget_event(s);
}

static void started(struct sim_vcpu *s)
{
	uint64_t waited = s->waits ? host_ns - s->waits : 0;

	s->since = s->began = host_ns;
	if (s->woken)
		s->worst = MAX(s->worst, host_ns - s->woken);
	s->woken = s->waits = 0;
	s->worst_wait = MAX(s->worst_wait, waited);
	if (s->work != WORK_SPIN)
		set_event(s, host_ns + s->left);
}

static void decide_on(unsigned cpu)
{
	struct vcpu *next, *last = sim.runs[cpu];

	host_cpu = cpu;
	if (sim.deadline[cpu] <= host_ns) {
		port_timer_arm(NEVER);
		upcall_timer();
	}
	if (timer_due())
		timer_expire();
	sim.kicked[cpu] = false;
	if (last && !sched_needed())
		return;
	sim.picks++;
	next = sched_pick();
	sim.runs[cpu] = next;
	if (next != last) {
		sim.switches++;
		if (next)
			started(sim_of(next));
		for (unsigned i = 0; i < sim.nr_domains; i++)
			if (sim.domain[i].points)
				sim_point(&sim.domain[i].d, sim_domain_ran(&sim.domain[i].d));
	}
}

/* Until no CPU has anything to decide at this moment. */
static void settle(void)
{
	bool again = true;

	for (unsigned rounds = 0; again; rounds++) {
		assert_true(rounds < 100 + 2 * sim.nr_vcpus);
		again = false;
		for (unsigned cpu = 0; cpu < sim.cpus; cpu++) {
			if (!sim.kicked[cpu] && !sched_cpus[cpu].resched && sim.deadline[cpu] > host_ns)
				continue;
			decide_on(cpu);
			again = true;
		}
	}
	host_cpu = 0;
}

void port_relax(void)
{
	unsigned self = host_cpu;

	settle();
	host_cpu = self;
}

static uint64_t duration(const struct sim_vcpu *s, uint64_t mean)
{
	return s->work == WORK_RANDOM ? 1 + sim_random(2 * mean) : mean;
}

static void vcpu_event(struct sim_vcpu *s)
{
	struct vcpu *v = &s->v;

	s->has_event = false;
	if (v->sched.on_cpu) { /* its run ends: it sleeps */
		host_cpu = v->sched.cpu;
		s->left = duration(s, s->run);
		s->since = host_ns;
		sched_block(v);
		settle();
		set_event(s, host_ns + duration(s, s->sleep));
		return;
	}
	if (!v->sched.blocked)
		return;
	s->woken = s->waits = host_ns;
	host_cpu = (unsigned)sim_random(sim.cpus);
	sched_wake(v);
}

/* --- invariants --- */

static void check_vcpu(struct vcpu *v)
{
	const struct sched_vcpu *s = &v->sched;
	const struct runq *q = runq_of(v);
	uint64_t time[4], entered, sum = 0;
	int state;

	assert_int_equal(s->queued, sched_runnable(v) && !s->on_cpu && !s->parked);
	assert_int_equal(s->on_cpu, s->state == RUNSTATE_running);
	if (s->on_cpu) {
		assert_ptr_equal(sched_cpus[s->cpu].current, v);
		assert_true(cpumask_test(&s->hard, s->cpu));
		assert_true(cpumask_test(&q->cpus, s->cpu));
		assert_true(sched_runnable(v));
	}
	assert_ptr_equal(q->pool, v->domain->sched.pool);
	assert_true(cpumask_meet(&q->cpus, &s->hard) || q->policy == SCHED_NULL);
	sched_runstate(v, time, &entered, &state);
	for (unsigned i = 0; i < 4; i++)
		sum += time[i];
	assert_int_equal(sum, host_ns - sim_of(v)->made);
}

static void check_tree(const struct tree *t)
{
	unsigned n = 0;

	for (const struct tree_node *at = t->first; at; at = tree_next(at), n++) {
		const struct tree_node *next = tree_next(at);

		assert_true(!next || at->key <= next->key);
		assert_true(!at->up || at->up->priority >= at->priority);
	}
	assert_int_equal(n, t->count);
}

static void check_all(void)
{
	uint32_t members[NR_CPUS] = { 0 };

	for (unsigned i = 0; i < sim.nr_vcpus; i++) {
		check_vcpu(&sim.vcpu[i].v);
		members[sim.vcpu[i].v.sched.runq]++;
	}
	for (unsigned i = 0; i < sim.cpus; i++) {
		struct sched_cpu *c = &sched_cpus[i];

		check_tree(&runqs[i].tree);
		assert_int_equal(members[i], runqs[i].members);
		assert_int_equal(runqs[i].head, runqs[i].tree.first ? runqs[i].tree.first->key : NEVER);
		if (c->runq == RUNQ_NONE || c->current)
			continue;
		/* No CPU idles while somebody waits who may run there. */
		for_each_cpu (k, &runqs[c->runq].pool->queues)
			if (runqs[k].policy == SCHED_SHARE || k == c->runq)
				assert_null(sched_first(&runqs[k], i));
	}
}

static inline void sim_run(uint64_t ns)
{
	uint64_t end = host_ns + ns;

	settle();
	while (sim.events.first && sim.events.first->key <= end) {
		struct tree_node *n = sim.events.first;

		assert_true(n->key >= host_ns);
		host_ns = n->key;
		if (n >= sim.timer && n < sim.timer + NR_CPUS) {
			decide_on((unsigned)(n - sim.timer));
		} else {
			tree_remove(&sim.events, n);
			vcpu_event(container_of(n, struct sim_vcpu, event));
		}
		settle();
		if (sim.check_every && ++sim.steps % sim.check_every == 0)
			check_all();
	}
	host_ns = end;
	check_all();
}

/* --- making and ending --- */

static inline void sim_begin(unsigned cpus, unsigned sockets, enum sched_policy policy, uint64_t seed)
{
	static bool once;

	host_machine(512);
	memset(&sim, 0, sizeof(sim));
	sim.cpus = cpus;
	sim.sockets = sockets;
	sim.seed = seed * 0x9e3779b97f4a7c15ull + 1;
	sim.check_every = 16;
	sim.vcpu = calloc(SIM_VCPUS, sizeof(*sim.vcpu));
	sim.domain = calloc(SIM_DOMAINS, sizeof(*sim.domain));
	for (unsigned i = 0; i < NR_CPUS; i++)
		sim.deadline[i] = NEVER;
	host_cpus = cpus;
	for (unsigned i = 0; !once && i < NR_CPUS; i++)
		timer_cpu_init(i);
	if (once)
		timer_unreserve(NR_CPUS);
	once = true;
	sched_init(policy);
	settle();
}

/* A domain of n vCPUs, not up yet. */
static inline struct domain *sim_domain(unsigned n, unsigned weight, unsigned cap, uint32_t pool)
{
	struct sim_domain *s = &sim.domain[sim.nr_domains];

	assert_true(n <= ARRAY_SIZE(s->vcpu) && sim.nr_domains < SIM_DOMAINS);
	s->d.id = (domid_t)sim.nr_domains++;
	s->d.max_vcpus = n;
	s->d.vcpu = s->vcpu;
	s->d.sched_weight = (uint16_t)weight;
	s->d.sched_cap = (uint16_t)cap;
	assert_int_equal(sched_domain_init(&s->d, pool), 0);
	for (unsigned i = 0; i < n; i++) {
		struct sim_vcpu *v = &sim.vcpu[sim.nr_vcpus];

		assert_true(sim.nr_vcpus < SIM_VCPUS);
		v->v.domain = &s->d;
		v->v.id = i;
		v->made = host_ns;
		v->shortest = NEVER;
		if (sched_vcpu_init(&v->v))
			break;
		sim.nr_vcpus++;
		s->vcpu[i] = &v->v;
	}
	return &s->d;
}

static inline void sim_record(struct domain *d)
{
	struct sim_domain *s = container_of(d, struct sim_domain, d);

	s->points = calloc(SIM_POINTS, sizeof(*s->points));
}

static inline void sim_start(struct vcpu *v, enum work work, uint64_t run, uint64_t sleep)
{
	struct sim_vcpu *s = sim_of(v);

	s->work = work;
	s->run = run;
	s->sleep = sleep;
	s->left = duration(s, run);
	s->woken = s->waits = host_ns;
	host_cpu = (unsigned)sim_random(sim.cpus);
	sched_up(v);
	settle();
}

static inline void sim_start_all(struct domain *d, enum work work, uint64_t run, uint64_t sleep)
{
	struct vcpu *v;

	for_each_vcpu (d, v)
		sim_start(v, work, run, sleep);
}

static inline void sim_end(void)
{
	for (unsigned i = 0; i < sim.nr_vcpus; i++) {
		sched_down(&sim.vcpu[i].v);
		settle();
		forget_event(&sim.vcpu[i]);
		sched_vcpu_destroy(&sim.vcpu[i].v);
	}
	for (unsigned i = 0; i < sim.nr_domains; i++) {
		sched_domain_destroy(&sim.domain[i].d);
		free(sim.domain[i].points);
	}
	for (unsigned i = 0; i < NR_CPUS; i++)
		assert_int_equal(runqs[i].members, 0);
	for (host_cpu = 0; host_cpu < sim.cpus; host_cpu++)
		timer_stop(&sched_cpus[host_cpu].slice);
	host_cpu = 0;
	free(sim.vcpu);
	free(sim.domain);
	sim.nr_vcpus = sim.nr_domains = 0;
}

#endif
