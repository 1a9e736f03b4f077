/* sources: core/domain.c core/evtchn.c core/evtchn_fifo.c core/grant.c core/grant_map.c core/grant_copy.c core/frame.c core/heap.c core/ptab.c core/p2m.c core/logdirty.c core/pod.c core/guestmem.c core/sched.c core/sched_share.c core/sched_edf.c core/sched_null.c core/sched_cap.c core/sched_control.c core/sched_admit.c core/cpupool.c core/timer.c core/time.c core/policy.c */
/* Grant tables: map, unmap, copy in both versions; hostile tables, handles and domains; references return to the start. */
#include "unit/world.h"

#define FREE_GFN 100u /* nothing is mapped from here on */

static void (*while_looked_up)(void); /* what the grantor does between our first look and the commit */

void guest_tlb_flush(struct domain *d)
{
	void (*f)(void) = while_looked_up;

	while_looked_up = NULL;
	if (f)
		f();
}

static void *table(struct domain *d, uint32_t frame)
{
	return d->grant.frames[frame];
}

static struct grant_entry_v1 *v1(struct domain *d, uint32_t ref)
{
	return (struct grant_entry_v1 *)table(d, ref / 512) + ref % 512;
}

static union grant_entry_v2 *v2(struct domain *d, uint32_t ref)
{
	return (union grant_entry_v2 *)table(d, ref / 256) + ref % 256;
}

static grant_status_t *v2_status(struct domain *d, uint32_t ref)
{
	return (grant_status_t *)d->grant.status[0] + ref;
}

static void give(struct domain *d, uint32_t ref, domid_t to, uint32_t gfn, uint16_t flags)
{
	*v1(d, ref) = (struct grant_entry_v1){ GTF_permit_access | flags, to, gfn };
}

static struct gnttab_map_grant_ref map(struct domain *d, struct domain *from, uint32_t ref, uint64_t gfn, uint32_t flags)
{
	struct gnttab_map_grant_ref op = { .host_addr = gfn << PAGE_SHIFT, .flags = GNTMAP_host_map | flags, .ref = ref,
					   .dom = from->id, .status = 77 };

	grant_map(d, &op);
	return op;
}

static int unmap(struct domain *d, uint32_t handle, uint64_t gfn)
{
	struct gnttab_unmap_grant_ref op = { .host_addr = gfn << PAGE_SHIFT, .handle = handle, .status = 77 };
	struct grant_unmapped u;

	if (grant_unmap(d, &op, &u))
		grant_unmap_end(d, &u, 1);
	return op.status;
}

static void assert_idle(void)
{
	for (unsigned i = 0; i < WORLD_DOMAINS; i++)
		p2m_flush(dom[i]);
	for (unsigned i = 0; i < WORLD_DOMAINS; i++) {
		assert_int_equal(grant_active_count(dom[i]), 0);
		assert_int_equal(grant_maptrack_count(dom[i]), 0);
		for (uint64_t gfn = 0; gfn < WORLD_RAM; gfn++)
			if (frame_refs_at(dom[i], gfn) != 1)
				fail_msg("d%u gfn %lu has %u references", i, gfn, frame_refs_at(dom[i], gfn));
	}
}

static void test_map_unmap(void **state)
{
	struct gnttab_map_grant_ref op;
	struct p2m_entry e;
	mfn_t m = p2m_lookup(dom[1], GFN(5)).mfn;

	give(dom[1], 9, 0, 5, 0);
	op = map(dom[0], dom[1], 9, FREE_GFN, 0);
	assert_int_equal(op.status, GNTST_okay);
	assert_int_equal(op.dev_bus_addr, m.n << PAGE_SHIFT);
	e = p2m_lookup(dom[0], GFN(FREE_GFN));
	assert_int_equal(e.type, P2M_GRANT_RW);
	assert_int_equal(e.mfn.n, m.n);
	assert_int_equal(v1(dom[1], 9)->flags, GTF_permit_access | GTF_reading | GTF_writing);
	assert_int_equal(frame_refs(m), 3); /* its own, the pin's, the mapping's */
	assert_int_equal(grant_active_count(dom[1]), 1);
	assert_int_equal(grant_maptrack_count(dom[0]), 1);

	assert_int_equal(unmap(dom[0], op.handle, FREE_GFN + 1), GNTST_general_error);
	assert_int_equal(unmap(dom[0], op.handle, 0), GNTST_okay); /* nothing asked for */
	assert_int_equal(grant_maptrack_count(dom[0]), 1);
	assert_int_equal(unmap(dom[1], op.handle, FREE_GFN), GNTST_bad_handle);
	assert_int_equal(unmap(dom[0], op.handle, FREE_GFN), GNTST_okay);
	assert_int_equal(unmap(dom[0], op.handle, FREE_GFN), GNTST_bad_handle);
	assert_int_equal(p2m_lookup(dom[0], GFN(FREE_GFN)).type, P2M_NONE);
	assert_int_equal(v1(dom[1], 9)->flags, GTF_permit_access);
	assert_int_equal(frame_refs(m), 2); /* until the translation is flushed */
	assert_idle();
}

static void test_bad_handles(void **state)
{
	assert_int_equal(unmap(dom[0], 0, FREE_GFN), GNTST_bad_handle);
	assert_int_equal(unmap(dom[0], ~0u, FREE_GFN), GNTST_bad_handle);
	give(dom[1], 9, 0, 5, 0);
	struct gnttab_map_grant_ref op = map(dom[0], dom[1], 9, FREE_GFN, 0);

	for (uint32_t h = 0; h < 600; h++)
		if (h != op.handle)
			assert_int_equal(unmap(dom[0], h, FREE_GFN), GNTST_bad_handle);
	assert_int_equal(unmap(dom[0], op.handle, FREE_GFN), GNTST_okay);
	assert_idle();
}

static void test_refusals(void **state)
{
	struct gnttab_map_grant_ref op = { .host_addr = FREE_GFN << PAGE_SHIFT, .ref = 9, .dom = 1 };

	give(dom[1], 9, 0, 5, 0);
	grant_map(dom[0], &op);
	assert_int_equal(op.status, GNTST_bad_gntref); /* neither kind of mapping */
	assert_int_equal(map(dom[0], dom[1], 9, FREE_GFN, GNTMAP_contains_pte).status, GNTST_general_error);
	assert_int_equal(map(dom[0], dom[1], 9, FREE_GFN, GNTMAP_device_map).status, GNTST_general_error);
	assert_int_equal(map(dom[0], dom[1], 512, FREE_GFN, 0).status, GNTST_bad_gntref);
	assert_int_equal(map(dom[0], dom[1], ~0u, FREE_GFN, 0).status, GNTST_bad_gntref);
	assert_int_equal(map(dom[0], dom[1], 8, FREE_GFN, 0).status, GNTST_general_error);
	assert_int_equal(map(dom[2], dom[1], 9, FREE_GFN, 0).status, GNTST_general_error); /* not for 2 */
	op.flags = GNTMAP_host_map;
	op.dom = 99;
	grant_map(dom[0], &op);
	assert_int_equal(op.status, GNTST_bad_domain);
	op.dom = DOMID_SELF;
	grant_map(dom[0], &op);
	assert_int_equal(op.status, GNTST_bad_domain);
	assert_int_equal(map(dom[0], dom[1], 9, 3, 0).status, GNTST_general_error); /* RAM is there */
	assert_int_equal(map(dom[0], dom[1], 9, ~0ull >> PAGE_SHIFT, 0).status, GNTST_general_error);
	give(dom[1], 10, 0, WORLD_RAM, 0);
	assert_int_equal(map(dom[0], dom[1], 10, FREE_GFN, 0).status, GNTST_bad_page);
	give(dom[1], 10, 0, ~0u, 0);
	assert_int_equal(map(dom[0], dom[1], 10, FREE_GFN, 0).status, GNTST_bad_page);
	give(dom[1], 10, 0, 5, GTF_readonly);
	assert_int_equal(map(dom[0], dom[1], 10, FREE_GFN, 0).status, GNTST_general_error);
	v1(dom[1], 9)->flags = GTF_accept_transfer;
	assert_int_equal(map(dom[0], dom[1], 9, FREE_GFN, 0).status, GNTST_general_error);
	give(dom[1], 9, 0, 5, GTF_sub_page);
	assert_int_equal(map(dom[0], dom[1], 9, FREE_GFN, 0).status, GNTST_general_error);
	assert_int_equal(p2m_lookup(dom[0], GFN(FREE_GFN)).type, P2M_NONE);
	assert_idle();
}

/* Pages of the hypervisor do not keep their domain alive: granting one would leave a pin that nobody can drop. */
static void test_shared_page_refused(void **state)
{
	mfn_t m;

	assert_int_equal(grant_frame(dom[1], 0, false, &m), 0);
	assert_int_equal(p2m_map(dom[1], GFN(FREE_GFN), m, 0, P2M_SHARED), 0);
	give(dom[1], 9, 0, FREE_GFN, 0);
	assert_int_equal(map(dom[0], dom[1], 9, FREE_GFN, 0).status, GNTST_bad_page);
	assert_int_equal(frame_refs(m), 2);
	assert_int_equal(v1(dom[1], 9)->flags, GTF_permit_access);
	assert_idle();
}

static void test_readers_and_writers(void **state)
{
	struct gnttab_map_grant_ref r, w;

	give(dom[1], 9, 0, 5, 0);
	r = map(dom[0], dom[1], 9, FREE_GFN, GNTMAP_readonly);
	assert_int_equal(r.status, GNTST_okay);
	assert_int_equal(p2m_lookup(dom[0], GFN(FREE_GFN)).type, P2M_GRANT_RO);
	assert_int_equal(v1(dom[1], 9)->flags, GTF_permit_access | GTF_reading);
	w = map(dom[0], dom[1], 9, FREE_GFN + 1, 0);
	assert_int_equal(w.status, GNTST_okay);
	assert_int_equal(v1(dom[1], 9)->flags, GTF_permit_access | GTF_reading | GTF_writing);
	/* A handle is good for its own address only: rights cannot be swapped. */
	assert_int_equal(unmap(dom[0], r.handle, FREE_GFN + 1), GNTST_general_error);
	assert_int_equal(unmap(dom[0], w.handle, FREE_GFN + 1), GNTST_okay);
	assert_int_equal(v1(dom[1], 9)->flags, GTF_permit_access | GTF_reading);
	/* The grantor took back writing meanwhile. */
	v1(dom[1], 9)->flags |= GTF_readonly;
	assert_int_equal(map(dom[0], dom[1], 9, FREE_GFN + 1, 0).status, GNTST_general_error);
	assert_int_equal(unmap(dom[0], r.handle, FREE_GFN), GNTST_okay);
	assert_int_equal(v1(dom[1], 9)->flags, GTF_permit_access | GTF_readonly);
	assert_idle();
}

/* In use by one grantee, the grantor rewrites the entry: what was checked stays what is used. */
static void test_rewritten_in_use(void **state)
{
	struct gnttab_map_grant_ref a, b;
	mfn_t m = p2m_lookup(dom[1], GFN(5)).mfn;

	give(dom[1], 9, 0, 5, 0);
	a = map(dom[0], dom[1], 9, FREE_GFN, 0);
	give(dom[1], 9, 2, 6, 0);
	assert_int_equal(map(dom[2], dom[1], 9, FREE_GFN, 0).status, GNTST_general_error);
	b = map(dom[0], dom[1], 9, FREE_GFN + 1, 0);
	assert_int_equal(b.status, GNTST_okay);
	assert_int_equal(p2m_lookup(dom[0], GFN(FREE_GFN + 1)).mfn.n, m.n);
	assert_int_equal(unmap(dom[0], a.handle, FREE_GFN), GNTST_okay);
	assert_int_equal(unmap(dom[0], b.handle, FREE_GFN + 1), GNTST_okay);
	a = map(dom[2], dom[1], 9, FREE_GFN, 0);
	assert_int_equal(a.status, GNTST_okay);
	assert_int_equal(unmap(dom[2], a.handle, FREE_GFN), GNTST_okay);
	/* A read-only pin whose entry changed its frame cannot grow into a writing one. */
	a = map(dom[2], dom[1], 9, FREE_GFN, GNTMAP_readonly);
	give(dom[1], 9, 2, 7, 0);
	assert_int_equal(map(dom[2], dom[1], 9, FREE_GFN + 1, 0).status, GNTST_general_error);
	assert_int_equal(unmap(dom[2], a.handle, FREE_GFN), GNTST_okay);
	assert_idle();
}

static uint64_t large_gfn; /* a 2 MiB leaf under log-dirty: getting a frame of it for writing lets the grantor act */

static void arm(void (*f)(void))
{
	mfn_t m;

	dom[1]->max_frames = 8192;
	large_gfn += 512;
	m = frame_alloc(dom[1], ORDER_2M, 0);
	assert_true(mfn_valid(m));
	assert_int_equal(p2m_map(dom[1], GFN(large_gfn), m, ORDER_2M, P2M_RAM_LOGDIRTY), 0);
	while_looked_up = f;
}

static void revoke(void)
{
	v1(dom[1], 9)->flags = 0;
}

static void protect(void)
{
	v1(dom[1], 9)->flags |= GTF_readonly;
}

static void redirect(void)
{
	v1(dom[1], 9)->frame = 5;
}

static void revoke_v2(void)
{
	v2(dom[1], 9)->hdr.flags = 0;
}

static void redirect_v2(void)
{
	v2(dom[1], 9)->full_page.frame = 5;
}

static void test_changed_between_reads(void **state)
{
	struct gnttab_map_grant_ref op;

	large_gfn = 0;
	arm(revoke);
	give(dom[1], 9, 0, (uint32_t)large_gfn, 0);
	assert_int_equal(map(dom[0], dom[1], 9, FREE_GFN, 0).status, GNTST_general_error);
	assert_null(while_looked_up);
	assert_int_equal(v1(dom[1], 9)->flags, 0);
	arm(protect);
	give(dom[1], 9, 0, (uint32_t)large_gfn, 0);
	assert_int_equal(map(dom[0], dom[1], 9, FREE_GFN, 0).status, GNTST_general_error);
	assert_int_equal(v1(dom[1], 9)->flags, GTF_permit_access | GTF_readonly);
	arm(redirect);
	give(dom[1], 9, 0, (uint32_t)large_gfn, 0);
	op = map(dom[0], dom[1], 9, FREE_GFN, 0); /* looked again: what the entry says now */
	assert_int_equal(op.status, GNTST_okay);
	assert_int_equal(p2m_lookup(dom[0], GFN(FREE_GFN)).mfn.n, p2m_lookup(dom[1], GFN(5)).mfn.n);
	assert_int_equal(unmap(dom[0], op.handle, FREE_GFN), GNTST_okay);
	assert_int_equal(frame_refs_at(dom[1], large_gfn), 1);
	assert_idle();
}

static void set_version(struct domain *d, uint32_t version)
{
	struct gnttab_set_version op = { version };

	assert_int_equal(grant_set_version(d, &op), 0);
	assert_int_equal(op.version, version);
}

static void test_changed_between_reads_v2(void **state)
{
	struct gnttab_map_grant_ref op;

	set_version(dom[1], 2);
	large_gfn = 0;
	arm(revoke_v2);
	v2(dom[1], 9)->full_page.hdr = (struct grant_entry_header){ GTF_permit_access, 0 };
	v2(dom[1], 9)->full_page.frame = large_gfn;
	assert_int_equal(map(dom[0], dom[1], 9, FREE_GFN, 0).status, GNTST_general_error);
	assert_int_equal(*v2_status(dom[1], 9), 0);
	arm(redirect_v2);
	v2(dom[1], 9)->full_page.hdr = (struct grant_entry_header){ GTF_permit_access, 0 };
	v2(dom[1], 9)->full_page.frame = large_gfn;
	op = map(dom[0], dom[1], 9, FREE_GFN, 0);
	assert_int_equal(op.status, GNTST_okay);
	assert_int_equal(*v2_status(dom[1], 9), GTF_reading | GTF_writing);
	assert_int_equal(p2m_lookup(dom[0], GFN(FREE_GFN)).mfn.n, p2m_lookup(dom[1], GFN(5)).mfn.n);
	assert_int_equal(unmap(dom[0], op.handle, FREE_GFN), GNTST_okay);
	assert_int_equal(*v2_status(dom[1], 9), 0);
	assert_idle();
}

/* Handles run out at the limit, without a trace; freed ones come back. */
static void test_handles_run_out(void **state)
{
	uint32_t n = 0, max = 2 * (uint32_t)(PAGE_SIZE / 16), *handle = calloc(max, sizeof(*handle));
	struct gnttab_map_grant_ref op;

	give(dom[1], 9, 2, 5, 0);
	while ((op = map(dom[2], dom[1], 9, FREE_GFN + n, n & 1 ? GNTMAP_readonly : 0)).status == GNTST_okay) {
		assert_true(n < max);
		handle[n++] = op.handle;
	}
	assert_int_equal(op.status, GNTST_no_space);
	assert_int_equal(n, max);
	assert_int_equal(unmap(dom[2], handle[70], FREE_GFN + 70), GNTST_okay);
	p2m_flush(dom[2]);
	op = map(dom[2], dom[1], 9, FREE_GFN + 70, 0);
	assert_int_equal(op.status, GNTST_okay);
	handle[70] = op.handle;
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(unmap(dom[2], handle[i], FREE_GFN + i), GNTST_okay);
	free(handle);
	assert_idle();
}

/* The mapper removed the mapping by other means: its handle is of no use, and nothing else is touched. */
static void test_mapping_gone(void **state)
{
	struct gnttab_map_grant_ref op;

	give(dom[1], 9, 0, 5, 0);
	op = map(dom[0], dom[1], 9, FREE_GFN, 0);
	assert_int_equal(p2m_unmap(dom[0], GFN(FREE_GFN), 0), 0);
	assert_int_equal(unmap(dom[0], op.handle, FREE_GFN), GNTST_general_error);
	assert_int_equal(grant_maptrack_count(dom[0]), 1);
}

static void test_dying_mapper(void **state)
{
	give(dom[1], 9, 2, 5, 0);
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(map(dom[2], dom[1], 9, FREE_GFN + i, i & 1 ? GNTMAP_readonly : 0).status, GNTST_okay);
	while (domain_kill(dom[2]) == -ERESTART)
		;
	domain_reap();
	dom[2] = NULL;
	assert_null(domain_find(2));
	assert_int_equal(grant_active_count(dom[1]), 0);
	assert_int_equal(v1(dom[1], 9)->flags, GTF_permit_access);
	assert_int_equal(frame_refs_at(dom[1], 5), 1);
}

static void test_dying_grantor(void **state)
{
	struct gnttab_map_grant_ref op;
	struct grant_kept kept = { 0 };
	struct gnttab_copy copy = { .source = { .u.ref = 9, .domid = 2 }, .dest = { .u.gmfn = 1, .domid = DOMID_SELF },
				    .len = 8, .flags = GNTCOPY_source_gref };

	give(dom[2], 9, 0, 5, 0);
	op = map(dom[0], dom[2], 9, FREE_GFN, 0);
	assert_int_equal(op.status, GNTST_okay);
	while (domain_kill(dom[2]) == -ERESTART)
		;
	domain_reap();
	assert_non_null(domain_find(2)); /* one frame is still ours */
	assert_int_equal(map(dom[0], dom[2], 9, FREE_GFN + 1, 0).status, GNTST_bad_domain);
	grant_copy(dom[0], &copy, &kept);
	grant_copy_end(dom[0], &kept);
	assert_int_equal(copy.status, GNTST_bad_domain);
	assert_int_equal(unmap(dom[0], op.handle, FREE_GFN), GNTST_okay);
	p2m_flush(dom[0]);
	assert_null(domain_find(2));
	dom[2] = NULL;
}

/* --- copy --- */

static int copy(struct domain *d, struct gnttab_copy op)
{
	struct grant_kept kept = { 0 };

	op.status = 77;
	grant_copy(d, &op, &kept);
	grant_copy_end(d, &kept);
	guestmem_end();
	return op.status;
}

static void test_copy(void **state)
{
	char *from = ram(dom[1], 5), *to = ram(dom[0], 7);
	struct gnttab_copy in = { .source = { .u.ref = 9, .domid = 1, .offset = 100 },
				  .dest = { .u.gmfn = 7, .domid = DOMID_SELF, .offset = 3 },
				  .len = 1000,
				  .flags = GNTCOPY_source_gref };
	struct gnttab_copy out = { .source = { .u.gmfn = 7, .domid = DOMID_SELF },
				   .dest = { .u.ref = 10, .domid = 1 },
				   .len = PAGE_SIZE,
				   .flags = GNTCOPY_dest_gref };

	for (unsigned i = 0; i < PAGE_SIZE; i++)
		from[i] = (char)i;
	memset(to, 0, PAGE_SIZE);
	give(dom[1], 9, 0, 5, GTF_readonly);
	assert_int_equal(copy(dom[0], in), GNTST_okay);
	assert_memory_equal(to + 3, from + 100, 1000);
	assert_int_equal(to[2], 0);
	assert_int_equal(to[1003], 0);
	assert_int_equal(v1(dom[1], 9)->flags, GTF_permit_access | GTF_readonly);

	give(dom[1], 10, 0, 6, 0);
	assert_int_equal(copy(dom[0], out), GNTST_okay);
	assert_memory_equal(ram(dom[1], 6), to, PAGE_SIZE);

	/* Between two grants of others, and inside one page. */
	give(dom[2], 4, 0, 8, 0);
	out.source.u.ref = 10;
	out.source.domid = 1;
	out.dest.u.ref = 4;
	out.dest.domid = 2;
	out.flags = GNTCOPY_source_gref | GNTCOPY_dest_gref;
	assert_int_equal(copy(dom[0], out), GNTST_okay);
	assert_memory_equal(ram(dom[2], 8), to, PAGE_SIZE);
	in = (struct gnttab_copy){ .source = { .u.gmfn = 7, .domid = DOMID_SELF },
				   .dest = { .u.gmfn = 7, .domid = DOMID_SELF, .offset = 8 },
				   .len = 2000 };
	memcpy(from, to, PAGE_SIZE);
	assert_int_equal(copy(dom[0], in), GNTST_okay);
	assert_memory_equal(to + 8, from, 2000);
	assert_idle();
}

/* Pieces of a page keep it between them, each is checked, and another page or the end gives it up. */
static void test_copies_of_one_call(void **state)
{
	char *from = ram(dom[1], 5), *to = ram(dom[0], 7);
	struct gnttab_copy c = { .source = { .u.ref = 9, .domid = 1 }, .dest = { .u.gmfn = 7, .domid = DOMID_SELF },
				 .len = 8, .flags = GNTCOPY_source_gref };
	struct grant_kept kept = { 0 };

	for (unsigned i = 0; i < PAGE_SIZE; i++)
		from[i] = (char)i;
	give(dom[1], 9, 0, 5, GTF_readonly);
	give(dom[1], 10, 0, 6, 0);
	grant_copy(dom[0], &c, &kept);
	assert_int_equal(c.status, GNTST_okay);
	assert_int_equal(v1(dom[1], 9)->flags, GTF_permit_access | GTF_readonly | GTF_reading);
	c.source.offset = c.dest.offset = 8;
	grant_copy(dom[0], &c, &kept);
	assert_int_equal(c.status, GNTST_okay);
	assert_memory_equal(to, from, 16);
	c.source.offset = PAGE_SIZE - 7;
	grant_copy(dom[0], &c, &kept);
	assert_int_equal(c.status, GNTST_bad_copy_arg);

	c.source.u.ref = 10;
	c.source.offset = 0;
	grant_copy(dom[0], &c, &kept);
	assert_int_equal(c.status, GNTST_okay);
	assert_int_equal(v1(dom[1], 9)->flags, GTF_permit_access | GTF_readonly);
	assert_int_equal(v1(dom[1], 10)->flags, GTF_permit_access | GTF_reading);
	/* The caller's frame of the same number is another page, and so is another domain's grant. */
	c.flags = 0;
	c.source.u.gmfn = 10;
	c.source.domid = DOMID_SELF;
	grant_copy(dom[0], &c, &kept);
	assert_int_equal(v1(dom[1], 10)->flags, GTF_permit_access);
	c.flags = GNTCOPY_source_gref;
	c.source.u.ref = 10;
	c.source.domid = 2;
	grant_copy(dom[0], &c, &kept);
	assert_int_not_equal(c.status, GNTST_okay);
	grant_copy_end(dom[0], &kept);
	grant_copy_end(dom[0], &kept); /* nothing is held */
	assert_idle();
}

static void test_copy_refusals(void **state)
{
	struct gnttab_copy op = { .source = { .u.ref = 9, .domid = 1 }, .dest = { .u.gmfn = 7, .domid = DOMID_SELF },
				  .len = 16, .flags = GNTCOPY_source_gref };

	give(dom[1], 9, 0, 5, GTF_readonly);
	op.source.offset = PAGE_SIZE - 15;
	assert_int_equal(copy(dom[0], op), GNTST_bad_copy_arg);
	op.source.offset = 0xffff;
	op.len = 0xffff;
	assert_int_equal(copy(dom[0], op), GNTST_bad_copy_arg);
	op.source.offset = 0;
	op.len = 16;
	op.dest.offset = PAGE_SIZE - 15;
	assert_int_equal(copy(dom[0], op), GNTST_bad_copy_arg);
	op.dest.offset = 0;
	op.dest.domid = 0; /* a frame number is for DOMID_SELF only */
	assert_int_equal(copy(dom[0], op), GNTST_permission_denied);
	op.dest.domid = DOMID_SELF;
	op.dest.u.gmfn = FREE_GFN;
	assert_int_equal(copy(dom[0], op), GNTST_bad_page);
	op.dest.u.gmfn = ~0ull;
	assert_int_equal(copy(dom[0], op), GNTST_bad_page);
	op.dest.u.gmfn = 7;
	op.source.domid = 99;
	assert_int_equal(copy(dom[0], op), GNTST_bad_domain);
	op.source.domid = 1;
	op.source.u.ref = 100000;
	assert_int_equal(copy(dom[0], op), GNTST_bad_gntref);
	op = (struct gnttab_copy){ .source = { .u.gmfn = 7, .domid = DOMID_SELF }, .dest = { .u.ref = 9, .domid = 1 },
				   .len = 16, .flags = GNTCOPY_dest_gref };
	assert_int_equal(copy(dom[0], op), GNTST_general_error); /* read-only */
	assert_idle();
}

/* --- version 2 --- */

static void test_version_2(void **state)
{
	struct gnttab_set_version op = { 3 };
	struct gnttab_map_grant_ref m;

	assert_int_equal(grant_set_version(dom[1], &op), -EINVAL);
	assert_int_equal(op.version, 1);
	give(dom[1], 1, 0, 5, 0); /* a reserved entry stays, in use or not */
	give(dom[1], 9, 0, 6, 0);
	m = map(dom[0], dom[1], 1, FREE_GFN, 0);
	set_version(dom[1], 2);
	assert_int_equal(v2(dom[1], 1)->hdr.flags, GTF_permit_access);
	assert_int_equal(v2(dom[1], 1)->full_page.frame, 5);
	assert_int_equal(*v2_status(dom[1], 1), GTF_reading | GTF_writing);
	assert_int_equal(v2(dom[1], 9)->hdr.flags, 0);
	assert_int_equal(unmap(dom[0], m.handle, FREE_GFN), GNTST_okay);
	assert_int_equal(*v2_status(dom[1], 1), 0);
	assert_int_equal(map(dom[0], dom[1], 256, FREE_GFN, 0).status, GNTST_bad_gntref);
	p2m_flush(dom[0]);

	v2(dom[1], 9)->full_page.hdr = (struct grant_entry_header){ GTF_permit_access, 0 };
	v2(dom[1], 9)->full_page.frame = 6;
	m = map(dom[0], dom[1], 9, FREE_GFN, GNTMAP_readonly);
	assert_int_equal(m.status, GNTST_okay);
	assert_int_equal(*v2_status(dom[1], 9), GTF_reading);
	op.version = 1;
	assert_int_equal(grant_set_version(dom[1], &op), -EBUSY);
	assert_int_equal(op.version, 2);
	assert_int_equal(unmap(dom[0], m.handle, FREE_GFN), GNTST_okay);
	v2(dom[1], 1)->full_page.frame = 1ull << 32;
	op.version = 1;
	assert_int_equal(grant_set_version(dom[1], &op), -EINVAL);
	v2(dom[1], 1)->full_page.frame = 5;
	set_version(dom[1], 1);
	assert_int_equal(v1(dom[1], 1)->frame, 5);
	assert_int_equal(v1(dom[1], 1)->flags, GTF_permit_access);
	assert_int_equal(dom[1]->grant.nr_status_frames, 0);
	dom[2]->grant.max_version = 1;
	op.version = 2;
	assert_int_equal(grant_set_version(dom[2], &op), -ENOSYS);
	assert_idle();
}

static void test_sub_page(void **state)
{
	struct gnttab_copy op = { .source = { .u.ref = 9, .domid = 1, .offset = 100 },
				  .dest = { .u.gmfn = 7, .domid = DOMID_SELF }, .len = 50, .flags = GNTCOPY_source_gref };
	union grant_entry_v2 *e;

	set_version(dom[1], 2);
	e = v2(dom[1], 9);
	e->sub_page.frame = 5;
	e->sub_page.page_off = 100;
	e->sub_page.length = 50;
	e->hdr = (struct grant_entry_header){ GTF_permit_access | GTF_sub_page, 0 };
	assert_int_equal(copy(dom[0], op), GNTST_okay);
	op.source.offset = 99;
	assert_int_equal(copy(dom[0], op), GNTST_general_error);
	op.source.offset = 101;
	assert_int_equal(copy(dom[0], op), GNTST_general_error);
	assert_int_equal(map(dom[0], dom[1], 9, FREE_GFN, 0).status, GNTST_general_error);
	e->sub_page.length = PAGE_SIZE;
	op.source.offset = 100;
	assert_int_equal(copy(dom[0], op), GNTST_general_error); /* over the end of the page */
	assert_idle();
}

/* --- the table --- */

static void test_table(void **state)
{
	struct gnttab_query_size q = { .dom = DOMID_SELF };
	struct gnttab_get_version g = { .dom = 1 };
	mfn_t m;

	assert_int_equal(grant_query_size(dom[1], &q), 0);
	assert_int_equal(q.status, GNTST_okay);
	assert_int_equal(q.nr_frames, 1);
	assert_int_equal(q.max_nr_frames, 4);
	q.dom = 2;
	grant_query_size(dom[1], &q);
	assert_int_equal(q.status, GNTST_permission_denied);
	grant_query_size(dom[0], &q);
	assert_int_equal(q.status, GNTST_okay);
	q.dom = 99;
	grant_query_size(dom[0], &q);
	assert_int_equal(q.status, GNTST_bad_domain);
	assert_int_equal(grant_get_version(dom[0], &g), 0);
	assert_int_equal(g.version, 1);
	assert_int_equal(grant_get_version(dom[2], &g), -EPERM);

	assert_int_equal(grant_setup_table(dom[1], DOMID_SELF, 2), GNTST_okay);
	assert_int_equal(grant_setup_table(dom[1], DOMID_SELF, 5), GNTST_general_error);
	assert_int_equal(dom[1]->grant.nr_frames, 2);
	assert_int_equal(grant_frame(dom[1], 3, false, &m), 0);
	assert_int_equal(dom[1]->grant.nr_frames, 4);
	assert_int_equal(frame_refs(m), 2);
	frame_put(m);
	assert_int_equal(grant_frame(dom[1], 4, false, &m), -EINVAL);
	assert_int_equal(grant_frame(dom[1], ~0u, false, &m), -EINVAL);
	assert_int_equal(grant_frame(dom[1], 0, true, &m), -EINVAL);
	set_version(dom[1], 2);
	assert_int_equal(grant_frame(dom[1], 0, true, &m), 0);
	frame_put(m);
	assert_int_equal(grant_frame(dom[1], 1, true, &m), -EINVAL);
	/* A frame that somebody still maps outlives the table. */
	assert_int_equal(grant_frame(dom[1], 0, false, &m), 0);
	while (domain_kill(dom[1]) == -ERESTART)
		;
	domain_reap();
	dom[1] = NULL;
	assert_null(domain_find(1));
	assert_int_equal(frame_refs(m), 1);
	frame_put(m);
}

static void test_swap(void **state)
{
	struct gnttab_swap_grant_ref op = { 9, 10, 77 };
	struct gnttab_map_grant_ref m;

	give(dom[1], 9, 0, 5, 0);
	give(dom[1], 10, 2, 6, GTF_readonly);
	grant_swap_refs(dom[1], &op);
	assert_int_equal(op.status, GNTST_okay);
	assert_int_equal(v1(dom[1], 10)->frame, 5);
	assert_int_equal(v1(dom[1], 9)->domid, 2);
	m = map(dom[0], dom[1], 10, FREE_GFN, 0);
	grant_swap_refs(dom[1], &op);
	assert_int_equal(op.status, GNTST_eagain);
	op.ref_a = 512;
	grant_swap_refs(dom[1], &op);
	assert_int_equal(op.status, GNTST_bad_gntref);
	assert_int_equal(unmap(dom[0], m.handle, FREE_GFN), GNTST_okay);
	assert_idle();
}

/* Random maps, unmaps and copies while every table is being scribbled over. */
static void test_hostile(void **state)
{
	enum { N = 64 };
	struct { uint32_t handle; bool used; } at[WORLD_DOMAINS][N] = { 0 };
	uint64_t seed = 5;

	for (unsigned step = 0; step < 60000; step++) {
		uint64_t r = host_random(&seed);
		unsigned i = r % 3, j = (r >> 8) % 3, k = (r >> 16) % N;
		uint32_t ref = (uint32_t)(r >> 24) % 20;
		struct gnttab_map_grant_ref op;

		switch ((r >> 40) % 6) {
		case 0:
			give(dom[i], ref, (domid_t)j, (uint32_t)(r >> 48) % (WORLD_RAM + 4), (r >> 60) & GTF_readonly);
			break;
		case 1:
			((uint32_t *)table(dom[i], 0))[(r >> 32) % 40] = (uint32_t)(r >> 32);
			break;
		case 2:
			if (at[i][k].used)
				break;
			op = map(dom[i], dom[j], ref, FREE_GFN + k, (r >> 50) & GNTMAP_readonly);
			at[i][k].used = op.status == GNTST_okay;
			at[i][k].handle = op.handle;
			break;
		case 3:
			if (at[i][k].used)
				assert_int_equal(unmap(dom[i], at[i][k].handle, FREE_GFN + k), GNTST_okay);
			at[i][k].used = false;
			break;
		case 4:
			copy(dom[i], (struct gnttab_copy){
				.source = { .u.ref = ref, .domid = (domid_t)j, .offset = (uint16_t)(r >> 50) & 0xfff },
				.dest = { .u.gmfn = k % 8, .domid = DOMID_SELF }, .len = (uint16_t)(r >> 32) & 0xfff,
				.flags = GNTCOPY_source_gref });
			break;
		default:
			p2m_flush(dom[i]);
		}
	}
	for (unsigned i = 0; i < WORLD_DOMAINS; i++)
		for (unsigned k = 0; k < N; k++)
			if (at[i][k].used)
				assert_int_equal(unmap(dom[i], at[i][k].handle, FREE_GFN + k), GNTST_okay);
	assert_idle();
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_begin, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_map_unmap),	   T(test_bad_handles),		     T(test_refusals),
		T(test_readers_and_writers), T(test_rewritten_in_use),	     T(test_changed_between_reads),
		T(test_changed_between_reads_v2), T(test_handles_run_out),   T(test_mapping_gone),
		T(test_dying_mapper),	   T(test_dying_grantor),	     T(test_copy),
		T(test_copies_of_one_call), T(test_copy_refusals),	   T(test_version_2),		     T(test_sub_page),
		T(test_table),		   T(test_swap),		     T(test_hostile),
		T(test_shared_page_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
