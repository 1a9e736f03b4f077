/*
 * core/frame.c: owns the frame table (8 bytes per frame of machine RAM) and the buddy allocator of free frames.
 *
 * Locks: frame_lock guards the free lists, the words of free frames, the counters, and frames, claimed and shared_frames
 * of every domain. The word of a frame in use changes by compare-and-exchange only, with or without the lock, so that a
 * reference costs one atomic operation.
 *
 * Invariants: a word whose type is FRAME_FREE is either the head of a free block (its order and list links) or inside
 * one (order FREE_INSIDE). The references of a frame in use count its allocation reference (bit WORD_ALLOC) too; a word
 * that reached no references belongs to whoever took it there. A domain that owns frames is held once for all of them.
 * A FRAME_SHARED page outlives its domain only with owner DOMID_INVALID; it goes back to the heap with its last reference.
 */
#include "core/frame.h"

#include "core/domain.h"
#include "core/heap.h"
#include "core/log.h"
#include "lib/lib.h"
#include "port/machine.h"

#define MAX_ORDER  18u
#define SCRUB_SLOT (PORT_WINDOWS - 1) /* core/guestmem.c uses the slots below */

/* In use: type 0-2, owner 3-18, allocation reference 19, references 20-47. */
#define WORD_TYPE      7ull
#define WORD_OWNER     3
#define WORD_ALLOC     BIT(19)
#define WORD_REF       BIT(20)
#define WORD_REFS_MASK (0xfffffffull << 20)

/* Free: FRAME_FREE 0, order 1-5, previous 6-34, next 35-63: frames below 2 TiB. */
#define FREE_INSIDE 31u
#define NIL	    0x1fffffffull

static struct {
	spinlock_t lock;
	uint64_t *table;
	uint64_t limit;
	uint64_t head[MAX_ORDER + 1];
	uint64_t free;
	uint64_t total;
	uint64_t claimed;
} frames = { .lock = SPINLOCK_INIT };

static inline uint64_t word_get(uint64_t n)
{
	return __atomic_load_n(&frames.table[n], __ATOMIC_RELAXED);
}

static inline void word_set(uint64_t n, uint64_t w)
{
	__atomic_store_n(&frames.table[n], w, __ATOMIC_RELEASE);
}

static inline bool word_change(uint64_t n, uint64_t *old, uint64_t new)
{
	return __atomic_compare_exchange_n(&frames.table[n], old, new, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static inline uint64_t word_used(enum frame_type type, uint16_t owner, uint64_t refs)
{
	return (uint64_t)type | (uint64_t)owner << WORD_OWNER | refs * WORD_REF;
}

/* Of a free word no more than that it is odd. */
static inline enum frame_type word_type(uint64_t w)
{
	return (enum frame_type)(w & WORD_TYPE);
}

static inline uint16_t word_owner(uint64_t w)
{
	return (uint16_t)(w >> WORD_OWNER);
}

static inline uint64_t word_free(unsigned order, uint64_t prev, uint64_t next)
{
	return FRAME_FREE | (uint64_t)order << 1 | prev << 6 | next << 35;
}

static inline unsigned free_order(uint64_t w)
{
	return (w >> 1) & 31;
}

static inline uint64_t free_prev(uint64_t w)
{
	return (w >> 6) & NIL;
}

static inline uint64_t free_next(uint64_t w)
{
	return w >> 35;
}

/* --- free lists; frame_lock held --- */

static void list_insert(uint64_t n, unsigned order)
{
	uint64_t next = frames.head[order];

	word_set(n, word_free(order, NIL, next));
	if (next != NIL)
		word_set(next, word_free(order, n, free_next(word_get(next))));
	frames.head[order] = n;
}

static void list_remove(uint64_t n)
{
	uint64_t w = word_get(n), prev = free_prev(w), next = free_next(w);
	unsigned order = free_order(w);

	if (prev != NIL)
		word_set(prev, word_free(order, free_prev(word_get(prev)), next));
	else
		frames.head[order] = next;
	if (next != NIL)
		word_set(next, word_free(order, prev, free_next(word_get(next))));
	word_set(n, word_free(FREE_INSIDE, NIL, NIL));
}

static bool is_free_head(uint64_t n, unsigned order)
{
	uint64_t w;

	if (n >= frames.limit)
		return false;
	w = word_get(n);
	return (w & FRAME_FREE) && free_order(w) == order;
}

/* The block's words are FRAME_FREE, FREE_INSIDE already. */
static void block_free(uint64_t n, unsigned order)
{
	frames.free += 1ull << order;
	while (order < MAX_ORDER && is_free_head(n ^ (1ull << order), order)) {
		list_remove(n ^ (1ull << order));
		n &= ~(1ull << order);
		order++;
	}
	list_insert(n, order);
}

/* Takes the free block n of order have off its list and gives back all but the part of the wanted order that holds at. */
static void block_carve(uint64_t n, unsigned have, uint64_t at, unsigned want)
{
	list_remove(n);
	while (have > want) {
		uint64_t half = 1ull << --have;

		if (at & half) {
			list_insert(n, have);
			n += half;
		} else {
			list_insert(n + half, have);
		}
	}
	frames.free -= 1ull << want;
}

static uint64_t block_alloc(unsigned order, uint64_t below)
{
	uint64_t size = 1ull << order;

	for (unsigned o = order; o <= MAX_ORDER; o++) {
		for (uint64_t n = frames.head[o]; n != NIL; n = free_next(word_get(n))) {
			if (below && n + size > below)
				continue;
			block_carve(n, o, n, order);
			return n;
		}
	}
	return NIL;
}

static bool block_alloc_at(uint64_t at, unsigned order)
{
	for (unsigned o = order; o <= MAX_ORDER; o++) {
		uint64_t n = at & ~((1ull << o) - 1);

		if (is_free_head(n, o)) {
			block_carve(n, o, at, order);
			return true;
		}
	}
	return false;
}

/* --- boot --- */

void frame_init(void *table, uint64_t limit)
{
	_Static_assert(FRAME_LIMIT_MAX <= NIL, "the links reach");
	ASSERT(limit <= FRAME_LIMIT_MAX);
	frames.table = table;
	frames.limit = limit;
	for (unsigned o = 0; o <= MAX_ORDER; o++)
		frames.head[o] = NIL;
	frames.free = frames.total = frames.claimed = 0;
	spin_lock_init(&frames.lock);
}

void frame_add_free(uint64_t start, uint64_t end)
{
	spin_lock(&frames.lock);
	ASSERT(end <= frames.limit);
	for (uint64_t n = start; n < end; n++) {
		ASSERT(word_type(word_get(n)) == FRAME_NONE);
		word_set(n, word_free(FREE_INSIDE, NIL, NIL));
	}
	frames.total += start < end ? end - start : 0;
	while (start < end) {
		unsigned order = start ? MIN(lib_ffs64(start), MAX_ORDER) : MAX_ORDER;

		while (start + (1ull << order) > end)
			order--;
		block_free(start, order);
		start += 1ull << order;
	}
	spin_unlock(&frames.lock);
}

void frame_mark_hyp(uint64_t start, uint64_t end)
{
	spin_lock(&frames.lock);
	ASSERT(end <= frames.limit);
	for (uint64_t n = start; n < end; n++) {
		ASSERT(word_type(word_get(n)) == FRAME_NONE);
		word_set(n, word_used(FRAME_HYP, DOMID_INVALID, 0));
		frames.total++;
	}
	spin_unlock(&frames.lock);
}

uint64_t frame_limit(void)
{
	return frames.limit;
}

uint64_t frame_free_count(void)
{
	return __atomic_load_n(&frames.free, __ATOMIC_RELAXED);
}

uint64_t frame_total_count(void)
{
	return frames.total;
}

/* --- the hypervisor's frames --- */

mfn_t frame_alloc_hyp(unsigned order)
{
	uint64_t n = NIL;

	spin_lock(&frames.lock);
	if (frames.free >= frames.claimed + (1ull << order))
		n = block_alloc(order, 0);
	for (uint64_t i = 0; n != NIL && i < 1ull << order; i++)
		word_set(n + i, word_used(FRAME_HYP, DOMID_INVALID, 0));
	spin_unlock(&frames.lock);
	return n == NIL ? MFN_INVALID : MFN(n);
}

void frame_free_hyp(mfn_t m, unsigned order)
{
	spin_lock(&frames.lock);
	ASSERT(m.n + (1ull << order) <= frames.limit);
	for (uint64_t i = 0; i < 1ull << order; i++) {
		ASSERT(word_type(word_get(m.n + i)) == FRAME_HYP);
		word_set(m.n + i, word_free(FREE_INSIDE, NIL, NIL));
	}
	block_free(m.n, order);
	spin_unlock(&frames.lock);
}

/* --- domains' frames --- */

static void scrub(uint64_t n, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		memset(port_window_map(SCRUB_SLOT, MFN(n + i)), 0, PAGE_SIZE);
	port_window_unmap(SCRUB_SLOT);
}

/* May d have count more frames, as far as its limit and the claims of others go? frame_lock held. */
static bool may_take(struct domain *d, uint64_t count)
{
	if (d->is_dying || count > d->max_frames || d->frames > d->max_frames - count)
		return false;
	return frames.free >= frames.claimed - d->claimed + count;
}

/* Books frames that were taken off the free lists as d's. frame_lock held. */
static void give(struct domain *d, uint64_t n, uint64_t count)
{
	uint64_t used = MIN(d->claimed, count);

	for (uint64_t i = 0; i < count; i++)
		word_set(n + i, word_used(FRAME_RAM, d->id, 1) | WORD_ALLOC);
	d->claimed -= used;
	frames.claimed -= used;
	if (!d->frames)
		domain_hold(d);
	d->frames += count;
}

mfn_t frame_alloc(struct domain *d, unsigned order, uint64_t below)
{
	uint64_t n = NIL, count = 1ull << order;

	if (order > MAX_ORDER)
		return MFN_INVALID;
	spin_lock(&frames.lock);
	if (may_take(d, count))
		n = block_alloc(order, below);
	if (n != NIL)
		give(d, n, count);
	spin_unlock(&frames.lock);
	if (n == NIL)
		return MFN_INVALID;
	scrub(n, count);
	return MFN(n);
}

bool frame_alloc_at(struct domain *d, mfn_t m)
{
	bool ok;

	if (m.n >= frames.limit)
		return false;
	spin_lock(&frames.lock);
	ok = may_take(d, 1) && block_alloc_at(m.n, 0);
	if (ok)
		give(d, m.n, 1);
	spin_unlock(&frames.lock);
	if (ok)
		scrub(m.n, 1);
	return ok;
}

bool frame_alloc_boot(struct domain *d, mfn_t m, unsigned order)
{
	bool ok;

	spin_lock(&frames.lock);
	ok = block_alloc_at(m.n, order);
	if (ok)
		give(d, m.n, 1ull << order);
	spin_unlock(&frames.lock);
	return ok;
}

enum frame_type frame_type(mfn_t m)
{
	uint64_t w = m.n < frames.limit ? word_get(m.n) : FRAME_NONE;

	return w & FRAME_FREE ? FRAME_FREE : word_type(w);
}

uint16_t frame_owner(mfn_t m)
{
	uint64_t w = m.n < frames.limit ? word_get(m.n) : 0;

	if (word_type(w) != FRAME_RAM && word_type(w) != FRAME_SHARED)
		return DOMID_INVALID;
	return word_owner(w);
}

uint32_t frame_refs(mfn_t m)
{
	uint64_t w = m.n < frames.limit ? word_get(m.n) : 0;

	if (word_type(w) != FRAME_RAM && word_type(w) != FRAME_SHARED)
		return 0;
	return (uint32_t)((w & WORD_REFS_MASK) / WORD_REF);
}

bool frame_get(struct domain *d, mfn_t m)
{
	uint64_t w;

	if (m.n >= frames.limit)
		return false;
	w = word_get(m.n);
	do {
		if (word_type(w) != FRAME_RAM && word_type(w) != FRAME_SHARED)
			return false;
		if (word_owner(w) != d->id || !(w & WORD_REFS_MASK) || (w & WORD_REFS_MASK) == WORD_REFS_MASK)
			return false;
	} while (!word_change(m.n, &w, w + WORD_REF));
	return true;
}

/* The word w of frame n has no reference any more: nobody else can see it. */
static void last_reference(uint64_t n, uint64_t w)
{
	struct domain *d;
	bool empty;

	if (word_type(w) == FRAME_SHARED) {
		word_set(n, word_used(FRAME_HYP, DOMID_INVALID, 0));
		heap_free_pages(port_direct(MFN(n)), 0);
		return;
	}
	d = domain_find(word_owner(w));
	ASSERT(d && word_type(w) == FRAME_RAM);
	spin_lock(&frames.lock);
	word_set(n, word_free(FREE_INSIDE, NIL, NIL));
	block_free(n, 0);
	empty = --d->frames == 0;
	spin_unlock(&frames.lock);
	if (empty)
		domain_put(d);
}

void frame_put(mfn_t m)
{
	uint64_t w = word_get(m.n), new;

	do {
		ASSERT(!(w & FRAME_FREE) && word_type(w) >= FRAME_RAM && (w & WORD_REFS_MASK));
		new = w - WORD_REF;
	} while (!word_change(m.n, &w, new));
	if (!(new &WORD_REFS_MASK)) {
		ASSERT(!(new &WORD_ALLOC));
		last_reference(m.n, new);
	}
}

bool frame_release_alloc(struct domain *d, mfn_t m)
{
	uint64_t w, new;

	if (m.n >= frames.limit)
		return false;
	w = word_get(m.n);
	do {
		if (word_type(w) != FRAME_RAM || word_owner(w) != d->id || !(w & WORD_ALLOC))
			return false;
		new = (w & ~WORD_ALLOC) - WORD_REF;
	} while (!word_change(m.n, &w, new));
	if (!(new &WORD_REFS_MASK))
		last_reference(m.n, new);
	return true;
}

/* --- heap pages the ABI shares --- */

void frame_share(struct domain *d, void *page)
{
	uint64_t n = port_direct_mfn(page).n;

	spin_lock(&frames.lock);
	ASSERT(n < frames.limit && word_type(word_get(n)) == FRAME_HYP);
	word_set(n, word_used(FRAME_SHARED, d->id, 1) | WORD_ALLOC);
	d->shared_frames++;
	spin_unlock(&frames.lock);
}

int frame_unshare(struct domain *d, void *page)
{
	uint64_t n = port_direct_mfn(page).n;
	uint64_t w, new;
	int ret;

	spin_lock(&frames.lock);
	w = word_get(n);
	do {
		ASSERT(word_type(w) == FRAME_SHARED && word_owner(w) == d->id && (w & WORD_ALLOC));
		ret = (w & WORD_REFS_MASK) == WORD_REF ? 0 : -EBUSY;
		if (!ret)
			new = word_used(FRAME_HYP, DOMID_INVALID, 0);
		else if (d->is_dying) /* nobody's page now; the last reference frees it */
			new = word_used(FRAME_SHARED, DOMID_INVALID, (w & WORD_REFS_MASK) / WORD_REF - 1);
		else
			break;
	} while (!word_change(n, &w, new));
	if (!ret || d->is_dying)
		d->shared_frames--;
	spin_unlock(&frames.lock);
	return ret;
}

/* --- claims --- */

int frame_claim(struct domain *d, uint64_t wanted)
{
	uint64_t more;
	int ret = 0;

	spin_lock(&frames.lock);
	if (!wanted) {
		frames.claimed -= d->claimed;
		d->claimed = 0;
	} else if (d->claimed || d->is_dying || wanted > d->max_frames || wanted < d->frames) {
		ret = -EINVAL;
	} else {
		more = wanted - d->frames;
		if (frames.free < frames.claimed || more > frames.free - frames.claimed) {
			ret = -ENOMEM;
		} else {
			d->claimed = more;
			frames.claimed += more;
		}
	}
	spin_unlock(&frames.lock);
	return ret;
}

uint64_t frame_claimed(void)
{
	return __atomic_load_n(&frames.claimed, __ATOMIC_RELAXED);
}
