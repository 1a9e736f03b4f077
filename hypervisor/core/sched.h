/*
 * core/sched.c: which vCPU runs where. The mechanism (run states, block and wake, pick, pause) is in sched.c; what comes
 * next is decided by the policy of the CPU's pool (core/cpupool.h): sched_share.c, sched_edf.c or sched_null.c, chosen by
 * a switch. The parts share core/sched_private.h.
 *
 * A vCPU is runnable when it is up, not blocked, and neither it nor its domain is paused. A vCPU belongs to one run queue
 * at any time; a run queue serves the CPUs of one socket within a pool (share) or one CPU (EDF, null).
 *
 * Locks: one lock for each run queue, after evtchn.lock and before timer.lock (lib/lock.h); two queues by their index.
 * A domain's cap has a lock of its own inside them. Control operations (affinity, pools, parameters, CPUs up and down) are
 * serialised by sched_control, which they take themselves: outside the queues' locks, and no lock but theirs and the
 * heap's is wanted inside it. Callers of the others below may hold any lock that comes before the queues', unless
 * their comment says otherwise.
 */
#ifndef CORE_SCHED_H
#define CORE_SCHED_H

#include "core/timer.h"
#include "lib/cpumask.h"
#include "lib/lock.h"
#include "lib/tree.h"
#include "lib/types.h"

struct domain;
struct vcpu;
struct cpupool;

enum sched_policy {
	SCHED_SHARE, /* proportional share: sched=credit2, XEN_SCHEDULER_CREDIT2 */
	SCHED_EDF,   /* budgets and periods, earliest deadline first: sched=rtds, XEN_SCHEDULER_RTDS */
	SCHED_NULL,  /* one vCPU for each CPU: sched=null, XEN_SCHEDULER_NULL */
};

#define SCHED_WEIGHT_DEFAULT	256u
#define SCHED_SLICE_NS		10000000ull
#define SCHED_RATELIMIT_US	1000u /* default of a pool */
#define SCHED_EDF_PERIOD_US	10000u
#define SCHED_EDF_BUDGET_US	4000u
#define SCHED_EDF_PERIOD_MAX_US 3600000000u
#define SCHED_EDF_BUDGET_MIN_US 10u

/* Embedded in struct vcpu. Guarded by the lock of the queue the vCPU belongs to, where nothing else is said. */
struct sched_vcpu {
	/* What every policy has. */
	uint64_t state_entered; /* ns */
	uint64_t charged;	/* ns up to which the time it ran is accounted */
	uint64_t time[4];	/* RUNSTATE_* sums up to state_entered, ns */
	uint8_t state;		/* RUNSTATE_*; may be read without the lock */
	bool queued;		/* in its queue's tree: runnable, not running, not parked */
	bool parked;		/* runnable, but its cap or budget is used up, or (null) it has no CPU */
	bool on_cpu;		/* a CPU has its registers; atomic, cleared last */
	bool up;		/* VCPU is online */
	bool blocked;		/* waits for an event or interrupt; atomic */
	bool polling;		/* blocked by SCHEDOP_poll; atomic */
	uint16_t cpu;		/* where it runs or ran last; may be read without the lock */
	uint16_t runq;		/* the queue it belongs to; changes under both queues' locks */
	uint32_t pause_count;	/* vcpu-level pauses */
	struct tree_node node;	/* in the queue's tree */
	struct cpumask hard;	/* CPUs it may run on; never empty within its pool's CPUs */
	struct cpumask soft;	/* CPUs it should rather run on */

	/* SCHED_SHARE */
	uint64_t vruntime; /* ns it ran, scaled by its weight; comparable within a pool */
	int64_t quota;	   /* ns it may still run of what it took from its domain's bucket; no cap: the most */
	int64_t taken;	   /* what it took, 0: no cap */

	/* SCHED_EDF */
	uint64_t period, budget; /* ns */
	bool extra;		 /* runs beyond its budget when its CPU has nothing better to do */
	bool depleted;		 /* its budget is used up until the deadline */
	uint64_t deadline;	 /* end of the current period, ns */
	int64_t left; /* of this period's budget, ns; negative: it overran that much (the next period pays) */
	struct tree_node refill; /* of depleted ones, by deadline */

	/* SCHED_NULL */
	struct vcpu *next_waiting; /* for a free CPU; under sched_control */
	bool waiting;		   /* is on that list */

	struct vcpu *next_all, **at_all; /* list of all vCPUs; under sched_control */
};

/* Embedded in struct domain. */
struct sched_domain {
	struct cpupool *pool; /* under sched_control; may be read without */
	spinlock_t lock;      /* of the rest; inside the queues' locks */
	int64_t tokens;	      /* ns of CPU time in the bucket; negative: overdrawn */
	int64_t taken;	      /* ns handed out to running vCPUs */
	uint64_t refilled;    /* ns up to which the bucket was filled */
	struct timer refill;  /* TIMER_CAP: parked vCPUs may go on */
	bool waiting;	      /* some are parked and the timer is set */
};

/* --- start, domains, vCPUs --- */

/* Boot CPU, after port_cpu_count() is final: Pool-0 with all CPUs. Panics without memory. */
void sched_init(enum sched_policy policy);
/* Into that pool. 0, -ENOENT (no such pool, or it has no CPUs), -ENOMEM. No locks held. */
int sched_domain_init(struct domain *d, uint32_t pool);
void sched_domain_destroy(struct domain *d); /* its vCPUs are gone; no locks held */
/* Offline, any affinity, in a queue of its domain's pool. 0, or -ENOSPC: EDF cannot promise the default. No locks held. */
int sched_vcpu_init(struct vcpu *v);
void sched_vcpu_destroy(struct vcpu *v); /* it is paused for good; no locks held */

/* --- the run loop (hvm/run.c); no locks held --- */

/*
 * The vCPU that this CPU runs next; NULL: idle. Accounts the one that ran. When that is another one, guest_switch_out()
 * was called for the one that ran, under its queue's lock and before any other CPU may pick it; the caller does
 * guest_switch_in().
 */
struct vcpu *sched_pick(void);
bool sched_needed(void);		/* this CPU should call sched_pick() before it enters a guest again */
struct vcpu *sched_current(void);	/* the vCPU this CPU runs or handles an exit of, or NULL */
void sched_slice_end(void);		/* TIMER_SLICE */
void sched_cap_refill(struct timer *t); /* TIMER_CAP: a domain's bucket has something again; no locks held */

/* --- life of a vCPU --- */

void sched_up(struct vcpu *v);
void sched_down(struct vcpu *v);
void sched_block(struct vcpu *v); /* current only; no-op if an event is pending */
void sched_wake(struct vcpu *v);  /* something came for v: wakes it, or kicks the CPU whose guest it is */
/* The same for what its CPU takes in without leaving the guest when told (port_notify()); tell: this has to be done. */
void sched_notify(struct vcpu *v, bool tell);
void sched_yield_cpu(struct vcpu *v); /* current goes behind its equals */

/*
 * Pauses nest and count. sched_*_pause() return when no other CPU runs v, or any vCPU of d, in the guest or in a
 * hypercall; the caller's own vCPU may go on until its next exit. They spin: no locks but sched_control and hcall's control
 * lock may be held. The nosync ones return at once and may be called from anywhere.
 */
void sched_vcpu_pause(struct vcpu *v);
void sched_vcpu_pause_nosync(struct vcpu *v);
void sched_vcpu_unpause(struct vcpu *v);
void sched_domain_pause(struct domain *d);
void sched_domain_pause_nosync(struct domain *d);
void sched_domain_unpause(struct domain *d);
void sched_vcpu_sync(struct vcpu *v); /* waits until no other CPU runs v, which is paused or down already; as above */

/* --- what the tool stack sets: each takes sched_control; no locks held but hcall's control lock --- */

/*
 * XEN_DOMCTL_SCHEDOP_putinfo of credit2. weight 1..65535; cap in percent of one CPU, 0 = none. 0, -EINVAL (weight 0).
 * Also kept while the domain is in a pool of another policy. Read d->sched_weight, d->sched_cap.
 */
int sched_set_weight(struct domain *d, uint16_t weight, uint16_t cap);
/*
 * XEN_DOMCTL_SCHEDOP_putvcpuinfo of rtds: what the vCPU is promised. 0, -EINVAL (budget below SCHED_EDF_BUDGET_MIN_US, or
 * over the period, or period over SCHED_EDF_PERIOD_MAX_US; or it is in no EDF pool), -ENOSPC: the promises already made
 * leave no CPU that it may use enough time; nothing changed.
 */
int sched_set_promise(struct vcpu *v, uint32_t period_us, uint32_t budget_us, bool extra);
/* The same for all vCPUs of d, all or none. */
int sched_set_promise_all(struct domain *d, uint32_t period_us, uint32_t budget_us, bool extra);
void sched_get_promise(struct vcpu *v, uint32_t *period_us, uint32_t *budget_us, bool *extra);
/*
 * hard, soft: NULL = leave it. 0; -EINVAL: hard has no CPU in common with the pool's; -ENOSPC: EDF cannot keep its promise
 * there; nothing changed. Bits beyond the machine's CPUs are kept. Read v->sched.hard, .soft.
 */
int sched_set_affinity(struct vcpu *v, const struct cpumask *hard, const struct cpumask *soft);
/*
 * CPU offline and online (xen-hptool). down: takes cpu out of its pool and waits until it runs nobody; the caller's own
 * CPU is left when the hypercall ends. A CPU without a pool has no work: it sleeps without a timer (timer_cpu_leave())
 * and wakes for the kicks and flushes of others. 0, -EINVAL: no such CPU, -EEXIST: it is offline, -EBUSY: the last CPU
 * of a pool with domains or of Pool-0, -EADDRINUSE: a vCPU may run on no other CPU of the pool, -ENOSPC: promises could
 * not be kept without it; nothing changed.
 * up: puts it back into the pool it came from if that lives, else Pool-0. 0, -EINVAL, -EEXIST: it is online, -EIO: it
 * failed.
 * fail: this CPU, which ran nobody yet, cannot run guests: it goes down for good. The errors of down.
 */
int sched_cpu_down(unsigned cpu);
int sched_cpu_up(unsigned cpu);
int sched_cpu_fail(unsigned cpu);
struct cpumask sched_online(void); /* CPUs that were not taken down, with or without a pool */

/* --- information --- */

/* RUNSTATE_* times up to now, in ns; state_entered and state. */
void sched_runstate(struct vcpu *v, uint64_t time[4], uint64_t *entered, int *state);
/* The same, with the sums as they were when the state was entered (what the registered runstate area shows). */
void sched_runstate_sums(struct vcpu *v, uint64_t time[4], uint64_t *entered, int *state);
uint64_t sched_idle_ns(unsigned cpu); /* ns since boot that cpu ran no vCPU */
void sched_dump(void);		      /* debug key r */

#endif
