/*
 * core/p2m.c (and core/ptab.c for the table format): a domain's map from guest frames to machine frames: the nested
 * page tables the CPU walks. Locks: p2m.lock of the domain.
 *
 * Invariants: an entry P2M_RAM_* of the domain's own frame stands for the frame's allocation reference; P2M_FOREIGN and
 * P2M_GRANT_* and P2M_SHARED hold one reference each. A frame whose mapping was removed keeps its reference in a bounded pending
 * list until every CPU that may hold the translation has flushed (p2m_flush).
 */
#ifndef CORE_P2M_H
#define CORE_P2M_H

#include "lib/lock.h"
#include "lib/types.h"

struct domain;

enum p2m_type {
	P2M_NONE, /* nothing there */
	P2M_RAM_RW,
	P2M_RAM_RO,
	P2M_RAM_LOGDIRTY, /* RAM, write-protected to see the next write */
	P2M_MMIO,	  /* device memory, mapped through (uncached) */
	P2M_FOREIGN,	  /* another domain's frame (tool stack) */
	P2M_GRANT_RW,
	P2M_GRANT_RO,
	P2M_SHARED,	 /* a page of the hypervisor the ABI shares (shared_info, grant frames) */
	P2M_POD,	 /* populate on demand: nothing there yet */
	P2M_FOREIGN_RO,	 /* a page of the hypervisor for its tools to read (core/trace.c) */
	P2M_RAM_TRACKED, /* RAM that counts as clean until the CPU sets the dirty flag of its 4 KiB leaf */
};

enum p2m_format { P2M_FORMAT_NPT, P2M_FORMAT_EPT };

#define P2M_PENDING 64
#define P2M_MAX_GFN (1ull << 40) /* 52-bit guest physical addresses */

#define POD_FOUND 64u
enum pod_stage {
	POD_LOOK,      /* nothing found yet */
	POD_PROTECTED, /* found: gfns that were made P2M_RAM_LOGDIRTY */
	POD_TAKEN,     /* found: frames that are in nobody's map any more */
};

struct p2m {
	spinlock_t lock;
	enum p2m_format format;
	bool dirty_flags;      /* the CPU sets them in these tables */
	mfn_t root;	       /* for nCR3 / EPTP */
	uint64_t max_gfn;      /* highest gfn ever mapped (XENMEM_maximum_gpfn) */
	uint64_t table_frames; /* page-table pages in use, bounded by pool_frames for guests */
	uint64_t pool_frames;  /* ceiling set by the tool stack (paging mempool) */
	uint64_t *leaf_table;  /* the level 0 table found last, NULL = none: serves gfns leaf_region * 512 ... + 511 */
	uint64_t leaf_region;
	uint64_t *mid_table; /* the same of level 1: serves gfns mid_region << 18 and on */
	uint64_t mid_region;
	uint64_t pending[P2M_PENDING]; /* mfns whose reference is dropped at the next flush; bit 63 = release alloc ref,
					* bit 62 = a page-table page */
	unsigned nr_pending;
	bool pod_used;	      /* there was an entry once; may be read without the lock */
	uint64_t pod_entries; /* P2M_POD gfns */
	uint64_t pod_cache;   /* frames in the PoD cache */
	uint64_t pod_target;
	uint64_t pod_sweep;	       /* where the next search for frames to take back starts (a gfn, going down) */
	uint64_t pod_swept;	       /* gfns that it has passed without finding one */
	uint64_t found[POD_FOUND];     /* of the search that goes on: gfns, when taken mfns */
	uint8_t nr_found, found_stage; /* enum pod_stage */
	uint64_t *pod_list[2];	       /* heap page chains of single frames and 2 MiB blocks; owned by core/pod.c */
	bool logdirty;		       /* log-dirty mode on */
	/*
	 * While the CPU logs what it sets dirty flags for: a bit for each 512 gfns, set: something there may be dirty. NULL: it does
	 * not, and all have to be looked at. May be read without the lock by who only asks which of the two.
	 */
	uint8_t *regions;
	unsigned regions_order; /* of its heap pages */
	struct {
		uint64_t key[4]; /* what tells this call from another; made and read by hcall/domctl_misc.c */
		uint64_t next;	 /* the gfn to go on at, 0 = nothing was preempted */
		uint32_t dirty;	 /* counted so far */
	} logdirty_call;	 /* a preempted XEN_DOMCTL_shadow_op; under domctl_lock */
};

struct p2m_entry {
	mfn_t mfn;
	enum p2m_type type;
	unsigned order; /* of the leaf that holds it: 0, 9, 18 */
};

int p2m_init(struct domain *d, enum p2m_format format); /* 0, -ENOMEM */
/*
 * Removes every mapping and drops its references, a bounded piece at a time: 0 done, -ERESTART call again (poll between).
 */
int p2m_relinquish(struct domain *d);
void p2m_destroy(struct domain *d); /* frees the tables; after p2m_relinquish() returned 0 */

struct p2m_entry p2m_lookup(struct domain *d, gfn_t g); /* takes the lock */

/*
 * Maps 2^order frames at g (both aligned) where nothing but P2M_NONE/P2M_POD is: the caller has taken the references.
 * 0, -ENOMEM (table pool), -EEXIST (something is there), -EINVAL (range, d is dying).
 */
int p2m_map(struct domain *d, gfn_t g, mfn_t m, unsigned order, enum p2m_type type);
/*
 * Removes what is at g (2^order gfns; splits larger leaves). References go to the pending list, also the allocation
 * references of the domain's own RAM: it is given up. Never waits for other CPUs where no reference is held (P2M_MMIO).
 * 0, -ENOMEM, -ENOENT.
 */
int p2m_unmap(struct domain *d, gfn_t g, unsigned order);
int p2m_release(struct domain *d,
		gfn_t g); /* the same for one gfn of RAM or P2M_POD; -EINVAL: something else is there */
/*
 * Takes the frame of RAM at g out of the map, to be put elsewhere with p2m_map() or given up with frame_release_alloc():
 * its allocation reference is the caller's. 0, -EINVAL (no RAM there), -ENOMEM.
 */
int p2m_take(struct domain *d, gfn_t g, mfn_t *out);
int p2m_change_type(struct domain *d, gfn_t g, enum p2m_type from, enum p2m_type to); /* -EBUSY if not from */
/* Drops the pending references once no CPU can use what was removed: waits for that (guest_tlb_sync(); no lock held). */
void p2m_flush(struct domain *d);
/* The same without waiting: when another CPU still may, they stay pending. For the entry of a vCPU of d, after its flush. */
void p2m_flush_some(struct domain *d);

/*
 * A nested page fault of d at g. True: re-enter (the mapping is there now, or a piece of the search for a populate-on-demand
 * frame is done, and the access faults again). False: it is not memory (emulate or kill).
 * Fills populate-on-demand entries, log-dirty, and maps device memory on demand for domains with the hardware right.
 */
bool p2m_fault(struct domain *d, gfn_t g, bool write, bool exec);

/*
 * The frame behind g with a reference taken, for maps of foreign or granted memory and for registered areas. want_write:
 * false for RO types when true is asked. PoD entries are filled first. 0, -EINVAL (nothing or not RAM there), -ENOMEM.
 */
int p2m_get_frame(struct domain *d, gfn_t g, bool want_write, mfn_t *out);
/* Somebody who held the frame m behind g for writing lets it go: for log-dirty it counts as written now. */
void p2m_mark_dirty(struct domain *d, gfn_t g, mfn_t m);

/*
 * core/logdirty.c. Turns logging on (all RAM is clean then) or off, a bounded piece from *at on (0 at first): true when
 * all is done and p2m.logdirty is set. Leaves that pieces are made of on the first write stay 4 KiB leaves.
 */
bool logdirty_switch(struct domain *d, bool on, uint64_t *at);
/* Locks: none. The CPU logged these addresses (SDM vol. 3, 29.3.6): n of them, of frames that the guest wrote. */
void logdirty_logged(struct domain *d, const uint64_t *gpas, unsigned n);
void logdirty_touch(struct p2m *p, uint64_t gfn, uint64_t count); /* p2m.lock held: these may be dirty from now on */
static inline bool logdirty_by_cpu(const struct p2m *p)
{
	return __atomic_load_n(&p->regions, __ATOMIC_RELAXED);
}
#define LOGDIRTY_MAX_PAGES (1ull << 36) /* what four levels of tables reach */
#define LOGDIRTY_PIECE	   4096u	/* gfns looked at in one piece at most: a bitmap of 512 bytes */
#define LOGDIRTY_CLEAN	   1u		/* what is reported is clean afterwards */
#define LOGDIRTY_HELD	   2u /* report also what others hold and may write without a trace: grants, registered areas */
/*
 * The dirty ones of gfns [from, from + count), count <= LOGDIRTY_PIECE, as a bitmap; returns how many. Pieces are read in
 * ascending order from gfn 0: a larger leaf becomes clean with the piece its last gfn is in. from + count <= LOGDIRTY_MAX_PAGES.
 */
unsigned logdirty_read(struct domain *d, uint64_t from, unsigned count, unsigned flags, uint8_t *bits);

/* core/pod.c */
int pod_set_target(struct domain *d, uint64_t target_frames); /* -ERESTART possible */
int pod_mark(struct domain *d, gfn_t g, unsigned order);      /* XENMEMF_populate_on_demand */

#endif
