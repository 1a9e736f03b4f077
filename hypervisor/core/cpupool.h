/*
 * core/cpupool.c: pools of CPUs, each with its scheduling policy; every domain is in one. Pool-0 exists from boot to the
 * end. A CPU is in one pool, or free, or taken down (sched_cpu_down()). Error numbers are those that xen/sysctl.h lists
 * for XEN_SYSCTL_cpupool_op. Locks: sched_control, taken by each function here; no other locks held but hcall's control
 * lock. A refused request changes nothing.
 */
#ifndef CORE_CPUPOOL_H
#define CORE_CPUPOOL_H

#include "core/sched.h"

#define CPUPOOL_ANY 0xffffffffu /* XEN_SYSCTL_CPUPOOL_PAR_ANY */

struct cpupool { /* under sched_control; policy, cpus and ratelimit_ns may be read by a CPU under its queue's lock */
	struct cpupool *next; /* by id */
	uint32_t id;
	enum sched_policy policy;
	struct cpumask cpus;
	struct cpumask queues; /* its run queues, by index */
	uint32_t nr_queues, nr_cpus;
	struct cpumask idle;   /* of cpus, those with nothing to run; each word atomic */
	uint32_t domains;      /* how many are in it */
	uint64_t ratelimit_ns; /* SCHED_SHARE: how long who runs is safe from wake-ups; 0 = not at all */
	struct vcpu *waiting;  /* SCHED_NULL: runnable vCPUs that wait for a free CPU, first come first */
};

struct cpupool_info {
	uint32_t id;
	enum sched_policy policy;
	uint32_t domains;
	struct cpumask cpus;
	uint32_t ratelimit_us;
};

/* *id = CPUPOOL_ANY: the lowest free one, which is returned there. 0, -EEXIST, -ENOMEM. It has no CPUs yet. */
int cpupool_create(uint32_t *id, enum sched_policy policy);
int cpupool_destroy(uint32_t id); /* its CPUs become free. 0, -ENOENT, -EBUSY (it has domains, or is Pool-0) */
/* The pool with that id, or (next) the first one with an id >= that. 0, -ENOENT. */
int cpupool_info(uint32_t id, bool next, struct cpupool_info *out);
/* cpu = CPUPOOL_ANY: any free one. 0, -ENOENT (pool), -EINVAL (no such CPU), -ENODEV (not free). */
int cpupool_add_cpu(uint32_t id, uint32_t cpu);
/*
 * cpu = CPUPOOL_ANY: the last one in the pool. Waits until it runs nobody. 0, -ENOENT, -EINVAL, -ENODEV (not in this pool),
 * -EBUSY (the last one, and there are domains), -EADDRINUSE (a vCPU may run on no other one), -ENOSPC (EDF: promises).
 */
int cpupool_remove_cpu(uint32_t id, uint32_t cpu);
/*
 * Its vCPUs' affinity becomes any. Works on running domains too. 0, -ENOENT (pool), -EBUSY (the pool has no CPUs),
 * -ENOSPC (EDF: default promises do not fit), -EINVAL: it is dying, which it does in Pool-0.
 */
int cpupool_move_domain(struct domain *d, uint32_t id);
struct cpumask cpupool_free_cpus(void); /* online and in no pool */
/* SCHED_SHARE: 0 = off, else XEN_SYSCTL_SCHED_RATELIMIT_MIN.._MAX. 0, -ENOENT, -EINVAL (value, or other policy). */
int cpupool_set_ratelimit(uint32_t id, uint32_t us);
uint32_t cpupool_of(const struct domain *d); /* the id of its pool */

#endif
