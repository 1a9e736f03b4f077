/*
 * core/grant_map.c: using a grant: pins, mappings, handles. See grant.h.
 *
 * Locks: the granting domain's grant.lock for pins, the mapping domain's for handles; never both, and none while the p2m is
 * asked (p2m.lock comes first).
 * Invariants: a handle in state USED stands for one pin of its grant and one P2M_GRANT_* entry at its gfn. A handle in state
 * BUSY belongs to the operation that made it so. A granted frame's reference in the mapper's p2m goes only after its flush.
 * The grantor sees its entry free only when no CPU can use the mapping any more (grant_unmap_end()).
 */
#include "core/grant_private.h"

#include "core/frame.h"
#include "core/heap.h"
#include "lib/lib.h"
#include "port/guest.h"

#define PIN_TRIES 4   /* for a grantor that changes its entry while we look */
#define PIECE	  256 /* handles looked at by one grant_relinquish() */

/* --- pins --- */

/* One look at a shared entry. */
struct snapshot {
	uint64_t head, body; /* v1: head is all of it; v2: first and second half */
	uint64_t gfn;
	uint16_t flags;
	domid_t domid;
	uint16_t start, length;
};

static void look(const struct grant_table *gt, uint32_t ref, struct snapshot *s) REQUIRES(gt->lock)
{
	const uint64_t *raw;

	s->start = 0;
	s->length = PAGE_SIZE;
	if (gt->version == 1) {
		raw = (const uint64_t *)grant_v1(gt, ref);
		s->head = __atomic_load_n(raw, __ATOMIC_ACQUIRE);
		s->gfn = s->head >> 32;
	} else {
		raw = (const uint64_t *)grant_v2(gt, ref);
		s->head = __atomic_load_n(&raw[0], __ATOMIC_ACQUIRE);
		s->body = __atomic_load_n(&raw[1], __ATOMIC_ACQUIRE);
		s->gfn = s->body;
		if ((uint16_t)s->head & GTF_sub_page) {
			s->start = (uint16_t)(s->head >> 32);
			s->length = (uint16_t)(s->head >> 48);
		}
	}
	s->flags = (uint16_t)s->head;
	s->domid = (domid_t)(s->head >> 16);
}

/* May by use this entry so? -> GNTST_*. */
static int16_t check(const struct snapshot *s, domid_t by, bool write, bool map)
{
	if ((s->flags & GTF_type_mask) != GTF_permit_access || s->domid != by)
		return GNTST_general_error;
	if ((map && (s->flags & GTF_sub_page)) || (write && (s->flags & GTF_readonly)))
		return GNTST_general_error;
	if (s->start + s->length > PAGE_SIZE)
		return GNTST_general_error;
	return s->gfn < P2M_MAX_GFN ? GNTST_okay : GNTST_bad_page;
}

static void clear_in_use(struct grant_table *gt, uint32_t ref, const struct grant_active *act) REQUIRES(gt->lock)
{
	uint16_t *word = gt->version == 1 ? &grant_v1(gt, ref)->flags : grant_v2_status(gt, ref);
	uint16_t keep = (uint16_t) ~(GTF_reading | GTF_writing);

	if (act->writers)
		keep |= GTF_reading | GTF_writing;
	else if (act->readers)
		keep |= GTF_reading;
	__atomic_fetch_and(word, keep, __ATOMIC_SEQ_CST);
}

/* Tells the grantor that its entry is in use. False: the entry is not what it was any more. */
static bool set_in_use(struct grant_table *gt, uint32_t ref, const struct snapshot *s, bool write,
		       const struct grant_active *act) REQUIRES(gt->lock)
{
	uint16_t bits = write ? GTF_reading | GTF_writing : GTF_reading;
	struct snapshot again;

	if (gt->version == 1) {
		uint64_t old = s->head;

		return __atomic_compare_exchange_n((uint64_t *)grant_v1(gt, ref), &old, old | bits, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	}
	/* The grantor clears flags first and looks at the status word second; we do it the other way round. */
	__atomic_fetch_or(grant_v2_status(gt, ref), bits, __ATOMIC_SEQ_CST);
	look(gt, ref, &again);
	if (again.head == s->head && again.body == s->body)
		return true;
	clear_in_use(gt, ref, act);
	return false;
}

enum { PIN_LOOKUP = 1, PIN_AGAIN = 2 }; /* beside GNTST_*, which are <= 0 */

/* A grant that is in use already, or a first look at one that is not. -> GNTST_*, or PIN_LOOKUP with *s filled. */
static int16_t pin_quick(struct domain *rd, uint32_t ref, domid_t by, bool write, bool map, struct grant_pinned *out,
			 struct snapshot *s) REQUIRES(rd->grant.lock)
{
	struct grant_active *act;
	int16_t rc;

	if (ref >= grant_entries(&rd->grant))
		return GNTST_bad_gntref;
	act = grant_active_at(&rd->grant, ref);
	if (act->readers || act->writers) {
		if (act->domid != by || act->readers == UINT32_MAX || act->writers == UINT32_MAX ||
		    (map && act->length != PAGE_SIZE))
			return GNTST_general_error;
		if (!write || act->writers) {
			if (map && !frame_get(rd, act->mfn))
				return GNTST_general_error;
			act->writers += write;
			act->readers += !write;
			*out = (struct grant_pinned){ act->mfn, act->start, act->length };
			return GNTST_okay;
		}
	}
	look(&rd->grant, ref, s);
	rc = check(s, by, write, map);
	return rc ? rc : PIN_LOOKUP;
}

/* The frame m, with one reference (two for map), is what the snapshot names. -> GNTST_*, or PIN_AGAIN: it changed. */
static int16_t pin_commit(struct domain *rd, uint32_t ref, domid_t by, bool write, const struct snapshot *s, mfn_t m,
			  bool *spare) REQUIRES(rd->grant.lock)
{
	struct grant_active *act;
	bool first;

	if (ref >= grant_entries(&rd->grant))
		return PIN_AGAIN;
	act = grant_active_at(&rd->grant, ref);
	first = !act->readers && !act->writers;
	if (!first && (act->domid != by || act->mfn.n != m.n || act->start != s->start || act->length != s->length))
		return GNTST_general_error;
	if (!set_in_use(&rd->grant, ref, s, write, act))
		return PIN_AGAIN;
	if (first)
		*act = (struct grant_active){ m, s->gfn, 0, 0, by, s->start, s->length };
	act->writers += write;
	act->readers += !write;
	*spare = !first;
	return GNTST_okay;
}

static int16_t pin_once(struct domain *rd, uint32_t ref, domid_t by, bool write, bool map, struct grant_pinned *out)
{
	struct snapshot s = { 0 };
	bool spare = true;
	mfn_t m;
	int16_t rc;

	spin_lock(&rd->grant.lock);
	rc = pin_quick(rd, ref, by, write, map, out, &s);
	spin_unlock(&rd->grant.lock);
	if (rc != PIN_LOOKUP)
		return rc;
	if (p2m_get_frame(rd, GFN(s.gfn), write, &m))
		return GNTST_bad_page;
	/* A pin on a page of ours would not keep rd alive as one on its RAM does, so it could never be dropped again. */
	if (frame_type(m) != FRAME_RAM) {
		frame_put(m);
		return GNTST_bad_page;
	}
	if (map && !frame_get(rd, m)) {
		frame_put(m);
		return GNTST_general_error;
	}
	spin_lock(&rd->grant.lock);
	rc = pin_commit(rd, ref, by, write, &s, m, &spare);
	spin_unlock(&rd->grant.lock);
	if (rc && map)
		frame_put(m);
	if (spare)
		frame_put(m);
	*out = (struct grant_pinned){ m, s.start, s.length };
	return rc;
}

int16_t grant_pin(struct domain *rd, uint32_t ref, domid_t by, bool write, bool map, struct grant_pinned *out)
{
	for (int i = 0; i < PIN_TRIES; i++) {
		int16_t rc = pin_once(rd, ref, by, write, map, out);

		if (rc != PIN_AGAIN)
			return rc;
	}
	return GNTST_general_error;
}

void grant_unpin(struct domain *rd, uint32_t ref, bool write)
{
	struct grant_active *act;
	mfn_t m = MFN_INVALID;

	if (unlikely(write && rd->p2m.logdirty)) { /* the grantee may have written until now */
		act = grant_active_at(&rd->grant, ref);
		p2m_mark_dirty(rd, GFN(act->gfn), act->mfn);
	}
	spin_lock(&rd->grant.lock);
	act = grant_active_at(&rd->grant, ref);
	act->writers -= write;
	act->readers -= !write;
	if (!act->writers && (write || !act->readers))
		clear_in_use(&rd->grant, ref, act);
	if (!act->writers && !act->readers)
		m = act->mfn;
	spin_unlock(&rd->grant.lock);
	if (mfn_valid(m))
		frame_put(m);
}

/* --- handles --- */

static struct grant_maptrack *track_at(const struct grant_table *gt, uint32_t handle)
{
	return &gt->maptrack[handle / GRANT_TRACK_PER_PAGE][handle % GRANT_TRACK_PER_PAGE];
}

/* One more page of handles. */
static bool track_grow(struct grant_table *gt) REQUIRES(gt->lock)
{
	uint32_t base = gt->nr_maptrack_frames * (uint32_t)GRANT_TRACK_PER_PAGE;
	struct grant_maptrack *page;

	if (gt->nr_maptrack_frames >= gt->max_maptrack_frames)
		return false;
	if (!gt->maptrack)
		gt->maptrack = heap_alloc(gt->max_maptrack_frames * sizeof(gt->maptrack[0]));
	page = gt->maptrack ? heap_alloc_pages(0) : NULL;
	if (!page)
		return false;
	for (uint32_t i = 0; i < GRANT_TRACK_PER_PAGE; i++)
		page[i].ref = base + i + 1;
	page[GRANT_TRACK_PER_PAGE - 1].ref = gt->maptrack_free;
	gt->maptrack_free = base;
	gt->maptrack[gt->nr_maptrack_frames++] = page;
	return true;
}

/* A handle in state BUSY, or GRANT_TRACK_END. */
static uint32_t track_get(struct domain *d)
{
	struct grant_table *gt = &d->grant;
	uint32_t handle = GRANT_TRACK_END;

	spin_lock(&d->grant.lock);
	if (!domain_dying(d) && (gt->maptrack_free != GRANT_TRACK_END || track_grow(&d->grant))) {
		struct grant_maptrack *t;

		handle = gt->maptrack_free;
		t = track_at(gt, handle);
		gt->maptrack_free = t->ref;
		gt->maptrack_used++;
		t->state = MAPTRACK_BUSY;
	}
	spin_unlock(&d->grant.lock);
	return handle;
}

static void track_put(struct domain *d, uint32_t handle)
{
	struct grant_maptrack *t;

	spin_lock(&d->grant.lock);
	t = track_at(&d->grant, handle);
	t->state = MAPTRACK_FREE;
	t->ref = d->grant.maptrack_free;
	d->grant.maptrack_free = handle;
	d->grant.maptrack_used--;
	spin_unlock(&d->grant.lock);
}

/* Takes a used handle for oneself; false: it is none. */
static bool track_claim(struct domain *d, uint32_t handle, struct grant_maptrack *out)
{
	bool ok = false;

	spin_lock(&d->grant.lock);
	if (handle / GRANT_TRACK_PER_PAGE < d->grant.nr_maptrack_frames) {
		struct grant_maptrack *t = track_at(&d->grant, handle);

		ok = t->state == MAPTRACK_USED;
		if (ok) {
			*out = *t;
			t->state = MAPTRACK_BUSY;
		}
	}
	spin_unlock(&d->grant.lock);
	return ok;
}

static void track_set(struct domain *d, uint32_t handle, const struct grant_maptrack *as)
{
	spin_lock(&d->grant.lock);
	*track_at(&d->grant, handle) = *as;
	spin_unlock(&d->grant.lock);
}

/* --- mappings --- */

/* Pins and maps for a handle that is ours. -> GNTST_*. */
static int16_t map_with(struct domain *d, struct domain *rd, struct gnttab_map_grant_ref *op, uint32_t handle)
{
	bool readonly = op->flags & GNTMAP_readonly;
	gfn_t g = GFN(op->host_addr >> PAGE_SHIFT);
	struct grant_pinned p;
	struct grant_maptrack t;
	int16_t rc = grant_pin(rd, op->ref, d->id, !readonly, true, &p);

	if (rc)
		return rc;
	if (p2m_map(d, g, p.mfn, ORDER_4K, readonly ? P2M_GRANT_RO : P2M_GRANT_RW)) {
		frame_put(p.mfn);
		grant_unpin(rd, op->ref, !readonly);
		return GNTST_general_error;
	}
	t = (struct grant_maptrack){ op->ref, rd->id, MAPTRACK_USED, readonly, g.n };
	track_set(d, handle, &t);
	op->dev_bus_addr = p.mfn.n << PAGE_SHIFT;
	op->handle = handle;
	return GNTST_okay;
}

void grant_map(struct domain *d, struct gnttab_map_grant_ref *op)
{
	struct domain *rd;
	uint32_t handle;

	if (!(op->flags & (GNTMAP_device_map | GNTMAP_host_map))) {
		op->status = GNTST_bad_gntref;
		return;
	}
	/* A domain with its own physical address space: no device mappings, no addresses of page-table entries. */
	if (op->flags & (GNTMAP_device_map | GNTMAP_application_map | GNTMAP_contains_pte)) {
		op->status = GNTST_general_error;
		return;
	}
	rd = domain_get(op->dom);
	if (!rd) {
		op->status = GNTST_bad_domain;
		return;
	}
	handle = track_get(d);
	if (handle == GRANT_TRACK_END) {
		op->status = GNTST_no_space;
	} else {
		op->status = domain_dying(rd) ? GNTST_bad_domain : map_with(d, rd, op, handle);
		if (op->status)
			track_put(d, handle);
	}
	domain_put(rd);
}

/* Is the mapping of t still where it was made? */
static bool still_mapped(struct domain *d, struct domain *rd, const struct grant_maptrack *t)
{
	struct p2m_entry e = p2m_lookup(d, GFN(t->gfn));
	mfn_t m;

	spin_lock(&rd->grant.lock);
	m = grant_active_at(&rd->grant, t->ref)->mfn;
	spin_unlock(&rd->grant.lock);
	return e.type == (t->readonly ? P2M_GRANT_RO : P2M_GRANT_RW) && e.mfn.n == m.n;
}

bool grant_unmap(struct domain *d, struct gnttab_unmap_grant_ref *op, struct grant_unmapped *out)
{
	struct grant_maptrack t;
	struct domain *rd;

	if (!track_claim(d, op->handle, &t)) {
		op->status = GNTST_bad_handle;
		return false;
	}
	op->status = GNTST_okay;
	rd = domain_get(t.domid);
	if (!rd)
		op->status = GNTST_bad_domain;
	else if (op->host_addr && (op->host_addr >> PAGE_SHIFT != t.gfn || !still_mapped(d, rd, &t) ||
				   p2m_unmap(d, GFN(t.gfn), ORDER_4K)))
		op->status = GNTST_general_error;
	if (!op->status && op->host_addr) { /* without an address nothing is asked for */
		*out = (struct grant_unmapped){ rd, op->handle, t.ref, t.readonly };
		return true;
	}
	track_set(d, op->handle, &t);
	if (rd)
		domain_put(rd);
	return false;
}

void grant_unmap_end(struct domain *d, const struct grant_unmapped *u, unsigned count)
{
	guest_tlb_sync(d);
	for (unsigned i = 0; i < count; i++) {
		grant_unpin(u[i].rd, u[i].ref, !u[i].readonly);
		track_put(d, u[i].handle);
		domain_put(u[i].rd);
	}
}

/* d's vCPUs run no more and its p2m goes as a whole: only the pins are left to drop. */
int grant_relinquish(struct domain *d)
{
	struct grant_table *gt = &d->grant;
	uint32_t end = gt->nr_maptrack_frames * (uint32_t)GRANT_TRACK_PER_PAGE;
	uint32_t stop = MIN(end, gt->relinquish_at + PIECE);

	for (; gt->relinquish_at < stop; gt->relinquish_at++) {
		struct grant_maptrack t;
		struct domain *rd;

		if (!track_claim(d, gt->relinquish_at, &t))
			continue;
		rd = domain_get(t.domid);
		if (rd) {
			grant_unpin(rd, t.ref, !t.readonly);
			domain_put(rd);
		}
		track_put(d, gt->relinquish_at);
	}
	return stop < end ? -ERESTART : 0;
}
