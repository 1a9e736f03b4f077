/* What the parts of the scheduler share: the run queues, the CPUs' state, and the functions of each policy. */
#ifndef CORE_SCHED_PRIVATE_H
#define CORE_SCHED_PRIVATE_H

#include "core/cpupool.h"
#include "core/domain.h"
#include "core/sched.h"
#include "port/machine.h"

#define RUNQ_NONE	  0xffffu
#define NEVER		  (~0ull)
#define SCHED_VTIME_START (1ull << 32) /* ns; keys in a queue may be less than what is there in virtual time */

/* The CPUs of one socket within a pool (share), or one CPU (EDF, null). Guarded by its lock where nothing else is said. */
struct runq {
	spinlock_t lock;
	bool used;		  /* under sched_control */
	struct cpupool *pool;	  /* NULL: not used */
	enum sched_policy policy; /* the pool's */
	struct cpumask cpus;	  /* whose CPUs pick from here */
	uint32_t nr_cpus;
	struct tree tree;    /* runnable, not running, not parked; by what the policy orders them by */
	uint64_t head;	     /* key of the first, NEVER: empty; may be read without the lock */
	uint32_t members;    /* vCPUs that belong here; atomic */
	uint64_t vtime;	     /* what its CPUs have come to (EDF: in extra time); never goes back; atomic */
	struct tree refills; /* SCHED_EDF: depleted vCPUs, by deadline */
	uint64_t load;	     /* SCHED_EDF: what is promised, SCHED_EDF_FULL = all of the CPU; under sched_control */
	struct vcpu *owner;  /* SCHED_NULL: whose CPU this is; written under sched_control, read by runq_owner() */
} __attribute__((aligned(64)));

/* Written by the CPU itself under its queue's lock where nothing else is said; others read single fields without it. */
struct sched_cpu {
	struct vcpu *current;	    /* runs now, or NULL: idle */
	uint16_t runq;		    /* changed by others under that queue's lock */
	bool resched;		    /* atomic: set by anybody */
	bool look;		    /* atomic: other queues are to be looked at, too */
	bool preempt;		    /* somebody woke who should run before current */
	bool yielded;		    /* the current vCPU gives up its turn */
	bool online;		    /* under sched_control */
	bool failed;		    /* never to be online again; under sched_control */
	const struct vcpu *claimed; /* atomic: it idled and was asked for the sake of that one; only compared */
	struct timer slice;
	uint64_t slice_end; /* SCHED_SHARE: when others get their turn, NEVER: nobody waits */
	uint64_t floor;	    /* SCHED_SHARE: who runs here has no less virtual time than this */
	uint64_t idle_ns, idle_since;
	uint32_t last_pool; /* where it goes when it comes online again; under sched_control */
	/* Of the current vCPU, for others to estimate its virtual time. */
	uint64_t vruntime, charged, since; /* since: when it began to run */
	uint32_t weight;		   /* 0: not to be compared */
} __attribute__((aligned(64)));

extern struct runq runqs[NR_CPUS];
extern struct sched_cpu sched_cpus[NR_CPUS];
extern spinlock_t sched_control;

static inline struct vcpu *vcpu_of(struct tree_node *n)
{
	return n ? container_of(n, struct vcpu, sched.node) : NULL;
}

static inline struct runq *runq_of(const struct vcpu *v) /* stays only while that queue's lock is held */
{
	return &runqs[__atomic_load_n(&v->sched.runq, __ATOMIC_RELAXED)];
}

static inline struct vcpu *runq_owner(const struct runq *q)
{
	return __atomic_load_n(&q->owner, __ATOMIC_RELAXED);
}

static inline bool sched_several_queues(const struct runq *q) /* in q's pool */
{
	return __atomic_load_n(&q->pool->nr_queues, __ATOMIC_RELAXED) > 1;
}

/* --- sched.c; q: v's queue, locked --- */

bool sched_runnable(const struct vcpu *v);
struct runq *sched_lock_vcpu(struct vcpu *v); /* the queue v belongs to, locked */
void sched_lock_two(struct runq *a, struct runq *b);
void sched_unlock_two(struct runq *a, struct runq *b);
void sched_enqueue(struct runq *q, struct vcpu *v, uint64_t key);
void sched_dequeue(struct runq *q, struct vcpu *v);
struct vcpu *sched_first(struct runq *q, unsigned cpu);	   /* the first that may run on cpu */
void sched_ask(unsigned cpu);				   /* it is to call sched_pick() soon */
bool sched_ask_idle(struct runq *q, const struct vcpu *v); /* an idle CPU where v may run; false: there is none */
/* v, which is runnable but neither runs nor waits, is put where its policy wants it, and a CPU is asked to look. */
void sched_place(struct runq *q, struct vcpu *v, uint64_t now, bool fresh);
/* v, parked, may go on. */
void sched_unpark(struct runq *q, struct vcpu *v, uint64_t now);
/* v belongs to another queue from now on (or to the same), with other affinity (NULL: leave it). fresh: as if it were new. */
void sched_rehome(struct vcpu *v, struct runq *to, const struct cpumask *hard, const struct cpumask *soft, bool fresh);

/* --- a policy: its CPU's decision; prev: runs now and could go on, or NULL. *until: when to decide again --- */

void share_charge(struct sched_cpu *c, struct vcpu *v, uint64_t ran, uint64_t now);
struct vcpu *share_pick(struct runq *q, unsigned cpu, struct vcpu *prev, uint64_t now, uint64_t *until);
void share_stopped(struct vcpu *v, uint64_t now); /* it ran and does not any more */
void share_place(struct runq *q, struct vcpu *v, uint64_t now, bool fresh);
void share_enter(struct runq *q, struct vcpu *v);
bool share_steal(unsigned cpu);	    /* it idles, no lock held; true: its queue has something now */
void share_overtaken(unsigned cpu); /* it was asked for the sake of one vCPU and took another; no lock held */

void edf_charge(struct vcpu *v, uint64_t ran);
struct vcpu *edf_pick(struct runq *q, unsigned cpu, struct vcpu *prev, uint64_t now, uint64_t *until);
void edf_place(struct runq *q, struct vcpu *v, uint64_t now);
void edf_enter(struct runq *q, struct vcpu *v); /* a new period begins */
void edf_leave(struct runq *q, struct vcpu *v);

void null_place(struct runq *q, struct vcpu *v);

/* --- sched_cap.c: a domain's bucket of CPU time --- */

bool cap_take(struct vcpu *v, uint64_t now); /* fills v->sched.quota; false: the bucket is empty, v is to be parked */
void cap_return(struct vcpu *v, uint64_t now);
static inline bool cap_applies(const struct vcpu *v)
{
	return v->sched.taken || __atomic_load_n(&v->domain->sched_cap, __ATOMIC_RELAXED);
}

/* --- sched_control.c, under sched_control --- */

#define SCHED_EDF_FULL (1ull << 32)

void control_join(struct cpupool *p, unsigned cpu);
int control_leave(struct cpupool *p, unsigned cpu); /* 0, -EADDRINUSE, -ENOSPC, -ENOMEM; the pool keeps other CPUs */
void control_wait_left(unsigned cpu);		    /* that it runs nobody; without sched_control */
int control_move_domain(struct domain *d, struct cpupool *p);
extern struct vcpu *control_vcpus; /* all there are */

/* sched_null.c, which take sched_control: v goes up or down */
void null_up(struct vcpu *v);
void null_down(struct vcpu *v);
/* The same under it: v is to have a CPU if one is free, or gives up what it has; a CPU joined; v's affinity changed. */
void null_assign(struct vcpu *v);
void null_release(struct vcpu *v);
void null_offer(struct runq *q);

/* sched_admit.c, under sched_control: which CPU each vCPU of an EDF pool belongs to. */
struct admit_change {
	struct cpupool *pool;
	struct cpumask cpus;	    /* of the pool, that are to be used */
	const struct domain *d;	    /* all its vCPUs are what differs from what is in force, */
	const struct vcpu *v;	    /* or this one; NULL: nothing does */
	const struct cpumask *hard; /* theirs; NULL: stays */
	uint64_t load;		    /* theirs; ADMIT_SAME: stays */
	bool anew;		    /* they are on no CPU of the pool yet */
};
#define ADMIT_SAME NEVER
uint64_t admit_load(uint64_t period, uint64_t budget); /* ns, whole microseconds */
struct admit_plan;
/* 0, -ENOSPC, -ENOMEM. A plan is carried out or given up. */
int admit_plan(const struct admit_change *c, struct admit_plan **out);
unsigned admit_cpu(const struct admit_plan *p, const struct vcpu *v); /* where it is to be */
void admit_commit(struct admit_plan *p);			      /* all others go where they are to be; frees it */

/* cpupool.c; under sched_control */
struct cpupool *cpupool_find(uint32_t id);
struct cpupool *cpupool_first(void);
void cpupool_boot(enum sched_policy policy);

#endif
