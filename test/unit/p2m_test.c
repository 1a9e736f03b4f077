/* sources: core/frame.c core/heap.c core/ptab.c core/p2m.c core/logdirty.c core/pod.c core/guestmem.c */
/* The nested page tables against an array model; references, pending list, faults, populate on demand, teardown. */
#include "host/host.h"

#include "core/guestmem.h"
#include "core/policy.h"
#include "core/ptab.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#define FRAMES 16384u

static struct domain a, b;

/* Another CPU that runs a and still has stale translations, until somebody waits for it. */
static struct domain *lagging;
static unsigned waits;

bool guest_tlb_settled(struct domain *d)
{
	return d != lagging;
}

void guest_tlb_sync(struct domain *d)
{
	waits++;
	if (d == lagging)
		lagging = NULL;
}

static uint64_t free_before;

static uint64_t free_memory(void)
{
	return frame_free_count() + heap_free_frames();
}

static int setup(void **state)
{
	host_boot(FRAMES);
	a = b = (struct domain){ 0 };
	heap_free_pages(heap_alloc_pages(0), 0); /* the spare chunk */
	free_before = free_memory();
	host_domain_add(&a, 1);
	host_domain_add(&b, 2);
	assert_int_equal(p2m_init(&a, P2M_FORMAT_NPT), 0);
	assert_int_equal(p2m_init(&b, P2M_FORMAT_NPT), 0);
	return 0;
}

static void end(struct domain *d)
{
	d->is_dying = true;
	guestmem_leave();
	while (p2m_relinquish(d) == -ERESTART)
		;
	assert_int_equal(d->foreign_maps, 0);
	assert_int_equal(d->p2m.pod_entries, 0);
	assert_int_equal(d->p2m.pod_cache, 0);
	p2m_destroy(d);
	assert_int_equal(d->p2m.table_frames, 0);
}

/* Everything is given back and nobody's reference is left. */
static int teardown(void **state)
{
	end(&b);
	end(&a);
	guestmem_leave();
	assert_int_equal(a.frames, 0);
	assert_int_equal(b.frames, 0);
	assert_int_equal(a.refs, 1);
	assert_int_equal(b.refs, 1);
	assert_int_equal(host_windows(), 0);
	assert_int_equal(free_memory(), free_before);
	return 0;
}

static mfn_t populate(struct domain *d, uint64_t gfn, unsigned order)
{
	mfn_t m = frame_alloc(d, order, 0);

	assert_true(mfn_valid(m));
	assert_int_equal(p2m_map(d, GFN(gfn), m, order, P2M_RAM_RW), 0);
	return m;
}

static void test_map_lookup(void **state)
{
	mfn_t m = populate(&a, 5, 0), big = populate(&a, 1024, ORDER_2M);
	struct p2m_entry e = p2m_lookup(&a, GFN(5));

	assert_int_equal(e.mfn.n, m.n);
	assert_int_equal(e.type, P2M_RAM_RW);
	assert_int_equal(e.order, 0);
	e = p2m_lookup(&a, GFN(1024 + 77));
	assert_int_equal(e.mfn.n, big.n + 77);
	assert_int_equal(e.order, 9);
	assert_int_equal(p2m_lookup(&a, GFN(6)).type, P2M_NONE);
	assert_int_equal(p2m_lookup(&a, GFN(1ull << 50)).type, P2M_NONE);
	assert_int_equal(a.p2m.max_gfn, 1024 + 511);
	assert_int_equal(p2m_map(&a, GFN(5), m, 0, P2M_RAM_RW), -EEXIST);
	assert_int_equal(p2m_map(&a, GFN(1030), m, 0, P2M_RAM_RW), -EEXIST);
	assert_int_equal(p2m_map(&a, GFN(0), big, ORDER_2M, P2M_RAM_RW), -EEXIST);
	assert_int_equal(p2m_map(&a, GFN(513), big, ORDER_2M, P2M_RAM_RW), -EINVAL);
	assert_int_equal(p2m_map(&a, GFN(1ull << 36), m, 0, P2M_RAM_RW), -EINVAL);
	assert_int_equal(p2m_map(&a, GFN(512), big, ORDER_2M, P2M_FOREIGN), -EINVAL);
	assert_int_equal(p2m_unmap(&a, GFN(6), 0), -ENOENT);
}

/* The bits a walker sees (APM vol. 2, 15.25). */
static void test_npt_bits(void **state)
{
	uint64_t rw = ptab_leaf(P2M_FORMAT_NPT, MFN(0x1234), P2M_RAM_RW, 0);

	assert_int_equal(rw & 0xfff, 0x67);
	assert_int_equal(rw >> 63, 0);
	assert_int_equal(ptab_mfn(rw).n, 0x1234);
	assert_int_equal(ptab_leaf(P2M_FORMAT_NPT, MFN(1), P2M_RAM_LOGDIRTY, 0) & 2, 0);
	assert_int_equal(ptab_leaf(P2M_FORMAT_NPT, MFN(1), P2M_FOREIGN, 0) >> 63, 1);
	assert_int_equal(ptab_leaf(P2M_FORMAT_NPT, MFN(1), P2M_MMIO, 0) & 0x18, 0x18);
	assert_int_equal(ptab_leaf(P2M_FORMAT_NPT, MFN(512), P2M_RAM_RW, 1) & 0x80, 0x80);
	assert_int_equal(ptab_leaf(P2M_FORMAT_NPT, MFN(512), P2M_POD, 1) & 1, 0);
	assert_int_equal(ptab_leaf(P2M_FORMAT_EPT, MFN(1), P2M_RAM_RW, 0) & 0xfff, 0x337);
	assert_int_equal(ptab_leaf(P2M_FORMAT_EPT, MFN(1), P2M_RAM_TRACKED, 0) & 0xfff, 0x137);
	assert_int_equal(ptab_leaf(P2M_FORMAT_NPT, MFN(1), P2M_RAM_TRACKED, 0) & 0xfff, 0x27);
	assert_int_equal(ptab_leaf(P2M_FORMAT_EPT, MFN(1), P2M_GRANT_RO, 0) & 7, 1);
	assert_int_equal(ptab_leaf(P2M_FORMAT_EPT, MFN(1), P2M_MMIO, 0) & 0x38, 0);
}

#define SPAN 2048u

/* Random maps, unmaps, releases, type changes of all sizes on a small range, compared with an array. */
static void test_model(void **state)
{
	static struct {
		uint64_t mfn;
		enum p2m_type type;
	} model[SPAN];
	uint64_t left = 0, seed = 1181783497276652981ull;

	memset(model, 0, sizeof(model));
	for (unsigned step = 0; step < 30000; step++) {
		uint64_t r = host_random(&seed);
		unsigned order = (r >> 4) % 8 ? 0 : 9;
		uint64_t g = (r >> 8) % SPAN & ~((1ull << order) - 1), n = 1ull << order;
		bool any = false, all_none = true;
		int ret;

		for (uint64_t i = g; i < g + n; i++) {
			any |= model[i].type != P2M_NONE;
			all_none &= model[i].type == P2M_NONE;
		}
		switch (r % 9) {
		case 8: {
			bool ram = model[g].type == P2M_RAM_RW || model[g].type == P2M_RAM_LOGDIRTY;
			mfn_t m;

			assert_int_equal(p2m_take(&a, GFN(g), &m), ram ? 0 : -EINVAL);
			if (!ram)
				break;
			assert_int_equal(m.n, model[g].mfn);
			assert_true(frame_release_alloc(&a, m)); /* it was the taker's */
			model[g].type = P2M_NONE;
			break;
		}
		case 0 ... 2: {
			mfn_t m = frame_alloc(&a, order, 0);

			if (!mfn_valid(m))
				break;
			ret = p2m_map(&a, GFN(g), m, order, P2M_RAM_RW);
			assert_int_equal(ret, all_none ? 0 : -EEXIST);
			for (uint64_t i = 0; i < n; i++) {
				if (ret)
					frame_release_alloc(&a, MFN(m.n + i));
				else
					model[g + i].mfn = m.n + i, model[g + i].type = P2M_RAM_RW;
			}
			break;
		}
		case 3:
			assert_int_equal(p2m_unmap(&a, GFN(g), order), any ? 0 : -ENOENT);
			for (uint64_t i = g; i < g + n; i++)
				model[i].type = P2M_NONE;
			break;
		case 4 ... 5:
			ret = p2m_release(&a, GFN(g));
			assert_int_equal(ret, model[g].type == P2M_NONE ? -ENOENT : 0);
			model[g].type = P2M_NONE;
			break;
		case 6: {
			enum p2m_type to = r >> 60 & 1 ? P2M_RAM_RO : P2M_RAM_LOGDIRTY;

			ret = p2m_change_type(&a, GFN(g), P2M_RAM_RW, to);
			assert_int_equal(ret, model[g].type == P2M_RAM_RW ? 0 : -EBUSY);
			if (!ret)
				model[g].type = to;
			break;
		}
		case 7:
			assert_int_equal(p2m_fault(&a, GFN(g), true, false),
					 model[g].type == P2M_RAM_RW || model[g].type == P2M_RAM_LOGDIRTY);
			if (model[g].type == P2M_RAM_LOGDIRTY)
				model[g].type = P2M_RAM_RW;
			if (r >> 61 == 0)
				p2m_flush(&a);
			break;
		}
		for (unsigned k = 0; k < 8; k++) {
			uint64_t i = host_random(&seed) % SPAN;
			struct p2m_entry e = p2m_lookup(&a, GFN(i));

			assert_int_equal(e.type, model[i].type);
			if (e.type != P2M_NONE)
				assert_int_equal(e.mfn.n, model[i].mfn);
		}
	}
	p2m_flush(&a);
	for (unsigned i = 0; i < SPAN; i++)
		left += model[i].type != P2M_NONE;
	assert_int_equal(a.frames, left); /* what was unmapped was given up */
}

static void test_foreign_references(void **state)
{
	mfn_t m = populate(&b, 7, 0), got;

	assert_int_equal(p2m_get_frame(&b, GFN(7), true, &got), 0);
	assert_int_equal(got.n, m.n);
	assert_int_equal(p2m_map(&a, GFN(100), got, 0, P2M_FOREIGN), 0);
	assert_int_equal(a.foreign_maps, 1);
	assert_int_equal(frame_refs(m), 2);
	assert_int_equal(p2m_get_frame(&a, GFN(100), false, &got), -EINVAL); /* not a's to hand on */
	host_tlb_flushes = 0;
	assert_int_equal(p2m_release(&a, GFN(100)), -EINVAL);
	assert_int_equal(p2m_unmap(&a, GFN(100), 0), 0);
	assert_int_equal(a.foreign_maps, 0);
	assert_true(host_tlb_flushes > 0);
	assert_int_equal(frame_refs(m), 2); /* until the flush */
	p2m_flush(&a);
	assert_int_equal(frame_refs(m), 1);
	/* The owner gives it up while it is mapped: it stays until the mapping goes. */
	assert_int_equal(p2m_get_frame(&b, GFN(7), true, &got), 0);
	assert_int_equal(p2m_map(&a, GFN(100), got, 0, P2M_FOREIGN), 0);
	assert_int_equal(p2m_release(&b, GFN(7)), 0);
	p2m_flush(&b);
	assert_int_equal(b.frames, 1);
	assert_int_equal(p2m_unmap(&a, GFN(100), 0), 0);
	p2m_flush(&a);
	assert_int_equal(b.frames, 0);
}

/* What another CPU may still use is kept until that one has flushed. */
static void test_lagging_cpu(void **state)
{
	mfn_t m = populate(&b, 7, 0), own = populate(&a, 8, 0), got;

	assert_int_equal(p2m_get_frame(&b, GFN(7), true, &got), 0);
	assert_int_equal(p2m_map(&a, GFN(100), got, 0, P2M_FOREIGN), 0);
	lagging = &a;
	waits = 0;
	assert_int_equal(p2m_unmap(&a, GFN(100), 0), 0);
	assert_int_equal(p2m_release(&a, GFN(8)), 0);
	p2m_flush_some(&a);
	assert_int_equal(frame_refs(m), 2);
	assert_int_equal(frame_refs(own), 1);
	assert_int_equal(a.frames, 1);
	assert_int_equal(waits, 0);
	p2m_flush(&a);
	assert_int_equal(frame_refs(m), 1);
	assert_int_equal(a.frames, 0);
	assert_int_equal(waits, 1);
	p2m_flush(&a); /* nothing pending: nobody to wait for */
	assert_int_equal(waits, 1);
	/* A full list waits by itself. */
	populate(&a, 512, ORDER_2M);
	lagging = &a;
	for (unsigned i = 0; i <= P2M_PENDING; i++)
		assert_int_equal(p2m_release(&a, GFN(512 + i)), 0);
	assert_int_equal(waits, 2);
	assert_null(lagging);
}

/* Device memory holds no reference: hvm/vmsix.c removes it with a lock held, so it waits for nobody, not even for room. */
static void test_unmap_device_waits_not(void **state)
{
	a.rights = RIGHT_HARDWARE;
	assert_true(p2m_fault(&a, GFN(0xfed00), false, false));
	populate(&a, 512, ORDER_2M);
	for (unsigned i = 0; i < P2M_PENDING; i++)
		assert_int_equal(p2m_release(&a, GFN(512 + i)), 0);
	assert_int_equal(a.p2m.nr_pending, P2M_PENDING);
	waits = 0;
	lagging = &a;
	assert_int_equal(p2m_unmap(&a, GFN(0xfed00), 0), 0);
	assert_int_equal(waits, 0);
	assert_int_equal(p2m_lookup(&a, GFN(0xfed00)).type, P2M_NONE);
	assert_int_equal(p2m_unmap(&a, GFN(600), 0), 0); /* RAM has to */
	assert_int_equal(waits, 1);
}

/* A large leaf that is taken out goes as a whole. */
static void test_unmap_large(void **state)
{
	populate(&a, 512, ORDER_2M);
	assert_int_equal(a.frames, 512);
	assert_int_equal(p2m_unmap(&a, GFN(512), ORDER_2M), 0);
	assert_int_equal(a.frames, 512); /* until the flush */
	p2m_flush(&a);
	assert_int_equal(a.frames, 0);
}

/* The pending list never overflows, whatever is removed without a flush. */
static void test_pending_bound(void **state)
{
	populate(&b, 0, ORDER_2M);
	for (unsigned i = 0; i < 512; i++) {
		mfn_t m;

		assert_int_equal(p2m_get_frame(&b, GFN(i), true, &m), 0);
		assert_int_equal(p2m_map(&a, GFN(512 + i), m, 0, P2M_FOREIGN), 0);
	}
	assert_int_equal(p2m_unmap(&a, GFN(512), ORDER_2M), 0);
	assert_int_equal(a.foreign_maps, 0);
	assert_true(a.p2m.nr_pending <= P2M_PENDING);
	for (unsigned i = 0; i < 512; i++)
		assert_int_equal(p2m_release(&b, GFN(i)), 0);
	assert_true(b.p2m.nr_pending <= P2M_PENDING);
	p2m_flush(&a);
	p2m_flush(&b);
	assert_int_equal(b.frames, 0);
	/* An empty table gives way to a large leaf. */
	populate(&a, 512, ORDER_2M);
	assert_int_equal(p2m_lookup(&a, GFN(600)).order, 9);
}

static void test_get_frame_types(void **state)
{
	mfn_t m, x;

	m = populate(&a, 1, 0);
	assert_int_equal(p2m_get_frame(&a, GFN(2), false, &x), -EINVAL);
	assert_int_equal(p2m_change_type(&a, GFN(1), P2M_RAM_RW, P2M_RAM_RO), 0);
	assert_int_equal(p2m_get_frame(&a, GFN(1), true, &x), -EINVAL);
	assert_int_equal(p2m_get_frame(&a, GFN(1), false, &x), 0);
	assert_int_equal(x.n, m.n);
	frame_put(x);
	assert_int_equal(p2m_change_type(&a, GFN(1), P2M_RAM_RO, P2M_RAM_LOGDIRTY), 0);
	assert_int_equal(p2m_get_frame(&a, GFN(1), true, &x), 0);
	assert_int_equal(p2m_lookup(&a, GFN(1)).type, P2M_RAM_RW); /* dirty now */
	frame_put(x);
	assert_int_equal(p2m_change_type(&a, GFN(1), P2M_RAM_RW, P2M_FOREIGN), -EBUSY);
}

static void test_shared_page(void **state)
{
	void *page = heap_alloc_pages(0);
	mfn_t m = port_direct_mfn(page), x;

	frame_share(&a, page);
	assert_true(frame_get(&a, m));
	assert_int_equal(p2m_map(&a, GFN(9), m, 0, P2M_SHARED), 0);
	assert_int_equal(p2m_get_frame(&a, GFN(9), true, &x), 0);
	assert_int_equal(p2m_map(&b, GFN(9), x, 0, P2M_FOREIGN), 0);
	assert_int_equal(frame_unshare(&a, page), -EBUSY);
	a.is_dying = true;
	while (p2m_relinquish(&a) == -ERESTART)
		;
	assert_int_equal(frame_unshare(&a, page), -EBUSY); /* b still maps it */
	assert_int_equal(a.shared_frames, 0);
}

static void test_device_on_demand(void **state)
{
	assert_false(p2m_fault(&a, GFN(0xfed00), false, false));
	a.rights = RIGHT_HARDWARE;
	assert_true(p2m_fault(&a, GFN(0xfed00), false, false));
	assert_int_equal(p2m_lookup(&a, GFN(0xfed00)).type, P2M_MMIO);
	assert_int_equal(p2m_lookup(&a, GFN(0xfed00)).mfn.n, 0xfed00);
	assert_false(p2m_fault(&a, GFN(2000), false, false)); /* RAM of somebody else */
	assert_false(p2m_fault(&a, GFN(1ull << 40), false, false));
}

static void test_fault_rights(void **state)
{
	mfn_t m = populate(&b, 1, 0), x;

	p2m_get_frame(&b, GFN(1), true, &x);
	assert_int_equal(p2m_map(&a, GFN(3), m, 0, P2M_GRANT_RO), 0);
	assert_true(p2m_fault(&a, GFN(3), false, false));
	assert_false(p2m_fault(&a, GFN(3), true, false));
	assert_false(p2m_fault(&a, GFN(3), false, true));
}

static void test_table_pool(void **state)
{
	mfn_t m = frame_alloc(&a, 0, 0);

	a.p2m.pool_frames = 4;
	assert_int_equal(p2m_map(&a, GFN(0), m, 0, P2M_RAM_RW), 0); /* root and three tables */
	assert_int_equal(p2m_map(&a, GFN(1ull << 30), m, 0, P2M_RAM_RW), -ENOMEM);
	assert_int_equal(a.p2m.table_frames, 4);
}

static void test_pod(void **state)
{
	mfn_t m;

	assert_int_equal(pod_mark(&a, GFN(0), ORDER_2M), 0);
	assert_int_equal(pod_mark(&a, GFN(512), ORDER_2M), 0);
	assert_int_equal(pod_mark(&a, GFN(1024), 0), 0);
	assert_int_equal(a.p2m.pod_entries, 1025);
	assert_false(p2m_fault(&a, GFN(0), true, false)); /* nothing in the cache */
	while (pod_set_target(&a, 700) == -ERESTART)
		;
	assert_int_equal(a.p2m.pod_cache, 700);
	assert_int_equal(a.frames, 700);
	assert_true(p2m_fault(&a, GFN(700), true, false));
	assert_int_equal(p2m_lookup(&a, GFN(700)).order, 9);
	assert_int_equal(a.p2m.pod_cache, 700 - 512);
	assert_true(p2m_fault(&a, GFN(3), false, false));
	assert_int_equal(p2m_lookup(&a, GFN(3)).type, P2M_RAM_RW);
	assert_int_equal(p2m_lookup(&a, GFN(4)).type, P2M_POD);
	assert_int_equal(a.p2m.pod_entries, 512);
	assert_int_equal(p2m_get_frame(&a, GFN(4), true, &m), 0);
	frame_put(m);
	/* What the balloon driver gives up fills the cache while entries wait for frames. */
	assert_int_equal(p2m_release(&a, GFN(3)), 0);
	p2m_flush(&a);
	assert_int_equal(a.frames, 700);
	assert_int_equal(a.p2m.pod_cache, 187);
	assert_int_equal(p2m_release(&a, GFN(1024)), 0);
	assert_int_equal(a.p2m.pod_entries, 510);
	while (pod_set_target(&a, 600) == -ERESTART)
		;
	assert_int_equal(a.frames, 700); /* below what it has: left to the balloon */
	assert_int_equal(pod_mark(&a, GFN(700), 0), -EBUSY);
}

static void write_word(uint64_t gfn, uint64_t value)
{
	assert_true(p2m_fault(&a, GFN(gfn), true, false));
	assert_int_equal(guestmem_write_gpa(&a, gfn << PAGE_SHIFT, &value, sizeof(value)), 0);
}

static uint64_t read_word(uint64_t gfn)
{
	uint64_t value = 1;

	assert_int_equal(guestmem_read_gpa(&a, &value, gfn << PAGE_SHIFT, sizeof(value)), 0);
	return value;
}

/* How often a guest that touches gfn faults until there is memory; -1: there is none. */
static int pieces(uint64_t gfn)
{
	for (int n = 0;; n++) {
		if (p2m_lookup(&a, GFN(gfn)).type != P2M_POD)
			return n;
		if (!p2m_fault(&a, GFN(gfn), true, false))
			return -1;
	}
}

/* A search over many frames with contents stops in between, with the lock given back, and goes on where it was. */
static void test_pod_sweep_pieces(void **state)
{
	mfn_t m;

	while (pod_set_target(&a, 4096) == -ERESTART)
		;
	for (uint64_t gfn = 0; gfn < 5120; gfn += 512)
		assert_int_equal(pod_mark(&a, GFN(gfn), ORDER_2M), 0);
	for (uint64_t gfn = 0; gfn < 4096; gfn++)
		write_word(gfn, 1);
	assert_int_equal(a.p2m.pod_cache, 0);
	write_word(10, 0);
	assert_in_range(pieces(5000), 4, 10);
	write_word(5000, 1);
	write_word(20, 0);
	assert_int_equal(p2m_get_frame(&a, GFN(5001), true, &m), 0);
	frame_put(m);
	assert_int_equal(p2m_lookup(&a, GFN(10)).type, P2M_POD);
	assert_int_equal(p2m_lookup(&a, GFN(20)).type, P2M_POD);
	write_word(5001, 1);
	assert_true(p2m_fault(&a, GFN(5002), true, false)); /* a first piece, in vain */
	assert_int_equal(p2m_lookup(&a, GFN(5002)).type, P2M_POD);
	assert_int_equal(pieces(5002), -1);
}

/* An empty cache is filled with frames of zeros; what has contents or another user stays. */
static void test_pod_sweep(void **state)
{
	mfn_t held;

	while (pod_set_target(&a, 512 + 3) == -ERESTART) /* before there are entries */
		;
	assert_int_equal(a.p2m.pod_cache, 512 + 3);
	for (uint64_t gfn = 0; gfn < 2048; gfn += 512)
		assert_int_equal(pod_mark(&a, GFN(gfn), ORDER_2M), 0);
	write_word(100, 7); /* a whole block goes there */
	assert_int_equal(p2m_lookup(&a, GFN(100)).order, 9);
	assert_int_equal(p2m_get_frame(&a, GFN(200), true, &held), 0);
	for (uint64_t gfn = 512; gfn < 1024; gfn++)
		write_word(gfn, gfn);
	assert_int_equal(a.frames, 515);
	assert_int_equal(p2m_lookup(&a, GFN(200)).mfn.n, held.n);
	assert_int_equal(read_word(100), 7);
	for (uint64_t gfn = 512; gfn < 1024; gfn++)
		assert_int_equal(read_word(gfn), gfn);
	assert_true(p2m_fault(&a, GFN(1024), true, false)); /* the last one: no sweep finds more than zeros */
	write_word(1024, 1);
	assert_int_equal(pieces(1025), -1);
	frame_put(held); /* it would be free to go now; nobody looks, until the tool stack sets the target */
	assert_int_equal(pieces(1025), -1);
	assert_int_equal(p2m_get_frame(&a, GFN(1025), true, &held), -ENOMEM);
	assert_int_equal(pod_set_target(&a, 515), 0);
	assert_in_range(pieces(1025), 1, 20);
	write_word(1025, 1);
	assert_int_equal(p2m_lookup(&a, GFN(200)).type, P2M_POD);
	assert_int_equal(pieces(200), -1);
	assert_int_equal(a.frames, 515);
	assert_int_equal(a.p2m.pod_entries, 2048 - 515);
}

/* A 1 GiB leaf takes the place of a table that was looked through just before. */
static void test_leaf_over_table(void **state)
{
	assert_int_equal(pod_mark(&a, GFN(512), ORDER_2M), 0);
	assert_int_equal(p2m_lookup(&a, GFN(600)).type, P2M_POD);
	assert_int_equal(p2m_map(&a, GFN(0), MFN(1 << 18), ORDER_1G, P2M_MMIO), 0);
	assert_int_equal(a.p2m.pod_entries, 0);
	assert_int_equal(p2m_lookup(&a, GFN(600)).order, 18);
	assert_int_equal(p2m_lookup(&a, GFN(600)).mfn.n, (1 << 18) + 600);
	p2m_flush(&a); /* the table is gone */
	assert_int_equal(p2m_lookup(&a, GFN(700)).mfn.n, (1 << 18) + 700);
	assert_int_equal(p2m_unmap(&a, GFN(0), ORDER_1G), 0);
	assert_int_equal(p2m_lookup(&a, GFN(600)).type, P2M_NONE);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_map_lookup),
		TEST(test_npt_bits),
		TEST(test_model),
		TEST(test_foreign_references),
		TEST(test_lagging_cpu),
		TEST(test_unmap_large),
		TEST(test_unmap_device_waits_not),
		TEST(test_pending_bound),
		TEST(test_get_frame_types),
		TEST(test_shared_page),
		TEST(test_device_on_demand),
		TEST(test_fault_rights),
		TEST(test_table_pool),
		TEST(test_leaf_over_table),
		TEST(test_pod),
		TEST(test_pod_sweep),
		TEST(test_pod_sweep_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
