/* sources: core/frame.c core/heap.c core/ptab.c core/p2m.c core/logdirty.c core/pod.c core/guestmem.c core/time.c */
/*
 * The registered areas: runstate in both layouts, with and without the update flag, and time; over a page boundary. An area
 * of which a page went away since is left as far as it was written.
 */
#include "host/host.h"

#include "core/guestmem.h"
#include "core/time.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

static struct domain d;
static struct vcpu v;

/* What core/sched.c would say. */
void sched_runstate_sums(struct vcpu *of, uint64_t time[4], uint64_t *state_entered, int *state)
{
	*state = RUNSTATE_blocked;
	*state_entered = 0x123456789abcull;
	for (uint64_t i = 0; i < 4; i++)
		time[i] = 0x1111111111ull * (i + 1);
}

struct domain *domain_next(domid_t from)
{
	return NULL;
}

static int setup(void **state)
{
	host_boot(16384);
	d = (struct domain){ .max_vcpus = 1 };
	v = (struct vcpu){ .domain = &d };
	host_domain_add(&d, 1);
	assert_int_equal(p2m_init(&d, P2M_FORMAT_NPT), 0);
	for (uint64_t gfn = 0; gfn < 2; gfn++)
		assert_int_equal(p2m_map(&d, GFN(gfn), frame_alloc(&d, 0, 0), 0, P2M_RAM_RW), 0);
	return 0;
}

static int teardown(void **state)
{
	guestmem_leave();
	d.is_dying = true;
	while (p2m_relinquish(&d))
		;
	p2m_destroy(&d);
	return 0;
}

/* Writes an area that begins at byte `at` of page 0 and may go on in page 1, and looks at it and 8 bytes around it. */
static void check_area(uint64_t at, bool compat, bool flag)
{
	struct vcpu_runstate_info want = { 0 };
	uint32_t missing = compat ? 4 : 0, size = sizeof(want) - missing;
	uint8_t raw[sizeof(want) + 16], expected[sizeof(raw)];
	uint64_t entry;

	memset(raw, 0xee, sizeof(raw));
	memset(expected, 0xee, sizeof(expected));
	assert_int_equal(guestmem_write_gpa(&d, at - 8, raw, sizeof(raw)), 0);
	d.vm_assist = flag ? BIT(VMASST_TYPE_runstate_update_flag) : 0;
	v.runstate_area = (struct guest_area){ .gva = 0x7000000 + at, .gpa = { at, PAGE_SIZE } };
	v.runstate_compat = compat;
	time_update_runstate(&v);

	sched_runstate_sums(&v, want.time, &entry, &want.state);
	memcpy(expected + 8, &want.state, 4);
	if (!compat)
		memset(expected + 12, 0, 4);
	memcpy(expected + 16 - missing, &entry, 8); /* the flag is gone again */
	memcpy(expected + 24 - missing, want.time, sizeof(want.time));
	assert_int_equal(guestmem_read_gpa(&d, raw, at - 8, sizeof(raw)), 0);
	assert_int_equal(size, compat ? 44 : 48);
	assert_memory_equal(raw, expected, sizeof(raw));
}

static void test_runstate_area(void **state)
{
	const uint64_t places[] = { 64, PAGE_SIZE - 4, PAGE_SIZE - 8, PAGE_SIZE - 20, PAGE_SIZE - 44 };

	for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
		for (unsigned how = 0; how < 4; how++)
			check_area(places[i], how & 1, how & 2);
}

static void test_runstate_unregistered(void **state)
{
	uint64_t before = 0x55, after;

	v.runstate_area.gva = 0;
	assert_int_equal(guestmem_write_gpa(&d, 0, &before, 8), 0);
	time_update_runstate(&v);
	assert_int_equal(guestmem_read_gpa(&d, &after, 0, 8), 0);
	assert_int_equal(before, after);
}

static void test_time_area(void **state)
{
	const uint64_t places[] = { 64, PAGE_SIZE - 4, PAGE_SIZE - 8, PAGE_SIZE - 20, PAGE_SIZE - 32 };
	struct vcpu_info info = { 0 };
	uint8_t raw[48], outside[8];
	struct vcpu_time_info t;

	memset(outside, 0xee, sizeof(outside));
	v.info = &info;
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		uint64_t at = places[i];

		memset(raw, 0xee, sizeof(raw));
		assert_int_equal(guestmem_write_gpa(&d, at - 8, raw, sizeof(raw)), 0);
		v.time_area = (struct guest_area){ .gva = 0x7000000 + at, .gpa = { at, PAGE_SIZE } };
		host_ns += 1000000;
		time_update_vcpu(&v);
		assert_int_equal(guestmem_read_gpa(&d, raw, at - 8, sizeof(raw)), 0);
		memcpy(&t, raw + 8, sizeof(t));
		assert_memory_equal(raw, outside, 8);
		assert_memory_equal(raw + 40, outside, 8);
		assert_memory_equal(&t, &info.time, sizeof(t));
		assert_int_equal(t.version, 2 * (i + 1));
		assert_int_equal(t.system_time, host_ns);
	}
	/* The version says first that the rest is about to change: here it does not come to it. */
	v.time_area =
		(struct guest_area){ .gva = 0x7000000 + PAGE_SIZE - 4, .gpa = { PAGE_SIZE - 4, 7ull << PAGE_SHIFT } };
	time_update_vcpu(&v);
	assert_int_equal(guestmem_read_gpa(&d, &t.version, PAGE_SIZE - 4, 4), 0);
	assert_int_equal(t.version, info.time.version - 1);
	v.time_area.gva = 0;
	time_update_vcpu(&v);
	assert_int_equal(guestmem_read_gpa(&d, &t.version, PAGE_SIZE - 4, 4), 0);
	assert_int_equal(t.version, info.time.version - 3);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_runstate_area),
		TEST(test_runstate_unregistered),
		TEST(test_time_area),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
