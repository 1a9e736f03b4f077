/*
 * core/grant_private.h: what core/grant.c, grant_map.c and grant_copy.c share. Nobody else includes it.
 */
#ifndef CORE_GRANT_PRIVATE_H
#define CORE_GRANT_PRIVATE_H

#include "core/domain.h"

/*
 * A grant in use by its grantee: what was checked when it was pinned first. Guarded by the granting domain's grant.lock. While
 * readers + writers > 0 one reference on mfn is held here.
 */
struct grant_active {
	mfn_t mfn;
	uint64_t gfn;
	uint32_t readers, writers;
	domid_t domid;		/* the grantee */
	uint16_t start, length; /* bytes of the page that are granted */
};

/* One mapping that a domain made; its handle is its index. Guarded by the mapping domain's grant.lock. */
struct grant_maptrack {
	uint32_t ref; /* or the next free handle */
	domid_t domid;
	uint8_t state; /* MAPTRACK_* */
	bool readonly;
	uint64_t gfn; /* where it is mapped */
};

enum { MAPTRACK_FREE, MAPTRACK_BUSY, MAPTRACK_USED };

#define GRANT_V1_PER_FRAME     (PAGE_SIZE / sizeof(struct grant_entry_v1))
#define GRANT_V2_PER_FRAME     (PAGE_SIZE / sizeof(union grant_entry_v2))
#define GRANT_STATUS_PER_FRAME (PAGE_SIZE / sizeof(grant_status_t))
#define GRANT_ACTIVE_PER_PAGE  (PAGE_SIZE / sizeof(struct grant_active))
#define GRANT_TRACK_PER_PAGE   (PAGE_SIZE / sizeof(struct grant_maptrack))
#define GRANT_TRACK_END	       (~0u)

static inline uint32_t grant_entries(const struct grant_table *gt) REQUIRES(gt->lock)
{
	return gt->nr_frames * (uint32_t)(gt->version == 1 ? GRANT_V1_PER_FRAME : GRANT_V2_PER_FRAME);
}

static inline struct grant_entry_v1 *grant_v1(const struct grant_table *gt, uint32_t ref)
{
	return (struct grant_entry_v1 *)gt->frames[ref / GRANT_V1_PER_FRAME] + ref % GRANT_V1_PER_FRAME;
}

static inline union grant_entry_v2 *grant_v2(const struct grant_table *gt, uint32_t ref)
{
	return (union grant_entry_v2 *)gt->frames[ref / GRANT_V2_PER_FRAME] + ref % GRANT_V2_PER_FRAME;
}

static inline grant_status_t *grant_v2_status(const struct grant_table *gt, uint32_t ref)
{
	return (grant_status_t *)gt->status[ref / GRANT_STATUS_PER_FRAME] + ref % GRANT_STATUS_PER_FRAME;
}

static inline struct grant_active *grant_active_at(const struct grant_table *gt, uint32_t ref)
{
	return &gt->active[ref / GRANT_ACTIVE_PER_PAGE][ref % GRANT_ACTIVE_PER_PAGE];
}

/*
 * The grantee by begins to use a grant of rd: checks it, marks it in the shared table and in the active entry.
 * map: as a mapping (whole pages only; *out comes with a reference for the p2m entry), else for one copy. -> GNTST_*.
 * No lock is held on entry.
 */
int16_t grant_pin(struct domain *rd, uint32_t ref, domid_t by, bool write, bool map, struct grant_pinned *out);
void grant_unpin(struct domain *rd, uint32_t ref, bool write);

#endif
