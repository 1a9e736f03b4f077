// SPDX-License-Identifier: Apache-2.0
/*
 * Grants, from the domain to itself: copy, map, unmap, versions, status frames, refusals.
 *
 * Source: public header grant_table.h.
 */
#include "lib/guest.h"

const char guest_name[] = "grants";

#define BAD	  ((void *)0x7f0000000000UL)
#define REF	  20U
#define REF_RO	  21U
#define REF_NONE  22U
#define REF_OTHER 23U
#define REF_FAR	  0x7fffffffU

static char *frame, *source, *target, *hole;

static unsigned long gfn_of(const void *p)
{
	return (unsigned long)p / PAGE_SIZE;
}

static void map_frame(unsigned long idx, char *at)
{
	struct xen_add_to_physmap x = {
		.domid = DOMID_SELF,
		.space = XENMAPSPACE_grant_table,
		.idx = idx,
		.gpfn = gfn_of(at),
	};

	CHECK_EQ("map a frame of the table", hc_memory(XENMEM_add_to_physmap, &x), 0);
}

static domid_t own_domid(void)
{
	uint32_t r[4];

	cpu_cpuid(0x40000004, 0, r);
	return (domid_t)r[2];
}

static void fill_v1(void)
{
	struct grant_entry_v1 *t = (struct grant_entry_v1 *)frame;
	domid_t me = own_domid();

	t[REF] = (struct grant_entry_v1){GTF_permit_access, me, (uint32_t)gfn_of(source)};
	t[REF_RO] = (struct grant_entry_v1){GTF_permit_access | GTF_readonly, me, (uint32_t)gfn_of(source)};
	t[REF_NONE] = (struct grant_entry_v1){0};
	t[REF_OTHER] = (struct grant_entry_v1){GTF_permit_access, 1234, (uint32_t)gfn_of(source)};
}

static int copy_one(struct gnttab_copy *c)
{
	c->status = 99;
	if (hc_grant(GNTTABOP_copy, c, 1) != 0)
		return 98;
	return c->status;
}

/* From a grant of ours to a page of ours. */
static struct gnttab_copy from_grant(unsigned int ref, unsigned int off, unsigned int len)
{
	struct gnttab_copy c = {.len = len, .flags = GNTCOPY_source_gref};

	c.source.u.ref = ref;
	c.source.domid = DOMID_SELF;
	c.source.offset = off;
	c.dest.u.gmfn = gfn_of(target);
	c.dest.domid = DOMID_SELF;
	return c;
}

static void copying(void)
{
	struct gnttab_copy c = from_grant(REF, 0, PAGE_SIZE), many[40];

	memset(source, 0x5a, PAGE_SIZE);
	memset(target, 0, PAGE_SIZE);
	CHECK_EQ("copy a page", copy_one(&c), GNTST_okay);
	CHECK("it arrived", !memcmp(source, target, PAGE_SIZE));
	memset(target, 0, PAGE_SIZE);
	c = from_grant(REF, 100, 33);
	c.dest.offset = 7;
	CHECK_EQ("copy a piece", copy_one(&c), GNTST_okay);
	CHECK("only the piece", target[6] == 0 && target[7] == 0x5a && target[39] == 0x5a && target[40] == 0);
	c = from_grant(REF, 4000, 97);
	CHECK_EQ("copy beyond the page", copy_one(&c), GNTST_bad_copy_arg);
	c = from_grant(REF, 0, 100);
	c.dest.offset = 4000;
	CHECK_EQ("copy beyond the target", copy_one(&c), GNTST_bad_copy_arg);
	c = from_grant(REF_RO, 0, 16);
	CHECK_EQ("copy from a read-only grant", copy_one(&c), GNTST_okay);
	c = from_grant(REF_NONE, 0, 16);
	CHECK("copy from an empty entry", copy_one(&c) < 0);
	print("empty entry: %d\n", c.status);
	c = from_grant(REF_OTHER, 0, 16);
	CHECK("copy from another's grant", copy_one(&c) < 0);
	print("another's: %d\n", c.status);
	c = from_grant(REF_FAR, 0, 16);
	CHECK_EQ("copy from a far ref", copy_one(&c), GNTST_bad_gntref);
	c = from_grant(REF, 0, 16);
	c.source.domid = 1234;
	CHECK_EQ("copy from nobody", copy_one(&c), GNTST_bad_domain);
	c = from_grant(REF, 0, 16);
	c.dest.u.gmfn = 0xfffffffffUL;
	CHECK("copy to nowhere", copy_one(&c) < 0);
	print("nowhere: %d\n", c.status);
	/* to a grant */
	c = (struct gnttab_copy){.len = 16, .flags = GNTCOPY_dest_gref};
	c.source.u.gmfn = gfn_of(target);
	c.source.domid = c.dest.domid = DOMID_SELF;
	c.dest.u.ref = REF_RO;
	CHECK("copy to a read-only grant", copy_one(&c) < 0);
	print("read-only: %d\n", c.status);
	c.dest.u.ref = REF;
	memset(target, 0x66, 16);
	CHECK_EQ("copy to a grant", copy_one(&c), GNTST_okay);
	CHECK("it is there", source[0] == 0x66 && source[15] == 0x66 && source[16] == 0x5a);
	for (unsigned int i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = from_grant(i == 20 ? REF_FAR : REF, 0, 64);
	CHECK_EQ("copy 40", hc_grant(GNTTABOP_copy, many, 40), 0);
	CHECK_EQ("the last one", many[39].status, GNTST_okay);
	CHECK_EQ("the bad one", many[20].status, GNTST_bad_gntref);
	CHECK_EQ("the one after", many[21].status, GNTST_okay);
	CHECK_EQ("the entry is unused again", ((struct grant_entry_v1 *)frame)[REF].flags & (GTF_reading | GTF_writing),
		 0);
}

static long map(unsigned int ref, uint64_t addr, uint32_t flags, domid_t dom, struct gnttab_map_grant_ref *m)
{
	*m = (struct gnttab_map_grant_ref){.host_addr = addr, .flags = flags, .ref = ref, .dom = dom, .status = 99};
	return hc_grant(GNTTABOP_map_grant_ref, m, 1);
}

static long unmap(uint64_t addr, grant_handle_t handle, int *status)
{
	struct gnttab_unmap_grant_ref u = {.host_addr = addr, .handle = handle, .status = 99};
	long rc = hc_grant(GNTTABOP_unmap_grant_ref, &u, 1);

	*status = u.status;
	return rc;
}

static void mapping(void)
{
	volatile struct grant_entry_v1 *e = &((struct grant_entry_v1 *)frame)[REF];
	unsigned long at = (unsigned long)hole;
	struct gnttab_map_grant_ref m;
	grant_handle_t handle;
	domid_t me = own_domid();
	int status;

	CHECK_EQ("map of DOMID_SELF", map(REF, at, GNTMAP_host_map, DOMID_SELF, &m), 0);
	CHECK_EQ("takes no DOMID_SELF", m.status, GNTST_bad_domain);
	CHECK_EQ("map an empty entry", map(REF_NONE, at, GNTMAP_host_map, me, &m), 0);
	CHECK("is refused", m.status < 0);
	print("map empty: %d\n", m.status);
	CHECK_EQ("map another's", map(REF_OTHER, at, GNTMAP_host_map, me, &m), 0);
	CHECK("is refused as well", m.status < 0);
	CHECK_EQ("map a far ref", map(REF_FAR, at, GNTMAP_host_map, me, &m), 0);
	CHECK_EQ("far ref", m.status, GNTST_bad_gntref);
	CHECK_EQ("map of nobody", map(REF, at, GNTMAP_host_map, 1234, &m), 0);
	CHECK_EQ("nobody", m.status, GNTST_bad_domain);
	CHECK_EQ("map without a kind", map(REF, at, 0, me, &m), 0);
	CHECK_EQ("no kind", m.status, GNTST_bad_gntref);
	CHECK_EQ("map read-only as writable", map(REF_RO, at, GNTMAP_host_map, me, &m), 0);
	CHECK("refused", m.status < 0);
	CHECK_EQ("unmap no handle", unmap(at, 12345, &status), 0);
	CHECK_EQ("bad handle", status, GNTST_bad_handle);

	memset(source, 0x77, PAGE_SIZE);
	CHECK_EQ("map", map(REF, at, GNTMAP_host_map, me, &m), 0);
	if (!CHECK_EQ("mapped", m.status, GNTST_okay))
		return;
	handle = m.handle;
	CHECK_EQ("it shows the page", hole[100], 0x77);
	CHECK_EQ("the entry says in use", e->flags & (GTF_reading | GTF_writing), GTF_reading | GTF_writing);
	hole[5] = 0x11;
	CHECK_EQ("unmap at another address", unmap(at + PAGE_SIZE, handle, &status), 0);
	CHECK("is refused too", status < 0);
	CHECK_EQ("unmap", unmap(at, handle, &status), 0);
	CHECK_EQ("unmapped", status, GNTST_okay);
	CHECK_EQ("the entry is free", e->flags & (GTF_reading | GTF_writing), 0);
	CHECK_EQ("nothing is there now", (unsigned char)hole[5], 0xff);
	CHECK_EQ("unmap twice", unmap(at, handle, &status), 0);
	CHECK_EQ("bad handle then", status, GNTST_bad_handle);
}

/* A mapping that goes by another way than its handle: the handle is lost and the grant stays in use. */
static void mapping_removed(void)
{
	volatile struct grant_entry_v1 *e = &((struct grant_entry_v1 *)frame)[REF];
	struct xen_remove_from_physmap r = {.domid = DOMID_SELF, .gpfn = gfn_of(hole)};
	struct gnttab_map_grant_ref m;
	char *page = guest_pages(1);
	int status;

	fill_v1(); /* a change of version cleared it */
	/* On Xen a frame that its owner maps by a grant is gone from where it was: take another. */
	e->frame = (uint32_t)gfn_of(page);
	memset(page, 0x77, PAGE_SIZE);
	map(REF, (unsigned long)hole, GNTMAP_host_map, own_domid(), &m);
	if (!CHECK_EQ("mapped again", m.status, GNTST_okay))
		return;
	CHECK_EQ("remove_from_physmap of it", hc_memory(XENMEM_remove_from_physmap, &r), 0);
	CHECK_EQ("nothing is there now", (unsigned char)hole[100], 0xff);
	CHECK_EQ("unmap", unmap((unsigned long)hole, m.handle, &status), 0);
	CHECK_EQ("is refused", status, GNTST_general_error);
	CHECK_EQ("the entry is in use", e->flags & (GTF_reading | GTF_writing), GTF_reading | GTF_writing);
}

static void sizes_and_versions(void)
{
	struct gnttab_query_size q = {.dom = DOMID_SELF};
	struct gnttab_get_version g = {.dom = DOMID_SELF};
	struct gnttab_set_version s = {.version = 2};
	static uint64_t frames[4];
	struct gnttab_get_status_frames gs = {.nr_frames = 1, .dom = DOMID_SELF};
	grant_entry_v2_t *t = (grant_entry_v2_t *)frame;
	struct gnttab_copy c;
	char *status_page = peer_hole(1);
	long rc;

	CHECK_EQ("query_size", hc_grant(GNTTABOP_query_size, &q, 1), 0);
	CHECK_EQ("query_size ok", q.status, GNTST_okay);
	CHECK("frames", q.nr_frames >= 1 && q.nr_frames <= q.max_nr_frames);
	q.dom = 1234;
	CHECK_EQ("query_size of nobody", hc_grant(GNTTABOP_query_size, &q, 1), 0);
	CHECK_EQ("bad domain", q.status, GNTST_bad_domain);
	CHECK_EQ("get_version", hc_grant(GNTTABOP_get_version, &g, 1), 0);
	CHECK_EQ("version 1 at first", g.version, 1);
	s.version = 3;
	CHECK_EQ("set version 3", hc_grant(GNTTABOP_set_version, &s, 1), -XEN_EINVAL);
	s.version = 2;
	rc = hc_grant(GNTTABOP_set_version, &s, 1);
	CHECK_EITHER("set version 2", rc, 0, -XEN_ENOSYS);
	if (rc != 0)
		return;
	CHECK_EQ("get_version again", hc_grant(GNTTABOP_get_version, &g, 1), 0);
	CHECK_EQ("version 2 now", g.version, 2);
	set_xen_guest_handle(gs.frame_list, frames);
	CHECK_EQ("a translated domain gets no frame numbers", hc_grant(GNTTABOP_get_status_frames, &gs, 1),
		 -XEN_ENOSYS);
	map_frame(XENMAPIDX_grant_table_status, status_page);
	t[REF].full_page.hdr = (struct grant_entry_header){.flags = GTF_permit_access, .domid = own_domid()};
	t[REF].full_page.frame = gfn_of(target);
	memset(target, 0x33, PAGE_SIZE);
	c = from_grant(REF, 0, 64);
	c.dest.u.gmfn = gfn_of(target + PAGE_SIZE);
	CHECK_EQ("copy by a version 2 entry", copy_one(&c), GNTST_okay);
	CHECK_EQ("arrived", target[PAGE_SIZE], 0x33);
	CHECK_EQ("status is clear", ((uint16_t *)status_page)[REF], 0);
	t[REF].sub_page.hdr.flags = GTF_permit_access | GTF_sub_page;
	t[REF].sub_page.page_off = 128;
	t[REF].sub_page.length = 64;
	t[REF].sub_page.frame = gfn_of(target);
	CHECK("copy from before a sub-page", copy_one(&c) < 0);
	c = from_grant(REF, 128, 64);
	CHECK_EQ("copy from a sub-page", copy_one(&c), GNTST_okay);
	c = from_grant(REF, 129, 64);
	CHECK("beyond the sub-page", copy_one(&c) < 0);
	s.version = 1;
	CHECK_EQ("back to version 1", hc_grant(GNTTABOP_set_version, &s, 1), 0);
}

static void refusals(void)
{
	CHECK_EQ("unknown sub-op", hc_grant(99, source, 1), -XEN_ENOSYS);
	CHECK_EQ("dump_table", hc_grant(GNTTABOP_dump_table, source, 1), -XEN_ENOSYS);
	CHECK_EQ("count 0", hc_grant(GNTTABOP_unmap_grant_ref, 0, 0), 0);
	CHECK_EQ("bad pointer, map", hc_grant(GNTTABOP_map_grant_ref, BAD, 1), -XEN_EFAULT);
	CHECK_EQ("bad pointer, unmap", hc_grant(GNTTABOP_unmap_grant_ref, BAD, 1), -XEN_EFAULT);
	CHECK_EQ("bad pointer, copy", hc_grant(GNTTABOP_copy, BAD, 1), -XEN_EFAULT);
	CHECK_EQ("bad pointer, query_size", hc_grant(GNTTABOP_query_size, BAD, 1), -XEN_EFAULT);
	CHECK_EQ("bad pointer, version", hc_grant(GNTTABOP_set_version, BAD, 1), -XEN_EFAULT);
	CHECK_EQ("negative count", hc_grant(GNTTABOP_copy, source, 0x80000000), -XEN_EINVAL);
	CHECK_EQ("query_size counts one", hc_grant(GNTTABOP_query_size, source, 2), -XEN_EINVAL);
}

void guest_main(void)
{
	frame = peer_hole(1);
	hole = peer_hole(2);
	source = guest_pages(1);
	target = guest_pages(2);
	map_frame(0, frame);
	fill_v1();
	refusals();
	copying();
	mapping();
	sizes_and_versions();
	mapping_removed();
}
