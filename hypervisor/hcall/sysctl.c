/*
 * hcall/sysctl.c: XEN_SYSCTL_*: the dispatcher, the machine's console log, domains, memory and scheduler.
 * Source: xen/sysctl.h. CPUs and power are in sysctl_cpu.c. Locks: none; each sub-op takes what its subject needs.
 */
#include "core/console.h"
#include "core/frame.h"
#include "core/guestmem.h"
#include "core/heap.h"
#include "core/policy.h"
#include "hcall/bitmap.h"
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

/* No trace buffers: the state of a Xen that was started without. */
long sysctl_tbuf_op(struct sysctl_call *c)
{
	struct xen_sysctl_tbuf_op *t = &c->op.u.tbuf_op;

	if (t->cmd != XEN_SYSCTL_TBUFOP_get_info)
		return hcall_unimplemented("sysctl tbuf_op", t->cmd, EOPNOTSUPP);
	t->evt_mask = 0;
	t->buffer_mfn = 0;
	t->size = 0;
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

long sysctl_physinfo(struct sysctl_call *c)
{
	struct xen_sysctl_physinfo *p = &c->op.u.physinfo;

	memset(p, 0, sizeof(*p));
	p->threads_per_core = 1;
	p->cores_per_socket = port_cpu_count();
	p->nr_cpus = port_cpu_count();
	p->max_cpu_id = port_cpu_count() - 1;
	p->nr_nodes = 1;
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

/* One node and no zones: what is free below a width is not known apart, so all that is free is said. */
long sysctl_availheap(struct sysctl_call *c)
{
	struct xen_sysctl_availheap *a = &c->op.u.availheap;

	a->avail_bytes = a->node > 0 ? 0 : free_frames() << PAGE_SHIFT;
	return 0;
}

#define LOCAL_DISTANCE 10u /* ACPI SLIT: a node to itself */

long sysctl_numainfo(struct sysctl_call *c)
{
	struct xen_sysctl_numainfo *n = &c->op.u.numainfo;
	gva_t meminfo = (gva_t)n->meminfo.p, distance = (gva_t)n->distance.p;
	uint32_t room = n->num_nodes;

	n->num_nodes = 1;
	if (room && meminfo) {
		struct xen_sysctl_meminfo m = { .memsize = frame_total_count() << PAGE_SHIFT,
						.memfree = free_frames() << PAGE_SHIFT };

		if (hcall_copy_out(c->h, meminfo, &m))
			return -EFAULT;
	}
	if (room && distance) {
		uint32_t d = LOCAL_DISTANCE;

		if (hcall_copy_out(c->h, distance, &d))
			return -EFAULT;
	}
	return 0;
}

/* --- scheduler and its one pool --- */

/* Kept for tools that read it back; the scheduler's slice does not depend on it. */
static uint32_t ratelimit_us = SCHED_SLICE_NS / 10000;

long sysctl_sched_id(struct sysctl_call *c)
{
	c->op.u.sched_id.sched_id = XEN_SCHEDULER_CREDIT2;
	return 0;
}

long sysctl_scheduler_op(struct sysctl_call *c)
{
	struct xen_sysctl_scheduler_op *s = &c->op.u.scheduler_op;
	uint32_t limit = s->u.sched_credit2.ratelimit_us;

	if (s->cpupool_id != 0)
		return -ESRCH;
	if (s->sched_id != XEN_SCHEDULER_CREDIT2)
		return -EINVAL;
	switch (s->cmd) {
	case XEN_SYSCTL_SCHEDOP_putinfo:
		if (limit && (limit > XEN_SYSCTL_SCHED_RATELIMIT_MAX || limit < XEN_SYSCTL_SCHED_RATELIMIT_MIN))
			return -EINVAL;
		ratelimit_us = limit;
		return 0;
	case XEN_SYSCTL_SCHEDOP_getinfo:
		s->u.sched_credit2.ratelimit_us = ratelimit_us;
		return 0;
	default:
		return -EINVAL;
	}
}

static uint32_t count_domains(void)
{
	struct domain *d;
	uint32_t n = 0;

	for (domid_t id = 0; (d = domain_next(id)) != NULL; n++) {
		id = (domid_t)(d->id + 1);
		domain_put(d);
	}
	return n;
}

static long cpupool_info(struct sysctl_call *c)
{
	struct xen_sysctl_cpupool_op *p = &c->op.u.cpupool_op;
	struct cpu_bits cpus;

	if (p->cpupool_id != 0 && p->cpupool_id != XEN_SYSCTL_CPUPOOL_PAR_ANY)
		return -ENOENT;
	bitmap_online(&cpus);
	p->cpupool_id = 0;
	p->sched_id = XEN_SCHEDULER_CREDIT2;
	p->n_dom = count_domains();
	return bitmap_copy_out(c->h, &p->cpumap, &cpus);
}

static long cpupool_move(const struct xen_sysctl_cpupool_op *p)
{
	struct domain *d = p->domid < DOMID_FIRST_RESERVED ? domain_get((domid_t)p->domid) : NULL;

	if (!d)
		return -EINVAL;
	domain_put(d);
	return p->cpupool_id == 0 ? 0 : -ENOENT; /* it is there already */
}

/* All CPUs are in pool 0 for good. */
long sysctl_cpupool_op(struct sysctl_call *c)
{
	struct xen_sysctl_cpupool_op *p = &c->op.u.cpupool_op;
	struct cpu_bits none = { { 0 } };

	switch (p->op) {
	case XEN_SYSCTL_CPUPOOL_OP_INFO:
		return cpupool_info(c);
	case XEN_SYSCTL_CPUPOOL_OP_FREEINFO:
		return bitmap_copy_out(c->h, &p->cpumap, &none);
	case XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN:
		return cpupool_move(p);
	case XEN_SYSCTL_CPUPOOL_OP_DESTROY:
	case XEN_SYSCTL_CPUPOOL_OP_RMCPU:
		return p->cpupool_id == 0 ? -EBUSY : -ENOENT;
	case XEN_SYSCTL_CPUPOOL_OP_ADDCPU:
		return p->cpupool_id == 0 ? -ENODEV : -ENOENT; /* no CPU is free */
	case XEN_SYSCTL_CPUPOOL_OP_CREATE:
		return hcall_unimplemented("sysctl cpupool_op", p->op, EOPNOTSUPP);
	default:
		return -ENOSYS;
	}
}
