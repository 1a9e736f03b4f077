/*
 * hcall/physmap.c: see physmap.h. Locks: none held here; each step takes the p2m lock for itself. Source: xen/memory.h.
 *
 * Foreign mappings come one page a call from Linux' privcmd, so the path for an empty gfn has no detours: the frame with
 * its reference, then one entry.
 */
#include "hcall/physmap.h"

#include "core/frame.h"
#include "core/guestmem.h"
#include "core/policy.h"
#include "core/trace.h"
#include "port/guest.h"
#include "port/machine.h"

#define handle_gva(h) ((gva_t)(uintptr_t)(h).p)

/* Whatever is at g goes: the domain's own RAM is given up, anything else unmapped. 0, -ENOENT, -ENOMEM. */
static int clear_gfn(struct domain *d, gfn_t g)
{
	int ret = p2m_release(d, g);

	return ret == -EINVAL ? p2m_unmap(d, g, 0) : ret;
}

/* The frame m, whose reference the caller took, appears at g in place of what was there; on error it is put again. */
static int place(struct domain *d, uint64_t gfn, mfn_t m, enum p2m_type type)
{
	int ret = p2m_map(d, GFN(gfn), m, 0, type);

	if (unlikely(ret == -EEXIST)) {
		ret = clear_gfn(d, GFN(gfn));
		if (!ret)
			ret = p2m_map(d, GFN(gfn), m, 0, type);
	}
	/* No vCPU sees what was there, just now or before the latest removal. */
	guest_tlb_sync(d);
	if (unlikely(ret))
		frame_put(m);
	return ret;
}

static int map_shared_info(struct domain *d, uint64_t idx, uint64_t gfn)
{
	uint64_t old = d->shared_info_gfn;
	mfn_t m;
	int ret;

	if (idx)
		return -EINVAL;
	m = port_direct_mfn(d->shared_info);
	if (!frame_get(d, m))
		return -EINVAL;
	ret = place(d, gfn, m, P2M_SHARED);
	if (ret)
		return ret;
	d->shared_info_gfn = gfn;
	if (old != gfn && old != ~0ull && p2m_lookup(d, GFN(old)).mfn.n == m.n)
		p2m_unmap(d, GFN(old), 0);
	return 0;
}

static int map_grant_frame(struct domain *d, uint64_t idx, uint64_t gfn)
{
	bool status = idx & XENMAPIDX_grant_table_status;
	mfn_t m;
	int ret;

	idx &= ~(uint64_t)XENMAPIDX_grant_table_status;
	if (idx > INT32_MAX)
		return -EINVAL;
	ret = grant_frame(d, (uint32_t)idx, status, &m);
	return ret ? ret : place(d, gfn, m, P2M_SHARED);
}

/* A frame of the domain moves from gfn idx to gfn. */
static int move_frame(struct domain *d, uint64_t idx, uint64_t gfn)
{
	mfn_t m;
	int ret;

	if (idx == gfn)
		return 0;
	if (d->direct_mapped || gfn >= P2M_MAX_GFN)
		return -EINVAL;
	/* The source first: it can be put back, what is at gfn cannot. */
	ret = p2m_take(d, GFN(idx), &m);
	if (ret)
		return ret;
	ret = clear_gfn(d, GFN(gfn));
	if (!ret || ret == -ENOENT)
		ret = p2m_map(d, GFN(gfn), m, 0, P2M_RAM_RW);
	guest_tlb_sync(d); /* no vCPU finds it at idx any more, or what was at gfn */
	if (ret && p2m_map(d, GFN(idx), m, 0, P2M_RAM_RW))
		frame_release_alloc(d, m);
	return ret;
}

/* DOMID_XEN's frames have no gfns: idx is the machine frame. */
static int map_trace(struct domain *d, uint64_t idx, uint64_t gfn)
{
	bool writable;
	int ret = trace_get_frame(MFN(idx), &writable);

	return ret ? ret : place(d, gfn, MFN(idx), writable ? P2M_FOREIGN : P2M_FOREIGN_RO);
}

static int map_foreign(struct domain *d, struct domain *foreign, uint64_t idx, uint64_t gfn)
{
	mfn_t m;
	int ret;

	if (unlikely(foreign == trace_owner()))
		return map_trace(d, idx, gfn);
	ret = foreign && foreign != d ? p2m_get_frame(foreign, GFN(idx), false, &m) : -ESRCH;

	return ret ? ret : place(d, gfn, m, P2M_FOREIGN);
}

static int map_one(struct domain *d, unsigned space, uint64_t idx, uint64_t gfn, struct domain *foreign)
{
	switch (space) {
	case XENMAPSPACE_shared_info:
		return map_shared_info(d, idx, gfn);
	case XENMAPSPACE_grant_table:
		return map_grant_frame(d, idx, gfn);
	case XENMAPSPACE_gmfn:
	case XENMAPSPACE_gmfn_range:
		return move_frame(d, idx, gfn);
	case XENMAPSPACE_gmfn_foreign:
		return map_foreign(d, foreign, idx, gfn);
	default:
		return -EINVAL;
	}
}

/* --- arguments of both kinds of caller --- */

static int get_add(struct hcall *h, struct xen_add_to_physmap *x, gva_t arg)
{
	uint8_t raw[COMPAT_xen_add_to_physmap_SIZE];

	if (!h->compat)
		return hcall_copy_in(h, x, arg);
	if (guestmem_read(h->v, raw, arg, sizeof(raw)))
		return -EFAULT;
	x->domid = memory_field16(raw, COMPAT_xen_add_to_physmap_domid);
	x->size = memory_field16(raw, COMPAT_xen_add_to_physmap_size);
	x->space = memory_field32(raw, COMPAT_xen_add_to_physmap_space);
	x->idx = memory_field32(raw, COMPAT_xen_add_to_physmap_idx);
	x->gpfn = memory_field32(raw, COMPAT_xen_add_to_physmap_gpfn);
	return 0;
}

static int get_batch(struct hcall *h, struct xen_add_to_physmap_batch *b, gva_t arg)
{
	uint8_t raw[COMPAT_xen_add_to_physmap_batch_SIZE];

	if (!h->compat)
		return hcall_copy_in(h, b, arg);
	if (guestmem_read(h->v, raw, arg, sizeof(raw)))
		return -EFAULT;
	b->domid = memory_field16(raw, COMPAT_xen_add_to_physmap_batch_domid);
	b->space = memory_field16(raw, COMPAT_xen_add_to_physmap_batch_space);
	b->size = memory_field16(raw, COMPAT_xen_add_to_physmap_batch_size);
	b->u.foreign_domid = memory_field16(raw, COMPAT_xen_add_to_physmap_batch_u);
	b->idxs.p = MEMORY_HANDLE(xen_ulong_t, raw, COMPAT_xen_add_to_physmap_batch_idxs);
	b->gpfns.p = MEMORY_HANDLE(xen_pfn_t, raw, COMPAT_xen_add_to_physmap_batch_gpfns);
	b->errs.p = MEMORY_HANDLE(int, raw, COMPAT_xen_add_to_physmap_batch_errs);
	return 0;
}

static int get_remove(struct hcall *h, struct xen_remove_from_physmap *x, gva_t arg)
{
	uint8_t raw[COMPAT_xen_remove_from_physmap_SIZE];

	if (!h->compat)
		return hcall_copy_in(h, x, arg);
	if (guestmem_read(h->v, raw, arg, sizeof(raw)))
		return -EFAULT;
	x->domid = memory_field16(raw, COMPAT_xen_remove_from_physmap_domid);
	x->gpfn = memory_field32(raw, COMPAT_xen_remove_from_physmap_gpfn);
	return 0;
}

COMPAT_SAME_OFF(xen_mem_acquire_resource, nr_frames);
COMPAT_SAME_OFF(xen_mem_acquire_resource, frame);
COMPAT_SAME_OFF(xen_mem_acquire_resource, frame_list);

/* The handle comes last and is the only difference. */
static int get_acquire(struct hcall *h, struct xen_mem_acquire_resource *x, gva_t arg)
{
	memset(x, 0, sizeof(*x));
	return guestmem_read(h->v, x, arg, h->compat ? COMPAT_xen_mem_acquire_resource_SIZE : sizeof(*x));
}

/* --- the ops --- */

long physmap_add(struct hcall *h, gva_t arg, uint64_t start)
{
	struct xen_add_to_physmap x;
	struct domain *d;
	int ret;

	if (get_add(h, &x, arg))
		return -EFAULT;
	if (x.space == XENMAPSPACE_gmfn_foreign) /* only the batched op says whose */
		return -ENOSYS;
	ret = memory_target(h, x.domid, &d);
	if (ret)
		return ret;
	if (x.space != XENMAPSPACE_gmfn_range) {
		ret = map_one(d, x.space, x.idx, x.gpfn, NULL);
	} else {
		for (uint64_t i = start; i < x.size && !ret; i++) {
			if (i != start && memory_stop(h, i))
				ret = -ERESTART;
			else
				ret = map_one(d, x.space, x.idx + i, x.gpfn + i, NULL);
		}
	}
	domain_put(d);
	return ret;
}

static int batch_element(struct hcall *h, const struct xen_add_to_physmap_batch *b, uint64_t i, struct domain *d,
			 struct domain *foreign)
{
	uint64_t idx, gfn;
	int err;

	if (memory_element(h, handle_gva(b->idxs), i, &idx) || memory_element(h, handle_gva(b->gpfns), i, &gfn))
		return -EFAULT;
	if (guestmem_check_write(h->v, handle_gva(b->errs) + i * sizeof(err), sizeof(err)))
		return -EFAULT;
	err = map_one(d, b->space, idx, gfn, foreign);
	return guestmem_write(h->v, handle_gva(b->errs) + i * sizeof(err), &err, sizeof(err));
}

static long batch_run(struct hcall *h, const struct xen_add_to_physmap_batch *b, uint64_t start, struct domain *d,
		      struct domain *foreign)
{
	for (uint64_t i = start; i < b->size; i++) {
		int ret;

		if (i != start && i % 16 == 0 && memory_stop(h, i))
			return -ERESTART;
		ret = batch_element(h, b, i, d, foreign);
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * Whose frames are to be mapped. A domain that does not exist leaves *foreign NULL: each element then gets -ESRCH; the
 * caller itself is refused in the same way by name, since nobody maps its own frames so.
 */
static long foreign_target(struct hcall *h, domid_t id, struct domain **foreign)
{
	long ret;

	if (id == DOMID_SELF || id == h->d->id)
		return 0;
	if (id == DOMID_XEN) {
		ret = policy_may(h->d, ACTION_SYSCTL, NULL);
		if (!ret)
			domain_hold(*foreign = trace_owner());
		return ret;
	}
	ret = memory_target(h, id, foreign);
	return ret == -ESRCH ? 0 : ret;
}

long physmap_add_batch(struct hcall *h, gva_t arg, uint64_t start)
{
	struct xen_add_to_physmap_batch b;
	struct domain *d, *foreign = NULL;
	long ret;

	if (get_batch(h, &b, arg))
		return -EFAULT;
	ret = memory_target(h, b.domid, &d);
	if (ret)
		return ret;
	if (b.size < start)
		ret = -EILSEQ;
	else if (b.space == XENMAPSPACE_gmfn_range)
		ret = -EINVAL;
	else if (b.space == XENMAPSPACE_gmfn_foreign)
		ret = foreign_target(h, b.u.foreign_domid, &foreign);
	else if (b.u.res0)
		ret = -EOPNOTSUPP;
	if (!ret)
		ret = batch_run(h, &b, start, d, foreign);
	if (foreign)
		domain_put(foreign);
	domain_put(d);
	return ret;
}

/* Foreign mappings go one page a call from Linux' privcmd: their frames are kept until all vCPUs have flushed, unwaited for. */
long physmap_remove(struct hcall *h, gva_t arg)
{
	struct xen_remove_from_physmap x;
	struct domain *d;
	int ret;

	if (get_remove(h, &x, arg))
		return -EFAULT;
	ret = memory_target(h, x.domid, &d);
	if (ret)
		return ret;
	switch (p2m_lookup(d, GFN(x.gpfn)).type) {
	case P2M_NONE:
	case P2M_POD:
	case P2M_MMIO:
		ret = -ENOENT;
		break;
	case P2M_RAM_RW:
	case P2M_RAM_RO:
	case P2M_RAM_LOGDIRTY:
	case P2M_RAM_TRACKED:
		ret = p2m_release(d, GFN(x.gpfn));
		guest_tlb_sync(d);
		break;
	case P2M_FOREIGN:
		ret = p2m_unmap(d, GFN(x.gpfn), 0);
		break;
	default:
		ret = p2m_unmap(d, GFN(x.gpfn), 0);
		guest_tlb_sync(d);
		break;
	}
	domain_put(d);
	return ret;
}

/* --- XENMEM_acquire_resource --- */

static uint32_t resource_frames(struct domain *d, const struct xen_mem_acquire_resource *x)
{
	if (x->type != XENMEM_resource_grant_table)
		return 0;
	switch (x->id) {
	case XENMEM_resource_grant_table_id_shared:
		return d->grant.max_frames;
	case XENMEM_resource_grant_table_id_status: /* one 2-byte word for each 16-byte entry */
		return DIV_UP(d->grant.max_frames, (uint32_t)(sizeof(grant_entry_v2_t) / sizeof(grant_status_t)));
	default:
		return 0;
	}
}

static long acquire_frames(struct hcall *h, const struct xen_mem_acquire_resource *x, uint64_t start, struct domain *d)
{
	bool status = x->id == XENMEM_resource_grant_table_id_status;

	for (uint64_t i = start; i < x->nr_frames; i++) {
		uint64_t gfn;
		mfn_t m;
		int ret;

		if (i != start && i % 16 == 0 && memory_stop(h, i))
			return -ERESTART;
		if (memory_element(h, handle_gva(x->frame_list), i, &gfn))
			return -EFAULT;
		ret = grant_frame(d, (uint32_t)(x->frame + i), status, &m);
		if (!ret)
			ret = place(h->d, gfn, m, P2M_FOREIGN);
		if (ret)
			return i ? -EIO : ret;
	}
	return 0;
}

long physmap_acquire_resource(struct hcall *h, gva_t arg, uint64_t start)
{
	struct xen_mem_acquire_resource x;
	struct domain *d;
	uint32_t most;
	long ret;

	if (get_acquire(h, &x, arg))
		return -EFAULT;
	if (x.pad || x.frame > UINT32_MAX || x.frame + x.nr_frames > UINT32_MAX)
		return -EINVAL;
	if (x.domid == DOMID_SELF || x.domid == h->d->id)
		return -EPERM;
	ret = memory_target(h, x.domid, &d);
	if (ret)
		return ret;
	most = resource_frames(d, &x);
	if (!most) {
		ret = x.type == XENMEM_resource_grant_table ? -EINVAL : -EOPNOTSUPP;
	} else if (!handle_gva(x.frame_list)) {
		uint32_t nr_field = offsetof(struct xen_mem_acquire_resource, nr_frames);

		ret = x.nr_frames || start ? -EINVAL : guestmem_write(h->v, arg + nr_field, &most, sizeof(most));
	} else if (x.frame + x.nr_frames > most) {
		ret = -EINVAL;
	} else {
		ret = acquire_frames(h, &x, start, d);
	}
	domain_put(d);
	return ret;
}
