// SPDX-License-Identifier: Apache-2.0
// xen-args: dom0_max_vcpus=9
// cpus: 4
// xen-cpus: 1
/*
 * CPU time on four physical CPUs: seven vCPUs that never wait get the same within 2 %, one that sleeps runs within the rate
 * limit whenever it wakes up, and with a cap the domain has no more in any 100 ms than the cap and one slice.
 *
 * Owns: the jobs of its vCPUs, their results. vCPU 0 gives them out and sleeps. Source: public headers vcpu.h
 * (vcpu_runstate_info), domctl.h (XEN_DOMCTL_scheduler_op). Debian's Xen is not asked: its numbers are its own.
 */
#include "lib/guest.h"

#include <xen/domctl.h>

const char guest_name[] = "fair";

#define MS	  1000000L
#define SPINNERS  7U
#define SLEEPER	  8U
#define CPUS	  4
#define SLICE	  (10 * MS)
#define RATELIMIT MS
#define SAMPLES	  1024U

static volatile uint64_t begin, end;
static volatile uint64_t ran[SPINNERS + 1];
static volatile uint64_t worst, wakes;

static void spin(unsigned int me)
{
	uint64_t before;

	smp_spin_until(begin);
	before = smp_ran(me);
	smp_spin_until(end);
	ran[me] = smp_ran(me) - before;
}

static void sleep_and_wake(unsigned int me)
{
	uint64_t seed = 1, t, late;

	(void)me;
	smp_sleep_until(begin);
	while (smp_now() < end) {
		seed = seed * 6364136223846793005UL + 1442695040888963407UL;
		t = smp_now() + 2 * MS + (seed >> 33) % (10 * MS);
		smp_sleep_until(t);
		late = smp_now() - t;
		if (late > worst)
			worst = late;
		wakes++;
		smp_spin_until(smp_now() + 50000);
	}
}

static void give_all(uint64_t ns)
{
	begin = smp_now() + 200 * MS;
	end = begin + ns;
	for (unsigned int v = 1; v <= SPINNERS; v++)
		smp_give(v, spin);
}

static bool all_done(unsigned int last)
{
	bool done = true;

	for (unsigned int v = 1; v <= last; v++)
		done = SMP_UNTIL(!smp_busy(v)) && done;
	return done;
}

static void share(void)
{
	long due, least, most;

	give_all(4000 * MS);
	smp_give(SLEEPER, sleep_and_wake);
	smp_sleep_until(end);
	CHECK("all have ended", all_done(SLEEPER));
	due = 4000 * MS * CPUS / SPINNERS;
	least = most = (long)ran[1];
	for (unsigned int v = 2; v <= SPINNERS; v++) {
		least = (long)ran[v] < least ? (long)ran[v] : least;
		most = (long)ran[v] > most ? (long)ran[v] : most;
	}
	print("due %ld us, least %ld, most %ld; %lu wake-ups, the latest after %lu us\n", due / 1000, least / 1000,
	      most / 1000, wakes, worst / 1000);
	CHECK("nobody has less than its share by 2 %", least > due - due / 50);
	CHECK("nobody has more than its share by 2 %", most < due + due / 50);
	CHECK("the sleeper woke up", wakes > 200);
	CHECK("it ran within the rate limit", worst < RATELIMIT + RATELIMIT / 5);
}

static long set_cap(uint16_t percent)
{
	static struct xen_domctl op;

	op = (struct xen_domctl){ .cmd = XEN_DOMCTL_scheduler_op,
				  .interface_version = XEN_DOMCTL_INTERFACE_VERSION,
				  .domain = 0 };
	op.u.scheduler_op.sched_id = XEN_SCHEDULER_CREDIT2;
	op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_putinfo;
	op.u.scheduler_op.u.credit2.weight = 256;
	op.u.scheduler_op.u.credit2.cap = percent;
	return HC(__HYPERVISOR_domctl, &op);
}

static struct {
	uint64_t at, ran;
} sample[SAMPLES];

/* The domain's CPU time so far, all its vCPUs' together. */
static void take(unsigned int i)
{
	sample[i].ran = 0;
	sample[i].at = smp_now();
	for (unsigned int v = 0; v <= SPINNERS; v++)
		sample[i].ran += smp_ran(v);
}

static void cap(void)
{
	long most = 0, all, span;
	unsigned int n = 0;

	CHECK_EQ("a cap of one and a half CPUs", set_cap(150), 0);
	give_all(2000 * MS);
	smp_sleep_until(begin);
	while (smp_now() < end && n < SAMPLES) {
		take(n++);
		smp_sleep_until(smp_now() + 3 * MS);
	}
	CHECK_EQ("no cap again", set_cap(0), 0);
	CHECK("all have ended", all_done(SPINNERS));
	for (unsigned int i = 0; i < n; i++)
		for (unsigned int k = i + 1; k < n && sample[k].at - sample[i].at <= 100 * MS; k++)
			if ((long)(sample[k].ran - sample[i].ran) > most)
				most = (long)(sample[k].ran - sample[i].ran);
	all = (long)(sample[n - 1].ran - sample[0].ran);
	span = (long)(sample[n - 1].at - sample[0].at);
	print("%u samples, %ld us in %ld us, at most %ld us in 100 ms\n", n, all / 1000, span / 1000, most / 1000);
	CHECK("enough samples", n > 200);
	CHECK("no more in 100 ms than the cap and a slice", most <= 150 * MS + SLICE);
	CHECK("no less than the cap, all in all", all > span / 100 * 147);
}

void guest_main(void)
{
	event_init();
	if (guest_option("oracle") || smp_count() <= SLEEPER) {
		print("not asked here\n");
		CHECK("runs", true);
		return;
	}
	if (apic_x2)
		apic_x2_leave();
	smp_jobs_init(false);
	for (unsigned int v = 1; v <= SLEEPER; v++) {
		CHECK_EQ("start", smp_start(v, smp_worker), 0);
		CHECK("it runs", SMP_UNTIL(smp_started[v]));
	}
	share();
	cap();
}
