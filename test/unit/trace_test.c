/* sources: core/trace.c core/perfc.c hcall/sysctl_trace.c hcall/bitmap.c hcall/memory.c hcall/physmap.c core/domain.c core/numa.c core/evtchn.c core/evtchn_fifo.c core/grant.c core/grant_map.c core/grant_copy.c core/frame.c core/heap.c core/ptab.c core/p2m.c core/logdirty.c core/pod.c core/guestmem.c core/sched.c core/sched_share.c core/sched_edf.c core/sched_null.c core/sched_cap.c core/sched_control.c core/sched_admit.c core/cpupool.c core/timer.c core/time.c core/policy.c */
/*
 * Trace rings as xentrace reads them: bytes of records, wraps, lost records, masks, a reader that keeps up and one that
 * lies; who may map the frames; the counters of xenperf. Rings are made once for all tests, as on a machine.
 */
#include "unit/world.h"

#include "core/perfc.h"
#include "core/trace.h"
#include "hcall/compat.h"
#include "hcall/sysctl.h"

#define PAGES 3u /* not a power of two */
#define SIZE  (PAGES * (uint32_t)PAGE_SIZE - (uint32_t)sizeof(struct t_buf))
#define ARGS  0x10000ull /* guest addresses */
#define ARGS2 0x14000ull
#define AWAY  0x7000000ull

bool hcall_preempt(void)
{
	return false;
}

long hcall_unimplemented(const char *op, unsigned sub, int err)
{
	return err;
}

static struct sysctl_call sysctl_arg;
static struct hcall caller;

static long tbuf(uint32_t cmd, uint32_t value)
{
	sysctl_arg.h = &caller;
	caller.d = dom[0];
	caller.v = dom[0]->vcpu[0];
	sysctl_arg.op.u.tbuf_op = (struct xen_sysctl_tbuf_op){ .cmd = cmd, .evt_mask = value, .size = value };
	return sysctl_tbuf_op(&sysctl_arg);
}
#define OP (&sysctl_arg.op.u.tbuf_op)

/* --- a reader --- */

static struct t_info *the_info(void)
{
	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_get_info, 0), 0);
	return port_direct(MFN(OP->buffer_mfn));
}

static uint64_t ring_mfn(unsigned cpu, unsigned page)
{
	struct t_info *info = the_info();

	return ((uint32_t *)info)[info->mfn_offset[cpu] + page];
}

static struct t_buf *ring(unsigned cpu)
{
	return port_direct(MFN(ring_mfn(cpu, 0)));
}

static uint32_t unread(const struct t_buf *b)
{
	return b->prod >= b->cons ? b->prod - b->cons : b->prod + 2 * SIZE - b->cons;
}

/* Takes the next record out of the ring: its event number, words; *tsc, -> words, -1: there is none. */
static int take(struct t_buf *b, uint32_t *event, uint64_t *tsc, uint32_t words[7])
{
	const struct t_rec *r = (const struct t_rec *)((const char *)(b + 1) + b->cons % SIZE);
	uint32_t bytes;

	if (!unread(b))
		return -1;
	bytes = 4 + 4 * r->extra_u32 + 8 * r->cycles_included;
	assert_true(bytes <= unread(b) && b->cons % SIZE + bytes <= SIZE);
	*event = r->event;
	*tsc = r->cycles_included ? r->u.cycles.cycles_lo | (uint64_t)r->u.cycles.cycles_hi << 32 : 0;
	memcpy(words, r->cycles_included ? r->u.cycles.extra_u32 : r->u.nocycles.extra_u32, 4 * r->extra_u32);
	b->cons = (b->cons + bytes) % (2 * SIZE);
	return r->extra_u32;
}

static int next(uint32_t *event, uint64_t *tsc, uint32_t words[7])
{
	int n;

	do
		n = take(ring(host_cpu), event, tsc, words);
	while (n >= 0 && *event == TRC_TRACE_WRAP_BUFFER);
	return n;
}

static void expect(uint32_t event, unsigned n, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	uint32_t got, words[7] = { 0 }, want[4] = { a, b, c, d };
	uint64_t tsc;

	assert_int_equal(next(&got, &tsc, words), n);
	assert_int_equal(got, event);
	assert_memory_equal(words, want, n * 4);
	assert_int_equal(tsc, port_tsc());
}

static void expect_none(void)
{
	assert_int_equal(unread(ring(host_cpu)), 0);
}

/* Every test begins with all on and empty rings. */
static int begin(void **state)
{
	host_cpu = 0;
	host_ns += 1000;
	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_disable, 0), 0);
	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_set_evt_mask, TRC_ALL), 0);
	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_enable, 0), 0);
	for (unsigned cpu = 0; cpu < 2; cpu++)
		ring(cpu)->cons = ring(cpu)->prod;
	return 0;
}

static int end(void **state)
{
	host_cpu = 0;
	trace_disable();
	trace_notify();
	return 0;
}

/* --- the rings --- */

static void without_rings(void **state)
{
	uint64_t before = frame_free_count() + heap_free_frames();
	bool writable;

	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_get_info, 0), 0);
	assert_int_equal(OP->evt_mask, TRC_ALL);
	assert_int_equal(OP->buffer_mfn, 0);
	assert_int_equal(OP->size, 0);
	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_enable, 0), -EINVAL);
	assert_int_equal(trace_events, 0);
	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_disable, 0), 0);
	assert_int_equal(tbuf(6, 0), -EINVAL);
	assert_int_equal(trace_get_frame(MFN(0), &writable), -EINVAL);
	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_set_size, 0), -EINVAL);
	/* More than there is memory for: nothing is taken. */
	dom[1]->max_frames = WORLD_FRAMES;
	assert_int_equal(frame_claim(dom[1], dom[1]->frames + frame_free_count()), 0);
	host_cpus = NR_CPUS;
	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_set_size, 1000), -ENOMEM);
	host_cpus = 2;
	assert_int_equal(frame_claim(dom[1], 0), 0);
	assert_int_equal(frame_free_count() + heap_free_frames(), before);
	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_get_info, 0), 0);
	assert_int_equal(OP->size, 0);
	trace_words(TRC_SCHED_WAKE, NULL, 0); /* a CPU that was late to see it off */
}

static void made_once(void **state)
{
	uint64_t before = frame_free_count() + heap_free_frames();
	struct t_info *info;

	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_set_size, PAGES), 0);
	world_free -= before - (frame_free_count() + heap_free_frames());
	assert_int_equal(before - (frame_free_count() + heap_free_frames()), 2 * PAGES + 1);
	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_set_size, PAGES), -EBUSY);
	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_set_size, PAGES + 1), -EINVAL);
	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_set_size, 0), -EINVAL);
	assert_int_equal(trace_events, 0);

	info = the_info();
	assert_int_equal(OP->size, PAGE_SIZE);
	assert_int_equal(info->tbuf_size, PAGES);
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		assert_true(info->mfn_offset[cpu] * 4 >= sizeof(*info) + 2 * sizeof(uint16_t));
		assert_true(info->mfn_offset[cpu] * 4 + PAGES * 4 <= PAGE_SIZE);
		assert_int_equal(ring(cpu)->cons | ring(cpu)->prod, 0);
		for (unsigned i = 0; i < PAGES; i++)
			assert_int_equal(frame_owner(MFN(ring_mfn(cpu, i))), DOMID_XEN);
	}
	assert_int_not_equal(ring_mfn(0, 0), ring_mfn(1, 0));
}

static void bytes(void **state)
{
	static const uint32_t none[1];
	const uint32_t *w = (const uint32_t *)(ring(0) + 1) + ring(0)->prod % SIZE / 4;
	uint32_t at = ring(0)->prod;

	TRACE(TRC_SCHED_WAKE, 7, 0xfffffff8);
	assert_int_equal(ring(0)->prod, at + 20);
	assert_int_equal(w[0], 1u << 31 | 2u << 28 | TRC_SCHED_WAKE);
	assert_int_equal(w[1] | (uint64_t)w[2] << 32, port_tsc());
	assert_int_equal(w[3], 7);
	assert_int_equal(w[4], 0xfffffff8);
	host_ns += 5ull << 32;
	trace_words(TRC_HVM_VMENTRY, none, 0);
	assert_int_equal(ring(0)->prod, at + 32);
	assert_int_equal(w[5], 1u << 31 | TRC_HVM_VMENTRY);
	assert_int_equal(w[6] | (uint64_t)w[7] << 32, port_tsc());
	assert_int_equal(w[8], 0);
	TRACE(TRC_HVM_VMEXIT64, 0x81, 2, 3);
	assert_int_equal(w[8], 1u << 31 | 3u << 28 | TRC_HVM_VMEXIT | TRC_64_FLAG);
	host_cpu = 1;
	expect_none();
	TRACE(TRC_SCHED_YIELD, 1, 2);
	assert_int_equal(ring(0)->prod, at + 56);
	expect(TRC_SCHED_YIELD, 2, 1, 2, 0, 0);
}

static void masks(void **state)
{
	struct xenctl_bitmap map = { .nr_bits = 8 };
	uint8_t second = 2;

	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_set_evt_mask, TRC_SCHED_MIN), 0);
	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_get_info, 0), 0);
	assert_int_equal(OP->evt_mask, TRC_SCHED_MIN);
	TRACE(TRC_SCHED_WAKE, 1, 2);   /* another subclass */
	TRACE(TRC_HVM_VMENTRY);	       /* another class, this subclass */
	expect_none();
	TRACE(TRACE_RUNSTATE(2, 1), 5);
	expect(TRC_SCHED_RUNSTATE_CHANGE | 2 << 8 | 1 << 4, 1, 5, 0, 0, 0);
	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_set_evt_mask, TRC_ALL), 0);

	guestmem_write_gpa(dom[0], ARGS, &second, 1);
	map.bitmap.p = (void *)ARGS;
	tbuf(XEN_SYSCTL_TBUFOP_set_cpu_mask, 0);
	OP->cpu_mask = map;
	OP->cpu_mask.bitmap.p = (void *)AWAY;
	assert_int_equal(sysctl_tbuf_op(&sysctl_arg), -EFAULT);
	OP->cpu_mask = map;
	assert_int_equal(sysctl_tbuf_op(&sysctl_arg), 0);
	TRACE(TRC_SCHED_WAKE, 1, 2);
	expect_none();
	host_cpu = 1;
	TRACE(TRC_SCHED_WAKE, 1, 2);
	expect(TRC_SCHED_WAKE, 2, 1, 2, 0, 0);
	trace_set_cpus((const uint64_t[NR_CPUS / 64]){ [0 ... NR_CPUS / 64 - 1] = ~0ull });
	host_cpu = 0;

	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_disable, 0), 0);
	TRACE(TRC_SCHED_WAKE, 1, 2);
	expect_none();
	assert_int_equal(tbuf(XEN_SYSCTL_TBUFOP_set_evt_mask, TRC_HVM), 0);
	assert_int_equal(trace_events, 0); /* a mask turns nothing on */
}

/* Records of all sizes past the end of the ring many times, with a reader close behind or far: none is lost or torn. */
static void wraps(void **state)
{
	uint64_t seed = 7;
	uint32_t sent = 0, seen = 0;

	while (sent < 5000) {
		uint32_t words[7];
		unsigned n = 1 + host_random(&seed) % 7;

		for (unsigned i = 0; i < n; i++)
			words[i] = sent + i;
		if (unread(ring(0)) + 80 > SIZE || host_random(&seed) % 50 == 0)
			for (uint32_t event, w[7]; seen < sent; seen++) {
				uint64_t tsc;
				int got = next(&event, &tsc, w);

				assert_true(got > 0);
				assert_int_equal(event, TRC_SCHED_VERBOSE + got);
				for (int i = 0; i < got; i++)
					assert_int_equal(w[i], seen + i);
			}
		trace_words(TRC_SCHED_VERBOSE + n, words, n);
		sent++;
	}
}

/* What is left at the end is one record, whatever its size: 4 to 36 bytes before a record of 40. */
static void wrap_record(void **state)
{
	static const uint32_t words[7] = { 1, 2, 3, 4, 5, 6, 7 };

	for (uint32_t left = 4; left <= 40; left += 4) {
		uint32_t event, w[7];
		uint64_t tsc;
		int n;

		/* Go to that place: records of 12 to 40 bytes. */
		for (;;) {
			uint32_t gap = SIZE - ring(0)->prod % SIZE;

			if (gap == left)
				break;
			gap = gap > left ? gap - left : gap + SIZE - left;
			trace_words(TRC_SCHED_WAKE, words, gap >= 64 || gap < 12 ? 7 : gap <= 40 ? (gap - 12) / 4 : 2);
			ring(0)->cons = ring(0)->prod;
		}
		trace_words(TRC_SCHED_WAKE, words, 7);
		n = take(ring(0), &event, &tsc, w);
		if (left < 40) {
			assert_int_equal(event, TRC_TRACE_WRAP_BUFFER);
			assert_int_equal(ring(0)->cons % SIZE, 0);
			n = take(ring(0), &event, &tsc, w);
		}
		assert_int_equal(n, 7);
		assert_int_equal(event, TRC_SCHED_WAKE);
		expect_none();
	}
}

static void lost(void **state)
{
	uint32_t stored = 0, dropped = 0, words[7], event, first;
	uint64_t tsc;

	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t before = ring(0)->prod;

		if (before == ring(0)->prod && dropped == 1)
			host_ns += 10;
		TRACE(TRC_SCHED_WAKE, 1, i);
		if (ring(0)->prod == before)
			dropped++;
		else
			stored++;
	}
	assert_true(stored >= (SIZE - 80) / 20 && stored <= SIZE / 20);
	assert_int_equal(stored + dropped, 1000);
	assert_true(unread(ring(0)) <= SIZE);
	for (first = 0; first < 100; first++)
		assert_int_equal(next(&event, &tsc, words), 2);
	TRACE(TRC_SCHED_YIELD, 3, 4);
	for (; first < stored; first++) {
		assert_int_equal(next(&event, &tsc, words), 2);
		assert_int_equal(words[1], first);
	}
	assert_int_equal(next(&event, &tsc, words), 4);
	assert_int_equal(event, TRC_LOST_RECORDS);
	assert_int_equal(words[0], dropped);
	assert_int_equal(words[1], DOMID_IDLE); /* domid, then vcpu */
	assert_int_equal(words[2] | (uint64_t)words[3] << 32, port_tsc() - 10);
	expect(TRC_SCHED_YIELD, 2, 3, 4, 0, 0);
	expect_none();
}

/* What was lost before tracing was turned off is not reported later. */
static void lost_before(void **state)
{
	for (uint32_t i = 0; i < 1000; i++)
		TRACE(TRC_SCHED_WAKE, 1, i);
	trace_disable();
	ring(0)->cons = ring(0)->prod;
	assert_int_equal(trace_enable(), 0);
	TRACE(TRC_SCHED_WAKE, 1, 2);
	expect(TRC_SCHED_WAKE, 2, 1, 2, 0, 0);
}

static void virq(void **state)
{
	uint32_t port, half = 0;

	assert_int_equal(evtchn_bind_virq(dom[0], VIRQ_TBUF, 0, &port), 0);
	for (unsigned round = 0; round < 2; round++) {
		while (unread(ring(0)) < SIZE / 2) {
			TRACE(TRC_SCHED_WAKE, 1, half);
			assert_int_equal(evtchn_port_pending(dom[0], port), 0);
			if (unread(ring(0)) < SIZE / 2)
				trace_notify();
		}
		TRACE(TRC_SCHED_WAKE, 1, half);
		assert_int_equal(evtchn_port_pending(dom[0], port), 0);
		trace_notify();
		assert_int_equal(evtchn_port_pending(dom[0], port), 1);
		dom[0]->shared_info->evtchn_pending[0] = 0;
		TRACE(TRC_SCHED_WAKE, 1, half);
		trace_notify();
		assert_int_equal(evtchn_port_pending(dom[0], port), 0); /* said once */
		ring(0)->cons = ring(0)->prod;
		TRACE(TRC_SCHED_WAKE, 1, half); /* the reader kept up */
	}
	assert_int_equal(evtchn_close(dom[0], port), 0);
}

/* A position that cannot be stops the tracing; turned on again it starts from there. */
static void bogus_reader(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		uint32_t before = ring(0)->prod;
		const uint32_t bad[] = { 2 * SIZE, ~0u, 2, (before + 4) % (2 * SIZE) };

		ring(0)->cons = bad[i];
		TRACE(TRC_SCHED_WAKE, 1, 2);
		assert_int_equal(trace_events, 0);
		assert_int_equal(ring(0)->prod, before);
		assert_int_equal(trace_enable(), 0);
		TRACE(TRC_SCHED_WAKE, 1, i);
		expect(TRC_SCHED_WAKE, 2, 1, i, 0, 0);
	}
	ring(0)->prod = 0x12345678; /* for the reader only */
	TRACE(TRC_SCHED_WAKE, 8, 9);
	expect(TRC_SCHED_WAKE, 2, 8, 9, 0, 0);
}

static void switches(void **state)
{
	const struct vcpu *a = dom[1]->vcpu[2], *b = dom[2]->vcpu[0];

	host_cpu = 1;
	trace_switch(a, b, 300, 1ull << 40);
	expect(TRC_SCHED_SWITCH_INFPREV, 3, 1, 2, 300, 0);
	expect(TRC_SCHED_SWITCH_INFNEXT, 4, 2, 0, ~0u, SCHED_SLICE_NS);
	expect(TRC_SCHED_SWITCH, 4, 1, 2, 2, 0);
	expect_none();
	trace_switch(b, NULL, 5, 0);
	expect(TRC_SCHED_SWITCH_INFPREV, 3, 2, 0, 5, 0);
	expect(TRC_SCHED_SWITCH_INFNEXT, 4, DOMID_IDLE, 1, 0, SCHED_SLICE_NS);
	expect(TRC_SCHED_SWITCH, 4, 2, 0, DOMID_IDLE, 1);
	expect(TRC_SCHED_RUNSTATE_CHANGE | RUNSTATE_runnable << 8 | RUNSTATE_running << 4, 1, DOMID_IDLE << 16 | 1, 0, 0, 0);
	trace_switch(NULL, a, 6, 7);
	expect(TRC_SCHED_SWITCH_INFPREV, 3, DOMID_IDLE, 1, 6, 0);
	expect(TRC_SCHED_SWITCH_INFNEXT, 4, 1, 2, 7, SCHED_SLICE_NS);
	expect(TRC_SCHED_RUNSTATE_CHANGE | RUNSTATE_running << 8 | RUNSTATE_runnable << 4, 1, DOMID_IDLE << 16 | 1, 0, 0, 0);
	expect(TRC_SCHED_SWITCH, 4, DOMID_IDLE, 1, 1, 2);
	expect_none();
}

static void event_sends(void **state)
{
	uint32_t ipi, near, far;

	assert_int_equal(evtchn_bind_ipi(dom[1], 1, &ipi), 0);
	assert_int_equal(evtchn_alloc_unbound(dom[1], 2, &far), 0);
	assert_int_equal(evtchn_bind_interdomain(dom[2], dom[1], far, &near), 0);
	ring(0)->cons = ring(0)->prod;
	assert_int_equal(evtchn_send(dom[1], ipi), 0);
	expect(TRACE_EVENT_SEND, 4, 1, ipi, 1, ipi);
	ring(0)->cons = ring(0)->prod;
	assert_int_equal(evtchn_send(dom[2], near), 0);
	expect(TRACE_EVENT_SEND, 4, 2, near, 1, far);
	ring(0)->cons = ring(0)->prod;
	assert_int_equal(evtchn_send(dom[1], 99), -EINVAL);
	expect_none();
}

/* --- who may map them --- */

static long map(struct domain *d, uint64_t mfn, uint64_t gfn, int *err)
{
	struct hcall h = { .v = d->vcpu[0], .d = d, .arg = { XENMEM_add_to_physmap_batch, ARGS } };
	struct xen_add_to_physmap_batch b = { .domid = DOMID_SELF, .space = XENMAPSPACE_gmfn_foreign, .size = 1 };
	uint64_t list[2] = { mfn, gfn };
	long ret;

	b.u.foreign_domid = DOMID_XEN;
	b.idxs.p = (void *)ARGS2;
	b.gpfns.p = (void *)(ARGS2 + 8);
	b.errs.p = (void *)(ARGS2 + 16);
	guestmem_write_gpa(d, ARGS, &b, sizeof(b));
	guestmem_write_gpa(d, ARGS2, list, sizeof(list));
	guestmem_end();
	ret = hcall_memory_op(&h);
	guestmem_end();
	*err = 0;
	if (!ret)
		guestmem_read_gpa(d, err, ARGS2 + 16, sizeof(*err));
	guestmem_end();
	return ret;
}

static void mapping(void **state)
{
	uint64_t info = port_direct_mfn(the_info()).n, data = ring_mfn(1, 1), own = p2m_lookup(dom[1], GFN(3)).mfn.n;
	int err;

	assert_int_equal(map(dom[0], data, 0x1000, &err), 0);
	assert_int_equal(err, 0);
	assert_int_equal(p2m_lookup(dom[0], GFN(0x1000)).mfn.n, data);
	assert_int_equal(p2m_lookup(dom[0], GFN(0x1000)).type, P2M_FOREIGN);
	assert_int_equal(map(dom[0], info, 0x1001, &err), 0);
	assert_int_equal(err, 0);
	assert_int_equal(p2m_lookup(dom[0], GFN(0x1001)).type, P2M_FOREIGN_RO);
	assert_false(p2m_fault(dom[0], GFN(0x1001), true, false));
	assert_true(p2m_fault(dom[0], GFN(0x1001), false, false));
	assert_int_equal(frame_refs(MFN(data)), 2);
	assert_int_equal(frame_refs(MFN(info)), 2);

	assert_int_equal(map(dom[0], own, 0x1002, &err), 0);
	assert_int_equal(err, -EINVAL); /* a frame, not of these */
	assert_int_equal(map(dom[0], ~0ull, 0x1002, &err), 0);
	assert_int_equal(err, -EINVAL);
	assert_int_equal(map(dom[1], data, 0x1002, &err), -EPERM);
	assert_int_equal(p2m_lookup(dom[1], GFN(0x1002)).type, P2M_NONE);
	assert_int_equal(p2m_lookup(dom[0], GFN(0x1002)).type, P2M_NONE);
	assert_int_equal(trace_owner()->refs, 1);

	assert_int_equal(p2m_unmap(dom[0], GFN(0x1000), 0), 0);
	assert_int_equal(p2m_unmap(dom[0], GFN(0x1001), 0), 0);
	p2m_flush(dom[0]);
	assert_int_equal(frame_refs(MFN(data)), 1);
	assert_int_equal(frame_refs(MFN(info)), 1);
}

/* --- the counters --- */

static long perfc(uint32_t cmd, uint64_t desc, uint64_t val)
{
	struct xen_sysctl_perfc_op *p = &sysctl_arg.op.u.perfc_op;

	*p = (struct xen_sysctl_perfc_op){ .cmd = cmd };
	p->desc.p = (void *)desc;
	p->val.p = (void *)val;
	return sysctl_perfc_op(&sysctl_arg);
}

static uint32_t value(unsigned which)
{
	uint32_t v;

	guestmem_read_gpa(dom[0], &v, ARGS2 + which * sizeof(v), sizeof(v));
	guestmem_end();
	return v;
}

static void counters(void **state)
{
	const struct xen_sysctl_perfc_op *p = &sysctl_arg.op.u.perfc_op;
	unsigned values = 0, first, n;

	perfc_reset();
	perfc_inc(0, PERFC_exit_CPUID);
	perfc_inc(1, PERFC_exit_CPUID);
	perfc_inc(1, PERFC_exit_UNKNOWN);
	perfc_hypercall(1, 32);
	perfc_hypercall(1, 63);
	perfc_hypercall(0, 64); /* no such number: nobody's neighbour counts it */
	perfc_hypercall(0, UINT32_MAX);

	assert_int_equal(perfc(XEN_SYSCTL_PERFCOP_query, 0, 0), 0);
	assert_int_equal(p->nr_counters, perfc_counters());
	assert_int_equal(p->nr_vals, PERFC_VALUES);
	assert_int_equal(perfc(XEN_SYSCTL_PERFCOP_query, ARGS, ARGS2), 0);
	for (unsigned i = 0; i < perfc_counters(); i++) {
		struct xen_sysctl_perfc_desc d;

		guestmem_read_gpa(dom[0], &d, ARGS + i * sizeof(d), sizeof(d));
		guestmem_end();
		assert_string_equal(d.name, perfc_name(i, &first, &n));
		assert_int_equal(first, values);
		assert_int_equal(d.nr_vals, n);
		values += n;
	}
	assert_int_equal(values, PERFC_VALUES);
	assert_int_equal(value(PERFC_exit_CPUID), 2);
	assert_int_equal(value(PERFC_exit_UNKNOWN), 1);
	assert_int_equal(value(PERFC_hypercalls + 32), 1);
	assert_int_equal(value(PERFC_hypercalls_last), 1);
	assert_int_equal(value(PERFC_hypercalls), 0);
	assert_int_equal(value(PERFC_hypercalls_last + 1), 0);

	assert_int_equal(perfc(XEN_SYSCTL_PERFCOP_reset, AWAY, 0), -EFAULT);
	assert_int_equal(perfc(XEN_SYSCTL_PERFCOP_reset, 0, AWAY), -EFAULT);
	assert_int_equal(perfc(3, 0, 0), -EINVAL);
	assert_int_equal(perfc_sum(PERFC_exit_CPUID), 2);
	assert_int_equal(perfc(XEN_SYSCTL_PERFCOP_reset, 0, ARGS2), 0);
	assert_int_equal(value(PERFC_exit_CPUID), 2); /* as it was */
	assert_int_equal(perfc_sum(PERFC_exit_CPUID), 0);
	assert_int_equal(perfc_sum(PERFC_hypercalls + 32), 0);
}

static int set_up(void **state)
{
	int rc = world_begin(state);

	trace_init();
	host_cpus = 2;
	return rc;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_rings),
		cmocka_unit_test(made_once),
		cmocka_unit_test_setup_teardown(bytes, begin, end),
		cmocka_unit_test_setup_teardown(masks, begin, end),
		cmocka_unit_test_setup_teardown(wraps, begin, end),
		cmocka_unit_test_setup_teardown(wrap_record, begin, end),
		cmocka_unit_test_setup_teardown(lost, begin, end),
		cmocka_unit_test_setup_teardown(lost_before, begin, end),
		cmocka_unit_test_setup_teardown(virq, begin, end),
		cmocka_unit_test_setup_teardown(bogus_reader, begin, end),
		cmocka_unit_test_setup_teardown(switches, begin, end),
		cmocka_unit_test_setup_teardown(event_sends, begin, end),
		cmocka_unit_test_setup_teardown(mapping, begin, end),
		cmocka_unit_test(counters),
	};

	return cmocka_run_group_tests(tests, set_up, world_end);
}
