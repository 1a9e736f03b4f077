/*
 * core/timer.c: deadlines. One queue per CPU (a binary heap in a fixed array that grows by heap pages), driven by
 * port_timer_arm(). A timer has a kind instead of a callback; timer_expire() switches on it. Locks: timer.lock per CPU.
 */
#ifndef CORE_TIMER_H
#define CORE_TIMER_H

#include "lib/types.h"

struct vcpu;

enum timer_kind {
	TIMER_SINGLESHOT, /* VCPUOP_set_singleshot_timer -> VIRQ_TIMER */
	TIMER_PERIODIC,	  /* VCPUOP_set_periodic_timer */
	TIMER_POLL,	  /* SCHEDOP_poll timeout */
	TIMER_VLAPIC,	  /* virtual local APIC timer (hvm) */
	TIMER_VPIT,	  /* virtual 8254 channel 0 (hvm) */
	TIMER_SLICE,	  /* end of the running vCPU's slice */
	TIMER_CAP,	  /* a capped domain has CPU time again */
	TIMER_WATCHDOG,	  /* SCHEDOP_watchdog: the guest did not set it again in time */
	TIMER_KINDS
};

struct timer {
	uint64_t deadline; /* ns, port_now() scale; guarded by the queue's lock */
	struct vcpu *vcpu; /* whose, or NULL */
	uint16_t kind;	   /* enum timer_kind */
	uint16_t cpu;	   /* queue it is in or was in last */
	int32_t slot;	   /* index in the heap, -1 when not queued */
};

void timer_cpu_init(unsigned cpu); /* after heap_init(); panics without memory */
/*
 * Queues have room for every timer that may be set: whoever creates timers reserves that many first (false: no memory)
 * and gives the room back when they are gone. So timer_set() cannot fail.
 */
bool timer_reserve(unsigned count);
void timer_unreserve(unsigned count);
void timer_init(struct timer *t, enum timer_kind kind, struct vcpu *v);
void timer_set(struct timer *t, uint64_t deadline); /* on this CPU's queue, replaces an earlier deadline */
void timer_stop(struct timer *t);		    /* from any CPU; it may be firing on another one just now */
void timer_kill(struct timer *t); /* the same, and it is not firing either: its owner may go away. Locks: none held */
bool timer_active(const struct timer *t);
void timer_expire(void); /* runs what is due on this CPU and arms the machine's timer; run loop only, no locks held */
bool timer_due(void);	 /* upcall_timer() came since the last timer_expire() */

/*
 * This CPU runs nobody: what its queue has goes to CPU 0's, and its interrupt is disarmed. CPU 0 keeps its own.
 * No locks held.
 */
void timer_cpu_leave(void);

#endif
