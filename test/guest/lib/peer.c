// SPDX-License-Identifier: Apache-2.0
/*
 * A second domain that never runs: memory to grant from, a grant table to fill in, ports to bind to. dom0 only.
 *
 * Owns: the peer's domid and the mapping of its first grant frame. Locks: none.
 * Sources: public headers domctl.h, memory.h (XENMEM_acquire_resource), grant_table.h.
 */
#include "guest.h"

#include <xen/domctl.h>

domid_t peer_domid;
struct grant_entry_v1 *peer_grants;

long peer_domctl(uint32_t cmd, struct xen_domctl *op)
{
	op->cmd = cmd;
	op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
	op->domain = peer_domid;
	return HC(__HYPERVISOR_domctl, op);
}

static long create(void)
{
	struct xen_domctl op = {
		.u.createdomain =
			{
				.flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap,
				.max_vcpus = 1,
				.max_evtchn_port = 1023,
				.max_grant_frames = -1,
				.max_maptrack_frames = -1,
				.grant_opts = XEN_DOMCTL_GRANT_version(2),
				.arch.emulation_flags = XEN_X86_EMU_LAPIC,
			},
	};
	long rc;

	peer_domid = 0; /* any free number */
	rc = peer_domctl(XEN_DOMCTL_createdomain, &op);
	peer_domid = op.domain;
	return rc;
}

long peer_populate(xen_pfn_t gfn, unsigned int pages)
{
	xen_pfn_t list[PEER_PAGES];
	struct xen_memory_reservation r = {.nr_extents = pages, .domid = peer_domid};

	for (unsigned int i = 0; i < pages; i++)
		list[i] = gfn + i;
	set_xen_guest_handle(r.extent_start, list);
	return hc_memory(XENMEM_populate_physmap, &r);
}

void *peer_hole(unsigned int pages)
{
	char *p = guest_pages(pages);

	for (unsigned int i = 0; i < pages; i++) {
		xen_pfn_t gfn = (unsigned long)p / PAGE_SIZE + i;
		struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};

		set_xen_guest_handle(r.extent_start, &gfn);
		CHECK_EQ("make a hole", hc_memory(XENMEM_decrease_reservation, &r), 1);
	}
	return p;
}

/* The grant frame appears in a hole of ours, as the kernel's privcmd does it for the tools. One hole serves all peers.
 */
static long map_grant_frame(void)
{
	static void *hole;
	struct xen_mem_acquire_resource a = {.type = XENMEM_resource_grant_table, .nr_frames = 1};
	xen_pfn_t gfn;

	if (!hole)
		hole = peer_hole(1);
	peer_grants = hole;
	gfn = (unsigned long)peer_grants / PAGE_SIZE;
	a.domid = peer_domid;
	set_xen_guest_handle(a.frame_list, &gfn);
	return hc_memory(XENMEM_acquire_resource, &a);
}

bool peer_create(void)
{
	struct xen_domctl op = {.cmd = 0};
	bool ok = CHECK_EQ("create a peer", create(), 0);

	op.u.max_mem.max_memkb = 1024;
	ok = ok && CHECK_EQ("peer's limit", peer_domctl(XEN_DOMCTL_max_mem, &op), 0);
	op.u.paging_mempool.size = 2UL << 20;
	ok = ok && CHECK_EQ("peer's paging pool", peer_domctl(XEN_DOMCTL_set_paging_mempool_size, &op), 0);
	ok = ok && CHECK_EQ("peer's pages", peer_populate(0, PEER_PAGES), PEER_PAGES);
	return ok && CHECK_EQ("peer's grant frame", map_grant_frame(), 0);
}

/* While its frame is mapped here the domain would stay. */
long peer_destroy(void)
{
	struct xen_remove_from_physmap x = {.domid = DOMID_SELF, .gpfn = (unsigned long)peer_grants / PAGE_SIZE};
	struct xen_domctl op = {.cmd = 0};

	CHECK_EQ("let go of the peer's grant frame", hc_memory(XENMEM_remove_from_physmap, &x), 0);
	return peer_domctl(XEN_DOMCTL_destroydomain, &op);
}
