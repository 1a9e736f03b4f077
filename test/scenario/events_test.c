/* sources: core/domain.c core/evtchn.c core/evtchn_fifo.c core/grant.c core/grant_map.c core/grant_copy.c core/frame.c core/heap.c core/ptab.c core/p2m.c core/logdirty.c core/pod.c core/guestmem.c core/sched.c core/sched_share.c core/sched_edf.c core/sched_null.c core/sched_cap.c core/sched_control.c core/sched_admit.c core/cpupool.c core/timer.c core/time.c core/policy.c hcall/sched_op.c */
/*
 * Domains on several fake CPUs that send, halt, poll, mask and set timers in seeded random orders. What must hold at every
 * step: nobody sleeps while something he waits for is there, no event is lost, and the scheduler's books are right. One
 * test has a guest read its FIFO queues on a real second thread.
 */
#include "unit/world.h"

#include "hcall/table.h"

#include <pthread.h>
#include <sched.h>

#define CPUS	4u
#define PORTS	12u
#define ARG_GFN 50u

static uint32_t port[WORLD_DOMAINS][PORTS]; /* of domain i: bound to vCPU k % WORLD_VCPUS, the peer is domain (i + 1) % n */
static uint32_t peer[WORLD_DOMAINS][PORTS]; /* the other end */
static bool due[WORLD_DOMAINS][PORTS];	    /* sent to port[i][k] and not seen by the guest yet */
static uint32_t timer_port[WORLD_DOMAINS][WORLD_VCPUS];

bool guest_interrupt_pending(struct vcpu *v)
{
	return v->info->evtchn_upcall_pending;
}

bool hcall_preempt(void)
{
	return false;
}

bool domctl_trylock(void)
{
	return true;
}

void domctl_unlock(void)
{
}

long hcall_unimplemented(const char *op, unsigned sub, int err)
{
	return -err;
}

static int begin(void **state)
{
	world_begin(state);
	host_paging = (struct guest_paging){ .cr0 = 1 };
	host_cpus = CPUS;
	memset(due, 0, sizeof(due));
	for (unsigned i = 0; i < WORLD_DOMAINS; i++) {
		for (uint32_t k = 0; k < WORLD_VCPUS; k++)
			dom[i]->vcpu[k]->sched.cpu = (uint16_t)((i + k) % CPUS);
		for (uint32_t k = 0; k < PORTS; k++) {
			struct domain *other = dom[(i + 1) % WORLD_DOMAINS];

			assert_int_equal(evtchn_alloc_unbound(dom[i], other->id, &port[i][k]), 0);
			assert_int_equal(evtchn_bind_vcpu(dom[i], port[i][k], k % WORLD_VCPUS), 0);
			assert_int_equal(evtchn_bind_interdomain(other, dom[i], port[i][k], &peer[i][k]), 0);
		}
	}
	for (unsigned i = 0; i < WORLD_DOMAINS; i++) {
		for (uint32_t k = 0; k < WORLD_VCPUS; k++)
			assert_int_equal(evtchn_bind_virq(dom[i], VIRQ_TIMER, k, &timer_port[i][k]), 0);
		memset(dom[i]->shared_info, 0, PAGE_SIZE);
		sched_domain_unpause(dom[i]);
	}
	return 0;
}

static uint64_t *bits(struct domain *d)
{
	return (uint64_t *)d->shared_info->evtchn_pending;
}

/* The guest's interrupt handler on v: takes everything its selector names. */
static void take_events(struct vcpu *v)
{
	unsigned i = v->domain->id;

	if (!v->info->evtchn_upcall_pending)
		return;
	v->info->evtchn_upcall_pending = 0;
	v->info->evtchn_pending_sel = 0;
	bits(v->domain)[0] &= ~(1ull << timer_port[i][v->id]);
	for (uint32_t k = 0; k < PORTS; k++) {
		uint64_t m = 1ull << port[i][k];

		if (k % WORLD_VCPUS == v->id && (bits(v->domain)[0] & m) && !(v->domain->shared_info->evtchn_mask[0] & m)) {
			bits(v->domain)[0] &= ~m;
			due[i][k] = false;
		}
	}
}

/* SCHEDOP_poll of one of v's ports, or two. */
static void poll_some(struct vcpu *v, uint64_t r)
{
	uint32_t k = v->id + WORLD_VCPUS * (uint32_t)(r % (PORTS / WORLD_VCPUS)), nr = 1 + (r >> 8) % 2;
	struct hcall h = { .v = v, .d = v->domain, .arg = { SCHEDOP_poll, (gva_t)ARG_GFN << PAGE_SHIFT } };
	struct sched_poll *p = ram(v->domain, ARG_GFN);
	uint32_t *list = (uint32_t *)(p + 1);

	*(uint64_t *)&p->ports = ((uint64_t)ARG_GFN << PAGE_SHIFT) + sizeof(*p);
	p->nr_ports = nr;
	p->timeout = host_ns + 1 + (r >> 16) % 100000; /* so that nobody polls for ever */
	list[0] = port[v->domain->id][k];
	list[1] = port[v->domain->id][(k + 1) % PORTS];
	assert_int_equal(hcall_sched_op(&h), 0);
	guestmem_end();
}

/* Nobody sleeps on something that is there. */
static void check_sleepers(void)
{
	for (unsigned i = 0; i < WORLD_DOMAINS; i++)
		for (uint32_t k = 0; k < WORLD_VCPUS; k++) {
			struct vcpu *v = dom[i]->vcpu[k];

			if (!v->sched.blocked)
				continue;
			assert_false(v->info->evtchn_upcall_pending);
			assert_false(v->sched.queued);
			if (v->sched.polling && v->poll_port)
				assert_false(bits(dom[i])[0] >> v->poll_port & 1);
			if (v->sched.polling)
				assert_true(timer_active(&v->poll) || v->poll.deadline <= host_ns);
		}
}

/* One step of what the running vCPU's guest does. */
static void guest_step(struct vcpu *v, uint64_t r)
{
	unsigned i = v->domain->id, prev = (i + WORLD_DOMAINS - 1) % WORLD_DOMAINS;
	uint32_t k = (uint32_t)(r >> 8) % PORTS;

	switch (r % 8) {
	case 0:
	case 1:
	case 2: /* to the domain whose peer we are */
		due[prev][k] = true;
		assert_int_equal(evtchn_send(v->domain, peer[prev][k]), 0);
		break;
	case 3:
		take_events(v);
		timer_set(&v->singleshot, host_ns + 1 + (r >> 8) % 50000); /* nobody sleeps for ever */
		sched_block(v);
		break;
	case 4:
		poll_some(v, r >> 8);
		break;
	case 5:
		__atomic_fetch_or(&v->domain->shared_info->evtchn_mask[0], 1ul << port[i][k], __ATOMIC_SEQ_CST);
		break;
	case 6:
		assert_int_equal(evtchn_unmask(v->domain, port[i][k]), 0);
		break;
	default:
		take_events(v);
	}
}

static void run(uint64_t seed, unsigned steps)
{
	while (steps--) {
		uint64_t r = host_random(&seed);
		struct vcpu *v;

		host_cpu = r % CPUS;
		host_ns += 1 + (r >> 8) % 3000;
		timer_expire();
		v = sched_current();
		if (!v || sched_needed() || !((r >> 24) % 4)) {
			guestmem_leave();
			v = sched_pick();
		}
		if (v)
			guest_step(v, r >> 32);
		check_sleepers();
	}
}

static void test_interleavings(void **state)
{
	for (uint64_t seed = 1; seed <= 10; seed++)
		run(seed * 0x9e3779b97f4a7c15ull, 20000);
	/* All timers fire, everybody wakes and unmasks and looks: nothing was lost. */
	host_ns += 1000000;
	for (host_cpu = 0; host_cpu < CPUS; host_cpu++)
		timer_expire();
	host_cpu = 0;
	for (unsigned i = 0; i < WORLD_DOMAINS; i++) {
		for (uint32_t k = 0; k < PORTS; k++)
			assert_int_equal(evtchn_unmask(dom[i], port[i][k]), 0);
		for (uint32_t k = 0; k < WORLD_VCPUS; k++)
			take_events(dom[i]->vcpu[k]);
		for (uint32_t k = 0; k < PORTS; k++)
			assert_false(due[i][k]);
	}
}

/* Domains die in the middle of it. */
static void test_deaths(void **state)
{
	for (unsigned i = WORLD_DOMAINS; i--;) {
		uint64_t seed = 77 + i;

		for (unsigned step = 0; step < 3000; step++) {
			uint64_t r = host_random(&seed);

			evtchn_send(dom[r % (i + 1)], (uint32_t)(r >> 8) % 40);
			evtchn_unmask(dom[r % (i + 1)], (uint32_t)(r >> 16) % 40);
		}
		sched_domain_pause(dom[i]);
		for (host_cpu = 0; host_cpu < CPUS; host_cpu++)
			sched_pick();
		host_cpu = 0;
		while (domain_kill(dom[i]) == -ERESTART)
			;
		domain_reap();
		assert_null(domain_find((domid_t)i));
		dom[i] = NULL;
	}
}

/* --- FIFO queues read on another thread --- */

#define CONTROL_GFN 10u
#define ARRAY_GFN   20u

#define PENDING (1u << EVTCHN_FIFO_PENDING)
#define MASKED	(1u << EVTCHN_FIFO_MASKED)
#define LINKED	(1u << EVTCHN_FIFO_LINKED)
#define BUSY	(1u << EVTCHN_FIFO_BUSY)

static struct evtchn_fifo_control_block *control;
static event_word_t *words;
static uint32_t asked[PORTS], seen[PORTS]; /* how often sent; how often when the guest looked last */
static bool stop;

/* Takes the next event off queue q, or returns 0: the unlink and the mark are atomic, as the ABI asks of a guest. */
static uint32_t dequeue(unsigned q, uint32_t *head)
{
	event_word_t w;
	uint32_t p = *head ? *head : __atomic_load_n(&control->head[q], __ATOMIC_ACQUIRE);

	w = __atomic_load_n(&words[p], __ATOMIC_SEQ_CST);
	while (!__atomic_compare_exchange_n(&words[p], &w, w & ~(LINKED | EVTCHN_FIFO_LINK_MASK), false, __ATOMIC_SEQ_CST,
					    __ATOMIC_SEQ_CST))
		;
	*head = w & EVTCHN_FIFO_LINK_MASK;
	return p;
}

static void handle(uint32_t p)
{
	for (unsigned k = 0; k < PORTS; k++)
		if (port[1][k] == p && (__atomic_fetch_and(&words[p], ~PENDING, __ATOMIC_SEQ_CST) & PENDING))
			__atomic_store_n(&seen[k], __atomic_load_n(&asked[k], __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST);
}

static void *guest_thread(void *unused)
{
	uint32_t head[EVTCHN_FIFO_MAX_QUEUES] = { 0 }, ready = 0;

	for (;;) {
		bool last = __atomic_load_n(&stop, __ATOMIC_SEQ_CST);

		ready |= __atomic_exchange_n(&control->ready, 0, __ATOMIC_SEQ_CST);
		if (!ready && last)
			return NULL;
		while (ready) {
			unsigned q = (unsigned)__builtin_ctz(ready);

			handle(dequeue(q, &head[q]));
			if (!head[q])
				ready &= ~(1u << q);
			ready |= __atomic_exchange_n(&control->ready, 0, __ATOMIC_SEQ_CST);
		}
	}
}

/* The guest gets at every event without being sent another one. */
static void wait_until_seen(void)
{
	for (unsigned k = 0; k < PORTS; k++)
		for (unsigned long i = 0; __atomic_load_n(&seen[k], __ATOMIC_SEQ_CST) != asked[k]; i++) {
			if (i > 1000)
				sched_yield();
			if (i > 1000000)
				fail_msg("an event of port %u was lost", port[1][k]);
		}
}

static void test_fifo_threads(void **state)
{
	uint64_t seed = 3;
	pthread_t t;

	control = ram(dom[1], CONTROL_GFN);
	words = ram(dom[1], ARRAY_GFN);
	memset(asked, 0, sizeof(asked));
	memset(seen, 0, sizeof(seen));
	stop = false;
	assert_int_equal(evtchn_init_control(dom[1]->vcpu[0], CONTROL_GFN, 0), 0);
	assert_int_equal(evtchn_expand_array(dom[1], ARRAY_GFN), 0);
	for (uint32_t k = 0; k < PORTS; k++) {
		assert_int_equal(evtchn_bind_vcpu(dom[1], port[1][k], 0), 0);
		assert_int_equal(evtchn_set_priority(dom[1], port[1][k], k % 3), 0);
	}
	assert_int_equal(pthread_create(&t, NULL, guest_thread, NULL), 0);
	for (unsigned round = 0; round < 6000; round++) {
		for (uint64_t n = host_random(&seed) % 6; n--;) {
			unsigned k = host_random(&seed) % PORTS;

			__atomic_fetch_add(&asked[k], 1, __ATOMIC_SEQ_CST);
			evtchn_send(dom[2], peer[1][k]);
		}
		wait_until_seen();
	}
	__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
	pthread_join(t, NULL);
	for (unsigned k = 0; k < PORTS; k++)
		assert_int_equal(seen[k], asked[k]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = { T(test_interleavings), T(test_deaths), T(test_fifo_threads) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
