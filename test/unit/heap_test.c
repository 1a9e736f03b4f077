/* sources: core/frame.c core/heap.c */
/* The heap: objects and page blocks of random sizes do not overlap, are zeroed and aligned, and everything goes back. */
#include "host/host.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>


static int setup(void **state)
{
	host_boot(16384);
	return 0;
}

struct block {
	uint8_t *p;
	size_t size;
	uint8_t fill;
};

static void check(const struct block *b)
{
	for (size_t i = 0; i < b->size; i++)
		assert_int_equal(b->p[i], b->fill);
}

static void test_random(void **state)
{
	struct block block[300];
	unsigned n = 0;
	uint64_t seed = 2463534242ull, before = frame_free_count();

	for (unsigned step = 0; step < 10000; step++) {
		uint64_t r = host_random(&seed);

		if (n < ARRAY_SIZE(block) && (r & 1)) {
			struct block *b = &block[n++];
			unsigned shift = (r >> 8) % 16;

			b->size = 1 + (r >> 16) % (1u << shift);
			b->fill = (uint8_t)(r >> 40);
			b->p = heap_alloc(b->size);
			assert_non_null(b->p);
			for (size_t i = 0; i < b->size; i++)
				assert_int_equal(b->p[i], 0);
			for (size_t align = 16; align < PAGE_SIZE && align / 2 < b->size; align *= 2)
				assert_int_equal((uintptr_t)b->p % align, 0);
			memset(b->p, b->fill, b->size);
		} else if (n) {
			unsigned i = (r >> 8) % n;

			check(&block[i]);
			heap_free(block[i].p, block[i].size);
			block[i] = block[--n];
		}
	}
	while (n--) {
		check(&block[n]);
		heap_free(block[n].p, block[n].size);
	}
	assert_int_equal(heap_total_frames(), 512); /* one spare chunk stays */
	assert_int_equal(heap_free_frames(), 511);
	assert_int_equal(heap_overhead_frames(), 1);
	assert_int_equal(heap_small_objects(), 0);
	assert_int_equal(frame_free_count(), before - 512);
}

static void test_orders(void **state)
{
	void *p[7];

	for (unsigned o = 0; o <= 6; o++) {
		p[o] = heap_alloc_pages(o);
		assert_non_null(p[o]);
		assert_int_equal((uintptr_t)p[o] & ((PAGE_SIZE << o) - 1), 0);
		memset(p[o], 1, PAGE_SIZE << o);
	}
	for (unsigned o = 0; o <= 6; o++)
		heap_free_pages(p[o], o);
	assert_int_equal(heap_free_frames(), 511);
	assert_true(HOST_PANICS(heap_free_pages(p[2], 2))); /* twice */
}

static void test_single_pages(void **state)
{
	struct domain d = { 0 };
	uint64_t taken = 0;
	void *p, *small;

	host_domain_add(&d, 1);
	while (frame_alloc_at(&d, MFN(512 + taken * 512))) /* no 2 MiB block stays whole */
		taken++;
	assert_int_equal(taken, 31);
	p = heap_alloc_pages(0);
	assert_non_null(p);
	assert_null(heap_alloc_pages(1));
	small = heap_alloc(100);
	assert_non_null(small);
	assert_int_equal(heap_total_frames(), 2);
	assert_int_equal(heap_overhead_frames(), 1);
	assert_int_equal(heap_small_objects(), 1);
	heap_free(small, 100);
	heap_free_pages(p, 0);
	assert_int_equal(heap_total_frames(), 0);
	assert_int_equal(frame_free_count(), 31 * 511);
}

static void test_exhaustion(void **state)
{
	void **list = NULL, **p;
	unsigned n = 0;

	while ((p = heap_alloc_pages(0))) {
		*p = list;
		list = p;
		n++;
	}
	assert_int_equal(n, 31 * 511);
	assert_null(heap_alloc(16));
	while (list) {
		p = list;
		list = *p;
		heap_free_pages(p, 0);
	}
	assert_int_equal(heap_total_frames(), 512);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_random, setup),
		cmocka_unit_test_setup(test_orders, setup),
		cmocka_unit_test_setup(test_single_pages, setup),
		cmocka_unit_test_setup(test_exhaustion, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
