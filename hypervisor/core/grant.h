/*
 * core/grant.c (tables, queries, versions), core/grant_map.c (pins, map, unmap), core/grant_copy.c (copy): grant tables v1
 * and v2. Source: xen/grant_table.h.
 * Locks: grant.lock of each domain; two domains: lower domid first; p2m.lock may not be held on entry.
 *
 * The grant frames are heap pages marked FRAME_SHARED, always mapped here; an active entry mirrors each grant in use so
 * that what was checked is what is used. The mapping side keeps maptrack entries (handles).
 */
#ifndef CORE_GRANT_H
#define CORE_GRANT_H

#include "lib/lock.h"
#include "lib/types.h"
#include "lib/xen.h"

struct domain;
struct vcpu;
struct grant_active;
struct grant_maptrack;

#define GRANT_MAX_FRAMES_DEFAULT   64
#define GRANT_MAX_MAPTRACK_DEFAULT 1024 /* frames of handles */
#define GRANT_MAX_FRAMES_LIMIT	   512

struct grant_table { /* embedded in struct domain */
	spinlock_t lock;
	uint32_t version;     /* 1 or 2 */
	uint32_t max_version; /* from grant_opts; 1 or 2 */
	uint32_t nr_frames, max_frames;
	uint32_t nr_status_frames;
	void **frames;		      /* grant frames */
	void **status;		      /* status frames (v2) */
	struct grant_active **active; /* pages of active entries */
	uint32_t max_maptrack_frames;
	uint32_t nr_maptrack_frames;
	struct grant_maptrack **maptrack;
	uint32_t maptrack_free; /* head of the free list */
	uint32_t maptrack_used;
	uint32_t relinquish_at; /* where grant_relinquish() goes on */
};

int grant_domain_init(struct domain *d, int max_frames, int max_maptrack, uint32_t opts); /* -1 = default */
int grant_relinquish(struct domain *d); /* drops every mapping d made; 0 or -ERESTART (bounded pieces) */
void grant_domain_destroy(struct domain *d);

/* One element each; the op's status (GNTST_*) goes into the struct, as the ABI has it. d is the caller. */
void grant_map(struct domain *d, struct gnttab_map_grant_ref *op);
/*
 * In two steps, for many at once: grant_unmap() takes the mapping out of d's p2m and returns true with *out filled;
 * grant_unmap_end() then waits until no CPU can use any of them, and tells the grantors. False: op->status says why not.
 */
struct grant_unmapped {
	struct domain *rd; /* with a reference */
	uint32_t handle, ref;
	bool readonly;
};
bool grant_unmap(struct domain *d, struct gnttab_unmap_grant_ref *op, struct grant_unmapped *out);
void grant_unmap_end(struct domain *d, const struct grant_unmapped *u, unsigned count);
/*
 * Copies of one call: each side's last page is kept for the next one, since pieces of a page come together. *k starts with
 * nothing held; grant_copy_end() gives up what it holds, before the call ends or lets others run.
 */
struct grant_pinned {
	mfn_t mfn;
	uint16_t start, length; /* bytes of the page that may be used */
};
struct grant_side {
	bool held, by_ref;
	domid_t domid;
	uint64_t number;   /* the reference, or the caller's frame */
	struct domain *rd; /* the grantor, with a reference; NULL: the caller's own frame, referenced */
	struct grant_pinned page;
};
struct grant_kept {
	struct grant_side from, to;
};
void grant_copy(struct domain *d, struct gnttab_copy *op, struct grant_kept *k);
void grant_copy_end(struct domain *d, struct grant_kept *k);
/* Whole calls: 0 or -errno; status inside. */
int grant_query_size(struct domain *caller, struct gnttab_query_size *op);
int grant_set_version(struct domain *d, struct gnttab_set_version *op);
int grant_get_version(struct domain *caller, struct gnttab_get_version *op);
int grant_swap_refs(struct domain *d, struct gnttab_swap_grant_ref *op);
/* GNTTABOP_setup_table: the table of d has at least nr_frames frames. -> GNTST_*. */
int16_t grant_setup_table(struct domain *caller, domid_t dom, uint32_t nr_frames);

/*
 * For XENMEM_add_to_physmap (space grant_table; XENMAPIDX_grant_table_status bit) and XENMEM_acquire_resource: the frame
 * behind index, the table grown as needed. status: a status frame. A reference is taken. 0, -EINVAL, -ENOMEM.
 */
int grant_frame(struct domain *d, uint32_t index, bool status, mfn_t *out);
/* libxl's seed of a grant entry (console, xenstore) goes through the acquired resource; nothing more is needed here. */

uint32_t grant_active_count(struct domain *d);	 /* entries in use by others */
uint32_t grant_maptrack_count(struct domain *d); /* mappings this domain holds */
uint32_t grant_pages(struct domain *d);		 /* pages of the heap behind its table and its handles */

#endif
