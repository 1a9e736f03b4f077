// SPDX-License-Identifier: Apache-2.0
/*
 * Arguments made to hurt: huge counts, wrapping and non-canonical pointers, wrong kinds of memory, and a long run of
 * arbitrary calls. Nothing here may stop the machine, hang it, or change what this domain did not ask to change.
 *
 * Calls whose plain effect is to end, stop or reconfigure a domain or the machine are left out of the arbitrary run.
 */
#include "lib/guest.h"

const char guest_name[] = "hostile";

#define START_SHIFT  6 /* a restarted memory_op carries its start above the sub-op */
#define NONCANONICAL 0x0000800000000000UL
#define UNMAPPED     0x00007f0000000000UL
#define TOP	     0xfffffffffffffff8UL
#define XEN_LOW	     0xffff800000000000UL /* where Xen keeps its own tables */
#define XEN_IMAGE    0xffff82d040200000UL

/* What no copy can reach; after the first refusal a huge count must not matter. */
static const unsigned long nowhere[] = {NONCANONICAL, UNMAPPED, TOP, -1UL, XEN_LOW, XEN_IMAGE, 1UL << 40, 1UL << 46};
/* What may be reached in part: low memory, registers, the end of the map; the top bits may be ignored. */
static const unsigned long odd[] = {
	0, 1, 7, 0xfff, NONCANONICAL - 4, 0xfee00000UL, 0xfee00ff8UL, 0xfec00000UL, 0xffffffffUL, 1UL << 52, 1UL << 63,
};

static void pointers(unsigned long p, unsigned int count)
{
	hc_memory(XENMEM_memory_map, p);
	hc_memory(XENMEM_current_reservation, p);
	hc_grant(GNTTABOP_map_grant_ref, p, count);
	hc_grant(GNTTABOP_unmap_grant_ref, p, count);
	hc_grant(GNTTABOP_copy, p, count);
	hc_event(EVTCHNOP_status, p);
	hc_event(EVTCHNOP_unmask, p);
	HC(__HYPERVISOR_multicall, p, count);
	hc_vcpu(VCPUOP_get_runstate_info, 0, p);
	hc_hvm(HVMOP_get_param, p);
	if (guest_dom0)
		hc_console(CONSOLEIO_read, count, p);
}

static void wrapping(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(nowhere); i++)
		pointers(nowhere[i], 0x7fffffff);
	for (unsigned int i = 0; i < ARRAY_SIZE(odd); i++)
		pointers(odd[i], 1);
	CHECK_EQ("copy-out to Xen's own half", hc_version(XENVER_guest_handle, XEN_IMAGE), -XEN_EFAULT);
	CHECK_EQ("copy-out to the top", hc_version(XENVER_guest_handle, TOP), -XEN_EFAULT);
	CHECK_EQ("copy-out to nothing", hc_version(XENVER_guest_handle, UNMAPPED), -XEN_EFAULT);
}

/* Every list argument given with counts that overflow when multiplied by any element size. */
static void counts(void)
{
	static const unsigned long n[] = {0x10000000, 0x7fffffff, 0x80000000, 0xffffffff,
					  1UL << 40,  1UL << 60,  1UL << 63,  -1UL};
	static PAGE char zeros[PAGE_SIZE];
	struct xen_memory_reservation r = {.domid = DOMID_SELF};

	for (unsigned int i = 0; i < ARRAY_SIZE(n); i++) {
		for (unsigned int j = 0; j < ARRAY_SIZE(nowhere); j++) {
			r.nr_extents = n[i];
			r.extent_order = (unsigned int)(i * 9);
			set_xen_guest_handle(r.extent_start, (xen_pfn_t *)nowhere[j]);
			hc_memory(XENMEM_decrease_reservation, &r);
			hc_memory(XENMEM_populate_physmap, &r);
			hc_memory(XENMEM_increase_reservation | n[i] << START_SHIFT, &r);
		}
		hc_grant(GNTTABOP_query_size, zeros, n[i]);
		hc_grant(GNTTABOP_copy, zeros, (uint32_t)n[i] | 0x80000000);
	}
	/* start extents beyond the end, encoded as a restarted call would */
	r.nr_extents = 4;
	r.extent_order = 0;
	set_xen_guest_handle(r.extent_start, (xen_pfn_t *)zeros);
	for (unsigned int i = 5; i < 64; i++)
		hc_memory(XENMEM_decrease_reservation | 1UL << i, &r);
	CHECK("zeros stayed zero", !memcmp(zeros, zeros + 2048, 2048) && zeros[0] == 0);
}

/* A page-table page, the image, the local APIC: argument structures in places where a copy must still be bounded. */
static void odd_places(void)
{
	char *two = guest_pages(1);
	unsigned long cr3;

	memset(two, 0xff, PAGE_SIZE);
	__asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
	for (unsigned long off = PAGE_SIZE - 64; off < PAGE_SIZE; off++) {
		hc_memory(XENMEM_add_to_physmap_batch, two + off);
		hc_event(EVTCHNOP_bind_interdomain, two + off);
		hc_grant(GNTTABOP_copy, two + off, 1);
		hc_hvm(HVMOP_get_param, two + off);
		hc_vcpu(VCPUOP_get_physid, 0, two + off);
		hc_vcpu(VCPUOP_set_periodic_timer, 0, two + off);
	}
	hc_vcpu(VCPUOP_stop_periodic_timer, 0, 0);
	hc_vcpu(VCPUOP_stop_singleshot_timer, 0, 0);
	CHECK("a structure in a page table", hc_event(EVTCHNOP_unmask, cr3) <= 0);
}

#ifndef SEED /* another run: make EXTRA_CFLAGS=-DSEED=n */
#define SEED 1
#endif

static uint64_t seed = SEED;

static uint32_t random(void)
{
	seed = seed * 6364136223846793005UL + 1442695040888963407UL;
	return (uint32_t)(seed >> 33);
}

#define SCRATCH (4 * PAGE_SIZE)
static char *scratch; /* a hole follows, so that no array of results runs into this program */

static unsigned long argument(void)
{
	switch (random() % 6) {
	case 0:
		return random() % 64;
	case 1:
		return random() % 2 ? nowhere[random() % ARRAY_SIZE(nowhere)] : odd[random() % ARRAY_SIZE(odd)];
	case 2:
		return (unsigned long)scratch + random() % SCRATCH;
	case 3: /* above 16 MiB, which is this program */
		return 1UL << (25 + random() % 39);
	case 4:
		return (unsigned long)scratch + (random() % 3 + 1) * PAGE_SIZE - random() % 32;
	default:
		return DOMID_SELF - random() % 8;
	}
}

static bool left_out(unsigned long op, unsigned long first)
{
	switch (op) {
	case __HYPERVISOR_multicall: /* calls anything */
	case __HYPERVISOR_sched_op:
	case __HYPERVISOR_sched_op_compat:
	case __HYPERVISOR_vcpu_op:
	case __HYPERVISOR_platform_op:
	case __HYPERVISOR_kexec_op:
	case __HYPERVISOR_physdev_op:
	case __HYPERVISOR_physdev_op_compat:
	case __HYPERVISOR_console_io:
	case __HYPERVISOR_domctl:
	case __HYPERVISOR_sysctl:
	case __HYPERVISOR_hypfs_op:
	case __HYPERVISOR_set_timer_op:
		return true;
	case __HYPERVISOR_hvm_op:
		return first == HVMOP_set_param || first == HVMOP_xentrace;
	case __HYPERVISOR_event_channel_op: /* both would take the 2-level ABI away */
		return first == EVTCHNOP_reset || first == EVTCHNOP_init_control;
	case __HYPERVISOR_grant_table_op: /* a lucky copy could hit the program */
		return first == GNTTABOP_copy;
	case __HYPERVISOR_memory_op: /* the ones that move this domain's own memory */
		switch (first & 63) {
		case XENMEM_increase_reservation:
		case XENMEM_decrease_reservation:
		case XENMEM_populate_physmap:
		case XENMEM_add_to_physmap:
		case XENMEM_add_to_physmap_batch:
		case XENMEM_remove_from_physmap:
		case XENMEM_exchange:
			return true;
		}
	}
	return false;
}

static void arbitrary(unsigned int n)
{
	scratch = guest_pages(4);
	peer_hole(1);
	for (unsigned int i = 0; i < n; i++) {
		unsigned long op = random() % 60, a[5];

		for (unsigned int j = 0; j < 5; j++)
			a[j] = argument();
		if (i % 97 == 0)
			memset(scratch, 0, SCRATCH);
		if (op == __HYPERVISOR_grant_table_op)
			a[2] %= 8; /* every element gets a status written, wherever the list lies */
		if (!left_out(op, a[0]))
			hypercall5(op, a[0], a[1], a[2], a[3], a[4]);
	}
}

static void still_alive(void)
{
	uint64_t t = event_now();
	evtchn_port_t port;
	unsigned int was;

	CHECK_EQ("version", hc_version(XENVER_version, 0), 4 << 16 | 17);
	CHECK_EQ("an event channel", event_bind_ipi(0, &port), 0);
	if (port < EVENT_PORTS) {
		was = event_seen[port];
		event_set_mask(port, false);
		event_send(port);
		cpu_irq_window();
		CHECK("an event arrives", event_seen[port] > was);
	}
	CHECK("the clock runs", event_now() > t);
}

void guest_main(void)
{
	event_init();
	wrapping();
	counts();
	odd_places();
	still_alive();
	arbitrary(20000);
	still_alive();
}
