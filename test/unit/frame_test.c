/* sources: core/frame.c core/heap.c */
/* Frames: the buddy allocator against a bitmap model, limits, claims, references, sharing, and leaks. */
#include "host/host.h"

#include <sys/mman.h>

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>


#define FRAMES 4096u

static struct domain a, b;

static int setup(void **state)
{
	a = b = (struct domain){ 0 };
	host_boot(FRAMES);
	host_domain_add(&a, 1);
	host_domain_add(&b, 2);
	return 0;
}

static void test_counts(void **state)
{
	assert_int_equal(frame_total_count(), FRAMES - 512);
	assert_int_equal(frame_free_count(), FRAMES - 512);
	assert_int_equal(frame_limit(), FRAMES);
	assert_int_equal(frame_type(MFN(0)), FRAME_NONE);
	assert_int_equal(frame_type(MFN(FRAMES + 7)), FRAME_NONE);
	assert_int_equal(frame_type(MFN(512)), FRAME_FREE);
	frame_mark_hyp(0, 16);
	assert_int_equal(frame_type(MFN(15)), FRAME_HYP);
	assert_int_equal(frame_total_count(), FRAMES - 512 + 16);
}

/* Random allocations of random orders; nothing overlaps, everything comes back and merges to the largest blocks. */
static void test_buddy_model(void **state)
{
	static uint8_t used[FRAMES];
	struct {
		mfn_t m;
		unsigned order;
	} got[256];
	unsigned n = 0;
	uint64_t seed = 88172645463325252ull, free = frame_free_count();

	memset(used, 0, sizeof(used));
	for (unsigned step = 0; step < 20000; step++) {
		uint64_t r = host_random(&seed);

		if (n < ARRAY_SIZE(got) && (r & 1)) {
			unsigned order = (r >> 8) % 8;
			mfn_t m = frame_alloc_hyp(order);

			if (!mfn_valid(m))
				continue;
			assert_int_equal(m.n & ((1u << order) - 1), 0);
			for (uint64_t i = m.n; i < m.n + (1u << order); i++) {
				assert_true(i >= 512 && i < FRAMES && !used[i]);
				assert_int_equal(frame_type(MFN(i)), FRAME_HYP);
				used[i] = 1;
			}
			free -= 1u << order;
			got[n].m = m;
			got[n++].order = order;
		} else if (n) {
			unsigned i = (r >> 8) % n;

			frame_free_hyp(got[i].m, got[i].order);
			memset(used + got[i].m.n, 0, 1u << got[i].order);
			free += 1u << got[i].order;
			got[i] = got[--n];
		}
		assert_int_equal(frame_free_count(), free);
	}
	while (n--)
		frame_free_hyp(got[n].m, got[n].order);
	assert_int_equal(frame_free_count(), FRAMES - 512);
	for (unsigned i = 0; i < 3; i++) /* 512 + 1024 + 2048 = all of it in largest blocks */
		assert_true(mfn_valid(frame_alloc_hyp(9 + i)));
	assert_int_equal(frame_free_count(), 0);
	assert_false(mfn_valid(frame_alloc_hyp(0)));
}

static void test_scrubbed_when_handed_out(void **state)
{
	uint8_t byte = 0x5a;
	mfn_t m = frame_alloc(&a, 0, 0);

	host_poke(m, 100, &byte, 1);
	assert_true(frame_release_alloc(&a, m));
	assert_true(frame_alloc_at(&b, m));
	host_peek(m, 100, &byte, 1);
	assert_int_equal(byte, 0);
	assert_int_equal(host_windows(), 0);
	assert_int_equal(frame_owner(m), 2);
}

static void test_alloc_at_and_below(void **state)
{
	mfn_t m;

	assert_true(frame_alloc_at(&a, MFN(1000)));
	assert_false(frame_alloc_at(&a, MFN(1000)));
	assert_false(frame_alloc_at(&a, MFN(3)));
	assert_false(frame_alloc_at(&a, MFN(FRAMES)));
	m = frame_alloc(&a, 3, 1000);
	assert_true(mfn_valid(m) && m.n + 8 <= 1000);
	assert_false(mfn_valid(frame_alloc(&a, 0, 100)));
	assert_int_equal(a.frames, 9);
	frame_release_alloc(&a, MFN(1000));
	for (unsigned i = 0; i < 8; i++)
		frame_release_alloc(&a, MFN(m.n + i));
	assert_int_equal(frame_free_count(), FRAMES - 512);
	assert_true(mfn_valid(frame_alloc_hyp(11)));
}

static void test_limit_and_domain_reference(void **state)
{
	mfn_t m[4];

	a.max_frames = 4;
	for (unsigned i = 0; i < 4; i++)
		assert_true(mfn_valid(m[i] = frame_alloc(&a, 0, 0)));
	assert_false(mfn_valid(frame_alloc(&a, 0, 0)));
	assert_int_equal(a.refs, 2);
	for (unsigned i = 0; i < 4; i++)
		assert_true(frame_release_alloc(&a, m[i]));
	assert_int_equal(a.refs, 1);
	assert_int_equal(a.frames, 0);
	a.is_dying = true;
	assert_false(mfn_valid(frame_alloc(&a, 0, 0)));
}

static void test_references(void **state)
{
	mfn_t m = frame_alloc(&a, 0, 0);

	assert_int_equal(frame_refs(m), 1);
	assert_false(frame_get(&b, m));
	assert_true(frame_get(&a, m));
	assert_int_equal(frame_refs(m), 2);
	assert_true(frame_release_alloc(&a, m));
	assert_false(frame_release_alloc(&a, m)); /* once only */
	assert_int_equal(a.frames, 1);		  /* still held */
	assert_true(frame_get(&a, m));
	frame_put(m);
	frame_put(m);
	assert_int_equal(frame_type(m), FRAME_FREE);
	assert_int_equal(a.frames, 0);
	assert_false(frame_get(&a, m));
	assert_true(HOST_PANICS(frame_put(m)));
}

/* Free lists of frames between 1 and 2 TiB, as 1 TiB of RAM behind AMD's hole has them. */
static void test_far(void **state)
{
	uint64_t start = FRAME_LIMIT_MAX - 1023;
	mfn_t m[512];

	frame_init(mmap(NULL, FRAME_TABLE_BYTES(FRAME_LIMIT_MAX), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
		   FRAME_LIMIT_MAX);
	frame_add_free(start, FRAME_LIMIT_MAX);
	frame_add_free(7, 8);
	assert_int_equal(frame_free_count(), 1024);
	for (unsigned i = 0; i < ARRAY_SIZE(m); i++)
		m[i] = frame_alloc_hyp(0);
	for (unsigned i = 0; i < ARRAY_SIZE(m); i += 2)
		frame_free_hyp(m[i], 0);
	for (unsigned i = 0; i < ARRAY_SIZE(m); i += 2) {
		m[i] = frame_alloc_hyp(0);
		assert_true(m[i].n == 7 || (m[i].n >= start && m[i].n < FRAME_LIMIT_MAX));
		assert_int_equal(frame_type(m[i]), FRAME_HYP);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(m); i++)
		frame_free_hyp(m[i], 0);
	assert_int_equal(frame_free_count(), 1024);
	m[0] = frame_alloc_hyp(8); /* they have merged again */
	assert_true(m[0].n >= start && m[0].n % 256 == 0);
}

static void test_share(void **state)
{
	void *page = heap_alloc_pages(0);
	mfn_t m = port_direct_mfn(page);
	uint64_t idle = heap_free_frames();

	frame_share(&a, page);
	assert_int_equal(a.shared_frames, 1);
	assert_int_equal(frame_type(m), FRAME_SHARED);
	assert_false(frame_get(&b, m));
	assert_true(frame_get(&a, m));
	assert_int_equal(frame_unshare(&a, page), -EBUSY);
	assert_int_equal(frame_type(m), FRAME_SHARED);
	frame_put(m);
	assert_int_equal(frame_unshare(&a, page), 0);
	assert_int_equal(a.shared_frames, 0);

	/* The end of a domain while somebody maps its page: the last reference frees it. */
	frame_share(&a, page);
	assert_true(frame_get(&a, m));
	a.is_dying = true;
	assert_int_equal(frame_unshare(&a, page), -EBUSY);
	assert_int_equal(a.shared_frames, 0);
	assert_false(frame_get(&a, m));
	assert_int_equal(heap_free_frames(), idle);
	frame_put(m);
	assert_int_equal(heap_free_frames(), idle + 1);
	assert_int_equal(frame_type(m), FRAME_HYP);
}

static void test_claims(void **state)
{
	uint64_t all = frame_free_count();

	assert_int_equal(frame_claim(&a, all + 1), -ENOMEM);
	assert_int_equal(frame_claim(&a, all - 10), 0);
	assert_int_equal(frame_claim(&a, 5), -EINVAL); /* one claim at a time */
	assert_int_equal(frame_claimed(), all - 10);
	for (unsigned i = 0; i < 10; i++)
		assert_true(mfn_valid(frame_alloc(&b, 0, 0)));
	assert_false(mfn_valid(frame_alloc(&b, 0, 0)));
	assert_false(mfn_valid(frame_alloc_hyp(0)));
	assert_true(mfn_valid(frame_alloc(&a, 5, 0)));
	assert_int_equal(frame_claimed(), all - 10 - 32);
	assert_false(mfn_valid(frame_alloc(&b, 0, 0)));
	assert_int_equal(frame_claim(&a, 0), 0);
	assert_int_equal(frame_claimed(), 0);
	assert_true(mfn_valid(frame_alloc(&b, 0, 0)));
}

/* --- two nodes, the boundary in the middle of a large block --- */

#define SPLIT 1800u

static int setup_nodes(void **state)
{
	int ret;

	host_split = SPLIT;
	ret = setup(state);
	host_split = 0;
	return ret;
}

static void assert_free(uint64_t on_0, uint64_t on_1)
{
	uint64_t total, free;

	frame_node_count(0, &total, &free);
	assert_int_equal(total, SPLIT - 512);
	assert_int_equal(free, on_0);
	frame_node_count(1, &total, &free);
	assert_int_equal(total, FRAMES - SPLIT);
	assert_int_equal(free, on_1);
	assert_int_equal(frame_free_count(), on_0 + on_1);
	frame_node_count(2, &total, &free);
	assert_int_equal(total + free, 0);
}

static void test_nodes_prefer(void **state)
{
	mfn_t m[8];

	assert_free(SPLIT - 512, FRAMES - SPLIT);
	assert_int_equal(frame_node(MFN(SPLIT - 1)), 0);
	assert_int_equal(frame_node(MFN(SPLIT)), 1);
	assert_int_equal(frame_node(MFN(FRAMES)), 0);
	a.node_affinity = 2;
	for (unsigned i = 0; i < 8; i++) {
		m[i] = frame_alloc(&a, 2, 0);
		assert_int_equal(frame_node(m[i]), 1);
	}
	assert_free(SPLIT - 512, FRAMES - SPLIT - 32);
	assert_int_equal(frame_owned_on(a.id, 1), 32);
	assert_int_equal(frame_owned_on(a.id, 0), 0);
	assert_int_equal(frame_owned_on(b.id, 1), 0);
	for (unsigned i = 0; i < 32; i++)
		assert_true(frame_release_alloc(&a, MFN(m[i / 4].n + i % 4)));
	a.node_affinity = 0; /* any: in turn */
	for (unsigned i = 0; i < 8; i++) {
		m[i] = frame_alloc(&a, 0, 0);
		if (i)
			assert_int_not_equal(frame_node(m[i]), frame_node(m[i - 1]));
	}
	assert_free(SPLIT - 512 - 4, FRAMES - SPLIT - 4);
	a.node_affinity = BIT(40); /* no such node: any */
	assert_true(mfn_valid(frame_alloc(&a, 0, 0)));
}

static void test_nodes_exact_and_fallback(void **state)
{
	uint64_t n = 0;
	mfn_t m;

	a.node_affinity = 2;
	while (mfn_valid(m = frame_alloc_node(&a, 0, 0, 0, true))) {
		assert_true(m.n < SPLIT);
		n++;
	}
	assert_int_equal(n, SPLIT - 512);
	m = frame_alloc_node(&a, 0, 0, 0, false);
	assert_int_equal(frame_node(m), 1);
	assert_false(mfn_valid(frame_alloc_node(&a, 0, 0, 2, true)));
	assert_false(mfn_valid(frame_alloc_node(&a, 0, 0, 0xff, true)));
	assert_true(mfn_valid(frame_alloc_node(&a, 0, 0, 0xff, false)));
	assert_false(mfn_valid(frame_alloc(&a, 0, SPLIT))); /* below: only node 0 has such frames */
	b.node_affinity = 1;
	while (mfn_valid(frame_alloc(&b, 0, 0)))
		;
	assert_free(0, 0);
}

/* Nothing merges over the boundary; the hypervisor's own come from this CPU's node first. */
static void test_nodes_merge(void **state)
{
	mfn_t m = frame_alloc_hyp(9);

	assert_int_equal(frame_node(m), 0);
	host_cpu = 1;
	assert_int_equal(frame_node(frame_alloc_hyp(9)), 1);
	host_cpu = 0;
	assert_true(frame_alloc_at(&a, MFN(SPLIT - 1)));
	assert_true(frame_alloc_at(&a, MFN(SPLIT)));
	assert_true(frame_release_alloc(&a, MFN(SPLIT - 1)));
	assert_true(frame_release_alloc(&a, MFN(SPLIT)));
	frame_free_hyp(m, 9);
	assert_free(SPLIT - 512, FRAMES - SPLIT - 512);
	assert_false(frame_alloc_boot(&a, MFN(SPLIT & ~7u), 4)); /* 16 frames over the boundary */
	assert_true(frame_alloc_boot(&a, MFN(SPLIT & ~7u), 3));
}

/* The model test again: every block lies on one node, counts agree, all of it comes back. */
static void test_nodes_model(void **state)
{
	struct {
		mfn_t m;
		unsigned order;
	} got[200];
	uint64_t seed = 88172645463325252ull, used[2] = {0, 0};
	unsigned n = 0;

	for (unsigned step = 0; step < 20000; step++) {
		uint64_t r = host_random(&seed);

		if (n < ARRAY_SIZE(got) && (r & 1)) {
			unsigned order = (r >> 8) % 7, want = (r >> 16) & 1;
			mfn_t m = frame_alloc_node(&a, order, 0, want, (r >> 17) & 1);

			if (!mfn_valid(m))
				continue;
			if ((r >> 17) & 1)
				assert_int_equal(frame_node(m), want);
			assert_int_equal(frame_node(m), frame_node(MFN(m.n + (1u << order) - 1)));
			used[frame_node(m)] += 1u << order;
			got[n].m = m;
			got[n++].order = order;
		} else if (n) {
			unsigned i = (r >> 8) % n;

			used[frame_node(got[i].m)] -= 1u << got[i].order;
			for (uint64_t k = 0; k < 1u << got[i].order; k++)
				assert_true(frame_release_alloc(&a, MFN(got[i].m.n + k)));
			got[i] = got[--n];
		}
		if (step % 16 == 0)
			assert_free(SPLIT - 512 - used[0], FRAMES - SPLIT - used[1]);
	}
	while (n--)
		for (uint64_t k = 0; k < 1u << got[n].order; k++)
			assert_true(frame_release_alloc(&a, MFN(got[n].m.n + k)));
	assert_free(SPLIT - 512, FRAMES - SPLIT);
	assert_true(mfn_valid(frame_alloc_hyp(11))); /* [2048, 4096) */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_counts, setup),
		cmocka_unit_test_setup(test_buddy_model, setup),
		cmocka_unit_test_setup(test_scrubbed_when_handed_out, setup),
		cmocka_unit_test_setup(test_alloc_at_and_below, setup),
		cmocka_unit_test_setup(test_limit_and_domain_reference, setup),
		cmocka_unit_test_setup(test_references, setup),
		cmocka_unit_test_setup(test_share, setup),
		cmocka_unit_test_setup(test_far, setup),
		cmocka_unit_test_setup(test_claims, setup),
		cmocka_unit_test_setup(test_nodes_prefer, setup_nodes),
		cmocka_unit_test_setup(test_nodes_exact_and_fallback, setup_nodes),
		cmocka_unit_test_setup(test_nodes_merge, setup_nodes),
		cmocka_unit_test_setup(test_nodes_model, setup_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
