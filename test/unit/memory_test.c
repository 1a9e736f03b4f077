/* sources: hcall/memory.c hcall/physmap.c core/numa.c core/domain.c core/evtchn.c core/evtchn_fifo.c core/grant.c core/grant_map.c core/grant_copy.c core/frame.c core/heap.c core/ptab.c core/p2m.c core/logdirty.c core/pod.c core/guestmem.c core/sched.c core/sched_share.c core/sched_edf.c core/sched_null.c core/sched_cap.c core/sched_control.c core/sched_admit.c core/cpupool.c core/timer.c core/time.c core/policy.c */
/* memory_op through its handler: reservations with restarts, maps of every space, rights, faults, 32-bit callers. */
#include "unit/world.h"

#include "core/numa.h"
#include "hcall/table.h"
#include "hcall/compat.h"

#define PAGE   0x10000ull /* where the calls' arguments lie */
#define LIST   0x11000ull
#define LIST2  0x12000ull
#define ERRS   0x13000ull
#define NOWHERE 0x7000000ull

static unsigned preempt_every, preempt_asked; /* 0 = never */
static bool compat;

bool hcall_preempt(void)
{
	return preempt_every && ++preempt_asked % preempt_every == 0;
}

long hcall_unimplemented(const char *op, unsigned sub, int err)
{
	return err;
}

static unsigned restarts;

static long call(struct domain *d, unsigned op, gva_t arg)
{
	struct hcall h = { .v = d->vcpu[0], .d = d, .compat = compat, .arg = { op, arg } };
	long ret;

	restarts = 0;
	while ((ret = hcall_memory_op(&h)) == -ERESTART) {
		restarts++;
		guestmem_end();
	}
	guestmem_end();
	p2m_flush(d);
	return ret;
}

static void put(struct domain *d, gva_t at, const void *src, size_t n)
{
	assert_int_equal(guestmem_write_gpa(d, at, src, n), 0);
	guestmem_end();
}

static void get(struct domain *d, gva_t at, void *dst, size_t n)
{
	assert_int_equal(guestmem_read_gpa(d, dst, at, n), 0);
	guestmem_end();
}

static int begin(void **state)
{
	preempt_every = preempt_asked = 0;
	compat = false;
	host_paging = (struct guest_paging){ 0 };
	return world_begin(state);
}

static long reserve(struct domain *caller, unsigned op, domid_t id, uint64_t first, uint64_t n, unsigned order,
		    unsigned flags)
{
	struct xen_memory_reservation r = { .nr_extents = n, .extent_order = order, .mem_flags = flags, .domid = id };

	for (uint64_t i = 0; i < n; i++) {
		xen_pfn_t pfn = first + (i << order);

		put(caller, LIST + i * sizeof(pfn), &pfn, sizeof(pfn));
	}
	set_xen_guest_handle_raw(r.extent_start, (xen_pfn_t *)LIST);
	put(caller, PAGE, &r, sizeof(r));
	return call(caller, op, PAGE);
}

static void test_populate_decrease(void **state)
{
	uint64_t had = dom[1]->frames;

	assert_int_equal(reserve(dom[1], XENMEM_populate_physmap, DOMID_SELF, 100, 40, 0, 0), 40);
	assert_int_equal(dom[1]->frames, had + 40);
	assert_int_equal(p2m_lookup(dom[1], GFN(139)).type, P2M_RAM_RW);
	assert_int_equal(reserve(dom[1], XENMEM_populate_physmap, DOMID_SELF, 95, 40, 0, 0), 5); /* then taken */
	assert_int_equal(reserve(dom[1], XENMEM_decrease_reservation, DOMID_SELF, 95, 45, 0, 0), 45);
	assert_int_equal(dom[1]->frames, had);
	assert_int_equal(reserve(dom[1], XENMEM_decrease_reservation, DOMID_SELF, 95, 45, 0, 0), 0);
	/* restarts change nothing but the number of calls */
	preempt_every = 2;
	assert_int_equal(reserve(dom[1], XENMEM_populate_physmap, DOMID_SELF, 100, 400, 0, 0), 400);
	assert_true(restarts > 5);
	assert_int_equal(dom[1]->frames, had + 400);
	assert_int_equal(reserve(dom[1], XENMEM_decrease_reservation, DOMID_SELF, 100, 400, 0, 0), 400);
	assert_true(restarts > 5);
	assert_int_equal(dom[1]->frames, had);
	assert_int_equal(reserve(dom[1], XENMEM_increase_reservation, DOMID_SELF, 0, 4, 0, 0), 0);
}

static void test_populate_large(void **state)
{
	dom[2]->max_frames = 4096;
	assert_int_equal(reserve(dom[0], XENMEM_populate_physmap, 2, 512, 3, 9, 0), 3);
	assert_int_equal(p2m_lookup(dom[2], GFN(1024 + 5)).order, 9);
	assert_int_equal(reserve(dom[0], XENMEM_populate_physmap, 2, 2048 + 256, 1, 9, 0), 1); /* not aligned: small leaves */
	assert_int_equal(p2m_lookup(dom[2], GFN(2048 + 300)).order, 0);
	assert_int_equal(reserve(dom[0], XENMEM_populate_physmap, 2, 4096, 1, 18, 0), 0);
	assert_int_equal(reserve(dom[2], XENMEM_populate_physmap, DOMID_SELF, 1 << 20, 1, 10, 0), 0);
	assert_int_equal(reserve(dom[0], XENMEM_decrease_reservation, 2, 512, 3, 9, 0), 3);
	p2m_flush(dom[2]);
	assert_int_equal(dom[2]->frames, WORLD_RAM + 512);
	/* only part of an extent is free: nothing of it stays */
	assert_int_equal(reserve(dom[0], XENMEM_populate_physmap, 2, 0, 1, 9, 0), 0);
	assert_int_equal(dom[2]->frames, WORLD_RAM + 512);
	assert_int_equal(p2m_lookup(dom[2], GFN(100)).type, P2M_NONE);
	/* the limit */
	dom[2]->max_frames = dom[2]->frames + 3;
	assert_int_equal(reserve(dom[0], XENMEM_populate_physmap, 2, 512, 10, 0, 0), 3);
}

/* Two nodes, 8192 frames the first: who may name them, and what a guest's virtual nodes stand for. */
static int begin_nodes(void **state)
{
	int ret;

	host_split = 8192;
	ret = begin(state);
	host_split = 0;
	return ret;
}

static unsigned node_at(struct domain *d, uint64_t gfn)
{
	return frame_node(p2m_lookup(d, GFN(gfn)).mfn);
}

static void give_vnuma(struct domain *d, uint32_t pnode0, uint32_t pnode1)
{
	struct vnuma *t = heap_new(struct vnuma);

	*t = (struct vnuma){ .nr_nodes = 2, .nr_ranges = 1, .nr_vcpus = WORLD_VCPUS, .pnode = { pnode0, pnode1 } };
	t->distance[2] = 33;
	t->node_of_vcpu[3] = 1;
	t->range[0].end = 0x40000;
	numa_set_vnuma(d, t);
}

static void test_nodes(void **state)
{
	unsigned node0 = XENMEMF_node(0), node1 = XENMEMF_node(1), exact = XENMEMF_exact_node_request;
	uint64_t total, left;

	dom[1]->max_frames = dom[2]->max_frames = ~0ull;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(reserve(dom[0], XENMEM_populate_physmap, 1, 512 + 32 * i, 20, 0, i ? node1 : node0), 20);
		for (unsigned k = 0; k < 20; k++)
			assert_int_equal(node_at(dom[1], 512 + 32 * i + k), i);
	}
	/* The guest itself: which node is not its business, and to insist gets nothing. */
	dom[1]->node_affinity = 1;
	assert_int_equal(reserve(dom[1], XENMEM_populate_physmap, DOMID_SELF, 1024, 1, 0, node1), 1);
	assert_int_equal(node_at(dom[1], 1024), 0);
	assert_int_equal(reserve(dom[1], XENMEM_populate_physmap, DOMID_SELF, 1025, 1, 0, node1 | exact), 0);
	assert_int_equal(reserve(dom[0], XENMEM_populate_physmap, 1, 1025, 1, 0, XENMEMF_node(2) | exact), 0);
	assert_int_equal(reserve(dom[0], XENMEM_populate_physmap, 1, 1025, 1, 0, XENMEMF_node(2)), 1);
	/* Virtual nodes. */
	give_vnuma(dom[1], 1, 63);
	assert_int_equal(reserve(dom[1], XENMEM_populate_physmap, DOMID_SELF, 1030, 1, 0, node0 | XENMEMF_vnode), 1);
	assert_int_equal(node_at(dom[1], 1030), 1);
	assert_int_equal(reserve(dom[1], XENMEM_populate_physmap, DOMID_SELF, 1031, 1, 0, node1 | XENMEMF_vnode | exact), 0);
	assert_int_equal(reserve(dom[1], XENMEM_populate_physmap, DOMID_SELF, 1031, 1, 0, node1 | XENMEMF_vnode), 1);
	assert_int_equal(reserve(dom[1], XENMEM_populate_physmap, DOMID_SELF, 1032, 1, 0, XENMEMF_node(2) | XENMEMF_vnode), 0);
	/* A node that is full. */
	assert_in_range(reserve(dom[0], XENMEM_populate_physmap, 2, 4096, 16, 9, node1 | exact), 10, 15);
	frame_node_count(1, &total, &left);
	assert_true(left < 1024);
	assert_int_equal(reserve(dom[0], XENMEM_populate_physmap, 2, 20480, 2, 9, node1 | exact), 0);
	assert_int_equal(reserve(dom[0], XENMEM_populate_physmap, 2, 20480, 1, 9, node1), 1);
	assert_int_equal(node_at(dom[2], 20480), 0);
}

#define VNUMA_AT 0x14000ull

static long vnuma_of(struct domain *caller, struct xen_vnuma_topology_info *x)
{
	long ret;

	put(caller, PAGE, x, sizeof(*x));
	ret = call(caller, XENMEM_get_vnumainfo, PAGE);
	get(caller, PAGE, x, sizeof(*x));
	return ret;
}

static void test_vnuma_info(void **state)
{
	struct xen_vnuma_topology_info x = { .domid = DOMID_SELF }, full;
	struct xen_vmemrange range;
	unsigned words[4];

	assert_int_equal(vnuma_of(dom[1], &x), -EOPNOTSUPP);
	give_vnuma(dom[1], 0, 0);
	assert_int_equal(vnuma_of(dom[1], &x), -ENOBUFS);
	assert_int_equal(x.nr_vnodes, 2);
	assert_int_equal(x.nr_vcpus, WORLD_VCPUS);
	assert_int_equal(x.nr_vmemranges, 1);
	x.vdistance.pad = VNUMA_AT;
	x.vcpu_to_vnode.pad = VNUMA_AT + 64;
	x.vmemrange.pad = VNUMA_AT + 128;
	x.nr_vnodes = 8; /* more than there are */
	full = x;
	assert_int_equal(vnuma_of(dom[1], &x), 0);
	assert_int_equal(x.nr_vnodes, 2);
	get(dom[1], VNUMA_AT, words, sizeof(words));
	assert_int_equal(words[2], 33);
	get(dom[1], VNUMA_AT + 64, words, sizeof(words));
	assert_int_equal(words[3], 1);
	get(dom[1], VNUMA_AT + 128, &range, sizeof(range));
	assert_int_equal(range.end, 0x40000);
	compat = true; /* the same layout */
	x = full;
	assert_int_equal(vnuma_of(dom[1], &x), 0);
	compat = false;
	x = full;
	x.pad = 1;
	assert_int_equal(vnuma_of(dom[1], &x), -EINVAL);
	x = full;
	x.vmemrange.pad = NOWHERE;
	assert_int_equal(vnuma_of(dom[1], &x), -EFAULT);
	assert_int_equal(call(dom[1], XENMEM_get_vnumainfo, NOWHERE), -EFAULT);
	x = full;
	x.domid = 1;
	assert_int_equal(vnuma_of(dom[2], &x), -EPERM);
	x.domid = 77;
	assert_int_equal(vnuma_of(dom[0], &x), -ESRCH);
	x = full;
	x.domid = 1;
	assert_int_equal(vnuma_of(dom[0], &x), 0);
}

static void test_rights_and_faults(void **state)
{
	assert_int_equal(reserve(dom[1], XENMEM_populate_physmap, 2, 512, 1, 0, 0), 0);
	assert_int_equal(reserve(dom[0], XENMEM_populate_physmap, 77, 512, 1, 0, 0), 0);
	assert_int_equal(call(dom[1], XENMEM_populate_physmap, NOWHERE), 0);
	assert_int_equal(call(dom[1], XENMEM_remove_from_physmap, NOWHERE), -EFAULT);
	assert_int_equal(call(dom[1], XENMEM_maximum_gpfn, NOWHERE), -EFAULT);
	assert_int_equal(call(dom[1], 63, PAGE), -ENOSYS);
	assert_int_equal(call(dom[1], XENMEM_exchange, PAGE), -EOPNOTSUPP);
	assert_int_equal(call(dom[1], XENMEM_get_sharing_freed_pages, 0), 0);
	assert_int_equal(call(dom[1], XENMEM_memory_map | 1 << 6, PAGE), -EINVAL);
}

static void test_direct_mapped(void **state)
{
	struct domain *d = dom[0];
	mfn_t m;

	d->direct_mapped = true;
	m = frame_alloc_hyp(3);
	frame_free_hyp(m, 3);
	assert_int_equal(reserve(d, XENMEM_populate_physmap, DOMID_SELF, m.n, 8, 0, 0), 8);
	assert_int_equal(p2m_lookup(d, GFN(m.n + 7)).mfn.n, m.n + 7);
	assert_int_equal(reserve(d, XENMEM_populate_physmap, DOMID_SELF, 5000000, 1, 0, 0), 0);
	assert_int_equal(reserve(d, XENMEM_decrease_reservation, DOMID_SELF, m.n, 8, 0, 0), 8);
	assert_int_equal(frame_type(m), FRAME_FREE);
	assert_int_equal(reserve(d, XENMEM_populate_physmap, DOMID_SELF, m.n, 1, 3, 0), 1);
}

static long add(struct domain *caller, domid_t id, unsigned space, uint64_t idx, uint64_t gpfn)
{
	struct xen_add_to_physmap x = { .domid = id, .space = space, .idx = idx, .gpfn = gpfn };

	put(caller, PAGE, &x, sizeof(x));
	return call(caller, XENMEM_add_to_physmap, PAGE);
}

static long remove_one(struct domain *caller, domid_t id, uint64_t gpfn)
{
	struct xen_remove_from_physmap x = { .domid = id, .gpfn = gpfn };

	put(caller, PAGE, &x, sizeof(x));
	return call(caller, XENMEM_remove_from_physmap, PAGE);
}

static void test_add_spaces(void **state)
{
	struct domain *d = dom[1];
	uint64_t had = d->frames;
	mfn_t m = p2m_lookup(d, GFN(7)).mfn;

	assert_int_equal(add(d, DOMID_SELF, XENMAPSPACE_shared_info, 1, 40), -EINVAL);
	assert_int_equal(add(d, DOMID_SELF, XENMAPSPACE_shared_info, 0, 40), 0); /* RAM was there: given up */
	assert_int_equal(d->frames, had - 1);
	assert_int_equal(p2m_lookup(d, GFN(40)).type, P2M_SHARED);
	assert_int_equal(p2m_lookup(d, GFN(40)).mfn.n, port_direct_mfn(d->shared_info).n);
	assert_int_equal(add(d, DOMID_SELF, XENMAPSPACE_shared_info, 0, 200), 0); /* it moves */
	assert_int_equal(p2m_lookup(d, GFN(40)).type, P2M_NONE);
	assert_int_equal(add(d, DOMID_SELF, XENMAPSPACE_grant_table, 0, 41), 0);
	assert_int_equal(add(d, DOMID_SELF, XENMAPSPACE_grant_table, 4, 42), -EINVAL);
	assert_int_equal(add(d, DOMID_SELF, XENMAPSPACE_grant_table, 1, 201), 0);
	assert_int_equal(add(d, DOMID_SELF, XENMAPSPACE_grant_table, XENMAPIDX_grant_table_status, 202), -EINVAL);
	assert_int_equal(add(d, DOMID_SELF, XENMAPSPACE_gmfn_foreign, 0, 42), -ENOSYS);
	assert_int_equal(add(d, DOMID_SELF, 9, 0, 42), -EINVAL);
	assert_int_equal(add(d, 2, XENMAPSPACE_shared_info, 0, 42), -EPERM);
	assert_int_equal(add(d, DOMID_SELF, XENMAPSPACE_gmfn, 7, 300), 0);
	assert_int_equal(p2m_lookup(d, GFN(300)).mfn.n, m.n);
	assert_int_equal(p2m_lookup(d, GFN(7)).type, P2M_NONE);
	assert_int_equal(add(d, DOMID_SELF, XENMAPSPACE_gmfn, 7, 300), -EINVAL);
	assert_int_equal(add(d, DOMID_SELF, XENMAPSPACE_gmfn, 300, 300), 0);
	assert_int_equal(add(d, DOMID_SELF, XENMAPSPACE_shared_info, 0, 1ull << 45), -EINVAL);
	assert_int_equal(remove_one(d, DOMID_SELF, 200), 0);
	assert_int_equal(remove_one(d, DOMID_SELF, 200), -ENOENT);
	assert_int_equal(remove_one(d, DOMID_SELF, 300), 0);
	assert_int_equal(frame_type(m), FRAME_FREE);
	assert_int_equal(remove_one(d, 2, 1), -EPERM);
	assert_int_equal(remove_one(dom[0], 2, 1), 0);
}

static void test_add_range(void **state)
{
	struct xen_add_to_physmap x = { .domid = DOMID_SELF, .space = XENMAPSPACE_gmfn_range, .size = 12, .idx = 20,
					.gpfn = 500 };
	mfn_t m = p2m_lookup(dom[1], GFN(31)).mfn;

	preempt_every = 3;
	put(dom[1], PAGE, &x, sizeof(x));
	assert_int_equal(call(dom[1], XENMEM_add_to_physmap, PAGE), 0);
	assert_int_equal(restarts, 3);
	assert_int_equal(p2m_lookup(dom[1], GFN(511)).mfn.n, m.n);
	assert_int_equal(dom[1]->frames, WORLD_RAM);
}

static long batch(struct domain *caller, domid_t foreign, unsigned n, gva_t errs)
{
	struct xen_add_to_physmap_batch b = { .domid = DOMID_SELF, .space = XENMAPSPACE_gmfn_foreign, .size = n };

	b.u.foreign_domid = foreign;
	set_xen_guest_handle_raw(b.idxs, (xen_ulong_t *)LIST);
	set_xen_guest_handle_raw(b.gpfns, (xen_pfn_t *)LIST2);
	set_xen_guest_handle_raw(b.errs, (int *)errs);
	put(caller, PAGE, &b, sizeof(b));
	return call(caller, XENMEM_add_to_physmap_batch, PAGE);
}

static void test_foreign(void **state)
{
	uint64_t idx[4] = { 1, 2, 999, 3 }, gfn[4] = { 1000, 1001, 1002, 1ull << 50 };
	int err[4];

	put(dom[0], LIST, idx, sizeof(idx));
	put(dom[0], LIST2, gfn, sizeof(gfn));
	assert_int_equal(batch(dom[0], 1, 4, ERRS), 0);
	get(dom[0], ERRS, err, sizeof(err));
	assert_int_equal(err[0], 0);
	assert_int_equal(err[1], 0);
	assert_int_equal(err[2], -EINVAL);
	assert_int_equal(err[3], -EINVAL);
	assert_int_equal(dom[0]->foreign_maps, 2);
	assert_int_equal(frame_refs_at(dom[1], 1), 2);
	assert_int_equal(frame_refs_at(dom[1], 3), 1);
	/* the same gfn again: the old mapping goes */
	assert_int_equal(batch(dom[0], 2, 1, ERRS), 0);
	assert_int_equal(frame_refs_at(dom[1], 1), 1);
	assert_int_equal(frame_refs_at(dom[2], 1), 2);
	assert_int_equal(remove_one(dom[0], DOMID_SELF, 1000), 0);
	assert_int_equal(frame_refs_at(dom[2], 1), 1);
	assert_int_equal(dom[0]->foreign_maps, 1);
	/* refusals leave no trace */
	assert_int_equal(batch(dom[0], 1, 1, NOWHERE), -EFAULT);
	assert_int_equal(batch(dom[0], 55, 1, ERRS), 0); /* each element says it */
	get(dom[0], ERRS, err, sizeof(err[0]));
	assert_int_equal(err[0], -ESRCH);
	assert_int_equal(batch(dom[0], DOMID_SELF, 1, ERRS), 0);
	get(dom[0], ERRS, err, sizeof(err[0]));
	assert_int_equal(err[0], -ESRCH);
	assert_int_equal(batch(dom[0], 0, 1, ERRS), 0); /* itself by number */
	get(dom[0], ERRS, err, sizeof(err[0]));
	assert_int_equal(err[0], -ESRCH);
	assert_int_equal(dom[0]->foreign_maps, 1);
	put(dom[1], LIST, idx, sizeof(idx));
	put(dom[1], LIST2, gfn, sizeof(gfn));
	assert_int_equal(batch(dom[1], 2, 1, ERRS), -EPERM);
}

/* The mapped domain dies first; its frames go when the mapping does. */
static void test_foreign_outlives(void **state)
{
	uint64_t idx = 5, gfn = 1000;
	uint8_t byte;

	put(dom[0], LIST, &idx, sizeof(idx));
	put(dom[0], LIST2, &gfn, sizeof(gfn));
	assert_int_equal(batch(dom[0], 2, 1, ERRS), 0);
	while (domain_kill(dom[2]) == -ERESTART)
		;
	domain_reap();
	assert_non_null(domain_find(2));
	get(dom[0], gfn << 12, &byte, 1); /* dom0 may still look at it */
	assert_int_equal(remove_one(dom[0], DOMID_SELF, gfn), 0);
	assert_null(domain_find(2));
	dom[2] = NULL;
}

static long acquire(struct domain *caller, struct xen_mem_acquire_resource x, bool list)
{
	set_xen_guest_handle_raw(x.frame_list, (xen_pfn_t *)(list ? LIST : 0));
	put(caller, PAGE, &x, sizeof(x));
	return call(caller, XENMEM_acquire_resource, PAGE);
}

static void test_acquire_resource(void **state)
{
	struct xen_mem_acquire_resource x = { .domid = 1, .type = XENMEM_resource_grant_table };
	uint64_t gfn[2] = { 1000, 1001 };

	assert_int_equal(acquire(dom[0], x, false), 0);
	get(dom[0], PAGE, &x, sizeof(x));
	assert_int_equal(x.nr_frames, 4);
	x.nr_frames = 1;
	assert_int_equal(acquire(dom[0], x, false), -EINVAL);
	put(dom[0], LIST, gfn, sizeof(gfn));
	assert_int_equal(acquire(dom[0], x, true), 0);
	assert_int_equal(p2m_lookup(dom[0], GFN(1000)).type, P2M_FOREIGN);
	assert_int_equal(p2m_lookup(dom[0], GFN(1000)).mfn.n, port_direct_mfn(dom[1]->grant.frames[0]).n);
	x.nr_frames = 5;
	assert_int_equal(acquire(dom[0], x, true), -EINVAL);
	x.nr_frames = 1, x.pad = 1;
	assert_int_equal(acquire(dom[0], x, true), -EINVAL);
	x.pad = 0, x.domid = DOMID_SELF;
	assert_int_equal(acquire(dom[0], x, true), -EPERM);
	x.domid = 1, x.type = XENMEM_resource_ioreq_server;
	assert_int_equal(acquire(dom[0], x, true), -EOPNOTSUPP);
	x.type = XENMEM_resource_grant_table, x.domid = 2;
	put(dom[1], LIST, gfn, sizeof(gfn));
	assert_int_equal(acquire(dom[1], x, true), -EPERM);
}

static void test_memory_map(void **state)
{
	struct e820entry e[3] = { { 0, 0x1000, 1 }, { 0x1000, 0x2000, 2 }, { 0x10000, 0x3000, 1 } }, back[3];
	struct xen_foreign_memory_map x = { .domid = 1, .map = { .nr_entries = 3 } };
	struct xen_memory_map m = { .nr_entries = 2 };

	set_xen_guest_handle_raw(m.buffer, (void *)LIST);
	put(dom[1], PAGE, &m, sizeof(m));
	assert_int_equal(call(dom[1], XENMEM_memory_map, PAGE), -ENOSYS);
	set_xen_guest_handle_raw(x.map.buffer, (void *)LIST);
	put(dom[0], LIST, e, sizeof(e));
	put(dom[0], PAGE, &x, sizeof(x));
	assert_int_equal(call(dom[0], XENMEM_set_memory_map, PAGE), 0);
	assert_int_equal(call(dom[0], XENMEM_set_memory_map, PAGE), 0); /* replaced, nothing leaks */
	assert_int_equal(call(dom[1], XENMEM_memory_map, PAGE), 0);
	get(dom[1], PAGE, &m, sizeof(m));
	assert_int_equal(m.nr_entries, 2);
	m.nr_entries = 128;
	put(dom[1], PAGE, &m, sizeof(m));
	assert_int_equal(call(dom[1], XENMEM_memory_map, PAGE), 0);
	get(dom[1], PAGE, &m, sizeof(m));
	get(dom[1], LIST, back, sizeof(back));
	assert_int_equal(m.nr_entries, 3);
	assert_memory_equal(back, e, sizeof(e));
	x.map.nr_entries = 100000;
	put(dom[0], PAGE, &x, sizeof(x));
	assert_int_equal(call(dom[0], XENMEM_set_memory_map, PAGE), -EINVAL);
}

static void test_pod_and_figures(void **state)
{
	struct xen_pod_target x = { .target_pages = 3000, .domid = 2 };
	struct xen_memory_domain m = { .domid = 2 };

	dom[2]->max_frames = 4096;
	assert_int_equal(reserve(dom[0], XENMEM_populate_physmap, 2, 512, 8, 9, XENMEMF_populate_on_demand), 8);
	assert_int_equal(dom[2]->p2m.pod_entries, 4096);
	put(dom[0], PAGE, &x, sizeof(x));
	preempt_every = 1;
	assert_int_equal(call(dom[0], XENMEM_set_pod_target, PAGE), 0);
	assert_true(restarts > 0);
	get(dom[0], PAGE, &x, sizeof(x));
	assert_int_equal(x.tot_pages, 3000);
	assert_int_equal(x.pod_cache_pages, 3000 - WORLD_RAM);
	assert_int_equal(x.pod_entries, 4096);
	put(dom[0], PAGE, &m, sizeof(m));
	assert_int_equal(call(dom[0], XENMEM_maximum_gpfn, PAGE), 512 + 4095);
	assert_int_equal(call(dom[0], XENMEM_current_reservation, PAGE), 3000);
	assert_int_equal(call(dom[0], XENMEM_maximum_reservation, PAGE), 4096);
	put(dom[1], PAGE, &m, sizeof(m));
	assert_int_equal(call(dom[1], XENMEM_current_reservation, PAGE), -EPERM);
}

/* What a guest asks for itself: no promises of frames, no width below a page. */
static void test_populate_hostile(void **state)
{
	assert_int_equal(reserve(dom[1], XENMEM_populate_physmap, DOMID_SELF, 512, 2, 9, XENMEMF_populate_on_demand), 0);
	assert_int_equal(reserve(dom[1], XENMEM_populate_physmap, 1, 512, 2, 0, XENMEMF_populate_on_demand), 0);
	assert_int_equal(dom[1]->p2m.pod_entries, 0);
	for (unsigned bits = 1; bits <= PAGE_SHIFT; bits++)
		assert_int_equal(reserve(dom[1], XENMEM_populate_physmap, DOMID_SELF, 512, 1, 0, XENMEMF_address_bits(bits)), 0);
	assert_int_equal(reserve(dom[1], XENMEM_populate_physmap, DOMID_SELF, 512, 1, 0, XENMEMF_address_bits(40)), 1);
	assert_int_equal(dom[1]->frames, WORLD_RAM + 1);
}

/* Nothing can be put into the map of a domain that was taken apart but is still held. */
static void test_dead_target(void **state)
{
	struct xen_add_to_physmap x = { .domid = 2, .space = XENMAPSPACE_shared_info, .gpfn = 200 };

	domain_hold(dom[2]);
	while (domain_kill(dom[2]) == -ERESTART)
		;
	put(dom[0], PAGE, &x, sizeof(x));
	assert_int_equal(call(dom[0], XENMEM_add_to_physmap, PAGE), -EINVAL);
	assert_int_equal(reserve(dom[0], XENMEM_populate_physmap, 2, 512, 1, 9, XENMEMF_populate_on_demand), 0);
	domain_put(dom[2]);
	dom[2] = NULL;
	domain_reap();
}

/* A move that finds no memory for a table leaves both frames where they are. */
static void test_move_without_memory(void **state)
{
	struct xen_add_to_physmap x = { .domid = 2, .space = XENMAPSPACE_gmfn, .idx = 600, .gpfn = 10 };
	mfn_t there = p2m_lookup(dom[2], GFN(10)).mfn, from;

	assert_int_equal(reserve(dom[0], XENMEM_populate_physmap, 2, 512, 1, 9, 0), 1);
	from = p2m_lookup(dom[2], GFN(600)).mfn;
	assert_int_equal(p2m_lookup(dom[2], GFN(600)).order, 9);
	dom[2]->p2m.pool_frames = dom[2]->p2m.table_frames;
	put(dom[0], PAGE, &x, sizeof(x));
	assert_int_equal(call(dom[0], XENMEM_add_to_physmap, PAGE), -ENOMEM);
	assert_int_equal(p2m_lookup(dom[2], GFN(10)).mfn.n, there.n);
	assert_int_equal(p2m_lookup(dom[2], GFN(600)).mfn.n, from.n);
	/* the other way round the target cannot be split */
	x.idx = 10;
	x.gpfn = 600;
	put(dom[0], PAGE, &x, sizeof(x));
	assert_int_equal(call(dom[0], XENMEM_add_to_physmap, PAGE), -ENOMEM);
	assert_int_equal(p2m_lookup(dom[2], GFN(10)).mfn.n, there.n);
	assert_int_equal(p2m_lookup(dom[2], GFN(600)).mfn.n, from.n);
	assert_int_equal(dom[2]->frames, WORLD_RAM + 512);
}

/* A device model's rights end with its target, not with the target's number. */
static void test_device_model(void **state)
{
	dom[1]->dm_target = 2;
	assert_int_equal(reserve(dom[1], XENMEM_populate_physmap, 2, 512, 1, 0, 0), 1);
	while (domain_kill(dom[2]) == -ERESTART)
		;
	domain_reap();
	assert_null(domain_find(2));
	dom[2] = world_domain(2);
	assert_int_equal(reserve(dom[1], XENMEM_populate_physmap, 2, 512, 1, 0, 0), 0);
	assert_int_equal(dom[2]->frames, WORLD_RAM);
}

static void test_claim(void **state)
{
	struct xen_memory_reservation r = { .nr_extents = 500, .domid = 1 };

	put(dom[0], PAGE, &r, sizeof(r));
	put(dom[1], PAGE, &r, sizeof(r));
	assert_int_equal(call(dom[1], XENMEM_claim_pages, PAGE), -EPERM);
	assert_int_equal(call(dom[0], XENMEM_claim_pages, PAGE), 0);
	assert_int_equal(dom[1]->claimed, 500 - WORLD_RAM);
	r.nr_extents = 0;
	put(dom[0], PAGE, &r, sizeof(r));
	assert_int_equal(call(dom[0], XENMEM_claim_pages, PAGE), 0);
	r.mem_flags = 1;
	put(dom[0], PAGE, &r, sizeof(r));
	assert_int_equal(call(dom[0], XENMEM_claim_pages, PAGE), -EINVAL);
}

/* --- 32-bit callers --- */

static void put32(struct domain *d, gva_t at, uint32_t x)
{
	put(d, at, &x, sizeof(x));
}

static void put16(struct domain *d, gva_t at, uint16_t x)
{
	put(d, at, &x, sizeof(x));
}

static void test_compat(void **state)
{
	struct domain *d = dom[1];
	struct e820entry e = { 0x1000, 0x2000, 1 }, back;
	uint32_t n;

	compat = true;
	for (uint32_t i = 0; i < 40; i++)
		put32(d, LIST + 4 * i, 100 + i);
	put32(d, PAGE + COMPAT_xen_memory_reservation_extent_start, LIST);
	put32(d, PAGE + COMPAT_xen_memory_reservation_nr_extents, 40);
	put32(d, PAGE + COMPAT_xen_memory_reservation_extent_order, 0);
	put32(d, PAGE + COMPAT_xen_memory_reservation_mem_flags, 0);
	put16(d, PAGE + COMPAT_xen_memory_reservation_domid, DOMID_SELF);
	preempt_every = 2;
	assert_int_equal(call(d, XENMEM_populate_physmap, PAGE), 40);
	assert_int_equal(d->frames, WORLD_RAM + 40);
	assert_int_equal(call(d, XENMEM_decrease_reservation, PAGE), 40);
	assert_int_equal(d->frames, WORLD_RAM);

	put16(d, PAGE + COMPAT_xen_add_to_physmap_domid, DOMID_SELF);
	put32(d, PAGE + COMPAT_xen_add_to_physmap_space, XENMAPSPACE_shared_info);
	put32(d, PAGE + COMPAT_xen_add_to_physmap_idx, 0);
	put32(d, PAGE + COMPAT_xen_add_to_physmap_gpfn, 200);
	assert_int_equal(call(d, XENMEM_add_to_physmap, PAGE), 0);
	assert_int_equal(p2m_lookup(d, GFN(200)).type, P2M_SHARED);
	put16(d, PAGE + COMPAT_xen_remove_from_physmap_domid, DOMID_SELF);
	put32(d, PAGE + COMPAT_xen_remove_from_physmap_gpfn, 200);
	assert_int_equal(call(d, XENMEM_remove_from_physmap, PAGE), 0);
	assert_int_equal(p2m_lookup(d, GFN(200)).type, P2M_NONE);

	put16(d, PAGE + COMPAT_xen_foreign_memory_map_domid, DOMID_SELF);
	put32(d, PAGE + COMPAT_xen_foreign_memory_map_map + COMPAT_xen_memory_map_nr_entries, 1);
	put32(d, PAGE + COMPAT_xen_foreign_memory_map_map + COMPAT_xen_memory_map_buffer, LIST);
	put(d, LIST, &e, sizeof(e));
	assert_int_equal(call(d, XENMEM_set_memory_map, PAGE), 0);
	put32(d, PAGE + COMPAT_xen_memory_map_nr_entries, 9);
	put32(d, PAGE + COMPAT_xen_memory_map_buffer, LIST2);
	assert_int_equal(call(d, XENMEM_memory_map, PAGE), 0);
	get(d, PAGE + COMPAT_xen_memory_map_nr_entries, &n, sizeof(n));
	get(d, LIST2, &back, sizeof(back));
	assert_int_equal(n, 1);
	assert_memory_equal(&back, &e, sizeof(e));

	put16(dom[0], PAGE + COMPAT_xen_add_to_physmap_batch_domid, DOMID_SELF);
	put16(dom[0], PAGE + COMPAT_xen_add_to_physmap_batch_space, XENMAPSPACE_gmfn_foreign);
	put16(dom[0], PAGE + COMPAT_xen_add_to_physmap_batch_size, 2);
	put16(dom[0], PAGE + COMPAT_xen_add_to_physmap_batch_u, 1);
	put32(dom[0], PAGE + COMPAT_xen_add_to_physmap_batch_idxs, LIST);
	put32(dom[0], PAGE + COMPAT_xen_add_to_physmap_batch_gpfns, LIST2);
	put32(dom[0], PAGE + COMPAT_xen_add_to_physmap_batch_errs, ERRS);
	for (uint32_t i = 0; i < 2; i++) {
		put32(dom[0], LIST + 4 * i, 10 + i);
		put32(dom[0], LIST2 + 4 * i, 1000 + i);
	}
	assert_int_equal(call(dom[0], XENMEM_add_to_physmap_batch, PAGE), 0);
	assert_int_equal(p2m_lookup(dom[0], GFN(1001)).mfn.n, p2m_lookup(dom[1], GFN(11)).mfn.n);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, begin, world_end)
	const struct CMUnitTest tests[] = {
		TEST(test_populate_decrease), TEST(test_populate_large),   TEST(test_rights_and_faults),
		TEST(test_direct_mapped),     TEST(test_add_spaces),	   TEST(test_add_range),
		TEST(test_foreign),	      TEST(test_foreign_outlives), TEST(test_acquire_resource),
		TEST(test_memory_map),	      TEST(test_pod_and_figures),  TEST(test_claim),
		TEST(test_compat),	      TEST(test_populate_hostile), TEST(test_dead_target),
		TEST(test_device_model),      TEST(test_move_without_memory), TEST(test_vnuma_info),
		cmocka_unit_test_setup_teardown(test_nodes, begin_nodes, world_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
