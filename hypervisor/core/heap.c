/*
 * core/heap.c: owns the hypervisor's dynamic memory: chunks of 2 MiB (one large page each, its first page describing it),
 * single pages where no 2 MiB block was left, and pages of equal small objects cut out of either.
 *
 * Locks: heap_lock guards everything here. It is never held while frames are taken or given back.
 *
 * Invariants: a set bit in a chunk's map is a free page; bit 0 is never set. A chunk with all other pages free is given
 * back unless it is the only such one. A page of small objects starts with its struct slab, which takes the place of the
 * first object(s); it is on its class's list exactly while it has a free object.
 */
#include "core/heap.h"

#include "core/frame.h"
#include "core/log.h"
#include "lib/lib.h"
#include "lib/lock.h"
#include "port/machine.h"

#define CHUNK_PAGES 512u
#define CHUNK_SIZE  (CHUNK_PAGES * PAGE_SIZE)
#define MAX_ORDER   6u
#define MIN_SHIFT   4u /* smallest object: 16 bytes */
#define CLASSES	    7u /* up to 1024 bytes; larger ones are pages */

struct chunk {
	struct chunk *next, *prev;
	uint32_t nr_free;
	uint64_t map[CHUNK_PAGES / 64];
};

struct object {
	struct object *next;
};

struct slab {
	struct slab *next, *prev;
	struct object *free;
	uint16_t used;
	uint16_t shift;
};

static struct {
	spinlock_t lock;
	struct chunk *chunks;
	struct slab *partial[CLASSES];
	uint64_t nr_chunks;
	uint64_t nr_free;   /* free pages in chunks */
	uint64_t nr_single; /* pages outside chunks */
	uint64_t nr_slabs;  /* pages of small objects */
	uint64_t nr_small;  /* small objects in use */
	uint32_t nr_empty;  /* chunks with nothing in use */
} heap = { .lock = SPINLOCK_INIT(LOCK_HEAP) };

void heap_init(void)
{
	memset(&heap, 0, sizeof(heap));
	spin_lock_init(&heap.lock, LOCK_HEAP);
}

/* --- chunks; heap_lock held --- */

static void chunk_link(struct chunk *c)
{
	c->prev = NULL;
	c->next = heap.chunks;
	if (c->next)
		c->next->prev = c;
	heap.chunks = c;
}

static void chunk_unlink(struct chunk *c)
{
	if (c->prev)
		c->prev->next = c->next;
	else
		heap.chunks = c->next;
	if (c->next)
		c->next->prev = c->prev;
}

static struct chunk *chunk_of(const void *p)
{
	uintptr_t base = ALIGN_DOWN((uintptr_t)p, CHUNK_SIZE);

	for (struct chunk *c = heap.chunks; c; c = c->next)
		if ((uintptr_t)c == base)
			return c;
	return NULL;
}

/* Bit i of the result: pages i .. i + 2^order - 1 of this word are free and i is aligned. */
static uint64_t free_runs(uint64_t word, unsigned order)
{
	static const uint64_t aligned[MAX_ORDER + 1] = {
		~0ull, 0x5555555555555555, 0x1111111111111111, 0x0101010101010101, 0x0001000100010001, 0x100000001, 1,
	};

	for (unsigned o = 0; o < order; o++)
		word &= word >> (1u << o);
	return word & aligned[order];
}

static uint64_t run_mask(unsigned order)
{
	return order == MAX_ORDER ? ~0ull : (1ull << (1u << order)) - 1;
}

static void *chunk_take(struct chunk *c, unsigned order)
{
	for (unsigned w = 0; w < ARRAY_SIZE(c->map); w++) {
		uint64_t runs = free_runs(c->map[w], order);
		unsigned bit;

		if (!runs)
			continue;
		bit = lib_ffs64(runs);
		c->map[w] &= ~(run_mask(order) << bit);
		if (c->nr_free == CHUNK_PAGES - 1)
			heap.nr_empty--;
		c->nr_free -= 1u << order;
		heap.nr_free -= 1u << order;
		return (char *)c + (w * 64 + bit) * PAGE_SIZE;
	}
	return NULL;
}

static void *take_pages(unsigned order)
{
	for (struct chunk *c = heap.chunks; c; c = c->next) {
		void *p;

		if (c->nr_free < 1u << order)
			continue;
		p = chunk_take(c, order);
		if (!p)
			continue;
		if (c != heap.chunks) { /* look here first the next time */
			chunk_unlink(c);
			chunk_link(c);
		}
		return p;
	}
	return NULL;
}

/* Returns the chunk when it is to be given back. */
static struct chunk *put_pages(struct chunk *c, void *p, unsigned order)
{
	unsigned page = (unsigned)(((uintptr_t)p - (uintptr_t)c) >> PAGE_SHIFT);
	uint64_t mask = run_mask(order) << (page & 63);

	ASSERT(page && !(c->map[page / 64] & mask));
	c->map[page / 64] |= mask;
	c->nr_free += 1u << order;
	heap.nr_free += 1u << order;
	if (c->nr_free < CHUNK_PAGES - 1 || !heap.nr_empty++)
		return NULL;
	chunk_unlink(c);
	heap.nr_empty--;
	heap.nr_free -= CHUNK_PAGES - 1;
	heap.nr_chunks--;
	return c;
}

/* --- growing; heap_lock not held --- */

static bool heap_grow(void)
{
	mfn_t m = frame_alloc_hyp(ORDER_2M);
	struct chunk *c;

	if (!mfn_valid(m))
		return false;
	if (!port_direct_map(m, ORDER_2M)) {
		frame_free_hyp(m, ORDER_2M);
		return false;
	}
	c = port_direct(m);
	memset(c, 0, sizeof(*c));
	memset(c->map, 0xff, sizeof(c->map));
	c->map[0] &= ~1ull;
	c->nr_free = CHUNK_PAGES - 1;
	spin_lock(&heap.lock);
	chunk_link(c);
	heap.nr_chunks++;
	heap.nr_empty++;
	heap.nr_free += CHUNK_PAGES - 1;
	spin_unlock(&heap.lock);
	return true;
}

static void *single_page(void)
{
	mfn_t m = frame_alloc_hyp(0);

	if (!mfn_valid(m))
		return NULL;
	if (!port_direct_map(m, 0)) {
		frame_free_hyp(m, 0);
		return NULL;
	}
	spin_lock(&heap.lock);
	heap.nr_single++;
	spin_unlock(&heap.lock);
	return port_direct(m);
}

static void give_back(void *p, unsigned order)
{
	mfn_t m = port_direct_mfn(p);

	port_direct_unmap(m, order);
	frame_free_hyp(m, order);
}

static void *get_pages(unsigned order)
{
	void *p;

	for (;;) {
		spin_lock(&heap.lock);
		p = take_pages(order);
		spin_unlock(&heap.lock);
		if (p)
			return p;
		if (!heap_grow())
			return order ? NULL : single_page();
	}
}

void *heap_alloc_pages(unsigned order)
{
	void *p;

	ASSERT(order <= MAX_ORDER);
	p = get_pages(order);
	if (p)
		memset(p, 0, PAGE_SIZE << order);
	return p;
}

void heap_free_pages(void *p, unsigned order)
{
	struct chunk *c, *gone = NULL;

	if (!p)
		return;
	ASSERT(order <= MAX_ORDER && !((uintptr_t)p & ((PAGE_SIZE << order) - 1)));
	spin_lock(&heap.lock);
	c = chunk_of(p);
	if (c)
		gone = put_pages(c, p, order);
	else
		heap.nr_single--;
	spin_unlock(&heap.lock);
	if (gone)
		give_back(gone, ORDER_2M);
	else if (!c)
		give_back(p, 0);
}

/* --- small objects --- */

static unsigned size_shift(size_t size)
{
	return size <= 1u << MIN_SHIFT ? MIN_SHIFT : lib_fls64(size - 1) + 1;
}

static unsigned size_order(size_t size)
{
	return size <= PAGE_SIZE ? 0 : size_shift(size) - PAGE_SHIFT;
}

static void slab_link(struct slab *s)
{
	struct slab **head = &heap.partial[s->shift - MIN_SHIFT];

	s->prev = NULL;
	s->next = *head;
	if (s->next)
		s->next->prev = s;
	*head = s;
}

static void slab_unlink(struct slab *s)
{
	if (s->prev)
		s->prev->next = s->next;
	else
		heap.partial[s->shift - MIN_SHIFT] = s->next;
	if (s->next)
		s->next->prev = s->prev;
}

static bool slab_grow(unsigned shift)
{
	struct slab *s = get_pages(0);
	size_t first = ALIGN_UP(sizeof(*s), (size_t)1 << shift);

	if (!s)
		return false;
	s->free = NULL;
	s->used = 0;
	s->shift = (uint16_t)shift;
	for (size_t at = PAGE_SIZE; at > first;) {
		struct object *o = (struct object *)((char *)s + (at -= (size_t)1 << shift));

		o->next = s->free;
		s->free = o;
	}
	spin_lock(&heap.lock);
	slab_link(s);
	heap.nr_slabs++;
	spin_unlock(&heap.lock);
	return true;
}

static struct object *slab_take(unsigned shift)
{
	struct slab *s = heap.partial[shift - MIN_SHIFT];
	struct object *o;

	if (!s)
		return NULL;
	o = s->free;
	s->free = o->next;
	s->used++;
	if (!s->free)
		slab_unlink(s);
	heap.nr_small++;
	return o;
}

void *heap_alloc(size_t size)
{
	unsigned shift = size_shift(size);
	struct object *o;

	if (shift >= MIN_SHIFT + CLASSES)
		return size_order(size) <= MAX_ORDER ? heap_alloc_pages(size_order(size)) : NULL;
	do {
		spin_lock(&heap.lock);
		o = slab_take(shift);
		spin_unlock(&heap.lock);
	} while (!o && slab_grow(shift));
	if (o)
		memset(o, 0, (size_t)1 << shift);
	return o;
}

void heap_free(void *p, size_t size)
{
	unsigned shift = size_shift(size);
	struct object *o = p;
	struct slab *s;
	bool empty;

	if (!p)
		return;
	if (shift >= MIN_SHIFT + CLASSES) {
		heap_free_pages(p, size_order(size));
		return;
	}
	s = (struct slab *)ALIGN_DOWN((uintptr_t)p, PAGE_SIZE);
	spin_lock(&heap.lock);
	ASSERT(s->shift == shift && s->used);
	if (!s->free)
		slab_link(s);
	o->next = s->free;
	s->free = o;
	heap.nr_small--;
	empty = --s->used == 0;
	if (empty) {
		slab_unlink(s);
		heap.nr_slabs--;
	}
	spin_unlock(&heap.lock);
	if (empty)
		heap_free_pages(s, 0);
}

uint64_t heap_free_frames(void)
{
	return __atomic_load_n(&heap.nr_free, __ATOMIC_RELAXED);
}

uint64_t heap_free_frames_on(unsigned node)
{
	uint64_t n = 0;

	spin_lock(&heap.lock);
	for (const struct chunk *c = heap.chunks; c; c = c->next)
		if (frame_node(port_direct_mfn(c)) == node)
			n += c->nr_free;
	spin_unlock(&heap.lock);
	return n;
}

uint64_t heap_total_frames(void)
{
	return heap.nr_chunks * CHUNK_PAGES + heap.nr_single;
}

uint64_t heap_overhead_frames(void)
{
	return heap.nr_chunks + heap.nr_slabs;
}

uint64_t heap_small_objects(void)
{
	return __atomic_load_n(&heap.nr_small, __ATOMIC_RELAXED);
}
