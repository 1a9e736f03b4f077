/*
 * core/ptab.c: the nested page tables themselves: the format of an entry, finding one, making and splitting tables.
 * For core/p2m.c and core/pod.c only. Locks: the caller holds p2m.lock, or is the only one who knows the domain.
 *
 * Level 3 is the root; an entry of level 0, 1, 2 can be a leaf of 4 KiB, 2 MiB, 1 GiB. In both formats bits 52-55 are
 * ours (APM vol. 2, 5.3 and 15.25; SDM vol. 3, 28.3.2): they hold the enum p2m_type of a leaf, 0 in an entry that points
 * to a table. So an entry is nothing (0), a table (type 0), or a leaf; P2M_POD is a leaf that is not present.
 */
#ifndef CORE_PTAB_H
#define CORE_PTAB_H

#include "core/domain.h"

#define PTAB_ENTRIES 512u
#define PTAB_ROOT    3u
#define PTAB_GFNS    (1ull << 36) /* what four levels reach */

static inline enum p2m_type ptab_type(uint64_t e)
{
	return (enum p2m_type)((e >> 52) & 15);
}

static inline mfn_t ptab_mfn(uint64_t e)
{
	return MFN((e >> PAGE_SHIFT) & (BIT(40) - 1));
}

static inline bool ptab_is_table(uint64_t e)
{
	return e && ptab_type(e) == P2M_NONE;
}

static inline uint64_t ptab_span(unsigned level) /* gfns one entry covers */
{
	return 1ull << (9 * level);
}

static inline void ptab_set(uint64_t *e, uint64_t value)
{
	__atomic_store_n(e, value, __ATOMIC_RELEASE);
}

/* Does a write to it want to be noted for log-dirty? */
static inline bool ptab_logged(enum p2m_type t)
{
	return t == P2M_RAM_LOGDIRTY || t == P2M_RAM_TRACKED;
}

/* May the guest write, or fetch instructions from, memory of this type? */
static inline bool ptab_writable(enum p2m_type t)
{
	return t == P2M_RAM_RW || t == P2M_RAM_TRACKED || t == P2M_MMIO || t == P2M_FOREIGN || t == P2M_GRANT_RW ||
	       t == P2M_SHARED;
}

static inline bool ptab_executable(enum p2m_type t)
{
	return t == P2M_RAM_RW || t == P2M_RAM_RO || ptab_logged(t) || t == P2M_MMIO;
}

static inline bool ptab_is_ram(enum p2m_type t)
{
	return t == P2M_RAM_RW || t == P2M_RAM_RO || ptab_logged(t);
}

/* A leaf of that level, its dirty flag set unless P2M_RAM_TRACKED; m is ignored for P2M_POD. */
uint64_t ptab_leaf(enum p2m_format f, mfn_t m, enum p2m_type t, unsigned level);
bool ptab_dirty(enum p2m_format f, uint64_t e); /* the CPU wrote through that leaf of type P2M_RAM_TRACKED */
/* What clean RAM is at that level: a larger leaf is write-protected, to be made into 4 KiB ones by the first write. */
enum p2m_type ptab_clean_type(const struct p2m *p, unsigned level);
/* The entry that decides about gfn (< PTAB_GFNS): a leaf or nothing, and its level. */
uint64_t *ptab_find(struct p2m *p, uint64_t gfn, unsigned *level);
/* The entry of exactly that level for gfn; makes tables and splits larger leaves on the way. NULL: out of memory. */
uint64_t *ptab_make(struct domain *d, uint64_t gfn, unsigned level);
/* The table behind an entry, and the entry's own table page back to the heap. */
uint64_t *ptab_table(uint64_t e);
uint64_t *ptab_new(struct domain *d); /* an empty table within d's pool, NULL */
void ptab_free(struct p2m *p, uint64_t *table);

/*
 * core/p2m.c, for core/pod.c; p2m.lock held: puts the leaf value (for order 0, 9 or 18) at gfn where nothing but P2M_NONE
 * or P2M_POD is. The caller made room in p2m.pending for one table page. 0, -EEXIST, -ENOMEM, -EINVAL (d is dying).
 */
int p2m_place(struct domain *d, uint64_t gfn, unsigned order, uint64_t leaf);
/* Takes p2m.lock with at least one place left in p2m.pending. */
void p2m_lock_with_room(struct domain *d) ACQUIRE(d->p2m.lock);

void logdirty_end(struct p2m *p); /* core/logdirty.c, for core/p2m.c: what it keeps is given back */

/* core/pod.c, for core/p2m.c. */
/* p2m.lock held: fills the P2M_POD entry there. 0, -ENOMEM, -EAGAIN: a piece of the search for a frame is done, call again. */
int pod_fill(struct domain *d, uint64_t gfn);
bool pod_recycle(struct domain *d, mfn_t m); /* no lock held: d gives m up; true when the PoD cache took it */
bool pod_drain(struct domain *d); /* no lock held: frees a bounded part of the cache; true when it is empty */

#endif
