/* sources: core/sched.c core/sched_share.c core/sched_edf.c core/sched_null.c core/sched_cap.c core/sched_control.c core/sched_admit.c core/cpupool.c core/timer.c */
/*
 * Proportional share in simulation (sched_sim.h): fairness, caps, latency, no starvation, affinity, random control
 * operations; invariants all along. With SCHED_LONG set in the environment more seeds are run.
 */
#include "sched_sim.h"

#define SECOND (1000 * MS)

static unsigned seeds(void)
{
	return getenv("SCHED_LONG") ? 20 : 1;
}

/* What each vCPU is due of total ns CPU time: its share by weight, where none can use more than one CPU. */
static void shares(const unsigned *weight, unsigned n, unsigned cpus, double total, double *due)
{
	bool full[SIM_VCPUS] = { 0 };
	bool again = true;

	while (again) {
		double sum = 0, left = cpus;

		again = false;
		for (unsigned i = 0; i < n; i++) {
			if (full[i])
				left--;
			else
				sum += weight[i];
		}
		for (unsigned i = 0; i < n; i++) {
			due[i] = full[i] ? total : total * left * weight[i] / sum;
			if (!full[i] && due[i] >= total) {
				full[i] = true;
				again = true;
			}
		}
	}
}

/* How long a turn is at most when that many compete: what fairness can be measured in. */
static double turn(unsigned n, unsigned cpus, unsigned weight)
{
	double slice = 10 * MS;

	if (n > 5 * cpus)
		slice = 40.0 * MS * cpus / (n - cpus);
	if (weight < 256)
		slice = slice * weight / 256;
	return slice < 1 * MS ? 1 * MS : slice;
}

static void fairness(unsigned cpus, unsigned sockets, unsigned n, const unsigned *weights, unsigned kinds,
		     uint64_t seed, double *worst)
{
	double due[SIM_VCPUS];
	unsigned weight[SIM_VCPUS];
	uint64_t before[SIM_VCPUS];

	sim_begin(cpus, sockets, SCHED_SHARE, seed);
	if (n * cpus > 256)
		sim.check_every = 1024;
	for (unsigned i = 0; i < n; i++) {
		weight[i] = weights[i % kinds];
		sim_start_all(sim_domain(1, weight[i], 0, 0), WORK_SPIN, 0, 0);
	}
	/* Where they start is not what is measured: the first had longer turns, which the others get back. */
	sim_run(n > 32 * cpus ? 5 * SECOND : SECOND);
	for (unsigned i = 0; i < n; i++)
		before[i] = sim_ran(&sim.vcpu[i].v);
	sim_run(10 * SECOND);
	shares(weight, n, cpus, 10 * SECOND, due);
	for (unsigned i = 0; i < n; i++) {
		double got = (double)(sim_ran(&sim.vcpu[i].v) - before[i]),
		       off = got > due[i] ? got - due[i] : due[i] - got;
		double few = 3 * turn(n, cpus, weight[i]), allowed = 0.02 * due[i] > few ? 0.02 * due[i] : few;

		if (off / due[i] > *worst)
			*worst = off / due[i];
		if (off > allowed)
			fail_msg("%u CPUs, %u sockets, %u vCPUs: vCPU %u (weight %u) got %.3f ms, due %.3f ms", cpus,
				 sockets, n, i, weight[i], got / MS, due[i] / MS);
	}
	sim_end();
}

static void test_fairness(void **state)
{
	static const struct {
		unsigned cpus, sockets, vcpus;
	} sizes[] = { { 1, 1, 1 },    { 1, 1, 2 },    { 1, 1, 8 }, { 2, 1, 3 },	 { 2, 2, 3 },
		      { 4, 1, 9 },    { 4, 4, 5 },    { 8, 8, 9 }, { 8, 2, 20 }, { 16, 4, 50 },
		      { 64, 8, 100 }, { 64, 4, 512 }, { 1, 1, 64 } };
	static const unsigned equal[] = { 256 }, mixed[] = { 256, 512, 128, 1024 }, wild[] = { 256, 16, 4096 };

	for (unsigned s = 0; s < seeds(); s++)
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			double e = 0, m = 0, w = 0;

			fairness(sizes[i].cpus, sizes[i].sockets, sizes[i].vcpus, equal, 1, s, &e);
			fairness(sizes[i].cpus, sizes[i].sockets, sizes[i].vcpus, mixed, 4, s, &m);
			fairness(sizes[i].cpus, sizes[i].sockets, sizes[i].vcpus, wild, 3, s, &w);
			print_message("%3u CPUs in %u sockets, %3u vCPUs: furthest from its share: %.2f %% equal, %.2f "
				      "%% mixed, "
				      "%.2f %% wild weights\n",
				      sizes[i].cpus, sizes[i].sockets, sizes[i].vcpus, 100 * e, 100 * m, 100 * w);
		}
}

/* Machines of any size, whole sockets of at most 64 CPUs, any number of spinners. */
static void test_fairness_anywhere(void **state)
{
	static const unsigned equal[] = { 256 }, mixed[] = { 256, 512, 128, 1024 };
	uint64_t random = 1;

	for (unsigned s = 0; s < 12 * seeds(); s++) {
		unsigned each = 1 + (unsigned)(host_random(&random) >> 8) % 16, sockets, vcpus;
		double e = 0, m = 0;

		sockets = 1 + (unsigned)(host_random(&random) >> 8) % (64 / each);
		vcpus = 1 + (unsigned)(host_random(&random) >> 8) % (6 * each * sockets);
		vcpus = vcpus > SIM_VCPUS ? SIM_VCPUS : vcpus;
		fairness(each * sockets, sockets, vcpus, equal, 1, s, &e);
		fairness(each * sockets, sockets, vcpus, mixed, 4, s, &m);
		print_message("%3u CPUs in %u sockets, %3u vCPUs: furthest from its share: %.2f %% equal, %.2f %% "
			      "mixed weights\n",
			      each * sockets, sockets, vcpus, 100 * e, 100 * m);
	}
}

/* --- caps --- */

static double more(double a, double b)
{
	return a > b ? a : b;
}

/* ns that ran up to t, from the breakpoints; *at: one near it. */
static double ran_at(const struct sim_domain *s, double t, unsigned *at)
{
	while (*at + 1 < s->nr_points && (double)s->points[*at + 1][0] <= t)
		++*at;
	if (*at + 1 == s->nr_points || s->points[*at + 1][0] == s->points[*at][0])
		return (double)s->points[*at][1];
	return (double)s->points[*at][1] + (t - (double)s->points[*at][0]) *
						   (double)(s->points[*at + 1][1] - s->points[*at][1]) /
						   (double)(s->points[*at + 1][0] - s->points[*at][0]);
}

/* The most it ran in any span of 100 ms: one that begins or ends where its pace changes. */
static double worst_window(const struct sim_domain *s)
{
	unsigned begin = 0, end = 0;
	double worst = 0;

	for (unsigned i = 0; i < s->nr_points; i++) {
		double t = (double)s->points[i][0], window = 100.0 * MS;

		if (t >= window + (double)s->points[0][0])
			worst = more(worst, (double)s->points[i][1] - ran_at(s, t - window, &begin));
		if (t + window <= (double)s->points[s->nr_points - 1][0])
			worst = more(worst, ran_at(s, t + window, &end) - (double)s->points[i][1]);
	}
	return worst;
}

static void cap(unsigned cpus, unsigned vcpus, unsigned percent, unsigned others, enum work work, uint64_t seed)
{
	struct domain *d;
	double most, got, due;

	sim_begin(cpus, 1, SCHED_SHARE, seed);
	d = sim_domain(vcpus, 256, percent, 0);
	sim_record(d);
	sim_start_all(d, work, 7 * MS, 5 * MS);
	for (unsigned i = 0; i < others; i++)
		sim_start_all(sim_domain(1, 256, 0, 0), WORK_RANDOM, 3 * MS, 6 * MS);
	sim_run(3 * SECOND);
	most = worst_window(container_of(d, struct sim_domain, d));
	got = (double)sim_domain_ran(d) / 3;
	due = percent / 100.0 * SECOND;
	if (most > percent * 1.0 * MS + SCHED_SLICE_NS + 1000)
		fail_msg("%u CPUs, %u vCPUs, cap %u %%: %.3f ms in 100 ms", cpus, vcpus, percent, most / MS);
	if (work == WORK_SPIN && !others && got < 0.95 * due)
		fail_msg("%u CPUs, %u vCPUs, cap %u %%: only %.1f ms a second", cpus, vcpus, percent, got / MS);
	sim_end();
}

static void test_caps(void **state)
{
	for (unsigned s = 0; s < seeds(); s++) {
		cap(1, 1, 50, 0, WORK_SPIN, s);
		cap(1, 1, 10, 0, WORK_SPIN, s);
		cap(1, 1, 1, 2, WORK_SPIN, s);
		cap(2, 2, 150, 0, WORK_SPIN, s);
		cap(4, 4, 50, 3, WORK_SPIN, s);
		cap(8, 8, 350, 0, WORK_SPIN, s);
		cap(8, 16, 700, 4, WORK_SPIN, s);
		cap(4, 4, 30, 4, WORK_RANDOM, s);
		cap(4, 8, 120, 10, WORK_SLEEP, s);
		cap(64, 16, 1500, 80, WORK_SPIN, s);
		cap(64, 16, 500, 40, WORK_SLEEP, s);
	}
}

/* A cap that is set, changed and taken away while its vCPUs run. */
static void test_cap_changes(void **state)
{
	struct domain *d;
	uint64_t ran;

	sim_begin(2, 1, SCHED_SHARE, 1);
	d = sim_domain(2, 256, 0, 0);
	sim_start_all(d, WORK_SPIN, 0, 0);
	sim_run(100 * MS);
	assert_int_equal(sim_domain_ran(d), 200 * MS);
	assert_int_equal(sched_set_weight(d, 256, 40), 0);
	ran = sim_domain_ran(d);
	sim_run(SECOND);
	assert_in_range(sim_domain_ran(d) - ran, 380 * MS, 411 * MS);
	assert_int_equal(sched_set_weight(d, 0, 0), -EINVAL);
	assert_int_equal(d->sched_cap, 40);
	assert_int_equal(sched_set_weight(d, 256, 0), 0);
	ran = sim_domain_ran(d);
	sim_run(SECOND);
	assert_int_equal(sim_domain_ran(d) - ran, 2000 * MS);
	sim_end();
}

/* --- latency --- */

/* Who needs less than its share and wakes up among spinners runs within the rate limit, and displaces nobody before it. */
static void latency(unsigned cpus, unsigned sockets, unsigned spinners, unsigned sleepers, uint32_t ratelimit_us,
		    uint64_t seed)
{
	struct domain *d;

	sim_begin(cpus, sockets, SCHED_SHARE, seed);
	assert_int_equal(cpupool_set_ratelimit(0, ratelimit_us), 0);
	for (unsigned i = 0; i < spinners; i++)
		sim_start_all(sim_domain(1, 256, 0, 0), WORK_SPIN, 0, 0);
	sim_run(100 * MS);
	for (unsigned i = 0; i < sleepers; i++) {
		d = sim_domain(1, 256, 0, 0);
		sim_start_all(d, WORK_RANDOM, 200000, 40 * MS);
		sim_of(d->vcpu[0])->worst = 0;
	}
	sim_run(100 * MS);
	for (unsigned i = spinners; i < sim.nr_vcpus; i++)
		sim.vcpu[i].worst = 0;
	sim_run(5 * SECOND);
	for (unsigned i = spinners; i < sim.nr_vcpus; i++)
		if (sim.vcpu[i].worst > ratelimit_us * 1000ull + (sleepers > 1 ? 500000 : 0))
			fail_msg("%u CPUs in %u sockets, %u spinners: woke up and waited %.3f ms", cpus, sockets,
				 spinners, (double)sim.vcpu[i].worst / MS);
	for (unsigned i = 0; i < sim.nr_vcpus; i++)
		if (sim.vcpu[i].shortest < ratelimit_us * 1000ull)
			fail_msg("%u CPUs in %u sockets: displaced after %.3f ms", cpus, sockets,
				 (double)sim.vcpu[i].shortest / MS);
	sim_end();
}

static void test_latency(void **state)
{
	for (unsigned s = 0; s < seeds(); s++) {
		latency(1, 1, 2, 1, 1000, s);
		latency(1, 1, 2, 1, 100, s);
		latency(1, 1, 2, 1, 0, s);
		latency(2, 1, 5, 1, 1000, s);
		latency(4, 2, 10, 1, 1000, s);
		latency(8, 2, 30, 4, 1000, s);
		latency(64, 8, 120, 16, 1000, s);
		for (unsigned cpus = 2; cpus <= (seeds() > 1 ? 64 : 8); cpus *= 2)
			for (unsigned sockets = 1; sockets <= cpus; sockets *= 2)
				for (unsigned spinners = cpus; spinners <= 3 * cpus; spinners += 1 + cpus / 4)
					latency(cpus, sockets, spinners, 1, 1000, s);
	}
}

/* --- everything at once: nobody starves, nothing breaks --- */

static void random_mask(struct cpumask *m, unsigned cpus)
{
	*m = CPUMASK_NONE;
	for (unsigned cpu = 0; cpu < cpus; cpu++)
		if (sim_random(2))
			cpumask_set(m, cpu);
}

static void disturb(unsigned cpus, unsigned pools)
{
	struct sim_vcpu *s = &sim.vcpu[sim_random(sim.nr_vcpus)];
	struct vcpu *v = &s->v;
	struct cpumask m;
	unsigned cpu = (unsigned)sim_random(cpus);
	int rc = 0;

	host_cpu = (unsigned)sim_random(cpus);
	switch (sim_random(10)) {
	case 0:
		sched_vcpu_pause(v);
		assert_true(!v->sched.on_cpu || v->sched.cpu == host_cpu);
		settle();
		sim_run(sim_random(3 * MS));
		sched_vcpu_unpause(v);
		break;
	case 1:
		sched_domain_pause(v->domain);
		settle();
		sim_run(sim_random(3 * MS));
		sched_domain_unpause(v->domain);
		break;
	case 2:
		sched_down(v);
		settle();
		sim_run(sim_random(3 * MS));
		forget_event(s);
		sim_start(v, s->work, s->run, s->sleep);
		break;
	case 3:
	case 4:
		random_mask(&m, cpus);
		rc = sched_set_affinity(v, &m, NULL);
		assert_true(!rc || rc == -EINVAL || rc == -ENOSPC);
		break;
	case 5:
		random_mask(&m, cpus);
		assert_int_equal(sched_set_affinity(v, NULL, &m), 0);
		break;
	case 6:
		assert_int_equal(
			sched_set_weight(v->domain, (uint16_t)(1 + sim_random(1000)), (uint16_t)sim_random(250)), 0);
		break;
	case 7:
		rc = cpupool_remove_cpu(cpupool_of(v->domain), cpu);
		settle();
		if (!rc)
			cpupool_add_cpu((uint32_t)sim_random(pools), cpu);
		break;
	case 8:
		rc = cpupool_move_domain(v->domain, (uint32_t)sim_random(pools));
		assert_true(!rc || rc == -EBUSY || rc == -ENOSPC);
		break;
	case 9:
		if (sched_cpu_down(cpu) == 0) {
			sim_run(sim_random(5 * MS));
			assert_int_equal(sched_cpu_up(cpu), 0);
		}
		break;
	}
	settle();
	host_cpu = 0;
}

static void chaos(unsigned cpus, unsigned sockets, unsigned domains, unsigned steps, uint64_t seed)
{
	static const enum sched_policy policy[] = { SCHED_SHARE, SCHED_SHARE, SCHED_EDF, SCHED_NULL };
	uint32_t id;

	sim_begin(cpus, sockets, SCHED_SHARE, seed);
	sim.check_every = 4;
	for (id = 1; id < ARRAY_SIZE(policy); id++) {
		uint32_t made = CPUPOOL_ANY;

		assert_int_equal(cpupool_create(&made, policy[id]), 0);
		assert_int_equal(made, id);
	}
	for (unsigned i = 0; i < domains; i++)
		sim_start_all(sim_domain(1 + i % 4, 64u << i % 4, i % 3 ? 0 : 60, 0), 1 + i % 3, MS / 2 << i % 5,
			      MS << i % 5);
	for (unsigned i = 0; i < steps; i++) {
		disturb(cpus, ARRAY_SIZE(policy));
		sim_run(sim_random(4 * MS));
	}
	for (unsigned i = 0; i < sim.nr_domains; i++) {
		host_cpu = 0;
		assert_int_equal(cpupool_move_domain(&sim.domain[i].d, 0), 0);
		settle();
	}
	for (id = 1; id < ARRAY_SIZE(policy); id++)
		assert_int_equal(cpupool_destroy(id), 0);
	sim_end();
}

static void test_chaos(void **state)
{
	for (unsigned s = 0; s < 3 * seeds(); s++) {
		chaos(2, 1, 4, 300, s);
		chaos(4, 2, 8, 300, s);
		chaos(8, 4, 16, 300, s);
	}
	chaos(8, 4, 16, 300, 24); /* CPUs asked for one vCPU take another, while a third could run elsewhere */
	chaos(8, 4, 16, 300, 62);
}

/* Sleepers and spinners of all weights: who waits is not forgotten. */
static void test_no_starvation(void **state)
{
	for (unsigned s = 0; s < seeds(); s++) {
		for (unsigned cpus = 1; cpus <= (seeds() > 1 ? 64 : 16); cpus *= 4) {
			sim_begin(cpus, cpus > 1 ? 2 : 1, SCHED_SHARE, s);
			for (unsigned i = 0; i < MIN(6 * cpus, SIM_VCPUS); i++)
				sim_start_all(sim_domain(1, 128u << i % 3, 0, 0), 1 + i % 3, MS << i % 4, MS << i % 6);
			sim_run(5 * SECOND);
			for (unsigned i = 0; i < sim.nr_vcpus; i++)
				if (sim.vcpu[i].worst_wait > 300 * MS)
					fail_msg("%u CPUs: waited %.1f ms", cpus, (double)sim.vcpu[i].worst_wait / MS);
			sim_end();
		}
	}
}

/* Who slept for long and then computes for long neither takes the CPU for what it has missed, nor waits for it. */
static void test_late_riser(void **state)
{
	sim_begin(1, 1, SCHED_SHARE, 1);
	for (unsigned i = 0; i < 4; i++)
		sim_start_all(sim_domain(1, 256, 0, 0), WORK_SPIN, 0, 0);
	sim_start_all(sim_domain(1, 256, 0, 0), WORK_SLEEP, 2 * SECOND, 20 * SECOND);
	sim_run(60 * SECOND);
	for (unsigned i = 0; i < sim.nr_vcpus; i++)
		if (sim.vcpu[i].worst_wait > 100 * MS)
			fail_msg("vCPU %u waited %.1f ms", i, (double)sim.vcpu[i].worst_wait / MS);
	assert_in_range(sim_ran(&sim.vcpu[4].v), 4 * SECOND, 6 * SECOND);
	sim_end();
}

/* Pinned to one CPU for long, then not any more: the others that were slower meanwhile do not keep it waiting for long. */
static void test_unpinned(void **state)
{
	const struct cpumask all = CPUMASK_ALL;
	struct cpumask first = CPUMASK_NONE, rest = CPUMASK_ALL;
	struct domain *pinned;

	cpumask_set(&first, 0);
	cpumask_clear(&rest, 0);
	sim_begin(4, 1, SCHED_SHARE, 1);
	pinned = sim_domain(1, 256, 0, 0);
	assert_int_equal(sched_set_affinity(pinned->vcpu[0], &first, NULL), 0);
	sim_start_all(pinned, WORK_SPIN, 0, 0);
	for (unsigned i = 0; i < 9; i++) {
		struct domain *d = sim_domain(1, 256, 0, 0);

		assert_int_equal(sched_set_affinity(d->vcpu[0], &rest, NULL), 0);
		sim_start_all(d, WORK_SPIN, 0, 0);
	}
	sim_run(10 * SECOND);
	assert_in_range(sim_ran(pinned->vcpu[0]), 9900 * MS, 10000 * MS);
	for (unsigned i = 1; i < 10; i++)
		assert_int_equal(sched_set_affinity(&sim.vcpu[i].v, &all, NULL), 0);
	sim_run(10 * SECOND);
	assert_true(sim.vcpu[0].worst_wait < 500 * MS);
	sim_end();
}

/* vCPUs with CPUs that they prefer, and machine enough: they run there, and nowhere else but when those are taken. */
static void test_soft_affinity(void **state)
{
	struct cpumask soft[2] = { CPUMASK_NONE, CPUMASK_NONE };

	for (unsigned cpu = 0; cpu < 8; cpu++)
		cpumask_set(&soft[cpu / 4], cpu);
	for (unsigned sockets = 1; sockets <= 4; sockets *= 2) {
		sim_begin(8, sockets, SCHED_SHARE, sockets);
		for (unsigned i = 0; i < 6; i++) {
			struct domain *d = sim_domain(1, 256, 0, 0);

			assert_int_equal(sched_set_affinity(d->vcpu[0], NULL, &soft[i % 2]), 0);
			sim_start_all(d, WORK_RANDOM, 3 * MS, 2 * MS);
		}
		sim_run(5 * SECOND);
		for (unsigned i = 0; i < 6; i++) {
			uint64_t there = 0, all = 0;

			for (unsigned cpu = 0; cpu < 8; cpu++) {
				all += sim.vcpu[i].ran_on[cpu];
				there += cpumask_test(&soft[i % 2], cpu) ? sim.vcpu[i].ran_on[cpu] : 0;
			}
			assert_true(all > SECOND);
			if (there < all / 100 * 99)
				fail_msg("%u sockets: %.1f %% of its time where it should be", sockets,
					 100.0 * (double)there / (double)all);
		}
		sim_end();
	}
	/* More than there is room for: the others' CPUs are used before one waits. check_all() sees it. */
	sim_begin(8, 2, SCHED_SHARE, 1);
	for (unsigned i = 0; i < 7; i++) {
		struct domain *d = sim_domain(1, 256, 0, 0);

		assert_int_equal(sched_set_affinity(d->vcpu[0], NULL, &soft[0]), 0);
		sim_start_all(d, WORK_SPIN, 0, 0);
	}
	sim_run(SECOND);
	for (unsigned i = 0; i < 7; i++)
		assert_in_range(sim_ran(&sim.vcpu[i].v), SECOND - 50 * MS, SECOND);
	sim_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fairness),      cmocka_unit_test(test_fairness_anywhere),
		cmocka_unit_test(test_caps),	      cmocka_unit_test(test_cap_changes),
		cmocka_unit_test(test_latency),	      cmocka_unit_test(test_no_starvation),
		cmocka_unit_test(test_late_riser),    cmocka_unit_test(test_unpinned),
		cmocka_unit_test(test_soft_affinity), cmocka_unit_test(test_chaos),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
