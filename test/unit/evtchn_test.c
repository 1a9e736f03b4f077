/* sources: core/domain.c core/evtchn.c core/evtchn_fifo.c core/grant.c core/grant_map.c core/grant_copy.c core/frame.c core/heap.c core/ptab.c core/p2m.c core/logdirty.c core/pod.c core/guestmem.c core/sched.c core/sched_share.c core/sched_edf.c core/sched_null.c core/sched_cap.c core/sched_control.c core/sched_admit.c core/cpupool.c core/timer.c core/time.c core/policy.c */
/* Event channels: bindings, error codes, 2-level delivery in both layouts, VIRQs, closing, reset, dying domains. */
#include "unit/world.h"

static bool pending(struct domain *d, uint32_t port)
{
	return d->shared_info->evtchn_pending[port / 64] >> (port % 64) & 1;
}

static void mask(struct domain *d, uint32_t port)
{
	d->shared_info->evtchn_mask[port / 64] |= 1ul << (port % 64);
}

static uint32_t status(struct domain *d, uint32_t port)
{
	struct evtchn_status_out s;

	assert_int_equal(evtchn_status(d, port, &s), 0);
	return s.status;
}

/* A channel between dom[a] and dom[b]: a's port, b's port; nothing pending. */
static void connect(unsigned a, unsigned b, uint32_t *pa, uint32_t *pb)
{
	assert_int_equal(evtchn_alloc_unbound(dom[a], dom[b]->id, pa), 0);
	assert_int_equal(evtchn_bind_interdomain(dom[b], dom[a], *pa, pb), 0);
	dom[b]->shared_info->evtchn_pending[*pb / 64] = 0;
	for (uint32_t i = 0; i < WORLD_VCPUS; i++) {
		memset(&dom[a]->vcpu[i]->info->evtchn_pending_sel, 0, 8);
		memset(&dom[b]->vcpu[i]->info->evtchn_pending_sel, 0, 8);
		dom[a]->vcpu[i]->info->evtchn_upcall_pending = 0;
		dom[b]->vcpu[i]->info->evtchn_upcall_pending = 0;
	}
	memset(notified, 0, sizeof(notified));
}

static void test_allocation(void **state)
{
	uint32_t p;

	for (uint32_t want = 1; want < 300; want++) {
		assert_int_equal(evtchn_alloc_unbound(dom[1], 0, &p), 0);
		assert_int_equal(p, want);
	}
	assert_int_equal(evtchn_active(dom[1]), 299);
	assert_int_equal(evtchn_close(dom[1], 200), 0);
	assert_int_equal(evtchn_close(dom[1], 7), 0);
	assert_int_equal(evtchn_close(dom[1], 7), -EINVAL);
	assert_int_equal(evtchn_alloc_unbound(dom[1], 0, &p), 0);
	assert_int_equal(p, 7);
	assert_int_equal(evtchn_alloc_unbound(dom[1], 0, &p), 0);
	assert_int_equal(p, 200);
	assert_int_equal(evtchn_alloc_unbound(dom[1], 0, &p), 0);
	assert_int_equal(p, 300);
}

static void test_no_space(void **state)
{
	uint32_t p, max = dom[2]->evtchn.max_port;

	for (uint32_t i = 1; i < EVTCHN_2L_NR_CHANNELS; i++)
		assert_int_equal(evtchn_alloc_unbound(dom[1], 0, &p), 0);
	assert_int_equal(evtchn_alloc_unbound(dom[1], 0, &p), -ENOSPC);
	dom[2]->evtchn.max_port = 5;
	for (uint32_t i = 1; i <= 5; i++)
		assert_int_equal(evtchn_alloc_unbound(dom[2], 0, &p), 0);
	assert_int_equal(evtchn_alloc_unbound(dom[2], 0, &p), -ENOSPC);
	dom[2]->evtchn.max_port = max;
	dom[2]->compat_shinfo = true;
	for (uint32_t i = 6; i < 1024; i++)
		assert_int_equal(evtchn_alloc_unbound(dom[2], 0, &p), 0);
	assert_int_equal(evtchn_alloc_unbound(dom[2], 0, &p), -ENOSPC);
}

static void test_bad_ports(void **state)
{
	struct evtchn_status_out s;
	uint32_t out = dom[1]->evtchn.nr_ports, p;

	assert_int_equal(evtchn_status(dom[1], 0, &s), 0);
	assert_int_equal(s.status, EVTCHNSTAT_closed);
	assert_int_equal(status(dom[1], 5), EVTCHNSTAT_closed);
	assert_int_equal(evtchn_status(dom[1], out, &s), -EINVAL);
	assert_int_equal(evtchn_status(dom[1], ~0u, &s), -EINVAL);
	assert_int_equal(evtchn_send(dom[1], 0), -EINVAL);
	assert_int_equal(evtchn_send(dom[1], 5), -EINVAL);
	assert_int_equal(evtchn_send(dom[1], out), -EINVAL);
	assert_int_equal(evtchn_send(dom[1], ~0u), -EINVAL);
	assert_int_equal(evtchn_close(dom[1], 0), -EINVAL);
	assert_int_equal(evtchn_close(dom[1], ~0u), -EINVAL);
	assert_int_equal(evtchn_unmask(dom[1], ~0u), -EINVAL);
	assert_int_equal(evtchn_unmask(dom[1], 5), 0);
	assert_int_equal(evtchn_bind_vcpu(dom[1], 5, 1), -EINVAL);
	assert_int_equal(evtchn_bind_vcpu(dom[1], 5, WORLD_VCPUS), -ENOENT);
	assert_int_equal(evtchn_bind_interdomain(dom[1], dom[2], 0, &p), -EINVAL);
	assert_int_equal(evtchn_bind_interdomain(dom[1], dom[2], 5, &p), -EINVAL);
	assert_int_equal(evtchn_bind_interdomain(dom[1], dom[2], ~0u, &p), -EINVAL);
	assert_int_equal(evtchn_bind_ipi(dom[1], WORLD_VCPUS, &p), -ENOENT);
	assert_int_equal(evtchn_set_priority(dom[1], ~0u, 0), -EINVAL);
	assert_int_equal(evtchn_set_priority(dom[1], 1, 0), -ENOSYS);
	assert_int_equal(evtchn_expand_array(dom[1], 1), -EOPNOTSUPP);
	assert_int_equal(evtchn_port_pending(dom[1], ~0u), -EINVAL);
	assert_int_equal(evtchn_active(dom[1]), 0);
}

static void test_interdomain(void **state)
{
	struct evtchn_status_out s;
	uint32_t pa, pb, other;

	assert_int_equal(evtchn_alloc_unbound(dom[1], 2, &pa), 0);
	assert_int_equal(status(dom[1], pa), EVTCHNSTAT_unbound);
	assert_int_equal(evtchn_send(dom[1], pa), 0);				     /* lost */
	assert_int_equal(evtchn_bind_interdomain(dom[0], dom[1], pa, &pb), -EINVAL); /* meant for 2 */
	assert_int_equal(evtchn_bind_interdomain(dom[2], dom[1], pa, &pb), 0);
	assert_true(pending(dom[2], pb)); /* something may have come before */
	assert_int_equal(notified[2][0], 1);
	assert_int_equal(evtchn_bind_interdomain(dom[2], dom[1], pa, &other), -EINVAL);
	assert_int_equal(evtchn_status(dom[1], pa, &s), 0);
	assert_int_equal(s.status, EVTCHNSTAT_interdomain);
	assert_int_equal(s.a, 2);
	assert_int_equal(s.b, pb);

	assert_int_equal(evtchn_send(dom[2], pb), 0);
	assert_true(pending(dom[1], pa));
	assert_int_equal(notified[1][0], 1);
	assert_int_equal(evtchn_close(dom[2], pb), 0);
	assert_false(pending(dom[2], pb));
	assert_int_equal(evtchn_status(dom[1], pa, &s), 0);
	assert_int_equal(s.status, EVTCHNSTAT_unbound);
	assert_int_equal(s.a, 2);
	assert_int_equal(evtchn_bind_interdomain(dom[2], dom[1], pa, &pb), 0);
	assert_int_equal(evtchn_close(dom[1], pa), 0); /* lower domid: locks in the other order */
	assert_int_equal(status(dom[2], pb), EVTCHNSTAT_unbound);
}

static void test_loopback(void **state)
{
	uint32_t a, b;

	connect(1, 1, &a, &b);
	assert_int_equal(evtchn_send(dom[1], a), 0);
	assert_true(pending(dom[1], b));
	assert_false(pending(dom[1], a));
	assert_int_equal(evtchn_close(dom[1], b), 0);
	assert_int_equal(status(dom[1], a), EVTCHNSTAT_unbound);
}

static void test_delivery(void **state)
{
	struct vcpu_info *info = dom[1]->vcpu[2]->info;
	uint32_t a, b;

	connect(0, 1, &a, &b);
	assert_int_equal(evtchn_bind_vcpu(dom[1], b, 2), 0);
	assert_int_equal(evtchn_send(dom[0], a), 0);
	assert_int_equal(info->evtchn_upcall_pending, 1);
	assert_int_equal(info->evtchn_pending_sel, 1ul << (b / 64));
	assert_int_equal(notified[1][2], 1);
	assert_int_equal(evtchn_send(dom[0], a), 0); /* pending already: nothing more */
	assert_int_equal(notified[1][2], 1);

	/* The guest took it; masked events stay silent until unmasked. */
	info->evtchn_upcall_pending = 0;
	info->evtchn_pending_sel = 0;
	dom[1]->shared_info->evtchn_pending[b / 64] = 0;
	mask(dom[1], b);
	assert_int_equal(evtchn_send(dom[0], a), 0);
	assert_true(pending(dom[1], b));
	assert_int_equal(info->evtchn_upcall_pending, 0);
	assert_int_equal(notified[1][2], 1);
	assert_int_equal(evtchn_unmask(dom[1], b), 0);
	assert_int_equal(info->evtchn_upcall_pending, 1);
	assert_int_equal(notified[1][2], 2);
	assert_int_equal(evtchn_unmask(dom[1], b), 0);
	assert_int_equal(notified[1][2], 2);
}

static void test_compat_layout(void **state)
{
	uint32_t *raw = (uint32_t *)dom[1]->shared_info->evtchn_pending, *info = (uint32_t *)dom[1]->vcpu[0]->info;
	uint32_t a = 0, b = 0;

	dom[1]->compat_shinfo = true;
	for (uint32_t i = 0; i < 40; i++)
		assert_int_equal(evtchn_alloc_unbound(dom[1], 0, &b), 0);
	assert_int_equal(evtchn_bind_interdomain(dom[0], dom[1], b, &a), 0);
	assert_int_equal(evtchn_send(dom[0], a), 0);
	assert_int_equal(raw[1], 1u << (40 - 32));
	assert_int_equal(info[1], 1u << 1); /* the selector follows the flags */
	assert_int_equal(((uint8_t *)info)[0], 1);
	raw[1] = info[1] = 0;
	((uint8_t *)info)[0] = 0;
	raw[32 + 1] = 1u << (40 - 32); /* the mask follows 32 words */
	assert_int_equal(evtchn_send(dom[0], a), 0);
	assert_int_equal(info[1], 0);
	assert_int_equal(evtchn_unmask(dom[1], 40), 0);
	assert_int_equal(raw[32 + 1], 0);
	assert_int_equal(info[1], 1u << 1);
}

static void test_ipi(void **state)
{
	uint32_t p;

	assert_int_equal(evtchn_bind_ipi(dom[1], 3, &p), 0);
	assert_int_equal(evtchn_bind_vcpu(dom[1], p, 1), -EINVAL);
	assert_int_equal(evtchn_send(dom[1], p), 0);
	assert_int_equal(notified[1][3], 1);
}

static void test_virq(void **state)
{
	struct evtchn_status_out s;
	uint32_t p, q, r;

	assert_int_equal(evtchn_bind_virq(dom[1], NR_VIRQS, 0, &p), -EINVAL);
	assert_int_equal(evtchn_bind_virq(dom[1], VIRQ_TIMER, WORLD_VCPUS, &p), -ENOENT);
	assert_int_equal(evtchn_bind_virq(dom[0], VIRQ_DOM_EXC, 1, &p), -EINVAL);
	assert_int_equal(evtchn_bind_virq(dom[1], VIRQ_TIMER, 1, &p), 0);
	assert_int_equal(evtchn_bind_virq(dom[1], VIRQ_TIMER, 1, &q), -EEXIST);
	assert_int_equal(evtchn_bind_virq(dom[1], VIRQ_TIMER, 2, &q), 0);
	assert_int_equal(evtchn_bind_vcpu(dom[1], p, 0), -EINVAL);
	assert_int_equal(evtchn_send(dom[1], p), -EINVAL);
	assert_int_equal(evtchn_status(dom[1], q, &s), 0);
	assert_int_equal(s.status, EVTCHNSTAT_virq);
	assert_int_equal(s.a, VIRQ_TIMER);
	assert_int_equal(s.vcpu, 2);
	evtchn_vcpu_virq(dom[1]->vcpu[2], VIRQ_TIMER);
	assert_true(pending(dom[1], q));
	assert_false(pending(dom[1], p));
	evtchn_vcpu_virq(dom[1]->vcpu[3], VIRQ_TIMER); /* not bound */
	assert_int_equal(evtchn_close(dom[1], q), 0);
	evtchn_vcpu_virq(dom[1]->vcpu[2], VIRQ_TIMER);
	assert_false(pending(dom[1], q));
	assert_int_equal(evtchn_bind_virq(dom[1], VIRQ_TIMER, 2, &q), 0);

	assert_int_equal(evtchn_bind_virq(dom[0], VIRQ_DOM_EXC, 0, &r), 0);
	assert_int_equal(evtchn_bind_vcpu(dom[0], r, 3), 0);
	evtchn_global_virq(VIRQ_DOM_EXC);
	assert_true(pending(dom[0], r));
	assert_int_equal(notified[0][3], 1);
}

static void test_global_virq_receiver(void **state)
{
	uint32_t p, q;

	/* A domain without the right may not be chosen by itself, only by name. */
	assert_int_equal(evtchn_bind_virq(dom[1], VIRQ_DOM_EXC, 0, &p), 0);
	evtchn_global_virq(VIRQ_DOM_EXC);
	assert_false(pending(dom[1], p));
	dom[1]->rights = RIGHT_XENSTORE;
	evtchn_global_virq(VIRQ_DOM_EXC);
	assert_true(pending(dom[1], p));
	assert_int_equal(evtchn_bind_virq(dom[2], VIRQ_CONSOLE, 0, &q), 0);
	assert_int_equal(evtchn_set_global_virq_handler(dom[2], VIRQ_CONSOLE), 0);
	assert_int_equal(evtchn_set_global_virq_handler(dom[2], VIRQ_TIMER), -EINVAL);
	assert_int_equal(evtchn_set_global_virq_handler(dom[2], NR_VIRQS), -EINVAL);
	evtchn_global_virq(VIRQ_CONSOLE);
	assert_true(pending(dom[2], q));
	assert_int_equal(evtchn_relinquish(dom[2]), 0);
	evtchn_global_virq(VIRQ_CONSOLE); /* no longer its handler */
}

static void test_reset(void **state)
{
	uint32_t a, b, p;

	connect(1, 2, &a, &b);
	assert_int_equal(evtchn_bind_ipi(dom[1], 0, &p), 0);
	assert_int_equal(evtchn_bind_virq(dom[1], VIRQ_TIMER, 0, &p), 0);
	assert_int_equal(evtchn_bind_virq(dom[1], VIRQ_ARGO, 0, &p), 0);
	assert_int_equal(evtchn_reset(dom[1]), 0);
	assert_int_equal(evtchn_active(dom[1]), 0);
	assert_int_equal(status(dom[2], b), EVTCHNSTAT_unbound);
	assert_int_equal(evtchn_bind_virq(dom[1], VIRQ_TIMER, 0, &p), 0);
	assert_int_equal(p, 1);
}

/* Many ports go in pieces, whether the guest or its end closes them. */
static void test_closed_in_pieces(void **state)
{
	uint32_t p;

	for (uint32_t i = 1; i < 3000; i++)
		assert_int_equal(evtchn_alloc_unbound(dom[1], 0, &p), 0);
	assert_int_equal(evtchn_reset(dom[1]), -ERESTART);
	assert_in_range(evtchn_active(dom[1]), 1000, 2900);
	assert_int_equal(evtchn_reset(dom[1]), -ERESTART);
	assert_int_equal(evtchn_reset(dom[1]), 0);
	assert_int_equal(evtchn_active(dom[1]), 0);

	for (uint32_t i = 1; i < 1200; i++)
		assert_int_equal(evtchn_alloc_unbound(dom[1], 0, &p), 0);
	assert_int_equal(domain_kill(dom[1]), -ERESTART);
	assert_in_range(evtchn_active(dom[1]), 1, 1100);
	assert_int_equal(domain_kill(dom[1]), -ERESTART);
	assert_int_equal(evtchn_active(dom[1]), 0);
}

static void test_dying(void **state)
{
	uint32_t a, b, p;

	connect(2, 0, &a, &b);
	while (domain_kill(dom[2]) == -ERESTART)
		;
	domain_reap();
	dom[2] = NULL;
	assert_int_equal(status(dom[0], b), EVTCHNSTAT_unbound);
	assert_int_equal(evtchn_send(dom[0], b), 0);
	dom[1]->is_dying = true;
	assert_int_equal(evtchn_alloc_unbound(dom[1], 0, &p), -EINVAL);
	assert_int_equal(evtchn_bind_ipi(dom[1], 0, &p), -EINVAL);
	dom[1]->is_dying = false;
}

/* A blocked vCPU is woken, whatever the guest wrote over its shared pages. */
static void test_wake_and_poll(void **state)
{
	struct vcpu *v = dom[1]->vcpu[0];
	uint32_t a, b, c, e;

	connect(0, 1, &a, &b);
	connect(0, 1, &c, &e);
	v->sched.blocked = true;
	assert_int_equal(evtchn_send(dom[0], a), 0);
	assert_false(v->sched.blocked);

	memset(dom[1]->shared_info, 0xff, PAGE_SIZE);
	v->info->evtchn_upcall_pending = 0;
	assert_int_equal(evtchn_send(dom[0], c), 0); /* already pending and masked, says the guest */
	dom[1]->shared_info->evtchn_pending[0] = 0;
	v->sched.blocked = true;
	evtchn_note_poller(v, e);
	assert_int_equal(evtchn_port_pending(dom[1], e), 0);
	assert_int_equal(evtchn_send(dom[0], a), 0); /* not the one */
	assert_true(v->sched.blocked);
	assert_int_equal(evtchn_send(dom[0], c), 0); /* masked, yet it wakes */
	assert_false(v->sched.blocked);
	assert_false(v->sched.polling);
	assert_int_equal(evtchn_port_pending(dom[1], e), 1);
	dom[1]->shared_info->evtchn_pending[0] = 0;
	v->sched.blocked = true;
	evtchn_note_poller(v, 0); /* any */
	assert_int_equal(evtchn_send(dom[0], a), 0);
	assert_false(v->sched.blocked);
}

static void test_moved_info(void **state)
{
	struct vcpu *v = dom[1]->vcpu[0];
	struct vcpu_info *there = (void *)((char *)ram(dom[1], 3) + 128);

	assert_int_equal(domain_register_vcpu_info(v, GFN(3), 128), 0);
	assert_int_equal(frame_refs_at(dom[1], 3), 2);
	assert_ptr_equal(v->info, there);
	assert_int_equal(there->evtchn_upcall_pending, 1);
	assert_true(there->evtchn_pending_sel == ~0ul);
	assert_int_equal(notified[1][0], 1);
}

/* Random operations against a model of who is bound to whom. */
static void test_random(void **state)
{
	uint64_t seed = 20;
	uint32_t p, q;

	for (unsigned i = 0; i < 20000; i++) {
		uint64_t r = host_random(&seed);
		struct domain *d = dom[r % 3], *e = dom[(r >> 8) % 3];
		struct evtchn_status_out s, t;

		p = (uint32_t)(r >> 16) % 40;
		switch ((r >> 32) % 8) {
		case 0:
			if (!evtchn_alloc_unbound(d, e->id, &q))
				assert_int_equal(status(d, q), EVTCHNSTAT_unbound);
			break;
		case 1:
		case 2:
			if (!evtchn_bind_interdomain(d, e, p, &q))
				assert_int_equal(status(e, p), EVTCHNSTAT_interdomain);
			break;
		case 3:
			evtchn_close(d, p);
			break;
		case 4:
			evtchn_bind_virq(d, (uint32_t)(r >> 40) % NR_VIRQS, p % WORLD_VCPUS, &q);
			break;
		case 5:
			if (i % 1000 == 999)
				assert_int_equal(evtchn_reset(d), 0);
			break;
		case 6:
			evtchn_bind_vcpu(d, p, p % WORLD_VCPUS);
			break;
		default:
			evtchn_send(d, p);
		}
		/* Both ends always agree. */
		assert_int_equal(evtchn_status(d, p, &s), 0);
		if (s.status != EVTCHNSTAT_interdomain)
			continue;
		assert_int_equal(evtchn_status(dom[s.a], s.b, &t), 0);
		assert_int_equal(t.status, EVTCHNSTAT_interdomain);
		assert_int_equal(t.a, d->id);
		assert_int_equal(t.b, p);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_begin, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_allocation),    T(test_no_space),
		T(test_bad_ports),     T(test_interdomain),
		T(test_loopback),      T(test_delivery),
		T(test_compat_layout), T(test_ipi),
		T(test_virq),	       T(test_global_virq_receiver),
		T(test_reset),	       T(test_closed_in_pieces),
		T(test_dying),	       T(test_wake_and_poll),
		T(test_moved_info),    T(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
