/*
 * core/cpupool.c: see cpupool.h. Owns the list of pools. Locks: sched_control. Invariant: every online CPU is in one pool
 * at most; a pool with domains has a CPU; Pool-0 is always there and has one.
 */
#include "core/cpupool.h"

#include "core/heap.h"
#include "core/log.h"
#include "core/sched_private.h"
#include "lib/lib.h"

static struct cpupool pool0;
static struct cpupool *pools = &pool0; /* by id */

static void set_up(struct cpupool *p, uint32_t id, enum sched_policy policy)
{
	memset(p, 0, sizeof(*p));
	p->id = id;
	p->policy = policy;
	p->ratelimit_ns = SCHED_RATELIMIT_US * 1000ull;
}

void cpupool_boot(enum sched_policy policy)
{
	control_vcpus = NULL;
	set_up(&pool0, 0, policy);
	pools = &pool0;
	for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
		control_join(&pool0, cpu);
}

struct cpupool *cpupool_find(uint32_t id)
{
	struct cpupool *p = pools;

	while (p && p->id != id)
		p = p->next;
	return p;
}

struct cpupool *cpupool_first(void)
{
	return pools;
}

static struct cpupool *pool_with(unsigned cpu)
{
	struct cpupool *p = pools;

	while (p && !cpumask_test(&p->cpus, cpu))
		p = p->next;
	return p;
}

int cpupool_create(uint32_t *id, enum sched_policy policy)
{
	struct cpupool *p = heap_new(struct cpupool), **at = &pools;
	uint32_t free_id = 0;
	int rc = 0;

	if (!p)
		return -ENOMEM;
	spin_lock(&sched_control);
	if (*id == CPUPOOL_ANY) {
		for (const struct cpupool *o = pools; o && o->id == free_id; o = o->next)
			free_id++;
	} else {
		free_id = *id;
	}
	if (cpupool_find(free_id)) {
		rc = -EEXIST;
	} else {
		set_up(p, free_id, policy);
		while (*at && (*at)->id < free_id)
			at = &(*at)->next;
		p->next = *at;
		*at = p;
		*id = free_id;
	}
	spin_unlock(&sched_control);
	if (rc)
		heap_free(p, sizeof(*p));
	return rc;
}

int cpupool_destroy(uint32_t id)
{
	struct cpumask left = CPUMASK_NONE;
	struct cpupool *p, **at = &pools;
	int rc = 0;

	spin_lock(&sched_control);
	p = cpupool_find(id);
	if (!p)
		rc = -ENOENT;
	else if (p == &pool0 || p->domains)
		rc = -EBUSY;
	if (!rc) {
		left = p->cpus;
		for_each_cpu (cpu, &left)
			control_leave(p, cpu); /* without domains nothing keeps it */
		while (*at != p)
			at = &(*at)->next;
		*at = p->next;
	}
	spin_unlock(&sched_control);
	if (rc)
		return rc;
	for_each_cpu (cpu, &left)
		control_wait_left(cpu);
	heap_free(p, sizeof(*p));
	return 0;
}

int cpupool_info(uint32_t id, bool next, struct cpupool_info *out)
{
	const struct cpupool *p = pools;
	int rc = -ENOENT;

	spin_lock(&sched_control);
	while (p && (next ? p->id < id : p->id != id))
		p = p->next;
	if (p) {
		*out = (struct cpupool_info){ .id = p->id,
					      .policy = p->policy,
					      .domains = p->domains,
					      .cpus = p->cpus,
					      .ratelimit_us = (uint32_t)(p->ratelimit_ns / 1000) };
		rc = 0;
	}
	spin_unlock(&sched_control);
	return rc;
}

struct cpumask cpupool_free_cpus(void)
{
	struct cpumask m;

	m = sched_online();
	for_each_cpu (cpu, &m)
		if (pool_with(cpu))
			cpumask_clear(&m, cpu);
	return m;
}

int cpupool_add_cpu(uint32_t id, uint32_t cpu)
{
	struct cpumask free_cpus;
	struct cpupool *p;
	int rc = 0;

	spin_lock(&sched_control);
	free_cpus = cpupool_free_cpus();
	if (cpu == CPUPOOL_ANY)
		cpu = cpumask_first(&free_cpus) < CPUMASK_BITS ? cpumask_first(&free_cpus) : CPUPOOL_ANY;
	p = cpupool_find(id);
	if (!p)
		rc = -ENOENT;
	else if (cpu == CPUPOOL_ANY)
		rc = -ENODEV;
	else if (cpu >= port_cpu_count())
		rc = -EINVAL;
	else if (!cpumask_test(&free_cpus, cpu))
		rc = -ENODEV;
	if (!rc)
		control_join(p, cpu);
	spin_unlock(&sched_control);
	return rc;
}

static unsigned last_cpu(const struct cpupool *p)
{
	unsigned last = CPUMASK_BITS;

	for_each_cpu (cpu, &p->cpus)
		last = cpu;
	return last;
}

int cpupool_remove_cpu(uint32_t id, uint32_t cpu)
{
	struct cpupool *p;
	int rc = 0;

	spin_lock(&sched_control);
	p = cpupool_find(id);
	if (p && cpu == CPUPOOL_ANY && p->nr_cpus)
		cpu = last_cpu(p);
	if (!p)
		rc = -ENOENT;
	else if (cpu == CPUPOOL_ANY)
		rc = -ENODEV;
	else if (cpu >= port_cpu_count())
		rc = -EINVAL;
	else if (!cpumask_test(&p->cpus, cpu))
		rc = -ENODEV;
	else if (p->nr_cpus == 1 && (p->domains || p == &pool0))
		rc = -EBUSY;
	else
		rc = control_leave(p, cpu);
	spin_unlock(&sched_control);
	if (!rc)
		control_wait_left(cpu);
	return rc;
}

int cpupool_move_domain(struct domain *d, uint32_t id)
{
	struct cpupool *p;
	int rc;

	spin_lock(&sched_control);
	p = cpupool_find(id);
	if (!p)
		rc = -ENOENT;
	else if (domain_dying(d) && id)
		rc = -EINVAL;
	else
		rc = control_move_domain(d, p);
	spin_unlock(&sched_control);
	return rc;
}

int cpupool_set_ratelimit(uint32_t id, uint32_t us)
{
	struct cpupool *p;
	int rc = 0;

	spin_lock(&sched_control);
	p = cpupool_find(id);
	if (!p)
		rc = -ENOENT;
	else if (p->policy != SCHED_SHARE ||
		 (us && (us < XEN_SYSCTL_SCHED_RATELIMIT_MIN || us > XEN_SYSCTL_SCHED_RATELIMIT_MAX)))
		rc = -EINVAL;
	else
		__atomic_store_n(&p->ratelimit_ns, us * 1000ull, __ATOMIC_RELAXED);
	spin_unlock(&sched_control);
	return rc;
}

uint32_t cpupool_of(const struct domain *d)
{
	uint32_t id;

	spin_lock(&sched_control); /* or it might move, and its old pool be gone */
	id = d->sched.pool->id;
	spin_unlock(&sched_control);
	return id;
}
