/*
 * core/grant.c: the grant tables themselves: their frames, sizes, versions and queries. See grant.h.
 *
 * Locks: grant.lock of the domain whose table it is. Frames are only ever added while the domain lives, except status
 * frames, which come and go with version 2.
 * Invariants: active entries exist for every ref below grant_entries(); the shared frames are the guest's to scribble on:
 * a decision is taken on a copy of an entry and committed by compare-and-exchange (grant_map.c).
 */
#include "core/grant_private.h"

#include "core/frame.h"
#include "core/heap.h"
#include "core/log.h"
#include "core/policy.h"
#include "lib/lib.h"
#include "port/machine.h"

_Static_assert(sizeof(struct grant_active) == 32 && sizeof(struct grant_maptrack) == 16, "entries fill pages");

#define IN_USE (GTF_reading | GTF_writing)

static uint32_t max_status_frames(const struct grant_table *gt)
{
	return (uint32_t)DIV_UP(gt->max_frames * GRANT_V2_PER_FRAME, GRANT_STATUS_PER_FRAME);
}

static uint32_t max_active_pages(const struct grant_table *gt)
{
	return (uint32_t)(gt->max_frames * GRANT_V1_PER_FRAME / GRANT_ACTIVE_PER_PAGE);
}

/* A page that d and the hypervisor share. */
static void *shared_page(struct domain *d)
{
	void *page = heap_alloc_pages(0);

	if (page)
		frame_share(d, page);
	return page;
}

/* Status frames for nr grant frames. 0, -ENOMEM (what was added stays). */
static int grow_status(struct domain *d, uint32_t nr) REQUIRES(d->grant.lock)
{
	struct grant_table *gt = &d->grant;
	uint32_t want = (uint32_t)DIV_UP(nr * GRANT_V2_PER_FRAME, GRANT_STATUS_PER_FRAME);

	while (gt->nr_status_frames < want) {
		void *page = shared_page(d);

		if (!page)
			return -ENOMEM;
		gt->status[gt->nr_status_frames++] = page;
	}
	return 0;
}

/* Active entries for every ref of nr frames in the wider version. */
static int grow_active(struct domain *d, uint32_t nr) REQUIRES(d->grant.lock)
{
	struct grant_table *gt = &d->grant;
	uint32_t want = (uint32_t)(nr * GRANT_V1_PER_FRAME / GRANT_ACTIVE_PER_PAGE);

	for (uint32_t i = 0; i < want; i++) {
		if (!gt->active[i])
			gt->active[i] = heap_alloc_pages(0);
		if (!gt->active[i])
			return -ENOMEM;
	}
	return 0;
}

/* At least nr frames. 0, -EINVAL (beyond the limit), -ENOMEM. */
static int grow(struct domain *d, uint32_t nr) REQUIRES(d->grant.lock)
{
	struct grant_table *gt = &d->grant;
	int rc;

	if (nr > gt->max_frames)
		return -EINVAL;
	if (nr <= gt->nr_frames)
		return 0;
	rc = grow_active(d, nr);
	if (!rc && gt->version == 2)
		rc = grow_status(d, nr);
	while (!rc && gt->nr_frames < nr) {
		void *page = shared_page(d);

		if (page)
			gt->frames[gt->nr_frames++] = page;
		else
			rc = -ENOMEM;
	}
	return rc;
}

int grant_domain_init(struct domain *d, int max_frames, int max_maptrack, uint32_t opts)
{
	struct grant_table *gt = &d->grant;
	int rc;

	spin_lock_init(&gt->lock, LOCK_GRANT);
	gt->version = 1;
	gt->max_version = XEN_DOMCTL_GRANT_version(opts);
	gt->max_frames = max_frames < 0 ? GRANT_MAX_FRAMES_DEFAULT : (uint32_t)max_frames;
	gt->max_maptrack_frames = max_maptrack < 0 ? GRANT_MAX_MAPTRACK_DEFAULT : (uint32_t)max_maptrack;
	gt->maptrack_free = GRANT_TRACK_END;
	if (!gt->max_version || gt->max_version > 2 || !gt->max_frames || gt->max_frames > GRANT_MAX_FRAMES_LIMIT ||
	    gt->max_maptrack_frames > GRANT_MAX_MAPTRACK_DEFAULT) {
		gt->max_frames = 0;
		return -EINVAL;
	}
	gt->frames = heap_alloc(gt->max_frames * sizeof(gt->frames[0]));
	gt->status = heap_alloc(max_status_frames(gt) * sizeof(gt->status[0]));
	gt->active = heap_alloc(max_active_pages(gt) * sizeof(gt->active[0]));
	if (!gt->frames || !gt->status || !gt->active)
		return -ENOMEM;
	spin_lock(&d->grant.lock);
	rc = grow(d, 1);
	spin_unlock(&d->grant.lock);
	return rc;
}

/* A page somebody else still maps lives on without an owner until that mapping goes (frame.c). */
static void drop_page(struct domain *d, void *page)
{
	if (!frame_unshare(d, page))
		heap_free_pages(page, 0);
}

void grant_domain_destroy(struct domain *d)
{
	struct grant_table *gt = &d->grant;

	for (uint32_t i = 0; i < gt->nr_frames; i++)
		drop_page(d, gt->frames[i]);
	for (uint32_t i = 0; i < gt->nr_status_frames; i++)
		drop_page(d, gt->status[i]);
	for (uint32_t i = 0; gt->active && i < max_active_pages(gt) && gt->active[i]; i++)
		heap_free_pages(gt->active[i], 0);
	for (uint32_t i = 0; i < gt->nr_maptrack_frames; i++)
		heap_free_pages(gt->maptrack[i], 0);
	heap_free(gt->frames, gt->max_frames * sizeof(gt->frames[0]));
	heap_free(gt->status, max_status_frames(gt) * sizeof(gt->status[0]));
	heap_free(gt->active, max_active_pages(gt) * sizeof(gt->active[0]));
	heap_free(gt->maptrack, gt->max_maptrack_frames * sizeof(gt->maptrack[0]));
	memset(gt, 0, sizeof(*gt));
}

/* The domain of a query, with a reference, when the caller may ask. NULL: *status says why. */
static struct domain *query_target(struct domain *caller, domid_t dom, int16_t *status)
{
	struct domain *d = domain_get_for(caller, dom);

	*status = GNTST_bad_domain;
	if (!d)
		return NULL;
	*status = GNTST_okay;
	if (!policy_may(caller, ACTION_GRANTS, d))
		return d;
	*status = GNTST_permission_denied;
	domain_put(d);
	return NULL;
}

int grant_query_size(struct domain *caller, struct gnttab_query_size *op)
{
	struct domain *d = query_target(caller, op->dom, &op->status);

	if (!d)
		return 0;
	spin_lock(&d->grant.lock);
	op->nr_frames = d->grant.nr_frames;
	op->max_nr_frames = d->grant.max_frames;
	spin_unlock(&d->grant.lock);
	domain_put(d);
	return 0;
}

int16_t grant_setup_table(struct domain *caller, domid_t dom, uint32_t nr_frames)
{
	int16_t status;
	struct domain *d = query_target(caller, dom, &status);

	if (!d)
		return status;
	spin_lock(&d->grant.lock);
	if (grow(d, nr_frames))
		status = GNTST_general_error;
	spin_unlock(&d->grant.lock);
	domain_put(d);
	return status;
}

int grant_get_version(struct domain *caller, struct gnttab_get_version *op)
{
	int16_t status;
	struct domain *d = query_target(caller, op->dom, &status);

	if (!d)
		return status == GNTST_bad_domain ? -ESRCH : -EPERM;
	op->version = d->grant.version;
	domain_put(d);
	return 0;
}

static bool is_pinned(const struct grant_table *gt, uint32_t ref)
{
	const struct grant_active *act = grant_active_at(gt, ref);

	return act->readers || act->writers;
}

/* No entry but the reserved ones (the tool stack's) may be in use when the layout changes. */
static bool version_may_change(const struct domain *d) REQUIRES(d->grant.lock)
{
	for (uint32_t ref = GNTTAB_NR_RESERVED_ENTRIES; ref < grant_entries(&d->grant); ref++)
		if (is_pinned(&d->grant, ref))
			return false;
	return true;
}

/* The reserved entries as version 2 has them. */
static void widen(const struct grant_table *gt, union grant_entry_v2 *to, grant_status_t *status)
{
	for (uint32_t ref = 0; ref < GNTTAB_NR_RESERVED_ENTRIES; ref++) {
		const struct grant_entry_v1 e = *grant_v1(gt, ref);

		if ((e.flags & GTF_type_mask) != GTF_permit_access)
			continue;
		to[ref].full_page.hdr.flags = e.flags & (uint16_t)~IN_USE;
		to[ref].full_page.hdr.domid = e.domid;
		to[ref].full_page.frame = e.frame;
		status[ref] = e.flags & IN_USE;
	}
}

/* The reserved entries as version 1 has them. -EINVAL: a frame number is too large for it. */
static int narrow(const struct grant_table *gt, struct grant_entry_v1 *to)
{
	for (uint32_t ref = 0; ref < GNTTAB_NR_RESERVED_ENTRIES; ref++) {
		const union grant_entry_v2 e = *grant_v2(gt, ref);

		if ((e.hdr.flags & GTF_type_mask) != GTF_permit_access || (e.hdr.flags & GTF_sub_page))
			continue;
		if (e.full_page.frame > UINT32_MAX)
			return -EINVAL;
		to[ref].flags = e.hdr.flags | (*grant_v2_status(gt, ref) & IN_USE);
		to[ref].domid = e.hdr.domid;
		to[ref].frame = (uint32_t)e.full_page.frame;
	}
	return 0;
}

/* Changes the layout of every frame, keeping the reserved entries. 0, -EBUSY, -ENOMEM, -EINVAL. */
static int change_version(struct domain *d, uint32_t version) REQUIRES(d->grant.lock)
{
	struct grant_table *gt = &d->grant;
	struct grant_entry_v1 one[GNTTAB_NR_RESERVED_ENTRIES] = { 0 };
	union grant_entry_v2 two[GNTTAB_NR_RESERVED_ENTRIES] = { 0 };
	grant_status_t status[GNTTAB_NR_RESERVED_ENTRIES] = { 0 };
	int rc;

	if (!version_may_change(d))
		return -EBUSY;
	rc = version == 2 ? grow_status(d, gt->nr_frames) : narrow(gt, one);
	if (rc)
		return rc;
	if (version == 2)
		widen(gt, two, status);
	for (uint32_t i = 0; i < gt->nr_frames; i++)
		memset(gt->frames[i], 0, PAGE_SIZE);
	for (uint32_t i = 0; i < gt->nr_status_frames; i++)
		memset(gt->status[i], 0, PAGE_SIZE);
	gt->version = version;
	if (version == 2) {
		memcpy(gt->frames[0], two, sizeof(two));
		memcpy(gt->status[0], status, sizeof(status));
		return 0;
	}
	memcpy(gt->frames[0], one, sizeof(one));
	while (gt->nr_status_frames && !frame_unshare(d, gt->status[gt->nr_status_frames - 1]))
		heap_free_pages(gt->status[--gt->nr_status_frames], 0);
	return 0;
}

int grant_set_version(struct domain *d, struct gnttab_set_version *op)
{
	struct grant_table *gt = &d->grant;
	int rc = 0;

	spin_lock(&d->grant.lock);
	if (op->version != 1 && op->version != 2)
		rc = -EINVAL;
	else if (op->version > gt->max_version)
		rc = -ENOSYS;
	else if (op->version != gt->version)
		rc = change_version(d, op->version);
	op->version = gt->version;
	spin_unlock(&d->grant.lock);
	return rc;
}

int grant_swap_refs(struct domain *d, struct gnttab_swap_grant_ref *op)
{
	struct grant_table *gt = &d->grant;
	uint32_t a = op->ref_a, b = op->ref_b;

	spin_lock(&d->grant.lock);
	if (a >= grant_entries(&d->grant) || b >= grant_entries(&d->grant)) {
		op->status = GNTST_bad_gntref;
	} else if (a != b && (is_pinned(gt, a) || is_pinned(gt, b))) {
		op->status = GNTST_eagain;
	} else {
		op->status = GNTST_okay;
		if (gt->version == 1) {
			struct grant_entry_v1 t = *grant_v1(gt, a);

			*grant_v1(gt, a) = *grant_v1(gt, b);
			*grant_v1(gt, b) = t;
		} else {
			union grant_entry_v2 t = *grant_v2(gt, a);

			*grant_v2(gt, a) = *grant_v2(gt, b);
			*grant_v2(gt, b) = t;
		}
	}
	spin_unlock(&d->grant.lock);
	return 0;
}

int grant_frame(struct domain *d, uint32_t index, bool status, mfn_t *out)
{
	struct grant_table *gt = &d->grant;
	void *page = NULL;
	int rc = -EINVAL;

	spin_lock(&d->grant.lock);
	if (domain_dying(d)) {
		rc = -EINVAL;
	} else if (!status && index < gt->max_frames) {
		rc = grow(d, index + 1);
		page = rc ? NULL : gt->frames[index];
	} else if (status && gt->version == 2 && index < max_status_frames(gt)) {
		uint64_t need = (uint64_t)index * (GRANT_STATUS_PER_FRAME / GRANT_V2_PER_FRAME) + 1;

		rc = grow(d, (uint32_t)need);
		page = rc ? NULL : gt->status[index];
	}
	if (page) {
		*out = port_direct_mfn(page);
		rc = frame_get(d, *out) ? 0 : -ENOMEM;
	}
	spin_unlock(&d->grant.lock);
	return rc;
}

uint32_t grant_active_count(struct domain *d)
{
	uint32_t n = 0;

	spin_lock(&d->grant.lock);
	for (uint32_t ref = 0; ref < grant_entries(&d->grant); ref++)
		n += is_pinned(&d->grant, ref);
	spin_unlock(&d->grant.lock);
	return n;
}

uint32_t grant_maptrack_count(struct domain *d)
{
	return __atomic_load_n(&d->grant.maptrack_used, __ATOMIC_RELAXED);
}

uint32_t grant_pages(struct domain *d)
{
	const struct grant_table *gt = &d->grant;
	uint32_t n;

	spin_lock(&d->grant.lock);
	n = gt->nr_frames + gt->nr_status_frames + gt->nr_maptrack_frames;
	for (uint32_t i = 0; gt->active && i < max_active_pages(gt) && gt->active[i]; i++)
		n++;
	if (gt->maptrack)
		n += (uint32_t)DIV_UP(gt->max_maptrack_frames * sizeof(gt->maptrack[0]), PAGE_SIZE);
	spin_unlock(&d->grant.lock);
	return n;
}
