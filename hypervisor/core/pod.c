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
#define SWEEP_ENOUGH 64u   /* frames taken back in one sweep */
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

/* Makes the frame at gfn an entry to fill, if it is the guest's alone and looks empty; *m is what was there. */
static bool sweep_take(struct domain *d, uint64_t gfn, uint64_t e, unsigned level, mfn_t *m)
{
	uint64_t *new;

	*m = MFN(ptab_mfn(e).n + (gfn & (ptab_span(level) - 1)));
	if (frame_refs(*m) != 1 || !all_zero(*m))
		return false;
	new = ptab_make(d, gfn, 0);
	if (!new)
		return false;
	ptab_set(new, ptab_leaf(d->p2m.format, MFN(0), P2M_POD, 0));
	guestmem_forget_gfns(d, gfn, 1);
	return true;
}

/*
 * Goes down from where the last one ended, a piece of the way, until enough frames are found. Nobody can write to them once
 * they are out of the tables and the TLBs, so that is when they are looked at again. 0: the cache has some; -EAGAIN: there
 * is more to look at; -ENOMEM: all gfns held something in a row. That is final, until the tool stack sets a target again.
 */
static int sweep(struct domain *d)
{
	struct p2m *p = &d->p2m;
	uint64_t gfn[SWEEP_ENOUGH], at = MIN(p->pod_sweep, p->max_gfn), left = p->max_gfn + 1, step;
	mfn_t m[SWEEP_ENOUGH];
	unsigned n = 0, level;

	left -= MIN(left, p->pod_swept);
	for (unsigned looks = SWEEP_LOOKS; left && looks && n < SWEEP_ENOUGH; looks--, left -= MIN(left, step)) {
		uint64_t e = *ptab_find(p, at, &level);
		bool ram = ptab_type(e) == P2M_RAM_RW || ptab_type(e) == P2M_RAM_LOGDIRTY;

		gfn[n] = at;
		step = ram ? 1 : (at & (ptab_span(level) - 1)) + 1;
		if (ram && sweep_take(d, at, e, level, &m[n]))
			n++;
		at = at >= step ? at - step : p->max_gfn;
	}
	p->pod_sweep = at;
	guest_tlb_flush(d);
	for (unsigned i = 0; i < n; i++) {
		if (all_zero(m[i]) && cache_push(p, SINGLES, m[i]))
			p->pod_entries++;
		else
			ptab_set(ptab_make(d, gfn[i], 0), ptab_leaf(p->format, m[i], P2M_RAM_RW, 0));
	}
	p->pod_swept = p->pod_cache ? 0 : p->max_gfn + 1 - left;
	if (p->pod_cache)
		return 0;
	return left ? -EAGAIN : -ENOMEM;
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

bool pod_recycle(struct domain *d, mfn_t m)
{
	struct p2m *p = &d->p2m;
	bool taken;

	if (likely(p->pod_entries <= p->pod_cache) || d->is_dying || frame_refs(m) != 1)
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
	if (!ret)
		d->p2m.pod_entries += 1ull << order;
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
	uint64_t goal, start, populated;
	int ret = 0;

	spin_lock(&p->lock);
	p->pod_target = target;
	p->pod_swept = 0;
	start = p->pod_cache;
	populated = d->frames - p->pod_cache;
	if ((populated && !p->pod_entries) || d->is_dying || target < d->frames)
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
	for (uint64_t start = d->p2m.pod_cache; d->p2m.pod_cache && start - d->p2m.pod_cache < SOME_FRAMES;)
		cache_shrink(d, d->p2m.pod_cache);
	empty = !d->p2m.pod_cache;
	spin_unlock(&d->p2m.lock);
	return empty;
}
