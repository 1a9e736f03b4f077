/*
 * hcall/sysctl_cpu.c: XEN_SYSCTL_* about CPUs: topology, idle time, power states, features and policies, and the nodes
 * of PCI devices. Source: xen/sysctl.h. Locks: none.
 */
#include "core/guestmem.h"
#include "hcall/sysctl.h"
#include "hvm/cpuid.h"
#include "lib/lib.h"
#include "port/machine.h"

/* --- topology --- */

static bool is_online(uint32_t cpu)
{
	struct cpumask online = sched_online();

	return cpu < port_cpu_count() && cpumask_test(&online, cpu);
}

long sysctl_cputopoinfo(struct sysctl_call *c)
{
	struct xen_sysctl_cputopoinfo *t = &c->op.u.cputopoinfo;
	gva_t to = (gva_t)t->cputopo.p;
	uint32_t room = t->num_cpus;

	t->num_cpus = port_cpu_count();
	for (uint32_t i = 0; to && i < MIN(room, t->num_cpus); i++) {
		struct xen_sysctl_cputopo cpu = { .core = port_cpu_core(i),
						  .socket = port_cpu_socket(i),
						  .node = port_cpu_node(i) };

		if (!is_online(i)) { /* its place in the machine is not known while it is down, as on Xen */
			cpu.core = XEN_INVALID_CORE_ID;
			cpu.socket = XEN_INVALID_SOCKET_ID;
		}

		if (hcall_copy_out(c->h, to + i * sizeof(cpu), &cpu))
			return -EFAULT;
	}
	return 0;
}

#define PCI_NO_DEVICE 0xffffu

/* A device is known when its function answers; no table of ours says on which node it is. */
long sysctl_pcitopoinfo(struct sysctl_call *c)
{
	struct xen_sysctl_pcitopoinfo *t = &c->op.u.pcitopoinfo;
	gva_t devs = (gva_t)t->devs.p, nodes = (gva_t)t->nodes.p;
	uint32_t n;

	if (!devs || !nodes)
		return -EINVAL;
	for (n = 0; n < t->num_devs; n++) {
		struct physdev_pci_device dev;
		uint32_t node = XEN_INVALID_NODE_ID;

		if (hcall_copy_in(c->h, &dev, devs + n * sizeof(dev)))
			return -EFAULT;
		if (port_pci_read(dev.seg, (uint16_t)(dev.bus << 8 | dev.devfn), 0, 2) == PCI_NO_DEVICE)
			node = XEN_INVALID_DEV;
		if (hcall_copy_out(c->h, nodes + n * sizeof(node), &node))
			return -EFAULT;
		if (n % 64 == 63 && hcall_preempt())
			break; /* the caller goes on with the rest, as the header says of num_devs */
	}
	t->num_devs = MIN(n + 1, t->num_devs);
	return 0;
}

/* --- idle time and power: C0 and C1 (HLT), one frequency --- */

long sysctl_getcpuinfo(struct sysctl_call *c)
{
	struct xen_sysctl_getcpuinfo *g = &c->op.u.getcpuinfo;
	uint32_t n = MIN(g->max_cpus, port_cpu_count());

	for (uint32_t i = 0; i < n; i++) {
		struct xen_sysctl_cpuinfo info = { .idletime = sched_idle_ns(i) };

		if (hcall_copy_out(c->h, (gva_t)g->info.p + i * sizeof(info), &info))
			return -EFAULT;
	}
	g->nr_cpus = n;
	return 0;
}

#define CX_STATES 2u

static long get_cxstat(struct sysctl_call *c)
{
	struct pm_cx_stat *s = &c->op.u.get_pmstat.u.getcx;
	uint32_t n = MIN(s->nr, CX_STATES);
	const uint64_t triggers[CX_STATES] = { 0 };
	uint64_t residencies[CX_STATES];
	uint64_t idle = sched_idle_ns(c->op.u.get_pmstat.cpuid), now = port_now();

	residencies[0] = now > idle ? now - idle : 0;
	residencies[1] = idle;
	if (n && (guestmem_write(c->h->v, (gva_t)s->triggers.p, triggers, n * sizeof(uint64_t)) ||
		  guestmem_write(c->h->v, (gva_t)s->residencies.p, residencies, n * sizeof(uint64_t))))
		return -EFAULT;
	s->nr = CX_STATES;
	s->last = 1;
	s->idle_time = idle;
	s->nr_pc = s->nr_cc = 0;
	return 0;
}

long sysctl_get_pmstat(struct sysctl_call *c)
{
	struct xen_sysctl_get_pmstat *p = &c->op.u.get_pmstat;

	if (!is_online(p->cpuid))
		return -EINVAL;
	switch (p->type) {
	case PMSTAT_get_max_cx:
		p->u.getcx.nr = CX_STATES;
		return 0;
	case PMSTAT_get_cxstat:
		return get_cxstat(c);
	case PMSTAT_reset_cxstat:
		return 0;
	default:
		return (p->type & PMSTAT_CATEGORY_MASK) == PMSTAT_PX ? -ENODEV : -EINVAL;
	}
}

long sysctl_pm_op(struct sysctl_call *c)
{
	struct xen_sysctl_pm_op *p = &c->op.u.pm_op;

	if (p->cmd == XEN_SYSCTL_pm_op_get_max_cstate && p->cpuid <= 1) {
		p->u.get_max_cstate = XEN_SYSCTL_CX_UNLIMITED;
		return 0;
	}
	return -EINVAL;
}

/* --- features and policies --- */

long sysctl_get_cpu_levelling_caps(struct sysctl_call *c)
{
	c->op.u.cpu_levelling_caps.caps = 0; /* about PV guests */
	return 0;
}

#define MAX_FEATURE_WORDS 32u

long sysctl_get_cpu_featureset(struct sysctl_call *c)
{
	struct xen_sysctl_cpu_featureset *f = &c->op.u.cpu_featureset;
	gva_t to = (gva_t)f->features.p;
	uint32_t words[MAX_FEATURE_WORDS] = { 0 };
	uint32_t have, n;

	if (f->index > XEN_SYSCTL_cpu_featureset_hvm_max)
		return -EINVAL;
	have = cpuid_featureset(f->index, words, MAX_FEATURE_WORDS);
	n = to ? MIN(f->nr_features, have) : have;
	if (to && n && guestmem_write(c->h->v, to, words, n * sizeof(words[0])))
		return -EFAULT;
	/* Less room than words: what fits is given, and the error tells that there is more. */
	c->back_on_error = to && f->nr_features < have;
	f->nr_features = n;
	return c->back_on_error ? -ENOBUFS : 0;
}

static long copy_policy(struct sysctl_call *c, const struct cpuid_policy *p)
{
	struct xen_sysctl_cpu_policy *op = &c->op.u.cpu_policy;
	gva_t leaves = (gva_t)op->leaves.p, msrs = (gva_t)op->msrs.p;
	size_t leaf_bytes = p->nr_leaves * sizeof(p->leaf[0]), msr_bytes = p->nr_msrs * sizeof(p->msr[0]);

	if ((leaves && op->nr_leaves < p->nr_leaves) || (msrs && op->nr_msrs < p->nr_msrs))
		return -ENOBUFS;
	if ((leaves && guestmem_check_write(c->h->v, leaves, leaf_bytes)) ||
	    (msrs && guestmem_check_write(c->h->v, msrs, msr_bytes)))
		return -EFAULT;
	if ((leaves && guestmem_write(c->h->v, leaves, p->leaf, leaf_bytes)) ||
	    (msrs && guestmem_write(c->h->v, msrs, p->msr, msr_bytes)))
		return -EFAULT;
	op->nr_leaves = leaves ? p->nr_leaves : CPUID_MAX_LEAVES;
	op->nr_msrs = msrs ? p->nr_msrs : ARRAY_SIZE(p->msr);
	return 0;
}

long sysctl_get_cpu_policy(struct sysctl_call *c)
{
	struct xen_sysctl_cpu_policy *op = &c->op.u.cpu_policy;
	const struct cpuid_policy *p;

	if (op->_rsvd || op->index >= CPUID_SYSTEMS)
		return -EINVAL;
	p = cpuid_system((enum cpuid_system)op->index);
	return p ? copy_policy(c, p) : -EOPNOTSUPP;
}
