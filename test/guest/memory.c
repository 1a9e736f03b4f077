// SPDX-License-Identifier: Apache-2.0
/*
 * memory_op: reservations, the physmap, foreign pages, resources, and every refusal.
 *
 * Source: public header memory.h. As dom0 it also creates a dormant peer to map pages from.
 */
#include "lib/guest.h"

const char guest_name[] = "memory";

#define BAD	((void *)0x7f0000000000UL)
#define FAR_GFN 0xfffffffffUL

static char *page;

static long reserve(unsigned int op, xen_pfn_t gfn, unsigned int order, domid_t dom)
{
	struct xen_memory_reservation r = {.nr_extents = 1, .extent_order = order, .domid = dom};

	set_xen_guest_handle(r.extent_start, &gfn);
	return hc_memory(op, &r);
}

static xen_pfn_t gfn_of(const void *p)
{
	return (unsigned long)p / PAGE_SIZE;
}

static long add(unsigned int space, unsigned long idx, xen_pfn_t gfn)
{
	struct xen_add_to_physmap x = {.domid = DOMID_SELF, .space = space, .idx = idx, .gpfn = gfn};

	return hc_memory(XENMEM_add_to_physmap, &x);
}

static long take_away(xen_pfn_t gfn)
{
	struct xen_remove_from_physmap x = {.domid = DOMID_SELF, .gpfn = gfn};

	return hc_memory(XENMEM_remove_from_physmap, &x);
}

static void counts(void)
{
	domid_t self = DOMID_SELF, nobody = 1234;
	long now = hc_memory(XENMEM_current_reservation, &self);

	CHECK("current_reservation", now > 4096);
	CHECK("maximum_reservation", hc_memory(XENMEM_maximum_reservation, &self) >= now);
	CHECK("maximum_ram_page", hc_memory(XENMEM_maximum_ram_page, 0) > 0);
	CHECK("maximum_gpfn", hc_memory(XENMEM_maximum_gpfn, &self) > 4096);
	CHECK_EQ("current_reservation of nobody", hc_memory(XENMEM_current_reservation, &nobody), -XEN_ESRCH);
	CHECK_EQ("maximum_gpfn of nobody", hc_memory(XENMEM_maximum_gpfn, &nobody), -XEN_ESRCH);
	CHECK_EQ("current_reservation, bad pointer", hc_memory(XENMEM_current_reservation, BAD), -XEN_EFAULT);
	CHECK_EQ("shared pages", hc_memory(XENMEM_get_sharing_shared_pages, 0), 0);
	CHECK_EQ("freed pages", hc_memory(XENMEM_get_sharing_freed_pages, 0), 0);
	CHECK_EQ("unknown sub-op", hc_memory(63, 0), -XEN_ENOSYS);
	CHECK_EQ("unknown sub-op, arguments", hc_memory(40, BAD), -XEN_ENOSYS);

	CHECK_EQ("decrease", reserve(XENMEM_decrease_reservation, gfn_of(page), 0, DOMID_SELF), 1);
	CHECK_EQ("one page less", hc_memory(XENMEM_current_reservation, &self), now - 1);
	CHECK_EQ("a hole reads as ones", *(volatile uint32_t *)page, 0xffffffff);
	*(volatile uint32_t *)page = 5;
	CHECK_EQ("writes to it are lost", *(volatile uint32_t *)page, 0xffffffff);
	CHECK_EQ("decrease a hole", reserve(XENMEM_decrease_reservation, gfn_of(page), 0, DOMID_SELF), 0);
	CHECK_EQ("populate", reserve(XENMEM_populate_physmap, gfn_of(page), 0, DOMID_SELF), 1);
	CHECK_EQ("as many as before", hc_memory(XENMEM_current_reservation, &self), now);
	*(volatile uint32_t *)page = 0x1234567;
	CHECK_EQ("populated memory holds", *(volatile uint32_t *)page, 0x1234567);
}

static void refused_reservations(void)
{
	struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};
	xen_pfn_t gfn = gfn_of(page);

	CHECK_EQ("decrease for nobody", reserve(XENMEM_decrease_reservation, gfn, 0, 1234), 0);
	CHECK_EQ("decrease far away", reserve(XENMEM_decrease_reservation, FAR_GFN, 0, DOMID_SELF), 0);
	CHECK_EQ("decrease, order 60", reserve(XENMEM_decrease_reservation, gfn, 60, DOMID_SELF), 0);
	CHECK_EQ("populate, order 60", reserve(XENMEM_populate_physmap, gfn, 60, DOMID_SELF), 0);
	set_xen_guest_handle(r.extent_start, (xen_pfn_t *)BAD);
	CHECK_EQ("decrease, bad list", hc_memory(XENMEM_decrease_reservation, &r), 0);
	CHECK_EQ("populate, bad list", hc_memory(XENMEM_populate_physmap, &r), 0);
	r.nr_extents = ~0UL;
	set_xen_guest_handle(r.extent_start, &gfn);
	CHECK_EQ("decrease, too many", hc_memory(XENMEM_decrease_reservation, &r), 0);
	CHECK_EQ("populate, too many", hc_memory(XENMEM_populate_physmap, &r), 0);
	r.nr_extents = 0;
	CHECK_EQ("decrease none", hc_memory(XENMEM_decrease_reservation, &r), 0);
	CHECK_EQ("decrease, bad pointer", hc_memory(XENMEM_decrease_reservation, BAD), 0);
	CHECK_EQ("populate, bad pointer", hc_memory(XENMEM_populate_physmap, BAD), 0);
	CHECK("the page is still there", *(volatile uint32_t *)page == 0x1234567);
}

/* 512 extents a call, as the balloon driver does. */
static void many(void)
{
	static xen_pfn_t list[512];
	struct xen_memory_reservation r = {.nr_extents = 512, .domid = DOMID_SELF};
	char *block = guest_pages(512);
	domid_t self = DOMID_SELF;
	long now = hc_memory(XENMEM_current_reservation, &self);

	for (unsigned int i = 0; i < 512; i++)
		list[i] = gfn_of(block) + i;
	set_xen_guest_handle(r.extent_start, list);
	CHECK_EQ("decrease 512", hc_memory(XENMEM_decrease_reservation, &r), 512);
	CHECK_EQ("512 less", hc_memory(XENMEM_current_reservation, &self), now - 512);
	CHECK_EQ("populate 512", hc_memory(XENMEM_populate_physmap, &r), 512);
	CHECK_EQ("all back", hc_memory(XENMEM_current_reservation, &self), now);
	list[300] = FAR_GFN;
	CHECK_EQ("decrease stops at a bad one", hc_memory(XENMEM_decrease_reservation, &r), 300);
	r.nr_extents = 300;
	CHECK_EQ("populate those", hc_memory(XENMEM_populate_physmap, &r), 300);
}

static bool shows_time(struct shared_info *si)
{
	uint32_t mul = si->vcpu_info[0].time.tsc_to_system_mul;

	return mul != 0 && mul != 0xffffffff;
}

static void physmap(void)
{
	char *hole = peer_hole(2);
	struct shared_info *si = (struct shared_info *)hole;

	CHECK_EQ("shared_info into a hole", add(XENMAPSPACE_shared_info, 0, gfn_of(hole)), 0);
	CHECK("it is the shared_info", shows_time(si));
	CHECK_EQ("shared_info moves", add(XENMAPSPACE_shared_info, 0, gfn_of(hole) + 1), 0);
	si = (struct shared_info *)(hole + PAGE_SIZE);
	CHECK("it is there now", shows_time(si));
	CHECK_EQ("the old place is empty", *(volatile uint32_t *)hole, 0xffffffff);
	CHECK_EQ("shared_info, index 1", add(XENMAPSPACE_shared_info, 1, gfn_of(hole)), -XEN_EINVAL);
	CHECK_EQ("no such space", add(99, 0, gfn_of(hole)), -XEN_EINVAL);
	CHECK_EQ("grant table frame 0", add(XENMAPSPACE_grant_table, 0, gfn_of(hole)), 0);
	CHECK_EQ("the same again", add(XENMAPSPACE_grant_table, 0, gfn_of(hole)), 0);
	CHECK_EQ("grant table far frame", add(XENMAPSPACE_grant_table, 1000000, gfn_of(hole)), -XEN_EINVAL);
	CHECK_EQ("status frame of version 1", add(XENMAPSPACE_grant_table, XENMAPIDX_grant_table_status, gfn_of(hole)),
		 -XEN_EINVAL);
	CHECK_EQ("foreign space one by one", add(XENMAPSPACE_gmfn_foreign, 0, gfn_of(hole)), -XEN_ENOSYS);
	CHECK_EQ("take the grant frame away", take_away(gfn_of(hole)), 0);
	CHECK_EQ("it is a hole again", *(volatile uint32_t *)hole, 0xffffffff);
	CHECK_EQ("take a hole away", take_away(gfn_of(hole)), -XEN_ENOENT);
	CHECK_EQ("take away far off", take_away(FAR_GFN), -XEN_ENOENT);
	CHECK_EQ("bad pointer, add", hc_memory(XENMEM_add_to_physmap, BAD), -XEN_EFAULT);
	CHECK_EQ("bad pointer, remove", hc_memory(XENMEM_remove_from_physmap, BAD), -XEN_EFAULT);
	CHECK_EQ("bad pointer, batch", hc_memory(XENMEM_add_to_physmap_batch, BAD), -XEN_EFAULT);
	CHECK_EQ("bad pointer, memory_map", hc_memory(XENMEM_memory_map, BAD), -XEN_EFAULT);
	CHECK_EQ("put memory back", reserve(XENMEM_populate_physmap, gfn_of(hole), 0, DOMID_SELF), 1);
}

static long foreign(domid_t dom, unsigned int n, xen_ulong_t *idx, xen_pfn_t *at, int *errs)
{
	struct xen_add_to_physmap_batch b = {
		.domid = DOMID_SELF,
		.space = XENMAPSPACE_gmfn_foreign,
		.size = n,
		.u.foreign_domid = dom,
	};

	set_xen_guest_handle(b.idxs, idx);
	set_xen_guest_handle(b.gpfns, at);
	set_xen_guest_handle(b.errs, errs);
	return hc_memory(XENMEM_add_to_physmap_batch, &b);
}

static void foreign_pages(void)
{
	char *hole = peer_hole(4);
	xen_ulong_t idx[4] = {0, 1, 5000, 2};
	xen_pfn_t at[4];
	int errs[4] = {1, 1, 1, 1};

	for (unsigned int i = 0; i < 4; i++)
		at[i] = gfn_of(hole) + i;
	if (!peer_create())
		return;
	CHECK_EQ("map four foreign pages", foreign(peer_domid, 4, idx, at, errs), 0);
	CHECK_EQ("first", errs[0], 0);
	CHECK_EQ("second", errs[1], 0);
	CHECK_EQ("one that is not there", errs[2], -XEN_EINVAL);
	CHECK_EQ("fourth goes on", errs[3], 0);
	*(volatile uint32_t *)hole = 0xabcdef;
	CHECK_EQ("take the first away", take_away(at[0]), 0);
	CHECK_EQ("gone", *(volatile uint32_t *)hole, 0xffffffff);
	CHECK_EQ("map it again", foreign(peer_domid, 1, idx, at, errs), 0);
	CHECK_EQ("it kept what was written", *(volatile uint32_t *)hole, 0xabcdef);
	CHECK_EQ("another page in the same place", foreign(peer_domid, 1, idx + 1, at, errs), 0);
	/* Xen refuses to replace a foreign page, and keeps the old one. */
	CHECK_EITHER("is put there or refused", errs[0], 0, -XEN_ENXIO);
	print("replacing a foreign page: %d, then there is %x\n", errs[0], *(volatile uint32_t *)hole);
	CHECK_EQ("foreign pages of nobody", foreign(1234, 1, idx, at, errs), 0);
	CHECK_EQ("no such domain", errs[0], -XEN_ESRCH);
	CHECK_EQ("foreign pages of myself", foreign(DOMID_SELF, 1, idx, at, errs), 0);
	CHECK("are refused", errs[0] < 0);
	print("foreign pages of myself: %d\n", errs[0]);
	CHECK_EQ("batch of none", foreign(peer_domid, 0, idx, at, errs), 0);
	CHECK_EQ("batch, bad list", foreign(peer_domid, 1, BAD, at, errs), -XEN_EFAULT);
	CHECK_EQ("batch, bad places", foreign(peer_domid, 1, idx, BAD, errs), -XEN_EFAULT);
	CHECK_EQ("batch, bad errors", foreign(peer_domid, 1, idx, at, BAD), -XEN_EFAULT);
	take_away(at[0]);
	take_away(at[1]);
	take_away(at[3]);
	CHECK_EQ("peer goes", peer_destroy(), 0);
}

static void resources(void)
{
	struct xen_mem_acquire_resource a = {.domid = peer_domid, .type = XENMEM_resource_grant_table};

	set_xen_guest_handle(a.frame_list, (xen_pfn_t *)NULL);
	CHECK_EQ("size of the grant table", hc_memory(XENMEM_acquire_resource, &a), 0);
	CHECK("is at least a frame", a.nr_frames >= 1 && a.nr_frames <= 1024);
	a.nr_frames = 0;
	a.type = 99;
	/* Xen knows no size of what it does not know, and calls that success. */
	CHECK_EITHER("no such resource", hc_memory(XENMEM_acquire_resource, &a), 0, -XEN_EOPNOTSUPP);
	a.type = XENMEM_resource_grant_table;
	a.pad = 1;
	CHECK_EQ("padding must be zero", hc_memory(XENMEM_acquire_resource, &a), -XEN_EINVAL);
	a.pad = 0;
	a.domid = 1234;
	CHECK_EQ("resource of nobody", hc_memory(XENMEM_acquire_resource, &a), -XEN_ESRCH);
	CHECK_EQ("resource, bad pointer", hc_memory(XENMEM_acquire_resource, BAD), -XEN_EFAULT);
}

void guest_main(void)
{
	page = guest_pages(1);
	counts();
	refused_reservations();
	many();
	physmap();
	if (!guest_dom0)
		return;
	if (peer_create()) {
		resources();
		peer_destroy();
	}
	foreign_pages();
}
