/*
 * core/pod.c: populate on demand: a guest is given fewer frames than its memory map promises; gfns without a frame are
 * P2M_POD leaves, filled on first access from a cache of frames the domain owns already.
 *
 * Locks: p2m.lock. Invariants: p2m.pod_cache counts the frames in both lists; a frame in the cache is scrubbed and held
 * by its allocation reference only. A list is a chain of heap pages: word 0 links to the next page, word 1 counts, the
 * others are mfns.
 */
#include "core/domain.h"
#include "core/frame.h"
#include "core/guestmem.h"
#include "core/heap.h"
#include "core/ptab.h"
#include "lib/lib.h"
#include "port/guest.h"

#define LIST_ENTRIES 510u
#define BLOCK	     512u  /* frames of a 2 MiB block */
#define SOME_FRAMES  2048u /* moved in one piece of work */
#define SWEEP_LOOKS  1024u /* entries looked at in one sweep */

enum { SINGLES, BLOCKS };

/* --- the cache; p2m.lock held --- */

static bool cache_push(struct p2m *p, unsigned which, mfn_t m)
{
	uint64_t *page = p->pod_list[which];

	if (!page || page[1] == LIST_ENTRIES) {
		uint64_t *more = heap_alloc_pages(0);

		if (!more)
			return false;
		more[0] = (uintptr_t)page;
		p->pod_list[which] = page = more;
	}
	page[2 + page[1]++] = m.n;
	p->pod_cache += which == BLOCKS ? BLOCK : 1;
	return true;
}

static mfn_t cache_pop(struct p2m *p, unsigned which)
{
	uint64_t *page = p->pod_list[which];
	mfn_t m;

	if (!page)
		return MFN_INVALID;
	m = MFN(page[2 + --page[1]]);
	if (!page[1]) {
		p->pod_list[which] = (uint64_t *)(uintptr_t)page[0];
		heap_free_pages(page, 0);
	}
	p->pod_cache -= which == BLOCKS ? BLOCK : 1;
	return m;
}

/* One frame; a block is broken up when there is no single one. */
static mfn_t cache_pop_single(struct domain *d)
{
	mfn_t m = cache_pop(&d->p2m, SINGLES), block;

	if (mfn_valid(m))
		return m;
	block = cache_pop(&d->p2m, BLOCKS);
	for (uint64_t i = 1; mfn_valid(block) && i < BLOCK; i++)
		if (!cache_push(&d->p2m, SINGLES, MFN(block.n + i)))
			frame_release_alloc(d, MFN(block.n + i));
	return block;
}

/* --- the sweep: an empty cache takes back frames that hold only zeros --- */

static bool all_zero(mfn_t m)
{
	const uint64_t *word = guestmem_window(m);

	for (unsigned i = 0; i < PAGE_SIZE / sizeof(*word); i++)
		if (word[i])
			return false;
	return true;
}

/* The leaf of gfn as a 4 KiB one of that type; false: no memory to split it. */
static bool retype(struct domain *d, uint64_t gfn, mfn_t m, enum p2m_type t)
{
	uint64_t *e = ptab_make(d, gfn, 0);

	if (!e)
		return false;
	ptab_set(e, ptab_leaf(d->p2m.format, m, t, 0));
	guestmem_forget_gfns(d, gfn, 1);
	return true;
}

/* A frame of the guest's alone that looks empty. While dirty pages are logged, only one that is clean. */
static bool candidate(const struct p2m *p, uint64_t gfn, uint64_t e, unsigned level, mfn_t *m)
{
	*m = MFN(ptab_mfn(e).n + (gfn & (ptab_span(level) - 1)));
	if (ptab_type(e) == P2M_RAM_RW ? p->logdirty : ptab_type(e) != P2M_RAM_LOGDIRTY)
		return false;
	return frame_refs(*m) == 1 && all_zero(*m);
}

/*
 * Goes down from where the last one ended, a piece of the way, until enough candidates are found, and makes them
 * P2M_RAM_LOGDIRTY: who writes to one from now on says so by its type. Returns gfns that are left to look at.
 */
static uint64_t find_candidates(struct domain *d)
{
	struct p2m *p = &d->p2m;
	uint64_t at = MIN(p->pod_sweep, p->max_gfn), left = p->max_gfn + 1, step;
	unsigned level;
	mfn_t m;

	left -= MIN(left, p->pod_swept);
	for (unsigned looks = SWEEP_LOOKS; left && looks && p->nr_found < POD_FOUND; looks--, left -= MIN(left, step)) {
		uint64_t e = *ptab_find(p, at, &level);

		step = ptab_is_ram(ptab_type(e)) ? 1 : (at & (ptab_span(level) - 1)) + 1;
		if (candidate(p, at, e, level, &m) && retype(d, at, m, P2M_RAM_LOGDIRTY))
			p->found[p->nr_found++] = at;
		at = at >= step ? at - step : p->max_gfn;
	}
	p->pod_sweep = at;
	return left;
}

/* Candidates that are still clean and empty become entries to fill; found then holds their frames. */
static void take_candidates(struct domain *d)
{
	struct p2m *p = &d->p2m;
	unsigned taken = 0, level;
	mfn_t m;

	for (unsigned i = 0; i < p->nr_found; i++) {
		uint64_t gfn = p->found[i], e = *ptab_find(p, gfn, &level);

		if (ptab_type(e) != P2M_RAM_LOGDIRTY || !candidate(p, gfn, e, level, &m) ||
		    !retype(d, gfn, MFN(0), P2M_POD))
			continue;
		p->pod_entries++;
		p->found[taken++] = m.n;
	}
	p->nr_found = taken;
}

static void keep_found(struct domain *d)
{
	struct p2m *p = &d->p2m;

	while (p->nr_found) {
		mfn_t m = MFN(p->found[--p->nr_found]);

		if (!cache_push(p, SINGLES, m))
			frame_release_alloc(d, m);
	}
	p->found_stage = POD_LOOK;
}

/*
 * One step of the search. Between two of them all CPUs must have flushed: then a frame found clean was not written through
 * an old translation, and one taken out is not read through one. 0: the cache has some; -EAGAIN: call again without the lock
 * in between (and guest_tlb_sync()); -ENOMEM: all gfns held something in a row. That is final, until the tool stack
 * sets a target again.
 */
static int sweep(struct domain *d)
{
	struct p2m *p = &d->p2m;
	uint64_t left;

	if (p->found_stage != POD_LOOK && !guest_tlb_settled(d))
		return -EAGAIN;
	switch ((enum pod_stage)p->found_stage) {
	case POD_LOOK:
		left = find_candidates(d);
		p->pod_swept = p->max_gfn + 1 - left;
		if (!p->nr_found)
			return left ? -EAGAIN : -ENOMEM;
		p->found_stage = POD_PROTECTED;
		break;
	case POD_PROTECTED:
		take_candidates(d);
		p->found_stage = p->nr_found ? POD_TAKEN : POD_LOOK;
		break;
	case POD_TAKEN:
		keep_found(d);
		p->pod_swept = 0;
		return p->pod_cache ? 0 : -EAGAIN;
	}
	guest_tlb_flush(d);
	return -EAGAIN;
}

int pod_fill(struct domain *d, uint64_t gfn)
{
	struct p2m *p = &d->p2m;
	unsigned level;
	uint64_t *e;
	mfn_t m;
	int ret = unlikely(!p->pod_cache) ? sweep(d) : 0;

	if (ret)
		return ret;
	e = ptab_find(p, gfn, &level);
	if (level > 1) {
		e = ptab_make(d, gfn, 1);
		level = 1;
	}
	if (e && level == 1) {
		m = cache_pop(p, BLOCKS);
		if (mfn_valid(m)) {
			ptab_set(e, ptab_leaf(p->format, m, P2M_RAM_RW, 1));
			p->pod_entries -= BLOCK;
			return 0;
		}
		e = ptab_make(d, gfn, 0);
	}
	m = e ? cache_pop_single(d) : MFN_INVALID;
	if (!mfn_valid(m))
		return -ENOMEM;
	ptab_set(e, ptab_leaf(p->format, m, P2M_RAM_RW, 0));
	p->pod_entries--;
	return 0;
}

/* Is there an entry that no frame in the cache is for? */
static bool cache_wanted(struct domain *d)
{
	bool wanted;

	spin_lock(&d->p2m.lock);
	wanted = d->p2m.pod_entries > d->p2m.pod_cache;
	spin_unlock(&d->p2m.lock);
	return wanted;
}

bool pod_recycle(struct domain *d, mfn_t m)
{
	struct p2m *p = &d->p2m;
	bool taken;

	if (likely(!__atomic_load_n(&p->pod_used, __ATOMIC_RELAXED)))
		return false;
	if (domain_dying(d) || !cache_wanted(d) || frame_refs(m) != 1)
		return false;
	memset(guestmem_window(m), 0, PAGE_SIZE);
	spin_lock(&p->lock);
	taken = p->pod_entries > p->pod_cache && cache_push(p, SINGLES, m);
	spin_unlock(&p->lock);
	return taken;
}

/* --- what the tool stack asks for --- */

int pod_mark(struct domain *d, gfn_t g, unsigned order)
{
	int ret;

	if (order != ORDER_4K && order != ORDER_2M && order != ORDER_1G)
		return -EINVAL;
	if ((g.n & ((1ull << order) - 1)) || g.n >= PTAB_GFNS || (1ull << order) > PTAB_GFNS - g.n)
		return -EINVAL;
	p2m_lock_with_room(d);
	ret = p2m_place(d, g.n, order, ptab_leaf(d->p2m.format, MFN(0), P2M_POD, order / 9));
	if (!ret) {
		d->p2m.pod_entries += 1ull << order;
		__atomic_store_n(&d->p2m.pod_used, true, __ATOMIC_RELAXED);
	}
	spin_unlock(&d->p2m.lock);
	return ret == -EEXIST ? -EBUSY : ret;
}

static int cache_grow(struct domain *d, uint64_t wanted)
{
	mfn_t m = wanted >= BLOCK ? frame_alloc(d, ORDER_2M, 0) : MFN_INVALID;
	bool block = mfn_valid(m);

	if (!block)
		m = frame_alloc(d, 0, 0);
	if (!mfn_valid(m))
		return -ENOMEM;
	if (cache_push(&d->p2m, block ? BLOCKS : SINGLES, m))
		return 0;
	for (uint64_t i = 0; i < (block ? BLOCK : 1); i++)
		frame_release_alloc(d, MFN(m.n + i));
	return -ENOMEM;
}

/* Frees at least one frame, at most a block. */
static void cache_shrink(struct domain *d, uint64_t surplus)
{
	mfn_t m = surplus >= BLOCK ? cache_pop(&d->p2m, BLOCKS) : MFN_INVALID;
	uint64_t count = mfn_valid(m) ? BLOCK : 1;

	if (!mfn_valid(m))
		m = cache_pop_single(d);
	for (uint64_t i = 0; mfn_valid(m) && i < count; i++)
		frame_release_alloc(d, MFN(m.n + i));
}

/*
 * xen/memory.h, XENMEM_set_pod_target: the target counts all frames of the domain, so the cache gets what is not
 * populated yet, but never more than there are entries to fill, unless the domain has nothing at all: the tool stack sets
 * the target before it makes entries. A target below what the domain has is left to its balloon driver.
 */
int pod_set_target(struct domain *d, uint64_t target)
{
	struct p2m *p = &d->p2m;
	uint64_t goal, start, populated, frames;
	int ret = 0;

	spin_lock(&p->lock);
	frames = __atomic_load_n(&d->frames, __ATOMIC_RELAXED);
	p->pod_target = target;
	p->pod_swept = 0;
	start = p->pod_cache;
	populated = frames - p->pod_cache;
	if ((populated && !p->pod_entries) || domain_dying(d) || target < frames)
		goto out;
	goal = target - populated;
	if (populated)
		goal = MIN(goal, p->pod_entries);
	while (!ret && p->pod_cache != goal) {
		if (p->pod_cache < goal)
			ret = cache_grow(d, goal - p->pod_cache);
		else
			cache_shrink(d, p->pod_cache - goal);
		if (!ret && MAX(p->pod_cache, start) - MIN(p->pod_cache, start) >= SOME_FRAMES)
			ret = -ERESTART;
	}
	if (ret == -ERESTART && p->pod_cache == goal)
		ret = 0;
out:
	spin_unlock(&p->lock);
	return ret;
}

bool pod_drain(struct domain *d)
{
	bool empty;

	spin_lock(&d->p2m.lock);
	if (d->p2m.found_stage == POD_TAKEN)
		keep_found(d);
	d->p2m.nr_found = 0;
	d->p2m.found_stage = POD_LOOK;
	for (uint64_t start = d->p2m.pod_cache; d->p2m.pod_cache && start - d->p2m.pod_cache < SOME_FRAMES;)
		cache_shrink(d, d->p2m.pod_cache);
	empty = !d->p2m.pod_cache;
	spin_unlock(&d->p2m.lock);
	return empty;
}
