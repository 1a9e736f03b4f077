/* sources: core/sched.c core/sched_share.c core/sched_edf.c core/sched_null.c core/sched_cap.c core/sched_control.c core/sched_admit.c core/cpupool.c core/timer.c */
/*
 * Promises (EDF), the null policy and CPU pools in simulation (sched_sim.h): what was admitted is delivered to the
 * nanosecond in every period, what cannot be kept is refused and changes nothing. SCHED_LONG: more seeds.
 */
#include "sched_sim.h"

#define SECOND (1000 * MS)

static unsigned seeds(void)
{
	return getenv("SCHED_LONG") ? 200 : 20;
}

static struct vcpu *promised(uint32_t period_us, uint32_t budget_us, bool extra, int expected)
{
	struct domain *d = sim_domain(1, 256, 0, 0);

	if (d->vcpu[0])
		assert_int_equal(sched_set_promise(d->vcpu[0], period_us, budget_us, extra), expected);
	return d->vcpu[0];
}

/*
 * A machine full of promises up to what is admitted; every vCPU always wants to run and gets exactly what it was promised:
 * from a part of its period up to six times that.
 */
static void kept(unsigned cpus, unsigned part, bool extra, uint64_t seed)
{
	static const uint32_t periods[] = { 1000, 5000, 10000, 20000, 50000 };
	uint64_t before[SIM_VCPUS];
	unsigned refused = 0;

	sim_begin(cpus, 1, SCHED_EDF, seed);
	while (refused < 3 && sim.nr_vcpus < SIM_VCPUS) {
		uint32_t period = periods[sim_random(ARRAY_SIZE(periods))];
		uint32_t budget = period / part + (uint32_t)sim_random(period * 5 / part);
		struct domain *d = sim_domain(1, 256, 0, 0);

		if (!d->vcpu[0] || sched_set_promise(d->vcpu[0], period, budget, extra)) {
			if (d->vcpu[0]) /* as it came: 4 ms of 10 */
				assert_int_equal(d->vcpu[0]->sched.budget, 4 * MS);
			refused++;
		}
	}
	for (unsigned i = 0; i < sim.nr_vcpus; i++)
		sim_start(&sim.vcpu[i].v, WORK_SPIN, 0, 0);
	sim_run(100 * MS); /* a multiple of all periods */
	for (unsigned i = 0; i < sim.nr_vcpus; i++)
		before[i] = sim_ran(&sim.vcpu[i].v);
	for (unsigned n = 0; n < 10; n++) {
		sim_run(100 * MS);
		for (unsigned i = 0; i < sim.nr_vcpus; i++) {
			const struct sched_vcpu *s = &sim.vcpu[i].v.sched;
			uint64_t ran = sim_ran(&sim.vcpu[i].v), got = ran - before[i],
				 due = 100 * MS / s->period * s->budget;

			before[i] = ran;
			if (got < due || (!s->extra && got > due))
				fail_msg("%u CPUs: promised %lu of %lu us, in 100 ms got %lu ns, not %lu", cpus,
					 s->budget / 1000, s->period / 1000, got, due);
		}
	}
	sim_end();
}

static void test_kept(void **state)
{
	for (unsigned s = 0; s < seeds(); s++) {
		kept(1, 10, false, s);
		kept(1, 10, true, s);
		kept(4, 10, false, s);
		kept(16, 10, true, s);
	}
	for (unsigned s = 0; s < seeds() / 10; s++) {
		kept(64, 10, false, s);
		kept(64, 30, false, s); /* 512 vCPUs */
		kept(64, 30, true, s);
	}
}

/* Those that sleep get no more than their rate, and do not take from those that do not. */
static void test_sleepers(void **state)
{
	for (unsigned s = 0; s < seeds(); s++) {
		struct vcpu *steady;
		uint64_t ran;

		sim_begin(1, 1, SCHED_EDF, s);
		steady = promised(10000, 1000, false, 0);
		assert_non_null(promised(7000, 1400, false, 0));
		assert_non_null(promised(3000, 900, false, 0));
		assert_int_equal(sched_set_promise(steady, 10000, 5000, false), 0);
		sim_start(steady, WORK_SPIN, 0, 0);
		sim_start(&sim.vcpu[1].v, WORK_RANDOM, MS, 3 * MS);
		sim_start(&sim.vcpu[2].v, WORK_RANDOM, 5 * MS, 2 * MS);
		sim_run(10 * MS);
		for (unsigned n = 0; n < 100; n++) {
			ran = sim_ran(steady);
			sim_run(10 * MS);
			assert_int_equal(sim_ran(steady) - ran, 5 * MS);
		}
		assert_true(sim_ran(&sim.vcpu[1].v) <= SECOND / 5 + 4 * MS);
		assert_true(sim_ran(&sim.vcpu[2].v) <= 3 * SECOND / 10 + 4 * MS);
		sim_end();
	}
}

/* What is over goes to those with extra time, in equal parts; those without have what they were promised. */
static void test_extra(void **state)
{
	struct vcpu *a, *b, *c;

	sim_begin(1, 1, SCHED_EDF, 1);
	a = promised(10000, 2000, true, 0);
	b = promised(10000, 2000, true, 0);
	c = promised(10000, 1000, false, 0);
	for (unsigned i = 0; i < 3; i++)
		sim_start(&sim.vcpu[i].v, WORK_SPIN, 0, 0);
	sim_run(SECOND);
	assert_in_range(sim_ran(c), 100 * MS, 101 * MS);
	assert_int_equal(sim_ran(a) + sim_ran(b) + sim_ran(c), SECOND);
	assert_in_range(sim_ran(a), 430 * MS, 470 * MS);
	sim_end();
}

static void test_admission(void **state)
{
	struct vcpu *v[4], *late;
	struct cpumask first = CPUMASK_NONE;
	struct domain *d;
	uint32_t period, budget;
	bool extra;

	cpumask_set(&first, 0);
	sim_begin(2, 1, SCHED_EDF, 1);
	for (unsigned i = 0; i < 4; i++)
		v[i] = promised(10000, 3000, i & 1, 0);
	assert_int_equal(sched_set_promise(v[0], 10000, 5, false), -EINVAL);
	assert_int_equal(sched_set_promise(v[0], 10000, 10001, false), -EINVAL);
	assert_int_equal(sched_set_promise(v[0], 3600000001u, 10000, false), -EINVAL);
	assert_int_equal(sched_set_promise(v[0], 10000, 7000, false), 0);
	sched_get_promise(v[0], &period, &budget, &extra);
	assert_true(period == 10000 && budget == 7000 && !extra);
	/* .7 + .3 and .3 + .3: one of .4 fits, then no other. */
	late = promised(10000, 4000, false, 0);
	assert_non_null(late);
	d = sim_domain(1, 256, 0, 0);
	assert_null(d->vcpu[0]);
	assert_int_equal(sched_set_promise(late, 10000, 4001, false), -ENOSPC);
	assert_int_equal(sched_set_promise(v[0], 10000, 10000, false), -ENOSPC);
	assert_int_equal(v[0]->sched.budget, 7 * MS);
	/* All that is pinned there would be too much; nothing changes. */
	assert_int_equal(sched_set_affinity(v[0], &first, NULL), 0);
	assert_int_equal(sched_set_affinity(late, &first, NULL), -ENOSPC);
	assert_true(cpumask_test(&late->sched.hard, 1));
	assert_int_equal(cpupool_remove_cpu(0, 1), -ENOSPC);
	assert_int_equal(sched_set_promise_all(v[1]->domain, 10000, 4000, false), -ENOSPC);
	assert_int_equal(sched_set_promise_all(v[1]->domain, 10000, 2000, false), 0);
	for (unsigned i = 0; i < sim.nr_vcpus; i++)
		sim_start(&sim.vcpu[i].v, WORK_SPIN, 0, 0);
	sim_run(SECOND);
	sim_end();
}

/* Those of .6 came while those of .4 were there, and have no room unless these move together. */
static void test_repacking(void **state)
{
	sim_begin(2, 1, SCHED_EDF, 1);
	promised(10000, 4000, false, 0);
	promised(10000, 4000, false, 0);
	promised(10000, 6000, false, 0);
	promised(10000, 6000, false, 0);
	assert_int_equal(sim.nr_vcpus, 4);
	for (unsigned i = 0; i < 4; i++)
		sim_start(&sim.vcpu[i].v, WORK_SPIN, 0, 0);
	sim_run(SECOND);
	for (unsigned i = 0; i < 4; i++)
		assert_in_range(sim_ran(&sim.vcpu[i].v), (i < 2 ? 400 : 600) * MS - MS, (i < 2 ? 400 : 600) * MS);
	sim_end();
}

/* --- null --- */

static void test_null(void **state)
{
	struct cpumask second = CPUMASK_NONE;
	struct vcpu *v[4];

	cpumask_set(&second, 1);
	sim_begin(2, 1, SCHED_NULL, 1);
	for (unsigned i = 0; i < 4; i++) {
		v[i] = sim_domain(1, 256, 0, 0)->vcpu[0];
		sim_start(v[i], WORK_SPIN, 0, 0);
	}
	sim_run(100 * MS);
	assert_true(sim_ran(v[0]) == 100 * MS && sim_ran(v[1]) == 100 * MS);
	assert_true(sim_ran(v[2]) == 0 && v[2]->sched.parked && v[2]->sched.state == RUNSTATE_runnable);
	/* Who waits longest comes next, but not to a CPU it may not use. */
	assert_int_equal(sched_set_affinity(v[2], &second, NULL), 0);
	sched_down(v[0]);
	sim_run(100 * MS);
	assert_true(sim_ran(v[3]) == 100 * MS && sim_ran(v[2]) == 0);
	sched_down(v[1]);
	sim_run(100 * MS);
	assert_true(sim_ran(v[2]) == 100 * MS && sim_ran(v[3]) == 200 * MS);
	sched_up(v[0]);
	sched_up(v[1]);
	sim_run(100 * MS);
	assert_true(sim_ran(v[0]) == 100 * MS && sim_ran(v[1]) == 200 * MS);
	assert_int_equal(sched_cpu_down(1), -EADDRINUSE); /* v[2] */
	assert_int_equal(sched_set_affinity(v[2], &CPUMASK_ALL, NULL), 0);
	assert_int_equal(sched_cpu_down(1), 0);
	sim_run(100 * MS);
	assert_true(v[2]->sched.parked);
	assert_int_equal(sched_cpu_up(1), 0);
	sim_run(100 * MS);
	assert_null(sched_first(&runqs[0], 0));
	sim_end();
}

/* A CPU that has nothing to do, or a vCPU that nobody waits for, has no tick: its timer is armed for nothing. */
static void test_no_tick(void **state)
{
	static const enum sched_policy policies[] = { SCHED_SHARE, SCHED_EDF, SCHED_NULL };

	for (unsigned p = 0; p < ARRAY_SIZE(policies); p++) {
		struct vcpu *v;
		uint64_t picks;

		sim_begin(4, 2, policies[p], 1);
		v = sim_domain(1, 256, 0, 0)->vcpu[0];
		sim_start(v, WORK_SPIN, 0, 0);
		sim_run(50 * MS);
		if (policies[p] == SCHED_NULL) /* it has its CPU for ever */
			for (unsigned cpu = 0; cpu < 4; cpu++)
				assert_int_equal(sim.deadline[cpu], NEVER);
		sched_down(v);
		sim_run(50 * MS); /* a promise's period ends once more */
		for (unsigned cpu = 0; cpu < 4; cpu++)
			assert_int_equal(sim.deadline[cpu], NEVER);
		picks = sim.picks;
		sim_run(10 * SECOND);
		assert_int_equal(sim.picks, picks);
		sim_end();
	}
}

/* --- pools --- */

static void test_pools(void **state)
{
	uint32_t id = 7, any = CPUPOOL_ANY;
	struct cpupool_info info;
	struct cpumask m, second = CPUMASK_NONE;
	struct domain *d;

	cpumask_set(&second, 1);
	sim_begin(4, 2, SCHED_SHARE, 1);
	d = sim_domain(2, 256, 0, 0);
	sim_start_all(d, WORK_SPIN, 0, 0);
	assert_int_equal(cpupool_create(&id, SCHED_NULL), 0);
	assert_int_equal(cpupool_create(&id, SCHED_NULL), -EEXIST);
	assert_int_equal(cpupool_create(&any, SCHED_SHARE), 0);
	assert_int_equal(any, 1);
	assert_int_equal(cpupool_info(2, false, &info), -ENOENT);
	assert_int_equal(cpupool_info(2, true, &info), 0);
	assert_true(info.id == 7 && info.policy == SCHED_NULL && cpumask_empty(&info.cpus) && !info.domains);
	assert_int_equal(cpupool_info(8, true, &info), -ENOENT);
	assert_int_equal(cpupool_move_domain(d, 7), -EBUSY); /* no CPU */
	assert_int_equal(cpupool_move_domain(d, 5), -ENOENT);
	assert_int_equal(cpupool_add_cpu(7, 3), -ENODEV);
	assert_int_equal(cpupool_add_cpu(7, CPUPOOL_ANY), -ENODEV);
	assert_int_equal(cpupool_add_cpu(7, 4), -EINVAL);
	assert_int_equal(cpupool_add_cpu(5, 3), -ENOENT);
	assert_int_equal(cpupool_remove_cpu(5, 3), -ENOENT);
	assert_int_equal(cpupool_remove_cpu(0, 4), -EINVAL);
	assert_int_equal(cpupool_remove_cpu(7, 3), -ENODEV);
	assert_int_equal(cpupool_remove_cpu(0, 3), 0);
	assert_int_equal(cpupool_remove_cpu(0, 2), 0);
	m = cpupool_free_cpus();
	assert_true(cpumask_count(&m) == 2 && cpumask_test(&m, 3));
	assert_int_equal(sched_set_affinity(d->vcpu[0], &m, NULL), -EINVAL);
	assert_int_equal(sched_set_affinity(d->vcpu[0], &second, NULL), 0);
	assert_int_equal(cpupool_remove_cpu(0, 1), -EADDRINUSE);
	assert_int_equal(cpupool_remove_cpu(0, 0), 0);
	sim_run(50 * MS);
	assert_int_equal(cpupool_remove_cpu(0, 1), -EBUSY);
	assert_int_equal(sched_cpu_down(1), -EBUSY);
	assert_int_equal(cpupool_add_cpu(7, CPUPOOL_ANY), 0);
	assert_int_equal(cpupool_add_cpu(7, 2), 0);
	assert_int_equal(cpupool_move_domain(d, 7), 0);
	sim_run(50 * MS);
	assert_int_equal(cpupool_of(d), 7);
	assert_int_equal(cpupool_destroy(7), -EBUSY);
	assert_int_equal(cpupool_destroy(0), -EBUSY);
	assert_int_equal(cpupool_destroy(9), -ENOENT);
	assert_int_equal(sched_cpu_down(3), 0);
	assert_int_equal(sched_cpu_down(3), -EEXIST);
	assert_int_equal(sched_cpu_down(4), -EINVAL);
	assert_int_equal(cpupool_add_cpu(7, 3), -ENODEV);
	assert_int_equal(sched_cpu_up(3), 0);
	assert_int_equal(sched_cpu_up(3), -EEXIST);
	assert_int_equal(cpupool_set_ratelimit(7, 1000), -EINVAL);
	assert_int_equal(cpupool_set_ratelimit(0, 99), -EINVAL);
	assert_int_equal(cpupool_set_ratelimit(0, 500001), -EINVAL);
	assert_int_equal(cpupool_set_ratelimit(0, 0), 0);
	assert_int_equal(cpupool_move_domain(d, 0), 0);
	assert_int_equal(cpupool_destroy(7), 0);
	assert_int_equal(cpupool_destroy(1), 0);
	sim_run(50 * MS);
	sim_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept),	  cmocka_unit_test(test_sleepers),  cmocka_unit_test(test_extra),
		cmocka_unit_test(test_admission), cmocka_unit_test(test_repacking), cmocka_unit_test(test_null),
		cmocka_unit_test(test_no_tick),	  cmocka_unit_test(test_pools),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
