/*
 * test/unit/world.h: for tests that link all of core/: a machine with domains that have vCPUs and RAM, made by the real
 * core/domain.c. Every test ends with world_end(), which kills the domains and sees that nothing is left. Included once
 * by each test program, which names core/domain.c and what that needs.
 */
#ifndef TEST_UNIT_WORLD_H
#define TEST_UNIT_WORLD_H

#include "host/host.h"

#include "core/evtchn.h"
#include "core/grant.h"
#include "core/guestmem.h"
#include "core/policy.h"
#include "core/time.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#define WORLD_FRAMES  16384u
#define WORLD_DOMAINS 3u
#define WORLD_VCPUS   4u
#define WORLD_CPUS    4u
#define WORLD_RAM     64u /* frames of each domain, at gfn 0 */

static struct domain *dom[WORLD_DOMAINS];
static unsigned notified[WORLD_DOMAINS][WORLD_VCPUS]; /* guest_event_pending() calls */
static uint64_t world_free, world_objects;

void guest_event_pending(struct vcpu *v)
{
	if (v->domain->id < WORLD_DOMAINS)
		__atomic_fetch_add(&notified[v->domain->id][v->id], 1, __ATOMIC_RELAXED);
	sched_wake(v);
}

/* Domain 0 has all rights, the others none. */
static struct domain *world_domain(domid_t id)
{
	struct domain_config c = { .id = id, .max_vcpus = WORLD_VCPUS, .max_evtchn_port = ~0u, .max_grant_frames = 4,
				   .max_maptrack_frames = 2, .grant_opts = 2, .rights = id ? 0 : RIGHT_ALL };
	struct domain *d;

	assert_int_equal(domain_create(&c, &d), 0);
	d->max_frames = 1024;
	for (uint32_t i = 0; i < WORLD_VCPUS; i++) {
		assert_int_equal(domain_vcpu_create(d, i), 0);
		sched_up(d->vcpu[i]);
	}
	for (uint64_t gfn = 0; gfn < WORLD_RAM; gfn++) {
		mfn_t m = frame_alloc(d, 0, 0);

		assert_true(mfn_valid(m));
		assert_int_equal(p2m_map(d, GFN(gfn), m, 0, P2M_RAM_RW), 0);
	}
	return d;
}

/* What is not in use, or only to hold small objects: their pages, which the heap may keep, come and go. */
static inline uint64_t world_frames(void)
{
	return frame_free_count() + heap_free_frames() + heap_overhead_frames();
}

static int world_begin(void **state)
{
	static bool once;

	host_boot(WORLD_FRAMES);
	for (unsigned cpu = 0; cpu < WORLD_CPUS; cpu++)
		timer_cpu_init(cpu);
	if (!once) {
		host_cpus = WORLD_CPUS;
		sched_init(SCHED_SHARE);
		host_cpus = 1;
		once = true;
	}
	domain_init();
	heap_free_pages(heap_alloc_pages(0), 0);
	world_free = world_frames();
	world_objects = heap_small_objects();
	memset(notified, 0, sizeof(notified));
	for (domid_t id = 0; id < WORLD_DOMAINS; id++)
		dom[id] = world_domain(id);
	return 0;
}

/* The page as the guest sees it, mapped from now on. */
static inline void *ram(struct domain *d, uint64_t gfn)
{
	mfn_t m = p2m_lookup(d, GFN(gfn)).mfn;

	if (!host_mappings(m))
		assert_non_null(port_vmap(m));
	return port_direct(m);
}

static inline uint32_t frame_refs_at(struct domain *d, uint64_t gfn)
{
	return frame_refs(p2m_lookup(d, GFN(gfn)).mfn);
}

static int world_end(void **state)
{
	for (unsigned i = 0; i < WORLD_DOMAINS; i++)
		if (dom[i])
			sched_domain_pause_nosync(dom[i]);
	for (host_cpu = host_cpus; host_cpu--;) {
		assert_null(sched_pick());
		guestmem_leave();
	}
	host_cpu = 0;
	for (unsigned i = 0; i < WORLD_DOMAINS; i++) {
		struct domain *d = dom[i];

		if (d)
			while (domain_kill(d) == -ERESTART)
				;
	}
	domain_reap();
	guestmem_leave();
	for (domid_t id = 0; id < WORLD_DOMAINS; id++)
		assert_null(domain_find(id));
	assert_int_equal(heap_small_objects(), world_objects);
	assert_int_equal(world_frames(), world_free);
	return 0;
}

#endif
