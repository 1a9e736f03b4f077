/*
 * core/numa.c: where a domain's memory is wanted (its node affinity, as core/frame.c follows it) and the virtual topology
 * that the tool stack gave it. Locks: numa_lock for domain.vnuma and what it points to; the caller holds the domctl lock
 * for the affinity of nodes and vCPUs.
 */
#ifndef CORE_NUMA_H
#define CORE_NUMA_H

#include "core/domain.h"

#define NUMA_MAX_VNODES 32u
#define NUMA_MAX_RANGES 170u /* with the nodes above: no array of the ABI passes a page, as on Xen */

struct vnuma {
	uint32_t nr_nodes, nr_ranges, nr_vcpus;		      /* nr_vcpus is the domain's max_vcpus */
	uint32_t distance[NUMA_MAX_VNODES * NUMA_MAX_VNODES]; /* nr_nodes rows of nr_nodes */
	uint32_t node_of_vcpu[DOMAIN_MAX_VCPUS];
	uint32_t pnode[NUMA_MAX_VNODES]; /* below PORT_MAX_NODES, but maybe one that this machine does not have */
	struct xen_vmemrange range[NUMA_MAX_RANGES];
};

/* The affinity of vCPUs changed: the nodes of the CPUs that they may or would rather use, unless others were set. */
void numa_follow_vcpus(struct domain *d);
/* XEN_DOMCTL_setnodeaffinity: all nodes = follow the vCPUs. -EINVAL: no node of this machine is among them. */
int numa_set_affinity(struct domain *d, uint64_t nodes);
/* Never 0. */
uint64_t numa_affinity(const struct domain *d);

/* The domain takes t (from heap_new, or NULL: none) in place of what it had, which is freed. */
void numa_set_vnuma(struct domain *d, struct vnuma *t);
void numa_dump(void); /* debug key u */
/* A copy of the domain's topology; false: it has none. */
bool numa_get_vnuma(struct domain *d, struct vnuma *to);
/* The node of this machine that carries virtual node vnode; ~0: any, d has no topology. False: no such virtual node. */
bool numa_pnode(struct domain *d, unsigned vnode, unsigned *pnode);

#endif
