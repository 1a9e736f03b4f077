/*
 * core/numa.c: see numa.h. Owns numa_lock; domain.node_affinity, node_wanted and vnuma.
 * Invariant: node_affinity is 0 or a set of nodes of this machine that is not all of them.
 */
#include "core/numa.h"

#include "core/cpupool.h"
#include "core/domain.h"
#include "core/frame.h"
#include "core/heap.h"
#include "core/log.h"
#include "lib/lib.h"
#include "port/machine.h"

static spinlock_t numa_lock = SPINLOCK_INIT(LOCK_NUMA);

static uint64_t nodes_of(const struct cpumask *cpus)
{
	uint64_t nodes = 0;

	for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
		if (cpumask_test(cpus, cpu))
			nodes |= BIT(port_cpu_node(cpu));
	return nodes;
}

static void set_nodes(struct domain *d, uint64_t nodes)
{
	uint64_t all = frame_nodes();

	nodes &= all;
	__atomic_store_n(&d->node_affinity, nodes == all ? 0 : nodes, __ATOMIC_RELAXED);
}

/* Of the CPUs that a vCPU may use (hard), those that it would rather use (soft), where there are any. */
void numa_follow_vcpus(struct domain *d)
{
	uint64_t nodes = 0;
	struct vcpu *v;

	if (d->node_wanted || port_node_count() == 1)
		return;
	for_each_vcpu (d, v) {
		struct cpumask hard = cpumask_and(&v->sched.hard, &d->sched.pool->cpus);
		struct cpumask soft = cpumask_and(&v->sched.soft, &hard);

		nodes |= nodes_of(cpumask_empty(&soft) ? &hard : &soft);
	}
	set_nodes(d, nodes);
}

int numa_set_affinity(struct domain *d, uint64_t nodes)
{
	uint64_t all = frame_nodes();

	if (!(nodes & all))
		return -EINVAL;
	d->node_wanted = (nodes & all) == all ? 0 : nodes & all;
	if (d->node_wanted)
		set_nodes(d, d->node_wanted);
	else
		numa_follow_vcpus(d);
	return 0;
}

uint64_t numa_affinity(const struct domain *d)
{
	return d->node_affinity ? d->node_affinity : frame_nodes();
}

void numa_set_vnuma(struct domain *d, struct vnuma *t)
{
	struct vnuma *old;

	spin_lock(&numa_lock);
	old = d->vnuma;
	d->vnuma = t;
	spin_unlock(&numa_lock);
	heap_free(old, sizeof(*old));
}

bool numa_get_vnuma(struct domain *d, struct vnuma *to)
{
	bool has;

	spin_lock(&numa_lock);
	has = d->vnuma != NULL;
	if (has)
		*to = *d->vnuma;
	spin_unlock(&numa_lock);
	return has;
}

bool numa_pnode(struct domain *d, unsigned vnode, unsigned *pnode)
{
	bool ok;

	*pnode = ~0u;
	spin_lock(&numa_lock);
	ok = !d->vnuma || vnode < d->vnuma->nr_nodes;
	if (ok && d->vnuma)
		*pnode = d->vnuma->pnode[vnode];
	spin_unlock(&numa_lock);
	return ok;
}

/* Words a line of the log would be too short for are left out. */
static void dump_domain(struct domain *d)
{
	unsigned nodes = port_node_count(), n;
	char line[120] = "";
	size_t at = 0;

	for (n = 0; n < nodes && at < sizeof(line) - 32; n++)
		at += (size_t)lib_snprintf(line + at, sizeof(line) - at, " %u: %lu", n, frame_owned_on(d->id, n));
	log_info("  d%u wants nodes %lx; frames on node%s%s", d->id, numa_affinity(d), line, n < nodes ? " ..." : "");
}

void numa_dump(void)
{
	struct domain *d;

	for (unsigned n = 0; n < port_node_count(); n++) {
		uint64_t total, free;

		frame_node_count(n, &total, &free);
		log_info("  node %u: %lu frames, %lu free", n, total, free);
	}
	for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
		log_info("  CPU %u: socket %u, core %u, node %u", cpu, port_cpu_socket(cpu), port_cpu_core(cpu),
			 port_cpu_node(cpu));
	for (domid_t id = 0; (d = domain_next(id)) != NULL;) {
		id = (domid_t)(d->id + 1);
		dump_domain(d);
		domain_put(d);
	}
}
