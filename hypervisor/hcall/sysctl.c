/*
 * hcall/sysctl.c: XEN_SYSCTL_*: the dispatcher, the machine's console log, domains and memory.
 * Source: xen/sysctl.h. CPUs and power are in sysctl_cpu.c, the scheduler in schedctl.c. Locks: none; each sub-op takes what its subject needs.
 */
#include "core/console.h"
#include "core/frame.h"
#include "core/guestmem.h"
#include "core/heap.h"
#include "core/policy.h"
#include "hcall/domctl.h"
#include "hcall/sysctl.h"
#include "hvm/cpuid.h"
#include "lib/lib.h"
#include "port/machine.h"

enum sysctl_dir { DIR_IN, DIR_INOUT };

static enum sysctl_dir sysctl_dir(uint32_t cmd)
{
	switch (cmd) {
#define SYSCTL(name, dir)                                                                                              \
	case XEN_SYSCTL_##name:                                                                                        \
		return DIR_##dir;
#include "hcall/ops.def"
	default:
		return DIR_IN;
	}
}

static long sysctl_run(struct sysctl_call *c)
{
	switch (c->op.cmd) {
#define SYSCTL(name, dir)                                                                                              \
	case XEN_SYSCTL_##name:                                                                                        \
		return sysctl_##name(c);
#define SYSCTL_REFUSED(name, error)                                                                                    \
	case XEN_SYSCTL_##name:                                                                                        \
		return -error;
#define SYSCTL_MISSING(name, error)                                                                                    \
	case XEN_SYSCTL_##name:                                                                                        \
		return hcall_unimplemented("sysctl", c->op.cmd, error);
#include "hcall/ops.def"
	default:
		return -ENOSYS;
	}
}

/* 32-bit callers have the same layout: every handle and 64-bit word of what is offered is aligned to 8 bytes. */
long hcall_sysctl(struct hcall *h)
{
	struct sysctl_call c = { .h = h };
	gva_t arg = h->arg[0];
	enum sysctl_dir dir;
	long ret;

	if (hcall_copy_in(h, &c.op, arg))
		return -EFAULT;
	if (c.op.interface_version != XEN_SYSCTL_INTERFACE_VERSION)
		return -EACCES;
	/* The list of domains is also the xenstore domain's business. */
	ret = policy_may(h->d, c.op.cmd == XEN_SYSCTL_getdomaininfolist ? ACTION_DOMINFO : ACTION_SYSCTL, NULL);
	if (ret)
		return ret;
	dir = sysctl_dir(c.op.cmd);
	if (dir == DIR_INOUT && guestmem_check_write(h->v, arg, sizeof(c.op)))
		return -EFAULT;
	ret = sysctl_run(&c);
	if ((ret >= 0 && dir == DIR_INOUT) || c.back_on_error)
		if (hcall_copy_out(h, arg, &c.op))
			return -EFAULT;
	return ret;
}

/* --- console --- */

#define PIECE 512u

long sysctl_readconsole(struct sysctl_call *c)
{
	struct xen_sysctl_readconsole *r = &c->op.u.readconsole;
	gva_t to = (gva_t)r->buffer.p;
	uint32_t index = r->incremental ? r->index : 0, done = 0;
	char buf[PIECE];

	while (done < r->count) {
		size_t n = console_ring_read(&index, buf, MIN(r->count - done, PIECE));

		if (!n)
			break;
		if (guestmem_write(c->h->v, to + done, buf, n))
			return -EFAULT;
		done += (uint32_t)n;
	}
	r->index = index;
	r->count = done;
	if (r->clear)
		console_ring_clear();
	return 0;
}

#define MAX_KEYS 128u

long sysctl_debug_keys(struct sysctl_call *c)
{
	const struct xen_sysctl_debug_keys *k = &c->op.u.debug_keys;
	char keys[MAX_KEYS];

	if (k->nr_keys > MAX_KEYS)
		return -E2BIG;
	if (k->nr_keys && guestmem_read(c->h->v, keys, (gva_t)k->keys.p, k->nr_keys))
		return -EFAULT;
	for (uint32_t i = 0; i < k->nr_keys; i++)
		console_debug_key(keys[i]);
	return 0;
}

/* --- domains --- */

long sysctl_getdomaininfolist(struct sysctl_call *c)
{
	struct xen_sysctl_getdomaininfolist *l = &c->op.u.getdomaininfolist;
	gva_t to = (gva_t)l->buffer.p;
	domid_t id = l->first_domain;
	uint32_t n = 0;

	while (n < l->max_domains) {
		struct xen_domctl_getdomaininfo info;
		struct domain *d = domain_next(id);

		if (!d)
			break;
		domctl_fill_info(d, &info);
		id = (domid_t)(d->id + 1);
		domain_put(d);
		if (guestmem_write(c->h->v, to + n * sizeof(info), &info, sizeof(info)))
			return -EFAULT;
		n++;
	}
	l->num_domains = n;
	return 0;
}

/* --- memory --- */

static uint64_t free_frames(void)
{
	return frame_free_count() + heap_free_frames();
}

static void node_memory(unsigned node, struct xen_sysctl_meminfo *m)
{
	uint64_t total, free;

	frame_node_count(node, &total, &free);
	m->memsize = total << PAGE_SHIFT;
	m->memfree = (free + heap_free_frames_on(node)) << PAGE_SHIFT;
}

long sysctl_physinfo(struct sysctl_call *c)
{
	struct xen_sysctl_physinfo *p = &c->op.u.physinfo;
	struct cpumask online = sched_online();

	memset(p, 0, sizeof(*p));
	p->threads_per_core = port_threads_per_core();
	p->cores_per_socket = port_cores_per_socket();
	p->nr_cpus = cpumask_count(&online);
	p->max_cpu_id = port_cpu_count() - 1;
	p->nr_nodes = port_node_count();
	p->cpu_khz = (uint32_t)port_tsc_khz();
	p->capabilities = XEN_SYSCTL_PHYSCAP_hvm | XEN_SYSCTL_PHYSCAP_hap | XEN_SYSCTL_PHYSCAP_gnttab_v1 |
			  XEN_SYSCTL_PHYSCAP_gnttab_v2;
	p->total_pages = frame_total_count();
	p->free_pages = free_frames();
	p->outstanding_pages = frame_claimed();
	p->max_mfn = frame_limit() - 1;
	cpuid_featureset(XEN_SYSCTL_cpu_featureset_host, p->hw_cap, ARRAY_SIZE(p->hw_cap));
	return 0;
}

/* What is free below a width is not known apart, so all that is free on the node (-1: anywhere) is said. */
long sysctl_availheap(struct sysctl_call *c)
{
	struct xen_sysctl_availheap *a = &c->op.u.availheap;
	struct xen_sysctl_meminfo m = { 0 };

	if (a->node < 0)
		m.memfree = free_frames() << PAGE_SHIFT;
	else if ((uint32_t)a->node < port_node_count())
		node_memory((unsigned)a->node, &m);
	a->avail_bytes = m.memfree;
	return 0;
}

static long copy_distances(struct sysctl_call *c, gva_t to, uint32_t rows)
{
	uint32_t nodes = port_node_count();

	for (uint32_t i = 0; i < rows * nodes; i++) { /* rows of as many as there are nodes, as the header says */
		uint32_t d = port_node_distance(i / nodes, i % nodes);

		if (hcall_copy_out(c->h, to + i * sizeof(d), &d))
			return -EFAULT;
	}
	return 0;
}

long sysctl_numainfo(struct sysctl_call *c)
{
	struct xen_sysctl_numainfo *n = &c->op.u.numainfo;
	gva_t meminfo = (gva_t)n->meminfo.p, distance = (gva_t)n->distance.p;
	uint32_t room = MIN(n->num_nodes, port_node_count());

	n->num_nodes = port_node_count();
	for (uint32_t i = 0; meminfo && i < room; i++) {
		struct xen_sysctl_meminfo m;

		node_memory(i, &m);
		if (hcall_copy_out(c->h, meminfo + i * sizeof(m), &m))
			return -EFAULT;
	}
	return distance ? copy_distances(c, distance, room) : 0;
}
