/*
 * core/trace.c: trace records in the format of xen/trace.h, for xentrace: one ring for each CPU, in frames that the
 * tool maps. A trace point costs one test of trace_events while tracing is off.
 */
#ifndef CORE_TRACE_H
#define CORE_TRACE_H

#include "lib/types.h"
#include "lib/xen.h"

#include <xen/trace.h>

struct domain;
struct vcpu;

/* Event sends have no record of their own on Xen: domid and port, and those they reach. */
#define TRACE_EVENT_SEND (TRC_HW_IRQ + 0x101)

#define TRACE_CLASSES 0x0fff0000u /* of an event; the mask has the same bits */
#define TRACE_VCPU(v) ((uint32_t)(v)->domain->id << 16 | (v)->id)

/* The event mask, 0 while tracing is off. */
extern uint32_t trace_events;

/*
 * A record of this CPU: the event, the time, up to 4 words. Anywhere; no locks are taken. They are passed in registers, so
 * that a function with a trace point needs no room for them.
 */
#define TRACE(event, ...)                                                                                              \
	TRACE_IF(event, sizeof((uint32_t[]){ 0, ##__VA_ARGS__ }) / sizeof(uint32_t) - 1, ##__VA_ARGS__, 0, 0, 0, 0)
#define TRACE_IF(event, n, a, b, c, d, ...)                                                                            \
	do {                                                                                                           \
		if (unlikely(trace_events & (event)&TRACE_CLASSES))                                                    \
			trace_record(event, n, a, b, c, d);                                                            \
	} while (0)
void trace_record(uint32_t event, unsigned n, uint32_t a, uint32_t b, uint32_t c, uint32_t d);
void trace_words(uint32_t event, const uint32_t *words, unsigned n); /* n <= 7 */

/*
 * The scheduler's, called when trace_events is not 0: TRC_SCHED_BLOCK and the like; v leaves its RUNSTATE_* for to.
 */
#define TRACE_RUNSTATE(from, to) (TRC_SCHED_RUNSTATE_CHANGE | (uint32_t)(from) << 8 | (uint32_t)(to) << 4)
void trace_vcpu(uint32_t event, const struct vcpu *v);
void trace_runstate(const struct vcpu *v, unsigned to);
/*
 * This CPU stops running prev and will run next (NULL: idles). Before next becomes RUNSTATE_running, after prev stopped
 * being it. ran, waited: ns that prev ran and next was runnable.
 */
void trace_switch(const struct vcpu *prev, const struct vcpu *next, uint64_t ran, uint64_t waited);
/* Raises VIRQ_TBUF when this CPU's ring became half full. Run loop, no locks held. */
void trace_notify(void);

void trace_init(void); /* boot: off, no rings, all events and CPUs wanted */

/* --- control (XEN_SYSCTL_tbuf_op) --- */

#define TRACE_MAX_PAGES 64u /* of one ring */

/*
 * Makes rings of that many pages (TRACE_MAX_PAGES if it is more) for every CPU, once. -EINVAL (no pages, or another
 * size than there is), -EBUSY (they exist), -ENOMEM.
 */
int trace_make_rings(uint32_t pages);
int trace_enable(void); /* -EINVAL: there are no rings */
void trace_disable(void);
void trace_set_events(uint32_t mask);
uint32_t trace_get_events(void);
void trace_set_cpus(const uint64_t *mask); /* NR_CPUS bits */
/* The frames of struct t_info: the first one, 0 = there are none yet, and their size in bytes. */
uint64_t trace_info(uint32_t *bytes);

/* What DOMID_XEN stands for where frames are mapped: the owner of the rings' frames. On no list, never destroyed. */
struct domain *trace_owner(void);
/* A reference on the owner's frame m for a mapping. 0, -EINVAL: not one of them. *writable: it is part of a ring. */
int trace_get_frame(mfn_t m, bool *writable);

#endif
