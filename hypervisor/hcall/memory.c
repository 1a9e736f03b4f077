/*
 * hcall/memory.c: memory_op (xen/memory.h): a domain's reservation, its memory map, populate on demand, claims and what
 * can be asked about memory. hcall/physmap.c has the ops on single map entries. Locks: domain.lock for the memory map.
 *
 * Reservation ops return how many extents they did, whatever stopped them; progress of a restarted call is kept in the
 * command itself.
 */
#include "core/frame.h"
#include "core/guestmem.h"
#include "core/heap.h"
#include "core/numa.h"
#include "core/policy.h"
#include "hcall/physmap.h"
#include "port/guest.h"

#define MEMOP_CMD_MASK ((1u << MEMOP_EXTENT_SHIFT) - 1)
#define E820_ENTRIES   1024u
#define E820_PIECE     32u
#define PFN_BATCH      16u

#define handle_gva(h) ((gva_t)(uintptr_t)(h).p)

bool memory_stop(struct hcall *h, uint64_t done)
{
	if (!hcall_preempt())
		return false;
	h->arg[0] = (h->arg[0] & MEMOP_CMD_MASK) | done << MEMOP_EXTENT_SHIFT;
	return true;
}

int memory_target(struct hcall *h, domid_t id, struct domain **out)
{
	struct domain *d = domain_get_for(h->d, id);

	if (!d)
		return -ESRCH;
	if (policy_may(h->d, ACTION_MEMORY, d)) {
		domain_put(d);
		return -EPERM;
	}
	*out = d;
	return 0;
}

COMPAT_SAME_OFF(xen_memory_map, nr_entries);
COMPAT_SAME_OFF(xen_pod_target, target_pages);
COMPAT_SAME_OFF(xen_pod_target, tot_pages);
COMPAT_SAME_OFF(xen_pod_target, domid);
_Static_assert(COMPAT_xen_pfn_SIZE == COMPAT_xen_ulong_SIZE && sizeof(xen_pfn_t) == sizeof(xen_ulong_t), "one width");

int memory_element(struct hcall *h, gva_t array, uint64_t i, uint64_t *out)
{
	size_t size = h->compat ? COMPAT_xen_pfn_SIZE : sizeof(xen_pfn_t);

	*out = 0;
	return guestmem_read(h->v, out, array + i * size, size);
}

static int get_reservation(struct hcall *h, struct xen_memory_reservation *r, gva_t arg)
{
	uint8_t raw[COMPAT_xen_memory_reservation_SIZE];

	if (!h->compat)
		return hcall_copy_in(h, r, arg);
	if (guestmem_read(h->v, raw, arg, sizeof(raw)))
		return -EFAULT;
	r->extent_start.p = MEMORY_HANDLE(xen_pfn_t, raw, COMPAT_xen_memory_reservation_extent_start);
	r->nr_extents = memory_field32(raw, COMPAT_xen_memory_reservation_nr_extents);
	r->extent_order = memory_field32(raw, COMPAT_xen_memory_reservation_extent_order);
	r->mem_flags = memory_field32(raw, COMPAT_xen_memory_reservation_mem_flags);
	r->domid = memory_field16(raw, COMPAT_xen_memory_reservation_domid);
	return 0;
}

static int get_map(struct hcall *h, struct xen_memory_map *map, gva_t arg)
{
	uint8_t raw[COMPAT_xen_memory_map_SIZE];

	if (!h->compat)
		return hcall_copy_in(h, map, arg);
	if (guestmem_read(h->v, raw, arg, sizeof(raw)))
		return -EFAULT;
	map->nr_entries = memory_field32(raw, COMPAT_xen_memory_map_nr_entries);
	map->buffer.p = MEMORY_HANDLE(void, raw, COMPAT_xen_memory_map_buffer);
	return 0;
}

/* --- extents --- */

/* The largest leaf that can start at gfn + at of an extent of count frames. */
static unsigned piece_order(uint64_t gfn, uint64_t m, uint64_t at, uint64_t count)
{
	static const unsigned orders[] = { ORDER_1G, ORDER_2M };

	for (unsigned i = 0; i < ARRAY_SIZE(orders); i++) {
		uint64_t size = 1ull << orders[i];

		if (!(((gfn + at) | (m + at)) & (size - 1)) && count - at >= size)
			return orders[i];
	}
	return 0;
}

/*
 * Takes back an extent of which the first frames are mapped already, and may be in use by another vCPU: those go through
 * the p2m. The others nobody has seen.
 */
static void undo_extent(struct domain *d, uint64_t gfn, uint64_t mapped, mfn_t m, uint64_t count)
{
	for (uint64_t at = 0; at < mapped;) {
		struct p2m_entry e = p2m_lookup(d, GFN(gfn + at));

		p2m_unmap(d, GFN(gfn + at), e.order);
		at += 1ull << e.order;
	}
	for (uint64_t i = mapped; i < count; i++)
		frame_release_alloc(d, MFN(m.n + i));
}

/* Maps count frames from m on at gfn, in leaves as large as fit. All or nothing. */
static bool map_extent(struct domain *d, uint64_t gfn, mfn_t m, uint64_t count)
{
	for (uint64_t at = 0; at < count;) {
		unsigned order = piece_order(gfn, m.n, at, count);
		int ret = p2m_map(d, GFN(gfn + at), MFN(m.n + at), order, P2M_RAM_RW);

		while (ret == -EEXIST && order) { /* a table with some use may be there */
			order = order == ORDER_1G ? ORDER_2M : ORDER_4K;
			ret = p2m_map(d, GFN(gfn + at), MFN(m.n + at), order, P2M_RAM_RW);
		}
		if (ret) {
			undo_extent(d, gfn, at, m, count);
			return false;
		}
		at += 1ull << order;
	}
	return true;
}

/* 1:1 domains get back the very frames that lie at these addresses, or nothing. */
static bool populate_direct(struct domain *d, uint64_t gfn, uint64_t count)
{
	uint64_t got = 0;

	p2m_flush(d); /* what was given up just now is to be had again */
	while (got < count && frame_alloc_at(d, MFN(gfn + got)))
		got++;
	if (got == count)
		return map_extent(d, gfn, MFN(gfn), count);
	while (got)
		frame_release_alloc(d, MFN(gfn + --got));
	return false;
}

static bool mark_on_demand(struct domain *d, uint64_t gfn, uint64_t count)
{
	for (uint64_t at = 0; at < count;) {
		unsigned order = piece_order(gfn, gfn, at, count);

		if (pod_mark(d, GFN(gfn + at), order))
			return false;
		at += 1ull << order;
	}
	return true;
}

#define NODE_FLAGS (XENMEMF_node(0xfe) | XENMEMF_exact_node_request | XENMEMF_vnode) /* XENMEMF_node(0xff) is none */

/* From the node that the caller names, one of d's virtual nodes with XENMEMF_vnode. */
static mfn_t alloc_extent(struct domain *d, const struct xen_memory_reservation *r, uint64_t below)
{
	unsigned node = XENMEMF_get_node(r->mem_flags);
	bool exact = r->mem_flags & XENMEMF_exact_node_request;

	if (likely(!(r->mem_flags & NODE_FLAGS)))
		return frame_alloc(d, r->extent_order, below);
	if (r->mem_flags & XENMEMF_vnode) {
		if (!numa_pnode(d, node, &node))
			return MFN_INVALID;
		if (node == ~0u)
			return frame_alloc(d, r->extent_order, below);
	}
	return frame_alloc_node(d, r->extent_order, below, node, exact);
}

static bool populate(struct domain *d, uint64_t gfn, const struct xen_memory_reservation *r)
{
	unsigned bits = XENMEMF_get_address_bits(r->mem_flags);
	uint64_t count = 1ull << r->extent_order;
	mfn_t m;

	if (gfn >= P2M_MAX_GFN || count > P2M_MAX_GFN - gfn || (bits && bits <= PAGE_SHIFT))
		return false;
	if (r->mem_flags & XENMEMF_populate_on_demand)
		return mark_on_demand(d, gfn, count);
	if (d->direct_mapped)
		return populate_direct(d, gfn, count);
	m = alloc_extent(d, r, bits && bits < 52 ? 1ull << (bits - PAGE_SHIFT) : 0);
	return mfn_valid(m) && map_extent(d, gfn, m, count);
}

static bool give_up(struct domain *d, uint64_t gfn, const struct xen_memory_reservation *r)
{
	if (gfn >= P2M_MAX_GFN)
		return false;
	for (uint64_t i = 0; i < 1ull << r->extent_order; i++)
		if (p2m_release(d, GFN(gfn + i)))
			return false;
	return true;
}

/* --- increase, decrease, populate --- */

/* May the caller name extents of this order? Large ones are for those that build other domains. */
static bool order_ok(struct hcall *h, unsigned op, unsigned order)
{
	if (op == XENMEM_populate_physmap && (h->d->rights & RIGHT_CONTROL))
		return order <= ORDER_1G;
	return order <= ORDER_2M;
}

/* The next pfns of the list in one copy; one by one where that faults. Returns how many, 0 = fault. */
static unsigned fetch_pfns(struct hcall *h, const struct xen_memory_reservation *r, uint64_t at, xen_pfn_t *pfn)
{
	unsigned n = (unsigned)MIN(r->nr_extents - at, PFN_BATCH);

	if (!h->compat && n > 1 &&
	    !guestmem_read(h->v, pfn, handle_gva(r->extent_start) + at * sizeof(*pfn), n * sizeof(*pfn)))
		return n;
	return memory_element(h, handle_gva(r->extent_start), at, pfn) ? 0 : 1;
}

static long run_extents(struct hcall *h, unsigned op, const struct xen_memory_reservation *r, uint64_t done,
			struct domain *d)
{
	xen_pfn_t pfn[PFN_BATCH];
	uint64_t start = done;

	while (done < r->nr_extents) {
		unsigned n = fetch_pfns(h, r, done, pfn);

		if (!n)
			break;
		for (unsigned i = 0; i < n; i++, done++) {
			bool ok;

			if (done != start && (r->extent_order || done % 8 == 0) && memory_stop(h, done))
				return -ERESTART;
			ok = op == XENMEM_populate_physmap ? populate(d, pfn[i], r) : give_up(d, pfn[i], r);
			if (!ok)
				return (long)done;
		}
	}
	return (long)done;
}

static long reservation_op(struct hcall *h, unsigned op, gva_t arg, uint64_t start)
{
	struct xen_memory_reservation r;
	struct domain *d;
	long ret = (long)start;

	if (get_reservation(h, &r, arg))
		return ret;
	if (r.nr_extents > ((h->compat ? UINT32_MAX : ~0ull) >> MEMOP_EXTENT_SHIFT) || start >= r.nr_extents)
		return ret;
	if (memory_target(h, r.domid, &d))
		return ret;
	/* Only the tool stack promises frames: a guest could make us search all its memory for empty ones at every access. */
	if (d == h->d && (r.mem_flags & XENMEMF_populate_on_demand))
		goto out;
	/* Which of the machine's nodes: for those that build domains to say. */
	if (!(h->d->rights & RIGHT_CONTROL) && !(r.mem_flags & XENMEMF_vnode)) {
		if (r.mem_flags & XENMEMF_exact_node_request)
			goto out;
		r.mem_flags &= ~NODE_FLAGS;
	}
	/* A domain with translated memory cannot name frames that are nowhere in its map: nothing to increase. */
	if (op != XENMEM_increase_reservation && order_ok(h, op, r.extent_order) && !domain_dying(d))
		ret = run_extents(h, op, &r, start, d);
	if (op == XENMEM_decrease_reservation)
		guest_tlb_sync(d); /* no vCPU sees what was given up */
out:
	domain_put(d);
	return ret;
}

static long claim_pages(struct hcall *h, gva_t arg)
{
	struct xen_memory_reservation r;
	struct domain *d;
	long ret;

	if (get_reservation(h, &r, arg))
		return -EFAULT;
	if (handle_gva(r.extent_start) || r.extent_order || r.mem_flags)
		return -EINVAL;
	d = domain_get_for(h->d, r.domid);
	if (!d)
		return -ESRCH;
	ret = policy_may(h->d, ACTION_DOMCTL, d);
	if (!ret)
		ret = frame_claim(d, r.nr_extents);
	domain_put(d);
	return ret;
}

static long domain_figure(struct hcall *h, unsigned op, gva_t arg)
{
	struct xen_memory_domain x;
	struct domain *d;
	long ret;

	if (hcall_copy_in(h, &x, arg))
		return -EFAULT;
	ret = memory_target(h, x.domid, &d);
	if (ret)
		return ret;
	if (op == XENMEM_current_reservation)
		ret = (long)d->frames;
	else if (op == XENMEM_maximum_reservation)
		ret = (long)MIN(d->max_frames, (uint64_t)UINT32_MAX);
	else
		ret = (long)d->p2m.max_gfn;
	domain_put(d);
	return ret;
}

/* --- the memory map --- */

/* Entries [from, from + E820_PIECE) of d's map; returns how many there are in all. */
static uint32_t map_piece(struct domain *d, uint32_t from, struct e820entry piece[E820_PIECE])
{
	uint32_t nr;

	spin_lock(&d->lock);
	nr = d->e820_nr;
	if (from < nr)
		memcpy(piece, d->e820 + from, MIN(nr - from, E820_PIECE) * sizeof(piece[0]));
	spin_unlock(&d->lock);
	return nr;
}

static long memory_map(struct hcall *h, gva_t arg)
{
	struct e820entry piece[E820_PIECE];
	struct xen_memory_map map;
	uint32_t n, nr;

	if (get_map(h, &map, arg))
		return -EFAULT;
	nr = map_piece(h->d, 0, piece);
	if (!nr)
		return -ENOSYS;
	n = MIN(map.nr_entries, nr);
	if (guestmem_check_write(h->v, arg, sizeof(n)))
		return -EFAULT;
	for (uint32_t at = 0; at < n; at += E820_PIECE) {
		if (at && map_piece(h->d, at, piece) != nr)
			return -EFAULT; /* the tool stack changes it just now */
		if (guestmem_write(h->v, handle_gva(map.buffer) + at * sizeof(piece[0]), piece,
				   MIN(n - at, E820_PIECE) * sizeof(piece[0])))
			return -EFAULT;
	}
	return hcall_copy_out(h, arg, &n); /* the first field */
}

static long set_memory_map(struct hcall *h, gva_t arg)
{
	uint32_t map_at = h->compat ? COMPAT_xen_foreign_memory_map_map : offsetof(struct xen_foreign_memory_map, map);
	struct e820entry *map = NULL;
	struct xen_foreign_memory_map x;
	struct domain *d;
	size_t size, old_size;
	long ret;

	if (hcall_copy_in(h, &x.domid, arg) || get_map(h, &x.map, arg + map_at))
		return -EFAULT;
	if (x.map.nr_entries > E820_ENTRIES)
		return -EINVAL;
	ret = memory_target(h, x.domid, &d);
	if (ret)
		return ret;
	size = x.map.nr_entries * sizeof(*map);
	if (size) {
		map = heap_alloc(size);
		if (!map)
			ret = -ENOMEM;
		else
			ret = guestmem_read(h->v, map, handle_gva(x.map.buffer), size);
	}
	if (!ret) {
		struct e820entry *old;

		spin_lock(&d->lock);
		old = d->e820;
		old_size = d->e820_nr * sizeof(*old);
		d->e820 = map;
		d->e820_nr = x.map.nr_entries;
		spin_unlock(&d->lock);
		map = old;
		size = old_size;
	}
	heap_free(map, size);
	domain_put(d);
	return ret;
}

/* --- populate on demand --- */

static long pod_target(struct hcall *h, unsigned op, gva_t arg)
{
	size_t size = h->compat ? COMPAT_xen_pod_target_SIZE : sizeof(struct xen_pod_target);
	struct xen_pod_target x;
	struct domain *d;
	long ret = 0;

	if (guestmem_read(h->v, &x, arg, size))
		return -EFAULT;
	d = domain_get_for(h->d, x.domid);
	if (!d)
		return -ESRCH;
	ret = policy_may(h->d, ACTION_DOMCTL, d);
	if (!ret && guestmem_check_write(h->v, arg, size))
		ret = -EFAULT;
	if (!ret && op == XENMEM_set_pod_target) {
		ret = x.target_pages > d->max_frames ? -EINVAL : pod_set_target(d, x.target_pages);
		while (ret == -ERESTART && !hcall_preempt())
			ret = pod_set_target(d, x.target_pages);
	}
	if (!ret) {
		x.tot_pages = d->frames;
		x.pod_cache_pages = d->p2m.pod_cache;
		x.pod_entries = d->p2m.pod_entries;
		ret = guestmem_write(h->v, arg, &x, size);
	}
	domain_put(d);
	return ret;
}

/* --- the rest --- */

/* The caller's structure and arrays; its pointers are 64-bit words for callers of either width. */
static long copy_vnuma(struct hcall *h, struct xen_vnuma_topology_info *x, const struct vnuma *t)
{
	size_t word = sizeof(uint32_t);
	bool fits = x->nr_vnodes >= t->nr_nodes && x->nr_vcpus >= t->nr_vcpus && x->nr_vmemranges >= t->nr_ranges;

	x->nr_vnodes = t->nr_nodes;
	x->nr_vcpus = t->nr_vcpus;
	x->nr_vmemranges = t->nr_ranges;
	if (!fits)
		return -ENOBUFS;
	if (guestmem_write(h->v, x->vdistance.pad, t->distance, t->nr_nodes * t->nr_nodes * word) ||
	    guestmem_write(h->v, x->vcpu_to_vnode.pad, t->node_of_vcpu, t->nr_vcpus * word) ||
	    (t->nr_ranges && guestmem_write(h->v, x->vmemrange.pad, t->range, t->nr_ranges * sizeof(t->range[0]))))
		return -EFAULT;
	return 0;
}

static long vnuma_info(struct hcall *h, gva_t arg)
{
	struct xen_vnuma_topology_info x;
	struct domain *d;
	struct vnuma *t;
	long ret;

	if (hcall_copy_in(h, &x, arg))
		return -EFAULT;
	if (x.pad)
		return -EINVAL;
	ret = memory_target(h, x.domid, &d);
	if (ret)
		return ret;
	t = heap_new(struct vnuma);
	if (!t)
		ret = -ENOMEM;
	else if (!numa_get_vnuma(d, t))
		ret = -EOPNOTSUPP;
	else if (guestmem_check_write(h->v, arg, sizeof(x)))
		ret = -EFAULT;
	else
		ret = copy_vnuma(h, &x, t);
	if ((!ret || ret == -ENOBUFS) && hcall_copy_out(h, arg, &x))
		ret = -EFAULT;
	heap_free(t, sizeof(*t));
	domain_put(d);
	return ret;
}

static long reserved_map(struct hcall *h, gva_t arg)
{
	uint32_t nr_at = offsetof(struct xen_reserved_device_memory_map, nr_entries);
	uint32_t flags, none = 0;

	if (hcall_copy_in(h, &flags, arg))
		return -EFAULT;
	if (flags & ~(uint32_t)XENMEM_RDM_ALL)
		return -EINVAL;
	return hcall_copy_out(h, arg + nr_at, &none);
}

long hcall_memory_op(struct hcall *h)
{
	unsigned op = h->arg[0] & MEMOP_CMD_MASK;
	uint64_t start = h->arg[0] >> MEMOP_EXTENT_SHIFT;
	gva_t arg = h->arg[1];

	switch (op) {
	case XENMEM_increase_reservation:
	case XENMEM_decrease_reservation:
	case XENMEM_populate_physmap:
		return reservation_op(h, op, arg, start);
	case XENMEM_add_to_physmap_batch:
		return physmap_add_batch(h, arg, start);
	case XENMEM_remove_from_physmap:
		return start ? -EINVAL : physmap_remove(h, arg);
	case XENMEM_add_to_physmap:
		return physmap_add(h, arg, start);
	case XENMEM_acquire_resource:
		return physmap_acquire_resource(h, arg, start);
	default:
		break;
	}
	if (start)
		return -EINVAL;
	switch (op) {
	case XENMEM_maximum_ram_page:
		return (long)frame_limit();
	case XENMEM_current_reservation:
	case XENMEM_maximum_reservation:
	case XENMEM_maximum_gpfn:
		return domain_figure(h, op, arg);
	case XENMEM_claim_pages:
		return claim_pages(h, arg);
	case XENMEM_memory_map:
		return memory_map(h, arg);
	case XENMEM_set_memory_map:
		return set_memory_map(h, arg);
	case XENMEM_set_pod_target:
	case XENMEM_get_pod_target:
		return pod_target(h, op, arg);
	case XENMEM_get_sharing_freed_pages:
	case XENMEM_get_sharing_shared_pages:
		return 0;
	case XENMEM_get_vnumainfo:
		return vnuma_info(h, arg);
	case XENMEM_reserved_device_memory_map:
		return reserved_map(h, arg);
	case XENMEM_exchange: /* PV only */
		return -EOPNOTSUPP;
	default:
		return hcall_unimplemented("memory_op", op, -ENOSYS);
	}
}
