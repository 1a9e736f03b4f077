/* sources: hvm/spec.c hvm/run.c */
/*
 * Stale translations, with real threads as CPUs: each runs the loop of hvm/run.c. The guest reads its one page through a TLB
 * that forgets nothing unless told; a thread beside them moves the page from frame to frame as core/p2m.c does. After
 * guest_tlb_sync() nobody may read the frame that went.
 */
#include "host/host.h"

#include "core/console.h"
#include "core/perfc.h"
#include "hvm/cpuid.h"
#include "hvm/hvm.h"
#include "hvm/msr.h"
#include "hvm/run.h"
#include "hvm/vendor.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#define CPUS   4u
#define ENTRIES 50000u
#define FRAMES 64u

static struct domain domain, other;
static struct hvm_domain hvm_domain, hvm_other;
static struct vcpu vcpu[CPUS], others[CPUS];
static struct hvm_vcpu hvm_vcpu[CPUS], hvm_others[CPUS];

static unsigned page;		/* the frame behind the guest's page; atomic */
static bool in_use[FRAMES];	/* atomic */
static bool over;		/* atomic */
static unsigned long entries;	/* atomic */
static _Thread_local unsigned tlb;   /* what this CPU remembers for the domain */
static _Thread_local uint64_t seed;

/* --- the machine and what the loop calls --- */

/* As the scheduler does it: who stops running is switched out first. */
struct vcpu *sched_pick(void)
{
	static _Thread_local struct vcpu *current;
	uint64_t r = host_random(&seed) >> 20;
	struct vcpu *next = r % 4 == 0 ? NULL : r % 4 == 1 ? &others[host_cpu] : &vcpu[host_cpu];

	if (current && next != current)
		run_left();
	current = next;
	if (__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		if (current)
			run_left();
		pthread_exit(NULL);
	}
	return next;
}

bool sched_needed(void)
{
	return (host_random(&seed) >> 20) % 8 == 0;
}

void guest_switch_in(struct vcpu *v)
{
	run_entered(v);
}

void svm_flush_nested(struct vcpu *v)
{
	if (v->domain == &domain)
		tlb = __atomic_load_n(&page, __ATOMIC_SEQ_CST);
}

void svm_run(struct vcpu *v, struct exit *e)
{
	e->kind = EXIT_INTERRUPT;
	e->interrupted = 0;
	if (v->domain != &domain)
		return;
	for (unsigned i = 0; i < 20; i++) {
		if (!__atomic_load_n(&in_use[tlb], __ATOMIC_SEQ_CST))
			abort(); /* the guest reads somebody else's frame */
		if (i == 10)
			sched_yield();
	}
	__atomic_fetch_add(&entries, 1, __ATOMIC_RELAXED);
}

int sched_cpu_fail(unsigned cpu)
{
	return 0;
}

void exit_handle(struct vcpu *v, const struct exit *e)
{
}

void p2m_flush_some(struct domain *d)
{
}

void guestmem_end(void)
{
}

void time_update_runstate(struct vcpu *v)
{
}

void timer_expire(void)
{
}

void timer_cpu_init(unsigned cpu)
{
}

void console_work(void)
{
}

void domain_reap(void)
{
}

void cpuid_init(void)
{
}

int msr_init(void)
{
	return 0;
}

void vlapic_left(void)
{
}

void trace_notify(void)
{
}

/* --- the test --- */

static void *cpu_thread(void *arg)
{
	host_cpu = (unsigned)(uintptr_t)arg;
	seed = 0x9e3779b97f4a7c15ull * (host_cpu + 1);
	run_loop();
}

static void prepare_domains(void)
{
	domain.hvm = &hvm_domain;
	other.hvm = &hvm_other;
	for (unsigned i = 0; i < CPUS; i++) {
		vcpu[i] = (struct vcpu){ .domain = &domain, .hvm = &hvm_vcpu[i] };
		others[i] = (struct vcpu){ .domain = &other, .hvm = &hvm_others[i] };
	}
}

static void test_stale_translations(void **state)
{
	pthread_t thread[CPUS];

	host_cpus = CPUS + 1; /* the last one is this thread */
	host_cpu = CPUS;
	prepare_domains();
	in_use[0] = true;
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, cpu_thread, (void *)(uintptr_t)i), 0);
	for (unsigned round = 1; __atomic_load_n(&entries, __ATOMIC_RELAXED) < ENTRIES; round++) {
		unsigned old = page, new = round % FRAMES;

		__atomic_store_n(&in_use[new], true, __ATOMIC_SEQ_CST);
		__atomic_store_n(&page, new, __ATOMIC_SEQ_CST);
		__atomic_fetch_add(&hvm_domain.tlb_gen, 1, __ATOMIC_SEQ_CST);
		if (round % 3)
			guest_tlb_sync(&domain);
		while (round % 3 == 0 && !guest_tlb_settled(&domain))
			sched_yield();
		__atomic_store_n(&in_use[old], false, __ATOMIC_SEQ_CST);
	}
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < CPUS; i++)
		pthread_join(thread[i], NULL);
}

/* A CPU whose registers still hold a vCPU's state says so, until another vCPU, or that vCPU elsewhere, came between. */
static void test_loaded(void **state)
{
	host_cpus = 2;
	host_cpu = 0;
	prepare_domains();
	assert_false(run_entered(&vcpu[0]));
	run_left();
	assert_true(run_entered(&vcpu[0]));
	run_left();
	host_cpu = 1;
	assert_false(run_entered(&vcpu[0]));
	run_left();
	host_cpu = 0;
	assert_false(run_entered(&vcpu[0]));
	run_left();
	assert_false(run_entered(&vcpu[1]));
	run_left();
	assert_false(run_entered(&vcpu[0]));
	run_left();
	vcpu[0].hvm->loaded_on = 0; /* its state was set */
	assert_false(run_entered(&vcpu[0]));
	run_left();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loaded),
		cmocka_unit_test(test_stale_translations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
