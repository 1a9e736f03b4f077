/* sources: hcall/event_channel.c hcall/sched_op.c hcall/vcpu_op.c hcall/grant_table.c core/domain.c core/evtchn.c core/evtchn_fifo.c core/grant.c core/grant_map.c core/grant_copy.c core/frame.c core/heap.c core/ptab.c core/p2m.c core/logdirty.c core/pod.c core/guestmem.c core/sched.c core/sched_share.c core/sched_edf.c core/sched_null.c core/sched_cap.c core/sched_control.c core/sched_admit.c core/cpupool.c core/timer.c core/time.c core/policy.c */
/*
 * The hypercalls of events, grants, scheduling and vCPUs as a guest makes them: its arguments lie in its own RAM (paging is
 * off: linear is physical), in both layouts.
 */
#include "unit/world.h"

#include "hcall/compat.h"
#include "hcall/table.h"
#include "hvm/hvm.h"

#define ARG_GFN 50u
#define ARG	((gva_t)ARG_GFN << PAGE_SHIFT)
#define NOWHERE 0xfff0000ull /* no RAM there */

static struct vcpu *me;
static bool compat;
static unsigned preempt_after = ~0u; /* elements until hcall_preempt() says stop */
static struct hvm_vcpu hvm[WORLD_VCPUS];
static int context_answer;
static bool interrupt_waits;

bool hcall_preempt(void)
{
	return preempt_after-- == 0;
}

long hcall_unimplemented(const char *op, unsigned sub, int err)
{
	return err < 0 ? err : -err;
}

int hvm_vcpu_start_context(struct vcpu *v, const struct vcpu_hvm_context *ctx)
{
	if (!context_answer)
		v->initialised = true;
	return context_answer;
}

bool guest_interrupt_pending(struct vcpu *v)
{
	return interrupt_waits;
}

static struct hcall last;

#define CALL(name, ...)                                                                                                \
	({                                                                                                             \
		last = (struct hcall){ .v = me, .d = me->domain, .compat = compat, .arg = { __VA_ARGS__ } };           \
		long ret_ = hcall_##name(&last);                                                                       \
		guestmem_end();                                                                                        \
		ret_;                                                                                                  \
	})

/* The caller is a vCPU of domain 1 that runs. */
static int begin(void **state)
{
	world_begin(state);
	host_paging = (struct guest_paging){ .cr0 = 1 };
	compat = interrupt_waits = false;
	preempt_after = ~0u;
	context_answer = 0;
	memset(hvm, 0, sizeof(hvm));
	for (uint32_t i = 0; i < WORLD_VCPUS; i++)
		dom[1]->vcpu[i]->hvm = &hvm[i];
	sched_domain_unpause(dom[1]);
	me = sched_pick();
	assert_non_null(me);
	assert_ptr_equal(me->domain, dom[1]);
	return 0;
}

static void *arg(void)
{
	return ram(dom[1], ARG_GFN);
}

static struct vcpu *other(void)
{
	return dom[1]->vcpu[(me->id + 1) % WORLD_VCPUS];
}

static void test_event_ops(void **state)
{
	struct evtchn_alloc_unbound *a = arg();
	struct evtchn_bind_interdomain *b = arg();
	struct evtchn_status *s = arg();
	struct evtchn_bind_virq *v = arg();
	struct evtchn_reset *r = arg();
	uint32_t pa, pb;

	*a = (struct evtchn_alloc_unbound){ DOMID_SELF, DOMID_SELF, 0 };
	assert_int_equal(CALL(event_channel_op, EVTCHNOP_alloc_unbound, ARG), 0);
	pa = a->port;
	assert_int_equal(pa, 1);
	*b = (struct evtchn_bind_interdomain){ DOMID_SELF, pa, 0 };
	assert_int_equal(CALL(event_channel_op, EVTCHNOP_bind_interdomain, ARG), 0);
	pb = b->local_port;
	*s = (struct evtchn_status){ .dom = 1, .port = pb };
	assert_int_equal(CALL(event_channel_op, EVTCHNOP_status, ARG), 0);
	assert_int_equal(s->status, EVTCHNSTAT_interdomain);
	assert_int_equal(s->u.interdomain.dom, 1);
	assert_int_equal(s->u.interdomain.port, pa);
	*(uint32_t *)arg() = pb;
	assert_int_equal(CALL(event_channel_op, EVTCHNOP_send, ARG), 0);
	assert_true(dom[1]->shared_info->evtchn_pending[0] >> pa & 1);

	*a = (struct evtchn_alloc_unbound){ 0, 1, 0 };
	assert_int_equal(CALL(event_channel_op, EVTCHNOP_alloc_unbound, ARG), -EPERM);
	a->dom = 99;
	assert_int_equal(CALL(event_channel_op, EVTCHNOP_alloc_unbound, ARG), -ESRCH);
	*s = (struct evtchn_status){ .dom = 0, .port = 1 };
	assert_int_equal(CALL(event_channel_op, EVTCHNOP_status, ARG), -EPERM);
	*v = (struct evtchn_bind_virq){ VIRQ_CONSOLE, 0, 0 };
	assert_int_equal(CALL(event_channel_op, EVTCHNOP_bind_virq, ARG), -EPERM);
	v->vcpu = 1;
	assert_int_equal(CALL(event_channel_op, EVTCHNOP_bind_virq, ARG), -EINVAL);
	v->virq = NR_VIRQS;
	assert_int_equal(CALL(event_channel_op, EVTCHNOP_bind_virq, ARG), -EINVAL);
	*v = (struct evtchn_bind_virq){ VIRQ_TIMER, me->id, 0 };
	assert_int_equal(CALL(event_channel_op, EVTCHNOP_bind_virq, ARG), 0);
	assert_int_equal(CALL(event_channel_op, EVTCHNOP_bind_virq, ARG), -EEXIST);
	r->dom = 2;
	assert_int_equal(CALL(event_channel_op, EVTCHNOP_reset, ARG), -EPERM);
	r->dom = DOMID_SELF;
	assert_int_equal(CALL(event_channel_op, EVTCHNOP_reset, ARG), 0);
	assert_int_equal(evtchn_active(dom[1]), 0);
	assert_int_equal(CALL(event_channel_op, 99, ARG), -ENOSYS);
}

/* A bad address is found before anything happens. */
static void test_event_faults(void **state)
{
	for (uint32_t op = 0; op <= EVTCHNOP_set_priority; op++)
		if (op != EVTCHNOP_bind_pirq)
			assert_int_equal(CALL(event_channel_op, op, NOWHERE), -EFAULT);
	*(struct evtchn_alloc_unbound *)arg() = (struct evtchn_alloc_unbound){ DOMID_SELF, 0, 0 };
	assert_int_equal(p2m_change_type(dom[1], GFN(ARG_GFN), P2M_RAM_RW, P2M_RAM_RO), 0);
	assert_int_equal(CALL(event_channel_op, EVTCHNOP_alloc_unbound, ARG), -EFAULT);
	assert_int_equal(evtchn_active(dom[1]), 0);
}

static uint32_t unbound_port(void)
{
	uint32_t p;

	assert_int_equal(evtchn_alloc_unbound(dom[1], 0, &p), 0);
	return p;
}

/* ports at ARG + 64 */
static long poll(uint32_t nr, const uint32_t *ports, uint64_t timeout)
{
	memset(arg(), 0, 64);
	memcpy((char *)arg() + 64, ports, MIN(nr, 2u) * sizeof(*ports));
	if (compat) {
		uint32_t at = (uint32_t)ARG + 64;

		memcpy((char *)arg() + COMPAT_sched_poll_ports, &at, 4);
		memcpy((char *)arg() + COMPAT_sched_poll_nr_ports, &nr, 4);
		memcpy((char *)arg() + COMPAT_sched_poll_timeout, &timeout, 8);
	} else {
		struct sched_poll *p = arg();

		*(uint64_t *)&p->ports = ARG + 64;
		p->nr_ports = nr;
		p->timeout = timeout;
	}
	return CALL(sched_op, SCHEDOP_poll, ARG);
}

static void test_poll(void **state)
{
	uint32_t local[2] = { unbound_port(), unbound_port() }, remote, bad[2] = { 100000 };

	dom[1]->shared_info->evtchn_mask[0] = ~0ul;
	assert_int_equal(evtchn_bind_interdomain(dom[0], dom[1], local[1], &remote), 0);
	assert_int_equal(poll(1, bad, 0), -EINVAL);
	assert_false(me->sched.blocked);
	assert_int_equal(poll(129, local, 0), -EINVAL);
	interrupt_waits = true;
	assert_int_equal(poll(2, local, 0), 0);
	assert_false(me->sched.blocked || me->sched.polling);
	interrupt_waits = false;
	for (int i = 0; i < 2; i++) {
		compat = i;
		assert_int_equal(poll(2, local, 0), 0);
		assert_true(me->sched.blocked && me->sched.polling);
		assert_false(timer_active(&me->poll));
		assert_int_equal(evtchn_send(dom[0], remote), 0); /* masked all the same */
		assert_false(me->sched.blocked || me->sched.polling);
		assert_int_equal(poll(2, local, 0), 0); /* pending already */
		assert_false(me->sched.blocked || me->sched.polling);
		dom[1]->shared_info->evtchn_pending[0] = 0;
	}
	assert_int_equal(poll(1, &local[0], host_ns + 5000), 0);
	assert_true(me->sched.blocked);
	assert_int_equal(me->poll.deadline, host_ns + 5000);
	assert_int_equal(evtchn_send(dom[0], remote), 0); /* another port */
	assert_true(me->sched.blocked);
	host_ns += 6000;
	timer_expire();
	assert_false(me->sched.blocked || me->sched.polling);
	/* A timer left over from a poll that ended does not end another wait. */
	assert_int_equal(poll(1, &local[0], host_ns + 5000), 0);
	sched_wake(me);
	sched_block(me);
	host_ns += 6000;
	timer_expire();
	assert_true(me->sched.blocked);
	sched_wake(me);
}

bool domctl_trylock(void)
{
	return true;
}

void domctl_unlock(void)
{
}

static long pin_to(int32_t cpu)
{
	*(struct sched_pin_override *)arg() = (struct sched_pin_override){ cpu };
	return CALL(sched_op, SCHEDOP_pin_override, ARG);
}

/* The hardware domain's vCPU goes to one CPU, and back to where it might run before. */
static void test_pin(void)
{
	const struct cpumask most = { { ~2ull } }, first = { { 1 } };

	me->domain->rights |= RIGHT_HARDWARE;
	assert_int_equal(pin_to(-1), 0); /* nothing to undo */
	assert_int_equal(sched_set_affinity(me, &most, NULL), 0);
	assert_int_equal(pin_to((int32_t)port_cpu_count()), -EINVAL);
	assert_true(cpumask_equal(&me->sched.hard, &most));
	assert_int_equal(pin_to(0), 0);
	assert_int_equal(pin_to(0), 0);
	assert_true(me->pinned && cpumask_equal(&me->sched.hard, &first));
	assert_int_equal(pin_to(-1), 0);
	assert_true(!me->pinned && cpumask_equal(&me->sched.hard, &most));
	me->domain->rights &= ~(uint32_t)RIGHT_HARDWARE;
}

static void test_sched_ops(void **state)
{
	struct sched_remote_shutdown *r = arg();
	struct sched_shutdown *s = arg();

	assert_int_equal(CALL(sched_op, SCHEDOP_yield, 0), 0);
	me->info->evtchn_upcall_mask = 1;
	assert_int_equal(CALL(sched_op, SCHEDOP_block, 0), 0);
	assert_true(me->sched.blocked);
	assert_int_equal(me->info->evtchn_upcall_mask, 0);
	sched_wake(me);
	assert_int_equal(CALL(sched_op, SCHEDOP_shutdown, NOWHERE), -EFAULT);
	*r = (struct sched_remote_shutdown){ 2, SHUTDOWN_poweroff };
	assert_int_equal(CALL(sched_op, SCHEDOP_remote_shutdown, ARG), -EPERM);
	r->domain_id = 1;
	assert_int_equal(CALL(sched_op, SCHEDOP_remote_shutdown, ARG), -EPERM);
	r->domain_id = DOMID_SELF;
	assert_int_equal(CALL(sched_op, SCHEDOP_remote_shutdown, ARG), -ESRCH);
	dom[1]->dm_target = 2; /* its device model */
	r->domain_id = 2;
	assert_int_equal(CALL(sched_op, SCHEDOP_remote_shutdown, ARG), 0);
	assert_true(dom[2]->is_shut_down);
	assert_int_equal(CALL(sched_op, SCHEDOP_pin_override, ARG), -EPERM);
	test_pin();
	assert_int_equal(CALL(sched_op, 99, ARG), -ENOSYS);
	s->reason = SHUTDOWN_suspend;
	assert_int_equal(CALL(sched_op, SCHEDOP_shutdown_code, ARG), 0);
	s->reason = SHUTDOWN_crash;
	assert_int_equal(CALL(sched_op, SCHEDOP_shutdown, ARG), 0);
	assert_true(dom[1]->is_shut_down);
	assert_int_equal(dom[1]->shutdown_code, SHUTDOWN_suspend);
}

static void test_vcpu_timers(void **state)
{
	struct vcpu_set_singleshot_timer *t = arg();
	struct vcpu_set_periodic_timer *p = arg();
	uint32_t port;

	host_ns += 1000000;
	assert_int_equal(evtchn_bind_virq(dom[1], VIRQ_TIMER, me->id, &port), 0);
	*t = (struct vcpu_set_singleshot_timer){ host_ns + 500, VCPU_SSHOTTMR_future };
	assert_int_equal(CALL(vcpu_op, VCPUOP_set_singleshot_timer, other()->id, ARG), -EINVAL);
	assert_int_equal(CALL(vcpu_op, VCPUOP_set_singleshot_timer, WORLD_VCPUS, ARG), -ENOENT);
	assert_int_equal(CALL(vcpu_op, VCPUOP_set_singleshot_timer, me->id, ARG), 0);
	assert_int_equal(me->singleshot.deadline, host_ns + 500);
	host_ns += 600;
	assert_int_equal(CALL(vcpu_op, VCPUOP_set_singleshot_timer, me->id, ARG), 0); /* in the past: at once */
	timer_expire();
	assert_true(dom[1]->shared_info->evtchn_pending[0] >> port & 1);
	assert_false(timer_active(&me->singleshot));
	assert_int_equal(CALL(vcpu_op, VCPUOP_stop_singleshot_timer, me->id, 0), 0);
	assert_int_equal(CALL(vcpu_op, VCPUOP_stop_singleshot_timer, other()->id, 0), -EINVAL);
	p->period_ns = 999999;
	assert_int_equal(CALL(vcpu_op, VCPUOP_set_periodic_timer, other()->id, ARG), -EINVAL);
	p->period_ns = ~0ull;
	assert_int_equal(CALL(vcpu_op, VCPUOP_set_periodic_timer, other()->id, ARG), -EINVAL);
	p->period_ns = 2000000;
	assert_int_equal(CALL(vcpu_op, VCPUOP_set_periodic_timer, other()->id, ARG), 0);
	assert_true(timer_active(&other()->periodic));
	assert_int_equal(CALL(vcpu_op, VCPUOP_stop_periodic_timer, other()->id, 0), 0);
	assert_false(timer_active(&other()->periodic));
}

static void test_vcpu_life(void **state)
{
	struct vcpu *v = other();

	assert_int_equal(CALL(vcpu_op, VCPUOP_is_up, v->id, 0), 1);
	assert_int_equal(CALL(vcpu_op, VCPUOP_down, v->id, 0), 0);
	assert_int_equal(CALL(vcpu_op, VCPUOP_is_up, v->id, 0), 0);
	assert_int_equal(CALL(vcpu_op, VCPUOP_up, v->id, 0), -EINVAL);
	assert_int_equal(CALL(vcpu_op, VCPUOP_initialise, v->id, NOWHERE), -EFAULT);
	context_answer = -EINVAL;
	assert_int_equal(CALL(vcpu_op, VCPUOP_initialise, v->id, ARG), -EINVAL);
	context_answer = 0;
	assert_int_equal(CALL(vcpu_op, VCPUOP_initialise, v->id, ARG), 0);
	assert_int_equal(CALL(vcpu_op, VCPUOP_initialise, v->id, ARG), -EEXIST);
	assert_int_equal(CALL(vcpu_op, VCPUOP_up, v->id, 0), 0);
	assert_int_equal(CALL(vcpu_op, VCPUOP_is_up, v->id, 0), 1);
	assert_int_equal(CALL(vcpu_op, VCPUOP_send_nmi, v->id, 1), -EINVAL);
	assert_int_equal(CALL(vcpu_op, VCPUOP_send_nmi, v->id, 0), 0);
	assert_true(v->hvm->nmi_pending);
	assert_int_equal(CALL(vcpu_op, VCPUOP_get_physid, me->id, ARG), -EINVAL);
	assert_int_equal(CALL(vcpu_op, 99, me->id, ARG), -ENOSYS);
}

static void test_vcpu_areas(void **state)
{
	struct vcpu_register_vcpu_info *i = arg();
	struct vcpu_runstate_info *r = ram(dom[1], 40), *g = arg();
	uint64_t state_entry;

	assert_int_equal(CALL(vcpu_op, VCPUOP_get_runstate_info, me->id, ARG), 0);
	assert_int_equal(g->state, RUNSTATE_running);
	state_entry = g->state_entry_time;
	memset(g, 0xee, 64);
	compat = true;
	assert_int_equal(CALL(vcpu_op, VCPUOP_get_runstate_info, me->id, ARG), 0);
	assert_memory_equal((char *)g + COMPAT_vcpu_runstate_info_state_entry_time, &state_entry, 8);
	assert_int_equal(((uint8_t *)g)[COMPAT_vcpu_runstate_info_SIZE], 0xee);
	compat = false;
	memset(r, 0, PAGE_SIZE);
	*(uint64_t *)arg() = 40ull << PAGE_SHIFT;
	assert_int_equal(CALL(vcpu_op, VCPUOP_register_runstate_memory_area, me->id, ARG), 0);
	assert_int_equal(r->state, RUNSTATE_running);
	*(uint64_t *)arg() = NOWHERE;
	assert_int_equal(CALL(vcpu_op, VCPUOP_register_runstate_memory_area, me->id, ARG), -EFAULT);
	assert_int_equal(me->runstate_area.gva, 40ull << PAGE_SHIFT);
	*(uint64_t *)arg() = (40ull << PAGE_SHIFT) + PAGE_SIZE - 8; /* over two pages */
	assert_int_equal(CALL(vcpu_op, VCPUOP_register_runstate_memory_area, me->id, ARG), 0);
	assert_int_equal(me->runstate_area.gpa[1], 41ull << PAGE_SHIFT);
	*(uint64_t *)arg() = 0;
	assert_int_equal(CALL(vcpu_op, VCPUOP_register_runstate_memory_area, me->id, ARG), 0);
	assert_int_equal(me->runstate_area.gva, 0);
	*(uint64_t *)arg() = (43ull << PAGE_SHIFT) - 12; /* over two pages */
	assert_int_equal(CALL(vcpu_op, VCPUOP_register_vcpu_time_memory_area, me->id, ARG), 0);
	assert_int_equal(me->time_area.gpa[1], 43ull << PAGE_SHIFT);
	*(uint64_t *)arg() = NOWHERE;
	assert_int_equal(CALL(vcpu_op, VCPUOP_register_vcpu_time_memory_area, me->id, ARG), -EFAULT);
	assert_int_equal(me->time_area.gva, (43ull << PAGE_SHIFT) - 12);
	*(uint64_t *)arg() = 42ull << PAGE_SHIFT;
	assert_int_equal(CALL(vcpu_op, VCPUOP_register_vcpu_time_memory_area, me->id, ARG), 0);
	*i = (struct vcpu_register_vcpu_info){ .mfn = 43, .offset = 64 };
	assert_int_equal(CALL(vcpu_op, VCPUOP_register_vcpu_info, other()->id, ARG), -EINVAL); /* it is up */
	assert_int_equal(CALL(vcpu_op, VCPUOP_register_vcpu_info, me->id, ARG), 0);
	assert_int_equal(CALL(vcpu_op, VCPUOP_register_vcpu_info, me->id, ARG), -EINVAL);
}

/* Batches restart where they stopped, and the guest sees every element done once. */
static void test_grant_batch(void **state)
{
	struct gnttab_map_grant_ref *m = arg();
	struct gnttab_unmap_grant_ref *u = arg();
	struct grant_entry_v1 *e = dom[2]->grant.frames[0];
	uint32_t handle[40];
	unsigned calls = 0;
	long rc;

	for (uint32_t i = 0; i < 40; i++) {
		e[8 + i] = (struct grant_entry_v1){ GTF_permit_access, 1, i };
		m[i] = (struct gnttab_map_grant_ref){ .host_addr = (100ull + i) << PAGE_SHIFT,
						      .flags = GNTMAP_host_map,
						      .ref = 8 + i,
						      .dom = 2,
						      .status = 77 };
	}
	e[8 + 11].domid = 0; /* one fails, the others do not */
	preempt_after = 5;
	rc = CALL(grant_table_op, GNTTABOP_map_grant_ref, ARG, 40);
	while (rc == -ERESTART) {
		calls++;
		preempt_after = 6;
		rc = CALL(grant_table_op, last.arg[0], last.arg[1], last.arg[2]);
	}
	assert_int_equal(rc, 0);
	assert_int_equal(calls, 5); /* after 6, 13, 20, 27 and 34 elements */
	for (uint32_t i = 0; i < 40; i++) {
		assert_int_equal(m[i].status, i == 11 ? GNTST_general_error : GNTST_okay);
		handle[i] = m[i].handle;
	}
	assert_int_equal(grant_maptrack_count(dom[1]), 39);
	preempt_after = ~0u;
	for (uint32_t i = 0; i < 40; i++)
		u[i] = (struct gnttab_unmap_grant_ref){ .host_addr = (100ull + i) << PAGE_SHIFT,
							.handle = handle[i],
							.status = 77 };
	u[11].handle = 9999;
	assert_int_equal(CALL(grant_table_op, GNTTABOP_unmap_grant_ref, ARG, 40), 0);
	for (uint32_t i = 0; i < 40; i++)
		assert_int_equal(u[i].status, i == 11 ? GNTST_bad_handle : GNTST_okay);
	assert_int_equal(grant_maptrack_count(dom[1]), 0);
	assert_int_equal(CALL(grant_table_op, GNTTABOP_unmap_grant_ref, 0, 0), 0);
	assert_int_equal(CALL(grant_table_op, GNTTABOP_copy, ARG, 0x80000000), -EINVAL);
	assert_int_equal(CALL(grant_table_op, GNTTABOP_map_grant_ref, NOWHERE, 1), -EFAULT);
	assert_int_equal(CALL(grant_table_op, GNTTABOP_transfer, ARG, 1), -ENOSYS);
}

static void test_grant_copy_layouts(void **state)
{
	struct gnttab_copy *c = arg();
	uint8_t *raw = arg();
	uint32_t gfn = 5;
	int16_t status;

	memset(ram(dom[1], 5), 0x5a, PAGE_SIZE);
	memset(ram(dom[1], 6), 0, PAGE_SIZE);
	*c = (struct gnttab_copy){ .source = { .u.gmfn = 5, .domid = DOMID_SELF },
				   .dest = { .u.gmfn = 6, .domid = DOMID_SELF },
				   .len = 100,
				   .status = 77 };
	assert_int_equal(CALL(grant_table_op, GNTTABOP_copy, ARG, 1), 0);
	assert_int_equal(c->status, GNTST_okay);
	assert_memory_equal(ram(dom[1], 6), ram(dom[1], 5), 100);

	compat = true;
	memset(ram(dom[1], 6), 0, PAGE_SIZE);
	memset(raw, 0, 2 * COMPAT_gnttab_copy_SIZE);
	for (int i = 0; i < 2; i++, raw += COMPAT_gnttab_copy_SIZE) {
		uint16_t self = DOMID_SELF, len = 100, at = (uint16_t)(200 * i);

		gfn = 5;
		memcpy(raw + COMPAT_gnttab_copy_source, &gfn, 4);
		memcpy(raw + COMPAT_gnttab_copy_source + COMPAT_gnttab_copy_ptr_domid, &self, 2);
		gfn = 6;
		memcpy(raw + COMPAT_gnttab_copy_dest, &gfn, 4);
		memcpy(raw + COMPAT_gnttab_copy_dest + COMPAT_gnttab_copy_ptr_domid, &self, 2);
		memcpy(raw + COMPAT_gnttab_copy_dest + COMPAT_gnttab_copy_ptr_offset, &at, 2);
		memcpy(raw + COMPAT_gnttab_copy_len, &len, 2);
		memset(raw + COMPAT_gnttab_copy_status, 77, 2);
	}
	assert_int_equal(CALL(grant_table_op, GNTTABOP_copy, ARG, 2), 0);
	memcpy(&status, raw - COMPAT_gnttab_copy_SIZE + COMPAT_gnttab_copy_status, 2);
	assert_int_equal(status, GNTST_okay);
	assert_memory_equal(ram(dom[1], 6), ram(dom[1], 5), 100);
	assert_memory_equal((char *)ram(dom[1], 6) + 200, ram(dom[1], 5), 100);
}

static void test_grant_tables(void **state)
{
	struct gnttab_setup_table *s = arg();
	struct gnttab_query_size *q = arg();
	struct gnttab_set_version *v = arg();
	struct gnttab_get_version *g = arg();

	memset(s, 0, sizeof(*s));
	s->dom = DOMID_SELF;
	s->nr_frames = 2;
	*(uint64_t *)&s->frame_list = ARG + 512;
	assert_int_equal(CALL(grant_table_op, GNTTABOP_setup_table, ARG, 1), 0);
	assert_int_equal(s->status, GNTST_okay);
	assert_int_equal(CALL(grant_table_op, GNTTABOP_setup_table, ARG, 2), -EINVAL);
	*q = (struct gnttab_query_size){ .dom = DOMID_SELF };
	assert_int_equal(CALL(grant_table_op, GNTTABOP_query_size, ARG, 1), 0);
	assert_int_equal(q->nr_frames, 2);
	assert_int_equal(q->max_nr_frames, 4);
	v->version = 2;
	assert_int_equal(CALL(grant_table_op, GNTTABOP_set_version, ARG, 1), 0);
	*g = (struct gnttab_get_version){ .dom = DOMID_SELF };
	assert_int_equal(CALL(grant_table_op, GNTTABOP_get_version, ARG, 1), 0);
	assert_int_equal(g->version, 2);
	g->dom = 2;
	assert_int_equal(CALL(grant_table_op, GNTTABOP_get_version, ARG, 1), -EPERM);
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_event_ops),	    T(test_event_faults), T(test_poll),	      T(test_sched_ops),
		T(test_vcpu_timers),	    T(test_vcpu_life),	  T(test_vcpu_areas), T(test_grant_batch),
		T(test_grant_copy_layouts), T(test_grant_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
