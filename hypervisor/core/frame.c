/*
 * core/frame.c: owns the frame table (8 bytes per frame of machine RAM) and the buddy allocator of free frames, with free
 * lists for each zone: a range of frames of one NUMA node.
 *
 * Locks: frame_lock guards the free lists, the words of free frames, the counters, and frames, claimed, shared_frames and
 * last_node of every domain. The word of a frame in use changes by compare-and-exchange only, with or without the lock, so that a
 * reference costs one atomic operation.
 *
 * Invariants: a word whose type is FRAME_FREE is either the head of a free block (its order and list links) or inside
 * one (order FREE_INSIDE); a free block lies in one zone. Zones cover [0, limit). The references of a frame in use count its allocation reference (bit WORD_ALLOC) too; a word
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

struct zone {
	uint64_t start, end; /* frame numbers */
	uint64_t head[MAX_ORDER + 1];
	uint64_t free, total;
	unsigned node;
};

static struct {
	spinlock_t lock;
	uint64_t *table;
	uint64_t limit;
	uint64_t free;
	uint64_t total;
	uint64_t claimed;
	unsigned nr_zones;
	struct zone zone[PORT_MAX_NODE_RANGES];
} frames = { .lock = SPINLOCK_INIT(LOCK_FRAME) };

static struct zone *zone_of(uint64_t n)
{
	struct zone *z = frames.zone;

	while (unlikely(n >= z->end))
		z++;
	return z;
}

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

static inline __attribute__((always_inline)) void list_insert(struct zone *z, uint64_t n, unsigned order)
{
	uint64_t next = z->head[order];

	word_set(n, word_free(order, NIL, next));
	if (next != NIL)
		word_set(next, word_free(order, n, free_next(word_get(next))));
	z->head[order] = n;
}

static inline __attribute__((always_inline)) void list_remove(struct zone *z, uint64_t n)
{
	uint64_t w = word_get(n), prev = free_prev(w), next = free_next(w);
	unsigned order = free_order(w);

	if (prev != NIL)
		word_set(prev, word_free(order, free_prev(word_get(prev)), next));
	else
		z->head[order] = next;
	if (next != NIL)
		word_set(next, word_free(order, prev, free_next(word_get(next))));
	word_set(n, word_free(FREE_INSIDE, NIL, NIL));
}

static bool is_free_head(const struct zone *z, uint64_t n, unsigned order)
{
	uint64_t w;

	if (n >= frames.limit)
		return false;
	w = word_get(n);
	if (!(w & FRAME_FREE) || free_order(w) != order)
		return false;
	return likely(frames.nr_zones == 1) || (n >= z->start && n < z->end);
}

/* The block's words are FRAME_FREE, FREE_INSIDE already. */
static void block_free(uint64_t n, unsigned order)
{
	struct zone *z = zone_of(n);

	frames.free += 1ull << order;
	z->free += 1ull << order;
	while (order < MAX_ORDER && is_free_head(z, n ^ (1ull << order), order)) {
		list_remove(z, n ^ (1ull << order));
		n &= ~(1ull << order);
		order++;
	}
	list_insert(z, n, order);
}

/* Takes the free block n of order have off its list and gives back all but the part of the wanted order that holds at. */
static void block_carve(struct zone *z, uint64_t n, unsigned have, uint64_t at, unsigned want)
{
	list_remove(z, n);
	while (have > want) {
		uint64_t half = 1ull << --have;

		if (at & half) {
			list_insert(z, n, have);
			n += half;
		} else {
			list_insert(z, n + half, have);
		}
	}
	frames.free -= 1ull << want;
	z->free -= 1ull << want;
}

/* Inlined where a machine has one zone: the way of nearly all allocations. */
static inline __attribute__((always_inline)) uint64_t zone_alloc(struct zone *z, unsigned order, uint64_t below)
{
	uint64_t size = 1ull << order;

	for (unsigned o = order; o <= MAX_ORDER; o++) {
		for (uint64_t n = z->head[o]; n != NIL; n = free_next(word_get(n))) {
			if (below && n + size > below)
				continue;
			block_carve(z, n, o, n, order);
			return n;
		}
	}
	return NIL;
}

static bool block_alloc_at(uint64_t at, unsigned order)
{
	struct zone *z = zone_of(at);

	for (unsigned o = order; o <= MAX_ORDER; o++) {
		uint64_t n = at & ~((1ull << o) - 1);

		if (is_free_head(z, n, o)) {
			block_carve(z, n, o, at, order);
			return true;
		}
	}
	return false;
}

/* --- nodes; frame_lock held --- */

static unsigned nearest(uint64_t nodes, unsigned to)
{
	unsigned best = lib_ffs64(nodes);

	for (uint64_t left = nodes; left; left &= left - 1)
		if (port_node_distance(to, lib_ffs64(left)) < port_node_distance(to, best))
			best = lib_ffs64(left);
	return best;
}

/* From the nearest of nodes that has a block, seen from node near. */
static __attribute__((noinline)) uint64_t nodes_alloc(uint64_t nodes, unsigned near, unsigned order, uint64_t below)
{
	while (nodes) {
		unsigned node = nearest(nodes, near);

		for (unsigned i = 0; i < frames.nr_zones; i++) {
			uint64_t n = frames.zone[i].node == node ? zone_alloc(&frames.zone[i], order, below) : NIL;

			if (n != NIL)
				return n;
		}
		nodes &= ~BIT(node);
	}
	return NIL;
}

uint64_t frame_nodes(void)
{
	unsigned n = port_node_count();

	return n >= 64 ? ~0ull : BIT(n) - 1;
}

/* The nodes of its affinity take turns, as on Xen, so that a domain on several has its memory spread over them. */
static __attribute__((noinline)) uint64_t domain_alloc(struct domain *d, uint64_t wanted, bool exact, unsigned order,
						       uint64_t below)
{
	uint64_t all = frame_nodes(), nodes = wanted & all, later, n;
	unsigned first;

	if (!nodes && exact)
		return NIL;
	nodes = nodes ? nodes : all;
	later = nodes & (~0ull << 1 << d->last_node);
	first = lib_ffs64(later ? later : nodes);
	n = nodes_alloc(nodes, first, order, below);
	if (n == NIL && !exact)
		n = nodes_alloc(all & ~nodes, first, order, below);
	if (n != NIL)
		d->last_node = (uint8_t)zone_of(n)->node;
	return n;
}

/* --- boot --- */

void frame_init(void *table, uint64_t limit)
{
	_Static_assert(FRAME_LIMIT_MAX <= NIL, "the links reach");
	ASSERT(limit <= FRAME_LIMIT_MAX);
	frames.table = table;
	frames.limit = limit;
	frames.nr_zones = 0;
	for (unsigned i = 0; i < port_node_ranges(); i++) {
		struct zone *z = &frames.zone[frames.nr_zones];

		z->node = port_node_range(i, &z->start, &z->end);
		z->end = MIN(z->end, limit);
		z->free = z->total = 0;
		for (unsigned o = 0; o <= MAX_ORDER; o++)
			z->head[o] = NIL;
		if (z->start < z->end)
			frames.nr_zones++;
	}
	frames.free = frames.total = frames.claimed = 0;
	spin_lock_init(&frames.lock, LOCK_FRAME);
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
		struct zone *z = zone_of(start);

		while (start + (1ull << order) > MIN(end, z->end))
			order--;
		z->total += 1ull << order;
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
		zone_of(n)->total++;
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

void frame_node_count(unsigned node, uint64_t *total, uint64_t *free)
{
	*total = *free = 0;
	spin_lock(&frames.lock);
	for (unsigned i = 0; i < frames.nr_zones; i++) {
		if (frames.zone[i].node == node) {
			*total += frames.zone[i].total;
			*free += frames.zone[i].free;
		}
	}
	spin_unlock(&frames.lock);
}

uint64_t frame_owned_on(uint16_t id, unsigned node)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < frames.nr_zones; i++)
		for (uint64_t f = frames.zone[i].start; frames.zone[i].node == node && f < frames.zone[i].end; f++)
			n += word_type(word_get(f)) == FRAME_RAM && word_owner(word_get(f)) == id;
	return n;
}

unsigned frame_node(mfn_t m)
{
	return m.n < frames.limit ? zone_of(m.n)->node : 0;
}

/* --- the hypervisor's frames --- */

mfn_t frame_alloc_hyp(unsigned order)
{
	uint64_t n = NIL;

	spin_lock(&frames.lock);
	if (frames.free >= frames.claimed + (1ull << order))
		n = likely(frames.nr_zones == 1) ? zone_alloc(&frames.zone[0], order, 0)
						 : nodes_alloc(frame_nodes(), port_cpu_node(port_cpu()), order, 0);
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
	if (domain_dying(d) || count > d->max_frames || d->frames > d->max_frames - count)
		return false;
	return frames.free >= frames.claimed - d->claimed + count;
}

/* Books frames that were taken off the free lists as d's. frame_lock held. */
static inline __attribute__((always_inline)) void give(struct domain *d, uint64_t n, uint64_t count)
{

	for (uint64_t i = 0; i < count; i++)
		word_set(n + i, word_used(FRAME_RAM, d->id, 1) | WORD_ALLOC);
	if (unlikely(d->claimed)) {
		uint64_t used = MIN(d->claimed, count);

		d->claimed -= used;
		frames.claimed -= used;
	}
	if (!d->frames)
		domain_hold(d);
	__atomic_store_n(&d->frames, d->frames + count, __ATOMIC_RELAXED);
}

static inline __attribute__((always_inline)) mfn_t alloc_from(struct domain *d, uint64_t nodes, bool exact,
							      unsigned order, uint64_t below)
{
	uint64_t n = NIL, count = 1ull << order;

	if (order > MAX_ORDER)
		return MFN_INVALID;
	spin_lock(&frames.lock);
	if (may_take(d, count))
		n = likely(frames.nr_zones == 1 && !exact) ? zone_alloc(&frames.zone[0], order, below)
							   : domain_alloc(d, nodes, exact, order, below);
	if (n != NIL)
		give(d, n, count);
	spin_unlock(&frames.lock);
	if (n == NIL)
		return MFN_INVALID;
	scrub(n, count);
	return MFN(n);
}

mfn_t frame_alloc(struct domain *d, unsigned order, uint64_t below)
{
	return alloc_from(d, __atomic_load_n(&d->node_affinity, __ATOMIC_RELAXED), false, order, below);
}

mfn_t frame_alloc_node(struct domain *d, unsigned order, uint64_t below, unsigned node, bool exact)
{
	return alloc_from(d, node < 64 ? BIT(node) : 0, exact, order, below);
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

/* The word w of frame n has no reference any more: nobody else can see it. d: its owner, NULL: to be looked up. */
static void last_reference(uint64_t n, uint64_t w, struct domain *d)
{
	bool empty;

	if (word_type(w) == FRAME_SHARED) {
		word_set(n, word_used(FRAME_HYP, DOMID_INVALID, 0));
		heap_free_pages(port_direct(MFN(n)), 0);
		return;
	}
	if (!d)
		d = domain_find(word_owner(w));
	ASSERT(d && word_type(w) == FRAME_RAM);
	spin_lock(&frames.lock);
	word_set(n, word_free(FREE_INSIDE, NIL, NIL));
	block_free(n, 0);
	empty = __atomic_sub_fetch(&d->frames, 1, __ATOMIC_RELAXED) == 0;
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
		last_reference(m.n, new, NULL);
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
		last_reference(m.n, new, d);
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
		else if (domain_dying(d)) /* nobody's page now; the last reference frees it */
			new = word_used(FRAME_SHARED, DOMID_INVALID, (w & WORD_REFS_MASK) / WORD_REF - 1);
		else
			break;
	} while (!word_change(n, &w, new));
	if (!ret || domain_dying(d))
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
	} else if (d->claimed || domain_dying(d) || wanted > d->max_frames || wanted < d->frames) {
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
