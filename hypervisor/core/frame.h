/*
 * core/frame.c: every frame of machine RAM: who owns it, of what type it is, how many references hold it; and the
 * buddy allocator of the free ones. 8 bytes per frame. Locks: one frame lock (innermost but heap and console).
 *
 * Invariants: a frame on a free list has type FRAME_FREE and no references. A FRAME_RAM frame has an owner and at least
 * one reference: the owner's (the "allocation" reference, dropped by frame_release_alloc), or somebody's who still maps
 * it. When the last reference goes, the frame is freed and the owner's count d->frames goes down. Frames are scrubbed
 * when handed out, not when freed.
 */
#ifndef CORE_FRAME_H
#define CORE_FRAME_H

#include "lib/types.h"

struct domain;

enum frame_type {
	FRAME_NONE = 0,	  /* not RAM (device, firmware, hole) or RAM that nobody may have */
	FRAME_FREE = 1,	  /* the only odd one: core/frame.c uses the bits above */
	FRAME_HYP = 2,	  /* the hypervisor's own: image, frame table, heap */
	FRAME_RAM = 4,	  /* a domain's memory */
	FRAME_SHARED = 6, /* a heap page the ABI shares with a domain (shared_info, grant frames): mapped in both */
};

struct frame_range {
	uint64_t start, end; /* mfns, end exclusive */
};

/*
 * Boot only. The table for frames [0, limit) lies at table (zeroed, mapped; limit * 8 bytes). Everything is FRAME_NONE
 * until frame_add_free() gives ranges to the allocator.
 */
#define FRAME_TABLE_BYTES(limit) ((limit)*8ull)
#define FRAME_LIMIT_MAX		 (BIT(29) - 1)
void frame_init(void *table, uint64_t limit);
void frame_add_free(uint64_t start, uint64_t end);
void frame_mark_hyp(uint64_t start, uint64_t end);

uint64_t frame_limit(void);
uint64_t frame_free_count(void);				       /* free frames, unclaimed or not */
uint64_t frame_total_count(void);				       /* all RAM frames the hypervisor manages */
void frame_node_count(unsigned node, uint64_t *total, uint64_t *free); /* the same of one NUMA node */
unsigned frame_node(mfn_t m); /* the NUMA node of a frame; 0 for what is beyond RAM */
/* How many frames of a node the domain id owns. Reads the whole frame table: for debug keys only. */
uint64_t frame_owned_on(uint16_t id, unsigned node);
uint64_t frame_nodes(void); /* a bit for each node */

/* Allocates 2^order hypervisor frames (FRAME_HYP), contents undefined, not mapped. MFN_INVALID: none. */
mfn_t frame_alloc_hyp(unsigned order);
void frame_free_hyp(mfn_t m, unsigned order);

/*
 * Allocates 2^order frames of guest memory for d (FRAME_RAM, owner d, one reference each), scrubbed, counted in
 * d->frames. below: highest frame number + 1 allowed (0 = any). MFN_INVALID when there is none or the limit
 * d->max_frames would be passed. They come from the nodes of d->node_affinity in turn, from others when those are out.
 */
mfn_t frame_alloc(struct domain *d, unsigned order, uint64_t below);
/* The same from one node, whatever the affinity; exact: MFN_INVALID rather than from another one. */
mfn_t frame_alloc_node(struct domain *d, unsigned order, uint64_t below, unsigned node, bool exact);
/* Boot, 1:1 domains and their ballooning: exactly the frame m if it is free. */
bool frame_alloc_at(struct domain *d, mfn_t m);
/* Boot: the aligned block of 2^order frames at m, not scrubbed (no domain has used them yet). All or nothing. */
bool frame_alloc_boot(struct domain *d, mfn_t m, unsigned order);

enum frame_type frame_type(mfn_t m);
uint16_t frame_owner(mfn_t m); /* domid, DOMID_INVALID when none */

/* A reference on a frame that d owns (RAM or SHARED). False: not d's, or no references left to give. */
bool frame_get(struct domain *d, mfn_t m);
void frame_put(mfn_t m); /* drops one; the last one frees */
/* d gives the frame up: drops the allocation reference, once only (false the second time). */
bool frame_release_alloc(struct domain *d, mfn_t m);
uint32_t frame_refs(mfn_t m);

/* A heap page becomes FRAME_SHARED of d / goes back to FRAME_HYP (only when no reference is left: -EBUSY). */
void frame_share(struct domain *d, void *page);
int frame_unshare(struct domain *d, void *page);

/* XENMEM_claim_pages: frames promised to d; frame_alloc of others may not touch them. -ENOMEM. */
int frame_claim(struct domain *d, uint64_t frames);
uint64_t frame_claimed(void);

#endif
