/* sources: core/frame.c core/heap.c core/ptab.c core/p2m.c core/logdirty.c core/pod.c core/guestmem.c */
/* Copies from and to guests: page walks of every paging mode with their faults, and the discipline of windows. */
#include "host/host.h"

#include "core/guestmem.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#define CR0_PG (1ull << 31 | 1)
#define CR0_WP (1ull << 16)
#define LONG   .cr4 = 1 << 5, .efer = 1 << 8 | 1 << 10 | 1 << 11

#define P  1ull
#define W  2ull
#define U  4ull
#define PS 0x80ull
#define NX (1ull << 63)

static struct domain a, b;
static struct vcpu va, vb;
static struct guestmem_fault f;

static void populate(struct domain *d, uint64_t gfn)
{
	mfn_t m = frame_alloc(d, 0, 0);

	assert_true(mfn_valid(m));
	assert_int_equal(p2m_map(d, GFN(gfn), m, 0, P2M_RAM_RW), 0);
}

static void put64(struct domain *d, gpa_t gpa, uint64_t x)
{
	host_poke(p2m_lookup(d, GFN(gpa >> 12)).mfn, gpa & 0xfff, &x, 8);
}

static void put32(struct domain *d, gpa_t gpa, uint32_t x)
{
	host_poke(p2m_lookup(d, GFN(gpa >> 12)).mfn, gpa & 0xfff, &x, 4);
}

/* Frames 0-63. Tables of the walks at 0x1000 on, data from 0x10000. */
static int setup(void **state)
{
	host_boot(16384);
	a = b = (struct domain){ .max_vcpus = 1 };
	va = (struct vcpu){ .domain = &a };
	vb = (struct vcpu){ .domain = &b };
	host_domain_add(&a, 1);
	host_domain_add(&b, 2);
	assert_int_equal(p2m_init(&a, P2M_FORMAT_NPT), 0);
	assert_int_equal(p2m_init(&b, P2M_FORMAT_NPT), 0);
	for (unsigned i = 0; i < 64; i++) {
		populate(&a, i);
		populate(&b, i);
	}
	/* 4 levels: 0x400000 + n * 4 KiB -> 0x10000 + n * 4 KiB with different rights */
	put64(&a, 0x1000, 0x2000 | P | W | U);
	put64(&a, 0x2000, 0x3000 | P | W | U);
	put64(&a, 0x3000 + 2 * 8, 0x4000 | P | W | U);
	put64(&a, 0x3000 + 3 * 8, 0 | P | W | U | PS); /* 2 MiB at 0 */
	put64(&a, 0x4000 + 0 * 8, 0x10000 | P | W | U);
	put64(&a, 0x4000 + 1 * 8, 0x11000 | P | W | U);
	put64(&a, 0x4000 + 2 * 8, 0x12000 | P | W);
	put64(&a, 0x4000 + 3 * 8, 0x13000 | P | U);
	put64(&a, 0x4000 + 4 * 8, 0x14000 | P | W | U | NX);
	put64(&a, 0x4000 + 5 * 8, 0xfed00000 | P | W | U); /* no RAM */
	host_paging = (struct guest_paging){ .cr0 = CR0_PG | CR0_WP, .cr3 = 0x1000, LONG };
	return 0;
}

static int teardown(void **state)
{
	guestmem_leave();
	assert_int_equal(host_windows(), 0);
	a.is_dying = b.is_dying = true;
	while (p2m_relinquish(&a) || p2m_relinquish(&b))
		;
	assert_int_equal(a.frames + b.frames, 0);
	p2m_destroy(&a);
	p2m_destroy(&b);
	return 0;
}

static void test_copy_and_straddle(void **state)
{
	uint8_t out[6000], in[6000];

	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7);
	assert_int_equal(guestmem_write(&va, 0x400f00, out, sizeof(out)), 0);
	assert_int_equal(guestmem_read(&va, in, 0x400f00, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(guestmem_read(&va, in, 0x610f00, sizeof(in)), 0); /* the same through the large page */
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(guestmem_read_gpa(&a, in, 0x10f00, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(guestmem_read(&va, in, 0x400000, 0), 0);
	guestmem_end();
}

static void test_nothing_written_on_fault(void **state)
{
	uint64_t x = 0x1111111111111111, y;

	assert_int_equal(guestmem_write(&va, 0x402ffc, &x, 8), -EFAULT); /* second page is read-only */
	assert_int_equal(guestmem_read(&va, &y, 0x402ff8, 8), 0);
	assert_int_equal(y, 0);
	assert_int_equal(guestmem_check_write(&va, 0x402ffc, 8), -EFAULT);
	assert_int_equal(guestmem_check_write(&va, 0x402ff8, 8), 0);
	assert_int_equal(guestmem_read(&va, &y, ~0ull - 3, 8), -EFAULT); /* wraps */
	assert_int_equal(guestmem_read(&va, &y, 0x800000000000, 8), -EFAULT); /* not canonical */
	assert_int_equal(guestmem_read(&va, &y, 0x406000, 8), -EFAULT);
}

static void check_fault(gva_t at, unsigned access, uint32_t code)
{
	gpa_t gpa;

	assert_int_equal(guestmem_translate(&va, at, access, &gpa, &f), -EFAULT);
	assert_int_equal(f.code, code);
	assert_int_equal(f.addr, at);
}

static void check_ok(gva_t at, unsigned access, gpa_t want)
{
	gpa_t gpa;

	assert_int_equal(guestmem_translate(&va, at, access, &gpa, &f), 0);
	assert_int_equal(gpa, want);
}

static void test_fault_codes(void **state)
{
	uint64_t x;

	check_ok(0x400123, GUESTMEM_WRITE | GUESTMEM_USER, 0x10123);
	check_ok(0x402123, GUESTMEM_WRITE, 0x12123);
	check_fault(0x402123, GUESTMEM_USER, 5);
	check_fault(0x402123, GUESTMEM_USER | GUESTMEM_WRITE, 7);
	check_fault(0x403123, GUESTMEM_WRITE, 3);
	check_fault(0x404123, GUESTMEM_FETCH, 0x11);
	check_fault(0x406123, GUESTMEM_WRITE, 2);
	check_fault(0x406123, GUESTMEM_FETCH | GUESTMEM_USER, 0x14);
	guestmem_end();
	host_paging.cr0 &= ~CR0_WP;
	check_ok(0x403123, GUESTMEM_WRITE, 0x13123);
	check_fault(0x403123, GUESTMEM_WRITE | GUESTMEM_USER, 7);
	guestmem_end();
	host_paging.efer &= ~(1ull << 11);
	check_ok(0x404123, GUESTMEM_FETCH, 0x14123);
	guestmem_end();
	host_paging.cr4 |= 1 << 20; /* SMEP */
	check_fault(0x400123, GUESTMEM_FETCH, 0x11);
	check_ok(0x402123, GUESTMEM_FETCH, 0x12123);
	assert_int_equal(guestmem_access_read(&va, &x, 0x405010, 8, 0, &f), -EFAULT);
	assert_true(f.not_ram);
	assert_int_equal(f.gpa, 0xfed00010);
	guestmem_end();
	host_paging.cpl = 3;
	assert_int_equal(guestmem_read(&va, &x, 0x402000, 8), -EFAULT);
	assert_int_equal(guestmem_read(&va, &x, 0x400000, 8), 0);
}

static void test_other_modes(void **state)
{
	/* PAE: cr3 at 0x5020, 0x40000000 -> table 0x6000 -> 0x7000 -> 0x10000 */
	put64(&a, 0x5020 + 8, 0x6000 | P);
	put64(&a, 0x6000, 0x7000 | P | W | U);
	put64(&a, 0x7000 + 8, 0x10000 | P | W | U | NX);
	put64(&a, 0x6000 + 8, 0 | P | W | PS);
	host_paging = (struct guest_paging){ .cr0 = CR0_PG, .cr4 = 1 << 5, .cr3 = 0x5020, .efer = 1 << 11 };
	check_ok(0x40001234, GUESTMEM_WRITE | GUESTMEM_USER, 0x10234);
	check_ok(0x100000000 + 0x40001234, 0, 0x10234); /* linear addresses are 32 bits */
	check_ok(0x40201234, 0, 0x1234);
	check_fault(0x40001234, GUESTMEM_FETCH, 0x11);
	check_fault(0x80000000, 0, 0);
	/* legacy */
	put32(&a, 0x8000 + 4, 0x9000 | P | W | U);
	put32(&a, 0x9000 + 3 * 4, 0x10000 | P | U);
	put32(&a, 0x8000 + 8, 0 | P | W | U | PS | 0x2000); /* 4 MiB at 4 GiB + 0 (PSE-36) */
	guestmem_end();
	host_paging = (struct guest_paging){ .cr0 = CR0_PG | CR0_WP, .cr4 = 1 << 4, .cr3 = 0x8000 };
	check_ok(0x403010, GUESTMEM_USER, 0x10010);
	check_fault(0x403010, GUESTMEM_WRITE, 3);
	check_ok(0x812345, GUESTMEM_WRITE, 0x100012345);
	check_fault(0xc00000, GUESTMEM_FETCH, 0);
	/* no paging */
	guestmem_end();
	host_paging = (struct guest_paging){ 0 };
	check_ok(0x1234, GUESTMEM_WRITE, 0x1234);
}

static void test_windows(void **state)
{
	uint64_t x = 5;
	mfn_t own = p2m_lookup(&a, GFN(0x10)).mfn, other = p2m_lookup(&b, GFN(3)).mfn, m;

	assert_int_equal(guestmem_write(&va, 0x400000, &x, 8), 0);
	assert_int_equal(guestmem_write_gpa(&b, 0x3008, &x, 8), 0);
	assert_int_equal(frame_refs(other), 1);
	assert_int_equal(host_mappings(own), 1);
	assert_int_equal(host_mappings(other), 1);
	guestmem_end();
	assert_int_equal(host_mappings(own), 1);   /* the running domain's stay */
	assert_int_equal(host_mappings(other), 0); /* others' do not */
	/* given up: the window goes at once */
	assert_int_equal(p2m_release(&a, GFN(0x10)), 0);
	assert_int_equal(host_mappings(own), 0);
	assert_int_equal(guestmem_write(&va, 0x400000, &x, 8), -EFAULT);
	/* something else at the same gfn */
	populate(&a, 0x10);
	assert_int_equal(guestmem_read(&va, &x, 0x400000, 8), 0);
	assert_int_equal(x, 0);
	/* large change of the map */
	assert_int_equal(p2m_unmap(&a, GFN(0), ORDER_2M), 0);
	assert_int_equal(host_windows(), 0);
	for (uint64_t n = 0; n < frame_limit(); n++) /* they are a's still, though nowhere */
		frame_release_alloc(&a, MFN(n));
	/* another domain's turn */
	host_paging = (struct guest_paging){ 0 };
	assert_int_equal(guestmem_read(&vb, &x, 0x3008, 8), 0);
	assert_int_equal(x, 5);
	guestmem_forget(other);
	assert_int_equal(host_mappings(other), 0);
	assert_int_equal(p2m_get_frame(&b, GFN(3), true, &m), 0);
	assert_int_equal(*(uint64_t *)((char *)guestmem_window(m) + 8), 5);
	frame_put(m);
	guestmem_leave();
	assert_int_equal(host_windows(), 0);
}

/* The last two windows on any frames hold at once, however many there were before. */
static void test_two_windows(void **state)
{
	mfn_t m[12];

	for (unsigned i = 0; i < 12; i++)
		m[i] = p2m_lookup(&b, GFN(i)).mfn;
	for (unsigned first = 0; first < 8; first++) {
		for (unsigned i = 0; i < 8; i++)
			guestmem_window(m[i]);
		guestmem_window(m[first]);
		guestmem_window(m[11]);
		assert_int_equal(host_mappings(m[first]), 1);
		assert_int_equal(host_mappings(m[11]), 1);
		guestmem_end();
	}
	assert_int_equal(host_windows(), 0);
}

/* A type change is seen by the next copy although the window was there. */
static void test_types(void **state)
{
	uint64_t x = 9;

	host_paging = (struct guest_paging){ 0 };
	assert_int_equal(guestmem_write(&va, 0x5000, &x, 8), 0);
	assert_int_equal(p2m_change_type(&a, GFN(5), P2M_RAM_RW, P2M_RAM_LOGDIRTY), 0);
	assert_int_equal(guestmem_read(&va, &x, 0x5000, 8), 0);
	assert_int_equal(p2m_lookup(&a, GFN(5)).type, P2M_RAM_LOGDIRTY);
	assert_int_equal(guestmem_write(&va, 0x5000, &x, 8), 0);
	assert_int_equal(p2m_lookup(&a, GFN(5)).type, P2M_RAM_RW);
	assert_int_equal(p2m_change_type(&a, GFN(5), P2M_RAM_RW, P2M_RAM_RO), 0);
	assert_int_equal(guestmem_write(&va, 0x5000, &x, 8), -EFAULT);
	assert_int_equal(guestmem_write_gpa(&a, 0x5000, &x, 8), -EFAULT);
	assert_int_equal(guestmem_read(&va, &x, 0x5000, 8), 0);
}

/* Another CPU's removal: windows found before are not used any more. */
static void test_two_cpus(void **state)
{
	uint64_t x = 1;
	mfn_t m = p2m_lookup(&a, GFN(5)).mfn;

	host_paging = (struct guest_paging){ 0 };
	a.max_vcpus = 2;
	assert_int_equal(guestmem_write(&va, 0x5000, &x, 8), 0);
	host_cpu = 1;
	assert_int_equal(p2m_release(&a, GFN(5)), 0);
	host_cpu = 0;
	assert_int_equal(host_mappings(m), 1);
	assert_int_equal(guestmem_read(&va, &x, 0x5000, 8), -EFAULT);
	assert_int_equal(host_mappings(m), 0);
}

/* A domain that the CPU turned to keeps its windows over operations; another one's go with the operation. */
static void test_enter(void **state)
{
	uint64_t x = 7;
	mfn_t m = p2m_lookup(&b, GFN(3)).mfn;

	host_paging = (struct guest_paging){ 0 };
	assert_int_equal(guestmem_write_gpa(&b, 0x3000, &x, 8), 0);
	guestmem_end();
	assert_int_equal(host_windows(), 0);
	guestmem_enter(&b);
	assert_int_equal(guestmem_write_gpa(&b, 0x3000, &x, 8), 0);
	assert_int_equal(guestmem_write_gpa(&b, 0x3008, &x, 8), 0);
	guestmem_end();
	assert_int_equal(host_windows(), 1);
	assert_int_equal(host_mappings(m), 1);
	assert_int_equal(guestmem_read(&va, &x, 0x3000, 8), 0); /* a's turn */
	assert_int_equal(x, 0);
	assert_int_equal(host_mappings(m), 0);
	guestmem_enter(&b);
	assert_int_equal(host_windows(), 0);
}

/* Random traffic on more pages than there are windows, compared with an array. */
static void test_random(void **state)
{
	static uint8_t model[48 * 4096];
	uint8_t buf[9000];
	uint64_t seed = 99991;

	host_paging = (struct guest_paging){ 0 };
	memset(model, 0, sizeof(model));
	for (unsigned step = 0; step < 5000; step++) {
		uint64_t r = host_random(&seed);
		size_t len = r % (1u << ((r >> 20) % 13)) + 1;
		gpa_t at = (r >> 32) % (sizeof(model) - len);

		if (r >> 63) {
			assert_int_equal(guestmem_read(&vb, buf, at + 0x8000, len), 0);
			assert_memory_equal(buf, model + at, len);
		} else {
			memset(buf, (int)(r >> 24), len);
			memcpy(model + at, buf, len);
			if (r >> 62)
				assert_int_equal(guestmem_write_gpa(&b, at + 0x8000, buf, len), 0);
			else
				assert_int_equal(guestmem_write(&vb, at + 0x8000, buf, len), 0);
		}
		if (r % 16 == 0)
			guestmem_end();
		if (r % 64 == 0)
			guestmem_leave();
	}
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_copy_and_straddle), TEST(test_nothing_written_on_fault),
		TEST(test_fault_codes),	      TEST(test_other_modes),
		TEST(test_windows),	      TEST(test_types),
		TEST(test_two_cpus),	      TEST(test_random),
		TEST(test_two_windows),	      TEST(test_enter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
