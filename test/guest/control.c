// SPDX-License-Identifier: Apache-2.0
// xen-args: loglvl=none guest_loglvl=none
/*
 * Arbitrary domctls against a dormant domain: none may stop the machine or reach another domain, and when the domain is
 * destroyed every page it had is free again. dom0 only.
 *
 * Left out are the calls that are asked to change the machine, to take all its memory, or to make further domains.
 * Source: public headers domctl.h, sysctl.h (physinfo).
 */
#include "lib/guest.h"

#include <xen/domctl.h>
#include <xen/sysctl.h>

const char guest_name[] = "control";

#define SCRATCH (4 * PAGE_SIZE)
#define ROUNDS	8
#define CALLS	1500

static char *scratch;
#ifndef SEED /* another run: make EXTRA_CFLAGS=-DSEED=n */
#define SEED 1
#endif

static uint64_t seed = SEED;

static uint32_t random(void)
{
	seed = seed * 6364136223846793005UL + 1442695040888963407UL;
	return (uint32_t)(seed >> 33);
}

static uint64_t argument(void)
{
	switch (random() % 6) {
	case 0:
		return 0;
	case 1:
		return random() % 64;
	case 2:
		return (unsigned long)scratch + random() % SCRATCH;
	case 3:
		return (uint64_t)(random() % 8) << 32 | random() % 8;
	case 4:
		return 1UL << (25 + random() % 39);
	default:
		return (uint64_t)random() << 33 ^ random();
	}
}

static uint64_t free_pages(void)
{
	struct xen_sysctl ctl = {.cmd = XEN_SYSCTL_physinfo, .interface_version = XEN_SYSCTL_INTERFACE_VERSION};

	CHECK_EQ("physinfo", HC(__HYPERVISOR_sysctl, &ctl), 0);
	return ctl.u.physinfo.free_pages;
}

static bool left_out(uint32_t cmd)
{
	switch (cmd) {
	case XEN_DOMCTL_createdomain:
	case XEN_DOMCTL_destroydomain:
	case XEN_DOMCTL_shadow_op: /* may set the pool's size, like the last but one */
	case XEN_DOMCTL_max_mem:
	case XEN_DOMCTL_irq_permission:
	case XEN_DOMCTL_iomem_permission:
	case XEN_DOMCTL_ioport_permission:
	case XEN_DOMCTL_assign_device:
	case XEN_DOMCTL_deassign_device:
	case XEN_DOMCTL_bind_pt_irq:
	case XEN_DOMCTL_memory_mapping:
	case XEN_DOMCTL_ioport_mapping:
	case XEN_DOMCTL_set_virq_handler:
	case XEN_DOMCTL_set_broken_page_p2m:
	case XEN_DOMCTL_set_paging_mempool_size:
	case XEN_DOMCTL_setvnumainfo:
	case XEN_DOMCTL_setvcpuaffinity: /* Xen clears a bitmap of any length, byte by byte */
	case XEN_DOMCTL_getvcpuaffinity:
	case XEN_DOMCTL_getnodeaffinity:
		return true;
	}
	return false;
}

static void arbitrary(unsigned int n)
{
	static struct xen_domctl op;
	uint64_t *words = (uint64_t *)&op.u;

	for (unsigned int i = 0; i < n; i++) {
		uint32_t cmd = random() % 90;

		if (i % 97 == 0)
			memset(scratch, 0, SCRATCH);
		for (unsigned int j = 0; j < sizeof(op.u) / 8; j++)
			words[j] = argument();
		if (!left_out(cmd))
			peer_domctl(cmd, &op);
	}
}

/* Xen 4.17 itself falls over a context saved without a vCPU. */
static bool give_vcpu(void)
{
	struct xen_domctl op = {.u.max_vcpus.max = 1};

	return CHECK_EQ("a vCPU", peer_domctl(XEN_DOMCTL_max_vcpus, &op), 0);
}

static void nap(void)
{
	struct sched_poll p = {.timeout = event_now() + 1000000};

	hc_sched(SCHEDOP_poll, &p);
}

static void wait_gone(void)
{
	struct xen_domctl op = {.cmd = 0};
	long rc = 0;

	for (unsigned int i = 0; i < 1000 && rc == 0; i++) {
		nap();
		rc = peer_domctl(XEN_DOMCTL_getdomaininfo, &op);
	}
	CHECK_EQ("the domain is gone", rc, -XEN_ESRCH);
}

void guest_main(void)
{
	uint64_t before = 0, after;
	domid_t self = DOMID_SELF;
	long mine = 0, now;

	event_init();
	if (!guest_dom0)
		return;
	scratch = guest_pages(4);
	peer_hole(1);
	for (unsigned int i = 0; i <= ROUNDS; i++) {
		if (!peer_create() || !give_vcpu())
			return;
		arbitrary(i ? CALLS : 0);
		CHECK_EQ("destroy", peer_destroy(), 0);
		wait_gone();
		nap();
		now = hc_memory(XENMEM_current_reservation, &self);
		after = free_pages();
		if (i) {
			CHECK_EQ("this domain's pages", now, mine);
			CHECK_EQ("every page is free again", after, before);
		}
		before = after;
		mine = now;
	}
	CHECK_EQ("version", hc_version(XENVER_version, 0), 4 << 16 | 17);
}
