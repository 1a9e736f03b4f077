/*
 * hcall/domctl_numa.c: XEN_DOMCTL_* about NUMA nodes: where a domain's memory is wanted, its virtual topology.
 * Source: xen/domctl.h. Locks: under domctl_lock; numa_lock inside numa_*.
 */
#include "core/guestmem.h"
#include "core/heap.h"
#include "core/numa.h"
#include "hcall/bitmap.h"
#include "hcall/domctl.h"
#include "lib/lib.h"
#include "port/machine.h"

long domctl_setnodeaffinity(struct domctl_call *c)
{
	struct cpumask nodes;

	if (bitmap_copy_in(c->h, &nodes, &c->op.u.nodeaffinity.nodemap))
		return -EFAULT;
	return numa_set_affinity(c->d, nodes.word[0]);
}

long domctl_getnodeaffinity(struct domctl_call *c)
{
	struct cpumask nodes = { { numa_affinity(c->d) } };

	return bitmap_copy_out(c->h, &c->op.u.nodeaffinity.nodemap, &nodes);
}

static long read_vnuma(struct domctl_call *c, struct vnuma *t)
{
	const struct xen_domctl_vnuma *n = &c->op.u.vnuma;
	struct vcpu *v = c->h->v;
	size_t word = sizeof(uint32_t);

	/* No ranges at all is odd, but an answer to give. */
	if (guestmem_read(v, t->distance, (gva_t)n->vdistance.p, (size_t)n->nr_vnodes * n->nr_vnodes * word) ||
	    guestmem_read(v, t->node_of_vcpu, (gva_t)n->vcpu_to_vnode.p, n->nr_vcpus * word) ||
	    guestmem_read(v, t->pnode, (gva_t)n->vnode_to_pnode.p, n->nr_vnodes * word) ||
	    (n->nr_vmemranges &&
	     guestmem_read(v, t->range, (gva_t)n->vmemrange.p, n->nr_vmemranges * sizeof(t->range[0]))))
		return -EFAULT;
	t->nr_nodes = n->nr_vnodes;
	t->nr_ranges = n->nr_vmemranges;
	t->nr_vcpus = n->nr_vcpus;
	for (uint32_t i = 0; i < t->nr_nodes; i++)
		if (t->pnode[i] >= PORT_MAX_NODES)
			return -E2BIG;
	for (uint32_t i = 0; i < t->nr_vcpus; i++)
		if (t->node_of_vcpu[i] >= t->nr_nodes)
			return -EINVAL;
	for (uint32_t i = 0; i < t->nr_ranges; i++)
		if (t->range[i].nid >= t->nr_nodes || t->range[i].start >= t->range[i].end || t->range[i].flags)
			return -EINVAL;
	return 0;
}

long domctl_setvnumainfo(struct domctl_call *c)
{
	const struct xen_domctl_vnuma *n = &c->op.u.vnuma;
	struct vnuma *t;
	long ret;

	if (n->pad || !n->nr_vnodes || n->nr_vnodes > NUMA_MAX_VNODES || n->nr_vmemranges > NUMA_MAX_RANGES ||
	    !n->nr_vcpus || n->nr_vcpus != c->d->max_vcpus)
		return -EINVAL;
	t = heap_new(struct vnuma);
	if (!t)
		return -ENOMEM;
	ret = read_vnuma(c, t);
	if (ret)
		heap_free(t, sizeof(*t));
	else
		numa_set_vnuma(c->d, t);
	return ret;
}
