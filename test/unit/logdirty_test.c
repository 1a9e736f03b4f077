/* sources: core/logdirty.c core/domain.c core/evtchn.c core/evtchn_fifo.c core/grant.c core/grant_map.c core/grant_copy.c core/frame.c core/heap.c core/ptab.c core/p2m.c core/pod.c core/guestmem.c core/sched.c core/sched_share.c core/sched_edf.c core/sched_null.c core/sched_cap.c core/sched_control.c core/sched_admit.c core/cpupool.c core/timer.c core/time.c core/policy.c */
/* Log-dirty against an array model; every way the hypervisor itself or another domain writes to a domain's RAM. */
#include "unit/world.h"

#include "core/grant_private.h"
#include "core/ptab.h"

#define SPAN 2048u /* gfns the model looks at; the world's RAM is at its beginning */

static uint8_t bits[LOGDIRTY_PIECE / 8];

static bool bit(uint64_t gfn)
{
	return bits[gfn / 8] >> (gfn % 8) & 1;
}

static void turn(struct domain *d, bool on)
{
	uint64_t at = 0;

	while (!logdirty_switch(d, on, &at))
		;
	assert_int_equal(d->p2m.logdirty, on);
}

static unsigned clean(struct domain *d)
{
	return logdirty_read(d, 0, SPAN, LOGDIRTY_CLEAN, bits);
}

/* Only that gfn was written since the last time, and it is reported once. */
static void only_dirty(struct domain *d, uint64_t gfn)
{
	assert_int_equal(logdirty_read(d, 0, SPAN, 0, bits), 1);
	assert_true(bit(gfn));
	assert_int_equal(clean(d), 1);
	assert_true(bit(gfn));
	assert_int_equal(clean(d), 0);
}

static mfn_t populate(struct domain *d, uint64_t gfn, unsigned order)
{
	mfn_t m = frame_alloc(d, order, 0);

	if (mfn_valid(m) && p2m_map(d, GFN(gfn), m, order, P2M_RAM_RW)) {
		for (uint64_t i = 0; i < 1ull << order; i++)
			frame_release_alloc(d, MFN(m.n + i));
		return MFN_INVALID;
	}
	return m;
}

static void test_on_off(void **state)
{
	struct domain *d = dom[1];

	d->p2m.dirty_flags = false;
	populate(d, 512, ORDER_2M);
	turn(d, true);
	assert_int_equal(clean(d), 0);
	assert_int_equal(p2m_lookup(d, GFN(600)).order, 9); /* nothing is split ahead of time */
	assert_int_equal(p2m_lookup(d, GFN(600)).type, P2M_RAM_LOGDIRTY);
	assert_true(p2m_fault(d, GFN(600), false, false));
	assert_int_equal(clean(d), 0);
	assert_true(p2m_fault(d, GFN(600), true, false));
	assert_int_equal(p2m_lookup(d, GFN(600)).order, 0);
	assert_int_equal(p2m_lookup(d, GFN(601)).type, P2M_RAM_LOGDIRTY);
	host_tlb_flushes = 0;
	only_dirty(d, 600);
	assert_true(host_tlb_flushes > 0);
	assert_true(p2m_fault(d, GFN(601), true, false));
	turn(d, false);
	for (uint64_t g = 512; g < 1024; g++)
		assert_int_equal(p2m_lookup(d, GFN(g)).type, P2M_RAM_RW);
	turn(d, true);
	assert_int_equal(clean(d), 0);
}

/* Without memory for tables a large leaf counts as written as a whole; nothing is lost and nobody is killed. */
static void test_no_memory(void **state)
{
	struct domain *d = dom[1];
	mfn_t m;

	populate(d, 512, ORDER_2M);
	turn(d, true);
	d->p2m.pool_frames = d->p2m.table_frames;
	assert_true(p2m_fault(d, GFN(700), true, false));
	assert_int_equal(logdirty_read(d, 0, 600, LOGDIRTY_CLEAN, bits), 600 - 512);
	assert_int_equal(clean(d), 512); /* what was read of it in part is still dirty */
	assert_int_equal(clean(d), 0);
	assert_int_equal(p2m_get_frame(d, GFN(700), true, &m), 0);
	frame_put(m);
	assert_int_equal(clean(d), 512);
	assert_int_equal(clean(d), 0);
}

static void test_hypervisor_writes(void **state)
{
	struct domain *d = dom[1];
	struct vcpu *v = d->vcpu[0];
	uint64_t word = 7;

	turn(d, true);
	/* The running domain's memory, through windows that exist already, too. */
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(guestmem_write(v, 5 * PAGE_SIZE + 8 * i, &word, 8), 0);
		only_dirty(d, 5);
		assert_int_equal(guestmem_write_gpa(d, 6 * PAGE_SIZE, &word, 8), 0);
		only_dirty(d, 6);
		assert_int_equal(guestmem_read(v, &word, 7 * PAGE_SIZE, 8), 0);
		assert_int_equal(guestmem_read_gpa(d, &word, 8 * PAGE_SIZE, 8), 0);
		assert_int_equal(clean(d), 0);
		guestmem_end();
	}
	/* Another domain's. */
	guestmem_leave();
	assert_int_equal(guestmem_read(dom[0]->vcpu[0], &word, 0, 8), 0);
	assert_int_equal(guestmem_write_gpa(d, 9 * PAGE_SIZE, &word, 8), 0);
	only_dirty(d, 9);
	assert_int_equal(guestmem_read_gpa(d, &word, 9 * PAGE_SIZE, 8), 0);
	assert_int_equal(clean(d), 0);
}

static void test_grants(void **state)
{
	struct domain *d = dom[1];
	struct gnttab_copy c = {
		.source = { .u.gmfn = 3, .domid = DOMID_SELF },
		.dest = { .u.ref = 9, .domid = 1 },
		.len = 8,
		.flags = GNTCOPY_dest_gref,
	};
	struct grant_kept kept = { 0 };
	struct grant_pinned p;

	assert_int_equal(grant_frame(d, 0, false, &p.mfn), 0);
	frame_put(p.mfn);
	*grant_v1(&d->grant, 9) = (grant_entry_v1_t){ GTF_permit_access, 0, 5 };
	turn(d, true);
	grant_copy(dom[0], &c, &kept);
	grant_copy_end(dom[0], &kept);
	assert_int_equal(c.status, GNTST_okay);
	only_dirty(d, 5);
	/* A mapping dirties when it is made and once more when it ends; a reading one does not. */
	assert_int_equal(grant_pin(d, 9, 0, true, false, &p), GNTST_okay);
	only_dirty(d, 5);
	grant_unpin(d, 9, true);
	only_dirty(d, 5);
	assert_int_equal(grant_pin(d, 9, 0, false, false, &p), GNTST_okay);
	grant_unpin(d, 9, false);
	assert_int_equal(clean(d), 0);
	/* The frame went elsewhere meanwhile: its gfn has another one now, which nobody wrote. */
	assert_int_equal(grant_pin(d, 9, 0, true, false, &p), GNTST_okay);
	assert_int_equal(p2m_release(d, GFN(5)), 0);
	populate(d, 5, 0);
	assert_int_equal(clean(d), 1);
	grant_unpin(d, 9, true);
	assert_int_equal(clean(d), 0);
}

/* What others hold is reported in the last round, whoever holds it. */
static void test_held(void **state)
{
	struct domain *d = dom[1];
	mfn_t m, big;

	populate(d, 512, ORDER_2M);
	turn(d, true);
	assert_int_equal(p2m_get_frame(d, GFN(3), false, &m), 0);
	assert_int_equal(p2m_get_frame(d, GFN(800), false, &big), 0);
	assert_int_equal(logdirty_read(d, 0, SPAN, LOGDIRTY_CLEAN, bits), 0);
	assert_int_equal(logdirty_read(d, 0, SPAN, LOGDIRTY_CLEAN | LOGDIRTY_HELD, bits), 2);
	assert_true(bit(3) && bit(800));
	frame_put(m);
	frame_put(big);
	assert_int_equal(logdirty_read(d, 0, SPAN, LOGDIRTY_HELD, bits), 0);
}

static uint64_t cpu_log[4096];
static unsigned cpu_logged;

/* What the CPU does when the guest writes there: true unless it faults. */
static bool cpu_writes(struct domain *d, uint64_t gfn)
{
	unsigned level;
	uint64_t *e = ptab_find(&d->p2m, gfn, &level);

	if (!ptab_writable(ptab_type(*e)))
		return false;
	if (logdirty_by_cpu(&d->p2m) && !(*e & BIT(6)))
		cpu_log[cpu_logged++] = gfn << PAGE_SHIFT | (gfn & 7); /* low bits mean nothing */
	*e |= BIT(6);						       /* APM vol. 2, 5.4.2 */
	return true;
}

/* Every vCPU left the guest. */
static void cpu_exits(struct domain *d)
{
	logdirty_logged(d, cpu_log, cpu_logged);
	cpu_logged = 0;
}

/* With the CPU's log a round looks at what was written only: a page that says dirty where nothing was logged is not found. */
static void test_log(void **state)
{
	struct domain *d = dom[1];
	unsigned level;

	host_logs_writes = true;
	populate(d, 512, ORDER_2M);
	populate(d, 1024, ORDER_2M);
	turn(d, true);
	assert_true(logdirty_by_cpu(&d->p2m));
	assert_int_equal(clean(d), 0); /* looks at all: what came before the vCPUs logged */
	assert_true(p2m_fault(d, GFN(600), true, false));
	assert_int_equal(clean(d), 1);
	*ptab_find(&d->p2m, 601, &level) |= BIT(6);
	assert_int_equal(clean(d), 0);
	assert_true(cpu_writes(d, 602));
	cpu_exits(d);
	assert_int_equal(clean(d), 2); /* the region is looked at as a whole */
	assert_true(bit(601) && bit(602));
	/* Who asks for a part only leaves the rest marked; who peeks, all of it. */
	assert_true(cpu_writes(d, 700));
	assert_true(cpu_writes(d, 1000));
	cpu_exits(d);
	assert_int_equal(logdirty_read(d, 0, SPAN, 0, bits), 2);
	assert_int_equal(logdirty_read(d, 0, 800, LOGDIRTY_CLEAN, bits), 1);
	assert_int_equal(clean(d), 1);
	assert_int_equal(clean(d), 0);
	/* Written between the two: the log of it comes after the round that made its region clean. */
	assert_true(cpu_writes(d, 700));
	cpu_exits(d);
	assert_true(cpu_writes(d, 701));
	assert_int_equal(clean(d), 2);
	assert_true(cpu_writes(d, 702));
	cpu_exits(d);
	assert_int_equal(clean(d), 1);
	turn(d, false);
	assert_false(logdirty_by_cpu(&d->p2m));
	/* Out of memory, or with pages that are populated on demand, there is no log; nothing else changes. */
	d->p2m.pod_used = true;
	turn(d, true);
	assert_false(logdirty_by_cpu(&d->p2m));
	host_logs_writes = false;
}

/* The CPU's dirty flags say it without a fault, but of a larger leaf that is still whole; the hypervisor says it as ever. */
static void test_dirty_flags(void **state)
{
	struct domain *d = dom[1];
	mfn_t m;

	assert_true(d->p2m.dirty_flags);
	populate(d, 512, ORDER_2M);
	turn(d, true);
	assert_int_equal(clean(d), 0);
	assert_true(cpu_writes(d, 3));
	only_dirty(d, 3);
	assert_false(cpu_writes(d, 600));
	assert_true(p2m_fault(d, GFN(600), true, false));
	assert_true(cpu_writes(d, 601)); /* its neighbours fault no more */
	assert_true(cpu_writes(d, 600));
	assert_int_equal(clean(d), 2);
	assert_true(bit(600) && bit(601));
	assert_int_equal(clean(d), 0);
	assert_true(cpu_writes(d, 600));
	host_tlb_flushes = 0;
	only_dirty(d, 600);
	assert_true(host_tlb_flushes > 0);
	/* For others to write it becomes RAM like any; with a reading window open before, too. */
	assert_int_equal(p2m_get_frame(d, GFN(600), true, &m), 0);
	frame_put(m);
	only_dirty(d, 600);
	/* Logging ends and begins: nothing is left over. */
	assert_true(cpu_writes(d, 3));
	turn(d, false);
	assert_int_equal(p2m_lookup(d, GFN(3)).type, P2M_RAM_RW);
	assert_int_equal(p2m_lookup(d, GFN(601)).type, P2M_RAM_RW);
	turn(d, true);
	assert_int_equal(clean(d), 0);
	/* Who populates on demand takes pages away: those are protected. */
	turn(d, false);
	d->p2m.pod_used = true;
	turn(d, true);
	assert_false(cpu_writes(d, 3));
}

/* Random writes, maps, releases and readings of parts; every report is exact. */
static void run_model(bool dirty_flags, bool logs)
{
	static bool there[SPAN], dirty[SPAN];
	struct domain *d = dom[1];
	uint64_t seed = 88172645463325252ull;

	memset(there, 0, sizeof(there));
	memset(dirty, 0, sizeof(dirty));
	for (uint64_t g = 0; g < WORLD_RAM; g++)
		there[g] = true;
	d->p2m.dirty_flags = dirty_flags;
	host_logs_writes = logs;
	turn(d, true);
	for (unsigned step = 0; step < 40000; step++) {
		uint64_t r = host_random(&seed), g = (r >> 8) % SPAN, n = 1;
		unsigned expect = 0, count = (unsigned)(r >> 24) % SPAN + 1;
		mfn_t m;

		switch (r % 16) {
		case 0:
			n = r >> 60 ? 1 : 512;
			g &= ~(n - 1);
			if (d->frames + n > d->max_frames || !mfn_valid(populate(d, g, n == 1 ? 0 : ORDER_2M)))
				break;
			for (uint64_t i = g; i < g + n; i++)
				there[i] = dirty[i] = true;
			break;
		case 1:
			assert_int_equal(p2m_release(d, GFN(g)), there[g] ? 0 : -ENOENT);
			there[g] = dirty[g] = false;
			break;
		case 2:
			assert_int_equal(p2m_get_frame(d, GFN(g), r >> 63, &m), there[g] ? 0 : -EINVAL);
			if (there[g])
				frame_put(m);
			dirty[g] |= there[g] && r >> 63;
			break;
		case 3:
			if (r >> 58 == 0) {
				cpu_exits(d);
				turn(d, false);
				turn(d, true);
				memset(dirty, 0, sizeof(dirty));
			}
			break;
		case 4:
			for (uint64_t i = 0; i < count; i++)
				expect += dirty[i];
			cpu_exits(d);
			assert_int_equal(logdirty_read(d, 0, count, r >> 63 ? LOGDIRTY_CLEAN : 0, bits), expect);
			for (uint64_t i = 0; i < count; i++)
				assert_int_equal(bit(i), dirty[i]);
			for (uint64_t i = 0; r >> 63 && i < count; i++) {
				struct p2m_entry e = p2m_lookup(d, GFN(i));

				/* A large leaf read in part stays dirty. */
				dirty[i] = e.order && (i | ((1u << e.order) - 1)) >= count && dirty[i];
			}
			break;
		default:
			if (!(r >> 63) || !cpu_writes(d, g))
				assert_int_equal(p2m_fault(d, GFN(g), r >> 63, false), there[g]);
			dirty[g] |= there[g] && r >> 63;
			break;
		}
	}
}

static void test_model(void **state)
{
	run_model(false, false);
}

static void test_model_flags(void **state)
{
	run_model(true, false);
}

static void test_model_log(void **state)
{
	run_model(true, true);
	host_logs_writes = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_on_off, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_no_memory, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_hypervisor_writes, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_grants, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_held, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_model, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_dirty_flags, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_model_flags, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_log, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_model_log, world_begin, world_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
