// SPDX-License-Identifier: Apache-2.0
// xen-args: dom0_max_vcpus=4
// cpus: 4
// xen-cpus: 1
// vcpus: 4
/*
 * What one vCPU changes, the others see: its own page tables after a shootdown of the guest's making, and the domain's
 * physical memory map as soon as the hypercall has returned, while the others read the very page.
 *
 * Method: vCPU 0 moves the page and says in `now` what a read must give; the readers believe a read only if `now` was the
 * same before and after it. Sources: public header memory.h, grant_table.h; AMD APM vol. 2, 5.5.3 and 15.16.
 */
#include "lib/guest.h"

const char guest_name[] = "coherence";

#define READERS 3U
#define ROUNDS	300UL
#define FLUSH	0x62
#define HOLE	~0UL /* what reads where nothing is give */
#define MOVING	1UL  /* `now` while it changes; never a page's content */

static volatile unsigned long now, *volatile where;
static volatile unsigned long stale[READERS + 1], seen[READERS + 1], stale_got, stale_want;
static volatile bool stop;
#define SPINS 200UL /* reads between two calls to the hypervisor */

/* Content of the page in round n. */
#define WORD(n) (0x100UL + 2 * (n))

static void reader(unsigned int me)
{
	unsigned long before, got, n = 0;

	while (!stop) {
		before = now;
		got = *where;
		if (before != MOVING && now == before) {
			seen[me]++;
			if (got != (before & 1 ? HOLE : before)) {
				stale[me]++;
				stale_got = got;
				stale_want = before;
			}
		}
		if (++n % SPINS == 0) {
			cpu_irq_window();
			smp_relax();
		} else if (!(n & 15)) {
			cpu_irq_window();
		}
	}
}

/* From now on a read gives `word`, or, where that is odd, what a hole gives. Lets the readers look at it for a while. */
static void settled(unsigned long word)
{
	uint64_t end = event_now() + 10000000000UL;
	unsigned long was[READERS + 1];

	for (unsigned int v = 1; v <= READERS; v++)
		was[v] = seen[v];
	__atomic_store_n(&now, word, __ATOMIC_SEQ_CST);
	for (unsigned int v = 1; v <= READERS; v++)
		while (seen[v] < was[v] + 2 && event_now() < end)
			smp_relax();
}

static void moving(void)
{
	__atomic_store_n(&now, MOVING, __ATOMIC_SEQ_CST);
}

static void readers_begin(volatile unsigned long *page)
{
	where = page;
	moving();
	stop = false;
	for (unsigned int v = 1; v <= READERS; v++) {
		stale[v] = seen[v] = 0;
		smp_give(v, reader);
	}
}

static void readers_end(const char *name)
{
	unsigned long old = 0, least = ~0UL;

	stop = true;
	for (unsigned int v = 1; v <= READERS; v++) {
		CHECK("a reader ends", smp_wait(v));
		old += stale[v];
		if (seen[v] < least)
			least = seen[v];
	}
	if (old)
		print("last stale read: %#lx instead of %#lx\n", stale_got, stale_want);
	CHECK_EQ(name, old, 0);
	CHECK("all readers saw every round", least >= ROUNDS);
}

/* ---- the guest's own page tables ---- */

extern uint64_t pdpt_table[];
static volatile unsigned int flushed[READERS + 1];
#define VIRTUAL (4UL << 30) /* behind the one-to-one mapping */

static void flush(struct trap_regs *regs)
{
	(void)regs;
	__asm__ volatile("invlpg (%0)" : : "r"(VIRTUAL) : "memory");
	flushed[smp_id()]++;
	apic_eoi();
}

static void own_tables(void)
{
	uint64_t *pd = guest_pages(1), *pt = guest_pages(1);
	unsigned long *page[2] = {guest_pages(1), guest_pages(1)};
	unsigned int late = 0;

	memset(pd, 0, PAGE_SIZE);
	memset(pt, 0, PAGE_SIZE);
	*page[0] = 0;
	pt[0] = (unsigned long)page[0] | 3;
	pd[0] = (unsigned long)pt | 3;
	pdpt_table[4] = (unsigned long)pd | 3;
	trap_set(FLUSH, flush);
	readers_begin((void *)VIRTUAL);
	for (unsigned long n = 1; n <= ROUNDS; n++) {
		unsigned int was[READERS + 1];

		*page[n & 1] = WORD(n);
		for (unsigned int v = 1; v <= READERS; v++)
			was[v] = flushed[v];
		moving();
		__atomic_store_n(&pt[0], (unsigned long)page[n & 1] | 3, __ATOMIC_SEQ_CST);
		apic_send(0, 0xc0000 | FLUSH);
		for (unsigned int v = 1; v <= READERS; v++)
			late += !SMP_UNTIL(flushed[v] != was[v]);
		settled(WORD(n));
	}
	CHECK_EQ("shootdowns not answered", late, 0);
	readers_end("own page tables: stale reads");
}

/* ---- the physical map ---- */

static long populate(xen_pfn_t gfn)
{
	struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};

	set_xen_guest_handle(r.extent_start, &gfn);
	return hc_memory(XENMEM_populate_physmap, &r);
}

static long give_up(xen_pfn_t gfn)
{
	struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};

	set_xen_guest_handle(r.extent_start, &gfn);
	return hc_memory(XENMEM_decrease_reservation, &r);
}

/* The page goes back to the hypervisor and another one comes. */
static void reservation(void)
{
	volatile unsigned long *page = guest_pages(1);
	xen_pfn_t gfn = (unsigned long)page / PAGE_SIZE;
	unsigned int bad = 0;

	readers_begin(page);
	for (unsigned long n = 1; n <= ROUNDS; n++) {
		moving();
		bad += give_up(gfn) != 1;
		settled(WORD(n) + 1);
		moving();
		bad += populate(gfn) != 1;
		*page = WORD(n);
		settled(WORD(n));
	}
	CHECK_EQ("decrease and populate refused", bad, 0);
	readers_end("reservation: stale reads");
}

/* Another RAM page of the domain moves to the place; the one that was there is freed. Not where RAM is 1:1. */
static void moved(void)
{
	volatile unsigned long *page = guest_pages(1), *from = guest_pages(1);
	struct xen_add_to_physmap x = {
		.domid = DOMID_SELF,
		.space = XENMAPSPACE_gmfn,
		.idx = (unsigned long)from / PAGE_SIZE,
		.gpfn = (unsigned long)page / PAGE_SIZE,
	};
	unsigned int bad = 0;

	readers_begin(page);
	for (unsigned long n = 1; n <= ROUNDS; n++) {
		*from = WORD(n);
		moving();
		bad += hc_memory(XENMEM_add_to_physmap, &x) != 0;
		settled(WORD(n));
		bad += populate(x.idx) != 1;
	}
	CHECK_EQ("add_to_physmap refused", bad, 0);
	readers_end("moved RAM: stale reads");
}

/* dom0: pages of another domain come and go. */
static void foreign(void)
{
	volatile unsigned long *hole = peer_hole(1), *fill = peer_hole(1);
	xen_pfn_t gfn = (unsigned long)hole / PAGE_SIZE, fill_gfn = (unsigned long)fill / PAGE_SIZE;
	struct xen_remove_from_physmap r = {.domid = DOMID_SELF};
	xen_ulong_t idx;
	xen_pfn_t at;
	int err;
	struct xen_add_to_physmap_batch b = {
		.domid = DOMID_SELF,
		.space = XENMAPSPACE_gmfn_foreign,
		.size = 1,
		.u.foreign_domid = peer_domid,
	};
	unsigned int bad = 0;

	set_xen_guest_handle(b.idxs, &idx);
	set_xen_guest_handle(b.gpfns, &at);
	set_xen_guest_handle(b.errs, &err);
	readers_begin(hole);
	for (unsigned long n = 1; n <= ROUNDS; n++) {
		idx = n % PEER_PAGES;
		at = fill_gfn;
		bad += hc_memory(XENMEM_add_to_physmap_batch, &b) != 0 || err;
		*fill = WORD(n);
		r.gpfn = fill_gfn;
		bad += hc_memory(XENMEM_remove_from_physmap, &r) != 0;
		moving();
		at = gfn;
		bad += hc_memory(XENMEM_add_to_physmap_batch, &b) != 0 || err;
		settled(WORD(n));
		moving();
		r.gpfn = gfn;
		bad += hc_memory(XENMEM_remove_from_physmap, &r) != 0;
		if (guest_option("oracle")) /* Gossamer waits for the vCPUs when the next one is mapped */
			settled(WORD(n) + 1);
	}
	moving();
	CHECK_EQ("foreign mappings refused", bad, 0);
	readers_end("foreign pages: stale reads");
}

/* dom0: granted pages of another domain come and go. */
static void granted(void)
{
	volatile unsigned long *hole = peer_hole(1);
	struct gnttab_map_grant_ref m;
	struct gnttab_unmap_grant_ref u;
	unsigned int bad = 0;

	for (unsigned int i = 0; i < PEER_PAGES; i++) {
		peer_grants[8 + i].domid = 0;
		peer_grants[8 + i].frame = i;
		__atomic_store_n(&peer_grants[8 + i].flags, GTF_permit_access, __ATOMIC_SEQ_CST);
	}
	readers_begin(hole);
	for (unsigned long n = 1; n <= ROUNDS; n++) {
		m = (struct gnttab_map_grant_ref){
			.host_addr = (unsigned long)hole,
			.flags = GNTMAP_host_map,
			.ref = 8 + n % PEER_PAGES,
			.dom = peer_domid,
		};
		moving();
		bad += hc_grant(GNTTABOP_map_grant_ref, &m, 1) != 0 || m.status;
		*hole = WORD(n);
		settled(WORD(n));
		u = (struct gnttab_unmap_grant_ref){.host_addr = (unsigned long)hole, .handle = m.handle};
		moving();
		bad += hc_grant(GNTTABOP_unmap_grant_ref, &u, 1) != 0 || u.status;
		settled(WORD(n) + 1);
	}
	CHECK_EQ("grant mappings refused", bad, 0);
	readers_end("grants: stale reads");
}

void guest_main(void)
{
	event_init();
	if (apic_x2)
		apic_x2_leave();
	if (smp_count() < READERS + 1) {
		print("fewer than four vCPUs: nothing to test\n");
		CHECK("runs", true);
		return;
	}
	smp_jobs_init(false);
	for (unsigned int v = 1; v <= READERS; v++) {
		CHECK_EQ("start", smp_start(v, smp_worker), 0);
		CHECK("it runs", SMP_UNTIL(smp_started[v]));
	}
	own_tables();
	reservation();
	if (!guest_dom0) {
		moved();
		return;
	}
	if (!peer_create())
		return;
	foreign();
	granted();
	CHECK_EQ("destroy the peer", peer_destroy(), 0);
}
