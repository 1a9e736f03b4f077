/*
 * THE SEAM, upwards from core: what core/ needs from hvm/ (the virtual machine's side). Defined in hvm/, faked in host
 * tests. x86-64 architectural words are used, no vendor's.
 */
#ifndef PORT_GUEST_H
#define PORT_GUEST_H

#include "lib/types.h"

struct domain;
struct vcpu;

/* What a page walk of the running vCPU needs. */
struct guest_paging {
	uint64_t cr0, cr3, cr4, efer, rflags;
	unsigned cpl;
};

bool guest_uses_ept(void);		 /* nested page tables are in Intel's format, not AMD's */
bool guest_dirty_flags(void);		 /* the CPU sets accessed and dirty flags in them */
bool guest_logs_writes(void);		 /* it logs those it sets, while logdirty_by_cpu() (core/p2m.h) */
int guest_domain_init(struct domain *d); /* d->hvm; 0 or -ENOMEM; d->options are set before */
void guest_domain_destroy(struct domain *d);
int guest_vcpu_init(struct vcpu *v); /* v->hvm in reset state; 0 or -ENOMEM */
void guest_vcpu_destroy(struct vcpu *v);
void guest_paging_state(struct vcpu *v, struct guest_paging *out);

/* An event became pending for v (its upcall_pending went 0 -> 1): have it injected (vector or callback GSI), and wake v. */
void guest_event_pending(struct vcpu *v);
/* Asked before a vCPU that polls or halts sleeps: is any interrupt waiting that it could take now? Locks: none. */
bool guest_interrupt_pending(struct vcpu *v);
/* One of v's machine timers (TIMER_VLAPIC, TIMER_VPIT) is due. Locks: none. */
void guest_timer(struct vcpu *v, unsigned kind);
/* A lower-privilege view of the domain's p2m changed: stale translations must be gone before its next entry. */
void guest_tlb_flush(struct domain *d);
/*
 * Returns when no other CPU can use, in a guest or through a window of core/guestmem.c, what guest_tlb_flush(d) called
 * stale before. Waits for CPUs that run d's vCPUs: no spin lock may be held, nor a window in use by the caller.
 */
void guest_tlb_sync(struct domain *d);
/*
 * This CPU waits for another one (on), in a loop, and looks at no guest meanwhile: who waits in guest_tlb_sync() does not
 * wait for it.
 */
void guest_waits(bool on);
bool guest_tlb_settled(struct domain *d); /* would guest_tlb_sync(d) return at once? */
/*
 * v stops running on this CPU: all of its state is in memory afterwards, for any CPU to load. sched_pick() calls it, its
 * queue's lock held, before another CPU can see v as not running.
 */
void guest_switch_out(struct vcpu *v);
void guest_switch_in(struct vcpu *v); /* v runs on this CPU from now on. Locks: none */
/* The TSC v reads when the machine's is host_tsc. */
uint64_t guest_tsc(struct vcpu *v, uint64_t host_tsc);
/*
 * The pvclock factors of v's TSC. False: system time is not exactly the same linear function of it for all vCPUs of the
 * domain (the machine's TSC is not reliable, or v's is another frequency than the machine's).
 */
bool guest_tsc_scale(struct vcpu *v, uint32_t *mul, int8_t *shift);
/* Prints the machine state of v (registers, what it was doing) for a crash message. */
void guest_dump(struct vcpu *v);
/* The domain is being torn down: interrupts it had bound are released. */
void guest_release_irqs(struct domain *d);

#endif
