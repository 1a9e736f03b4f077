/* sources: core/domain.c core/evtchn.c core/evtchn_fifo.c core/grant.c core/grant_map.c core/grant_copy.c core/frame.c core/heap.c core/ptab.c core/p2m.c core/logdirty.c core/pod.c core/guestmem.c core/sched.c core/sched_share.c core/sched_edf.c core/sched_null.c core/sched_cap.c core/sched_control.c core/sched_admit.c core/cpupool.c core/timer.c core/time.c core/policy.c */
/* The FIFO event channel ABI, read from the other side the way a guest reads it; and guests that scribble over it. */
#include "unit/world.h"

#define PENDING (1u << EVTCHN_FIFO_PENDING)
#define MASKED	(1u << EVTCHN_FIFO_MASKED)
#define LINKED	(1u << EVTCHN_FIFO_LINKED)
#define BUSY	(1u << EVTCHN_FIFO_BUSY)

#define CONTROL_GFN 10u /* + vCPU */
#define ARRAY_GFN   20u

static event_word_t *word(uint32_t port)
{
	return (event_word_t *)ram(dom[1], ARRAY_GFN + port / 1024) + port % 1024;
}

static struct evtchn_fifo_control_block *control(uint32_t vcpu)
{
	return ram(dom[1], CONTROL_GFN + vcpu);
}

static uint32_t local_head[WORLD_VCPUS][EVTCHN_FIFO_MAX_QUEUES];

/* The next event of a vCPU in the order the ABI promises; 0 = none. Clears its PENDING bit. */
static uint32_t take(uint32_t vcpu)
{
	struct evtchn_fifo_control_block *c = control(vcpu);

	while (c->ready) {
		unsigned q = (unsigned)__builtin_ctz(c->ready);
		uint32_t *head = &local_head[vcpu][q], port;
		event_word_t w;

		if (!*head)
			*head = c->head[q];
		port = *head;
		w = *word(port);
		*word(port) = w & ~(LINKED | EVTCHN_FIFO_LINK_MASK);
		*head = w & EVTCHN_FIFO_LINK_MASK;
		if (!*head)
			c->ready &= ~(1u << q);
		if ((w & (PENDING | MASKED)) == PENDING) {
			*word(port) &= ~PENDING;
			return port;
		}
	}
	dom[1]->vcpu[vcpu]->info->evtchn_upcall_pending = 0;
	return 0;
}

static void switch_on(unsigned pages)
{
	memset(local_head, 0, sizeof(local_head));
	for (uint32_t v = 0; v < WORLD_VCPUS; v++)
		assert_int_equal(evtchn_init_control(dom[1]->vcpu[v], CONTROL_GFN + v, 0), 0);
	for (unsigned i = 0; i < pages; i++)
		assert_int_equal(evtchn_expand_array(dom[1], ARRAY_GFN + i), 0);
}

static uint32_t bind(uint32_t vcpu, uint32_t *remote_port)
{
	uint32_t p;

	assert_int_equal(evtchn_alloc_unbound(dom[1], 0, &p), 0);
	assert_int_equal(evtchn_bind_vcpu(dom[1], p, vcpu), 0);
	assert_int_equal(evtchn_bind_interdomain(dom[0], dom[1], p, remote_port), 0);
	return p;
}

static void test_set_up_errors(void **state)
{
	struct vcpu *v = dom[1]->vcpu[0];

	assert_int_equal(evtchn_init_control(v, CONTROL_GFN, 4), -EINVAL);
	assert_int_equal(evtchn_init_control(v, CONTROL_GFN, PAGE_SIZE - 64), -EINVAL);
	assert_int_equal(evtchn_init_control(v, CONTROL_GFN, ~7u), -EINVAL);
	assert_int_equal(evtchn_init_control(v, 500, 0), -EINVAL);
	assert_int_equal(evtchn_init_control(v, ~0ull, 0), -EINVAL);
	assert_null(dom[1]->evtchn.fifo);
	assert_int_equal(frame_refs_at(dom[1], CONTROL_GFN), 1);
	assert_int_equal(evtchn_init_control(v, CONTROL_GFN, 1024), 0);
	assert_int_equal(frame_refs_at(dom[1], CONTROL_GFN), 2);
	assert_int_equal(evtchn_init_control(v, CONTROL_GFN, 1024), -EINVAL);
	assert_int_equal(frame_refs_at(dom[1], CONTROL_GFN), 2);
	assert_int_equal(evtchn_expand_array(dom[1], 500), -EINVAL);
	assert_int_equal(evtchn_expand_array(dom[1], ~0ull), -EINVAL);
	assert_int_equal(evtchn_set_priority(dom[1], 1, 16), -EINVAL);
	assert_int_equal(evtchn_set_priority(dom[1], 1, 15), 0);
}

static void test_order(void **state)
{
	uint32_t port[6], remote[6];

	switch_on(1);
	for (int i = 0; i < 6; i++)
		port[i] = bind(0, &remote[i]);
	assert_int_equal(evtchn_set_priority(dom[1], port[4], 0), 0);
	for (int i = 0; i < 6; i++)
		assert_int_equal(evtchn_send(dom[0], remote[i]), 0);
	assert_int_equal(notified[1][0], 1); /* ready while it has not looked: told once */
	assert_int_equal(take(0), port[4]);
	for (int i = 0; i < 6; i++)
		if (i != 4)
			assert_int_equal(take(0), port[i]);
	assert_int_equal(take(0), 0);
	assert_int_equal(evtchn_send(dom[0], remote[5]), 0);
	assert_int_equal(take(0), port[5]);
	assert_int_equal(evtchn_send(dom[0], remote[5]), 0); /* it was the tail: the queue is empty, not a ring */
	assert_int_equal(take(0), port[5]);
	assert_int_equal(take(0), 0);
}

static void test_masked(void **state)
{
	uint32_t r, p;

	switch_on(1);
	p = bind(0, &r);
	*word(p) |= MASKED;
	assert_int_equal(evtchn_send(dom[0], r), 0);
	assert_int_equal(*word(p), PENDING | MASKED);
	assert_int_equal(evtchn_port_pending(dom[1], p), 1);
	assert_int_equal(take(0), 0);
	assert_int_equal(evtchn_unmask(dom[1], p), 0);
	assert_int_equal(take(0), p);
	assert_int_equal(evtchn_unmask(dom[1], p), 0);
	assert_int_equal(take(0), 0);
}

/* What was pending in the 2-level bitmap comes when its word gets a page. */
static void test_change_over(void **state)
{
	uint32_t r, p = bind(2, &r), late;

	assert_int_equal(evtchn_send(dom[0], r), 0);
	switch_on(0);
	assert_int_equal(evtchn_send(dom[0], r), 0);
	assert_int_equal(take(2), 0);
	assert_int_equal(evtchn_expand_array(dom[1], ARRAY_GFN), 0);
	assert_int_equal(take(2), p);
	assert_int_equal(take(2), 0);

	/* The same where the vCPU's control block comes last. */
	assert_int_equal(evtchn_reset(dom[1]), 0);
	assert_null(dom[1]->evtchn.fifo);
	assert_int_equal(frame_refs_at(dom[1], CONTROL_GFN), 1);
	assert_int_equal(frame_refs_at(dom[1], ARRAY_GFN), 1);
	memset(control(3), 0, PAGE_SIZE);
	memset(word(0), 0, PAGE_SIZE);
	assert_int_equal(evtchn_init_control(dom[1]->vcpu[0], CONTROL_GFN, 0), 0);
	assert_int_equal(evtchn_expand_array(dom[1], ARRAY_GFN), 0);
	late = bind(3, &r);
	assert_int_equal(evtchn_send(dom[0], r), 0);
	assert_int_equal(evtchn_init_control(dom[1]->vcpu[3], CONTROL_GFN + 3, 0), 0);
	assert_int_equal(take(3), late);
}

/* A port that moves to another vCPU or priority while it is the tail of its old queue. */
static void test_moves(void **state)
{
	uint32_t ra, rb, a, b;

	switch_on(1);
	a = bind(0, &ra);
	b = bind(0, &rb);
	assert_int_equal(evtchn_send(dom[0], ra), 0);
	assert_int_equal(evtchn_send(dom[0], rb), 0);
	assert_int_equal(take(0), a);
	assert_int_equal(take(0), b);
	assert_int_equal(evtchn_bind_vcpu(dom[1], b, 1), 0);
	assert_int_equal(evtchn_set_priority(dom[1], b, 3), 0);
	assert_int_equal(evtchn_send(dom[0], rb), 0);
	assert_int_equal(evtchn_send(dom[0], ra), 0); /* must not be chained behind b */
	assert_int_equal(take(0), a);
	assert_int_equal(take(1), b);
	assert_int_equal(take(0), 0);
	assert_int_equal(take(1), 0);
}

static void test_close_linked(void **state)
{
	uint32_t r, p, q;

	switch_on(1);
	p = bind(0, &r);
	assert_int_equal(evtchn_send(dom[0], r), 0);
	assert_int_equal(evtchn_close(dom[1], p), 0);
	assert_int_equal(*word(p), LINKED);
	assert_int_equal(evtchn_alloc_unbound(dom[1], 0, &q), 0);
	assert_int_not_equal(q, p); /* still on a queue */
	assert_int_equal(take(0), 0);
	assert_int_equal(evtchn_alloc_unbound(dom[1], 0, &q), 0);
	assert_int_equal(q, p);
}

static void test_all_pages(void **state)
{
	uint32_t p;

	switch_on(0);
	for (unsigned i = 0; i < EVTCHN_FIFO_NR_CHANNELS / 1024; i++)
		assert_int_equal(evtchn_expand_array(dom[1], ARRAY_GFN + i % 8), 0);
	assert_int_equal(evtchn_expand_array(dom[1], ARRAY_GFN), -ENOSPC);
	for (uint32_t i = 1; i < 5000; i++) /* more than 2-level has */
		assert_int_equal(evtchn_bind_ipi(dom[1], 1, &p), 0);
	assert_int_equal(evtchn_send(dom[1], p), 0);
}

/* A well-behaved guest on several vCPUs never loses an event, in any order of steps. */
static void test_random_no_loss(void **state)
{
	enum { PORTS = 24 };
	uint32_t port[PORTS], remote[PORTS];
	bool sent[PORTS] = { 0 }, masked[PORTS] = { 0 };
	uint64_t seed = 7;

	switch_on(1);
	for (uint32_t i = 0; i < PORTS; i++)
		port[i] = bind(i % WORLD_VCPUS, &remote[i]);
	for (unsigned step = 0; step < 100000; step++) {
		uint64_t r = host_random(&seed);
		unsigned i = (r >> 8) % PORTS;
		uint32_t p;

		switch (r % 7) {
		case 0:
		case 1:
			assert_int_equal(evtchn_send(dom[0], remote[i]), 0);
			sent[i] = true;
			break;
		case 2:
			assert_int_equal(evtchn_bind_vcpu(dom[1], port[i], (uint32_t)(r >> 16) % WORLD_VCPUS), 0);
			break;
		case 3:
			assert_int_equal(evtchn_set_priority(dom[1], port[i], (uint32_t)(r >> 16) % 16), 0);
			break;
		case 4:
			*word(port[i]) |= MASKED;
			masked[i] = true;
			break;
		case 5:
			*word(port[i]) &= ~MASKED;
			masked[i] = false;
			if (*word(port[i]) & PENDING)
				assert_int_equal(evtchn_unmask(dom[1], port[i]), 0);
			break;
		default:
			p = take((uint32_t)(r >> 16) % WORLD_VCPUS);
			for (i = 0; p && i < PORTS; i++)
				if (port[i] == p) {
					assert_true(sent[i] && !masked[i]);
					sent[i] = false;
				}
		}
	}
	for (unsigned i = 0; i < PORTS; i++)
		assert_int_equal(evtchn_unmask(dom[1], port[i]), 0);
	for (uint32_t v = 0; v < WORLD_VCPUS; v++)
		for (uint32_t p; (p = take(v)) != 0;)
			for (unsigned i = 0; i < PORTS; i++)
				if (port[i] == p)
					sent[i] = false;
	for (unsigned i = 0; i < PORTS; i++)
		assert_false(sent[i]);
}

/* Whatever the guest writes anywhere, nothing but its own events suffers. */
static void test_hostile(void **state)
{
	uint32_t port[40], remote[40];
	uint64_t seed = 99;

	switch_on(1);
	for (uint32_t i = 0; i < 40; i++)
		port[i] = bind(i % WORLD_VCPUS, &remote[i]);
	for (unsigned step = 0; step < 50000; step++) {
		uint64_t r = host_random(&seed);

		switch (r % 6) {
		case 0:
			*word((uint32_t)(r >> 8) % 1024) = (uint32_t)(r >> 32);
			break;
		case 1:
			control((r >> 8) % WORLD_VCPUS)->head[(r >> 16) % 16] = (uint32_t)(r >> 32);
			break;
		case 2:
			control((r >> 8) % WORLD_VCPUS)->ready = (uint32_t)(r >> 32);
			break;
		case 3:
			evtchn_unmask(dom[1], port[(r >> 8) % 40]);
			break;
		case 4:
			evtchn_set_priority(dom[1], port[(r >> 8) % 40], (uint32_t)(r >> 16) % 16);
			evtchn_bind_vcpu(dom[1], port[(r >> 8) % 40], (uint32_t)(r >> 24) % WORLD_VCPUS);
			break;
		default:
			assert_int_equal(evtchn_send(dom[0], remote[(r >> 8) % 40]), 0);
		}
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_begin, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_set_up_errors), T(test_order),	  T(test_masked),	  T(test_change_over), T(test_moves),
		T(test_close_linked),  T(test_all_pages), T(test_random_no_loss), T(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
