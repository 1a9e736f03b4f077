/* sources: core/timer.c core/heap.c core/frame.c */
/* Timers on several CPUs: each fires on the CPU that set it last, once, in order; stopped or killed ones do not. */
#include "host/host.h"

#include "core/timer.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#define CPUS   3u
#define TIMERS 64u

static struct vcpu vcpu[TIMERS];
static struct timer timer[TIMERS];
static unsigned fired[TIMERS], fired_on[TIMERS];
static uint64_t last_deadline;

void guest_timer(struct vcpu *v, unsigned kind)
{
	unsigned i = (unsigned)(v - vcpu);

	assert_int_equal(kind, TIMER_VLAPIC);
	assert_true(timer[i].deadline <= host_ns);
	assert_true(timer[i].deadline >= last_deadline);
	last_deadline = timer[i].deadline;
	fired[i]++;
	fired_on[i] = host_cpu;
}

void evtchn_vcpu_virq(struct vcpu *v, uint32_t virq)
{
}

void sched_wake(struct vcpu *v)
{
}

void sched_slice_end(void)
{
}

void sched_cap_refill(struct timer *t)
{
}

static int setup(void **state)
{
	host_boot(4096);
	host_cpus = CPUS;
	for (host_cpu = CPUS; host_cpu-- > 0;)
		timer_cpu_init(host_cpu);
	host_cpu = 0;
	assert_true(timer_reserve(TIMERS));
	for (unsigned i = 0; i < TIMERS; i++)
		timer_init(&timer[i], TIMER_VLAPIC, &vcpu[i]);
	memset(fired, 0, sizeof(fired));
	return 0;
}

static int teardown(void **state)
{
	timer_unreserve(TIMERS);
	return 0;
}

static void expire_on(unsigned cpu)
{
	host_cpu = cpu;
	last_deadline = 0;
	timer_expire();
}

static void test_moves_with_setter(void **state)
{
	timer_set(&timer[0], 100);
	host_cpu = 1;
	timer_set(&timer[0], 200);
	assert_int_equal(host_timer_deadline, 200);
	host_ns = 150;
	expire_on(0);
	assert_int_equal(fired[0], 0);
	host_ns = 250;
	expire_on(0);
	assert_int_equal(fired[0], 0);
	expire_on(1);
	assert_int_equal(fired[0], 1);
	assert_int_equal(fired_on[0], 1);
	assert_false(timer_active(&timer[0]));
}

static void test_stopped_from_elsewhere(void **state)
{
	timer_set(&timer[0], 100);
	timer_set(&timer[1], 110);
	host_cpu = 2;
	timer_stop(&timer[0]);
	timer_kill(&timer[1]);
	host_ns = 1000;
	expire_on(0);
	assert_int_equal(fired[0] + fired[1], 0);
}

/* A CPU that leaves keeps none; CPU 0 is told to look, and fires them in order. Stopping reaches them there. */
static void test_cpu_leaves(void **state)
{
	static const uint64_t when[] = { 500, 200, 900, 300, 100, 800 };

	timer_set(&timer[6], 250); /* CPU 0's own */
	host_cpu = 2;
	for (unsigned i = 0; i < 6; i++)
		timer_set(&timer[i], when[i]);
	timer_cpu_leave();
	assert_int_equal(host_timer_deadline, ~0ull);
	assert_int_equal(host_kicks[0], 1);
	assert_false(timer_due());
	for (unsigned i = 0; i < 6; i++) {
		assert_true(timer_active(&timer[i]));
		assert_int_equal(timer[i].cpu, 0);
	}
	timer_stop(&timer[3]);
	timer_cpu_leave(); /* there is nothing left to move */
	assert_int_equal(host_kicks[0], 1);

	host_cpu = 0;
	assert_true(timer_due());
	timer_expire();
	assert_false(timer_due());
	assert_int_equal(host_timer_deadline, 100);
	host_ns = 1000;
	expire_on(2);
	assert_int_equal(fired[0] + fired[1] + fired[2] + fired[4] + fired[5], 0);
	expire_on(0);
	for (unsigned i = 0; i < 7; i++) {
		assert_int_equal(fired[i], i != 3);
		assert_int_equal(fired_on[i], 0);
	}
	timer_set(&timer[0], 2000);
	timer_cpu_leave(); /* not CPU 0's */
	assert_int_equal(host_kicks[0], 1);
	assert_int_equal(timer[0].cpu, 0);
	host_ns = 2000;
	expire_on(0);
	assert_int_equal(fired[0], 2);
}

/* Random sets, moves and stops, against an array of what is due where. */
static void test_model(void **state)
{
	struct {
		uint64_t deadline;
		unsigned cpu;
		bool on;
	} model[TIMERS] = { 0 };
	uint64_t seed = 88172645463325252ull;

	for (unsigned step = 0; step < 20000; step++) {
		uint64_t r = host_random(&seed);
		unsigned i = (r >> 8) % TIMERS;

		host_cpu = (r >> 16) % CPUS;
		switch (r % 4) {
		case 0 ... 1:
			model[i].deadline = host_ns + (r >> 20) % 5000;
			model[i].cpu = host_cpu;
			model[i].on = true;
			timer_set(&timer[i], model[i].deadline);
			break;
		case 2:
			timer_stop(&timer[i]);
			model[i].on = false;
			break;
		case 3:
			host_ns += (r >> 20) % 500;
			memset(fired, 0, sizeof(fired));
			expire_on(host_cpu);
			for (unsigned k = 0; k < TIMERS; k++) {
				bool due = model[k].on && model[k].cpu == host_cpu && model[k].deadline <= host_ns;

				assert_int_equal(fired[k], due);
				model[k].on &= !due;
			}
			break;
		}
		assert_int_equal(timer_active(&timer[i]), model[i].on);
	}
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_moves_with_setter),
		TEST(test_stopped_from_elsewhere),
		TEST(test_cpu_leaves),
		TEST(test_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
