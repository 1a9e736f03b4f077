/*
 * core/sched.c: which vCPU runs. Weighted proportional share on virtual runtime, one run queue per CPU, wake-up
 * preemption. Locks: one sched lock. Invariant: a vCPU is queued exactly when it is runnable and not running.
 *
 * A vCPU is runnable when it is up, not blocked, and neither it nor its domain is paused.
 */
#ifndef CORE_SCHED_H
#define CORE_SCHED_H

#include "lib/types.h"

struct domain;
struct vcpu;

#define SCHED_WEIGHT_DEFAULT 256
#define SCHED_SLICE_NS	     10000000ull

struct sched_vcpu { /* embedded in struct vcpu; guarded by the sched lock */
	uint64_t vruntime;
	uint64_t state_entered; /* ns */
	uint64_t charged;	/* ns up to which vruntime accounts */
	uint64_t time[4];	/* RUNSTATE_* sums, ns */
	uint8_t state;		/* RUNSTATE_* */
	bool queued;
	bool up;	      /* VCPU is online */
	bool blocked;	      /* waits for an event or interrupt */
	bool polling;	      /* blocked by SCHEDOP_poll */
	uint16_t cpu;	      /* where it runs or ran last */
	uint32_t pause_count; /* vcpu-level pauses */
	struct vcpu *next;    /* run queue link */
};

void sched_init(void);
void sched_vcpu_init(struct vcpu *v);	 /* offline, not up */
void sched_vcpu_destroy(struct vcpu *v); /* must be off its queue and CPU */
struct vcpu *sched_pick(void);		 /* the vCPU this CPU runs next, NULL = idle; accounts the one that ran */
bool sched_needed(void);		 /* this CPU should call sched_pick() before entering a guest again */
struct vcpu *sched_current(void);	 /* the vCPU this CPU runs or handles an exit of, or NULL */

void sched_up(struct vcpu *v);
void sched_down(struct vcpu *v);
void sched_block(struct vcpu *v);     /* current only; no-op if an event is pending */
void sched_wake(struct vcpu *v);      /* something came for v; harmless when it is not blocked */
void sched_yield_cpu(struct vcpu *v); /* current goes behind its equals */
void sched_slice_end(void);	      /* TIMER_SLICE */
void sched_vcpu_pause(struct vcpu *v);
void sched_vcpu_unpause(struct vcpu *v);
void sched_domain_pause(struct domain *d);   /* counts; returns at once, running vCPUs are kicked */
void sched_domain_unpause(struct domain *d); /* one less */
void sched_set_weight(struct domain *d, uint16_t weight, uint16_t cap);
/* RUNSTATE_* times up to now, in ns; state_entered and state. */
void sched_runstate(struct vcpu *v, uint64_t time[4], uint64_t *entered, int *state);
/* The same, with the sums as they were when the state was entered (what the registered runstate area shows). */
void sched_runstate_sums(struct vcpu *v, uint64_t time[4], uint64_t *entered, int *state);
void sched_dump(void); /* debug key r */

#endif
