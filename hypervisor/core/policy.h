/*
 * core/policy.c: rights. No code asks "is this dom0?": a domain has named rights, and one function answers
 * may(caller, action, target).
 */
#ifndef CORE_POLICY_H
#define CORE_POLICY_H

#include "lib/types.h"

struct domain;

/* What a domain may do by itself. */
#define RIGHT_HARDWARE (1u << 0) /* I/O ports, device memory, PCI, interrupts, platform ops */
#define RIGHT_CONTROL  (1u << 1) /* domctl, sysctl, every other domain's memory and events */
#define RIGHT_CONSOLE  (1u << 2) /* reads and writes the machine's console */
#define RIGHT_XENSTORE (1u << 3) /* maps grants of others as the store, gets VIRQ_DOM_EXC */
#define RIGHT_ALL      0xfu

enum action {
	ACTION_DOMCTL,	 /* control a domain */
	ACTION_SYSCTL,	 /* target NULL */
	ACTION_PLATFORM, /* target NULL */
	ACTION_MEMORY,	 /* change or map the target's memory from outside */
	ACTION_EVENTS,	 /* allocate ports or read state in the target */
	ACTION_PARAMS,	 /* HVM parameters of the target */
	ACTION_GRANTS,	 /* query or seed the target's grant table */
	ACTION_CONSOLE,
	ACTION_HARDWARE,
	ACTION_DOMINFO, /* learn about a domain (getdomaininfo) */
};

/* 0, or -EPERM. A domain may always act on itself where target == caller and the action is not a control one. */
int policy_may(const struct domain *caller, enum action a, const struct domain *target);

#endif
