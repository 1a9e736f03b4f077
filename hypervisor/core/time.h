/*
 * core/time.c: what a guest sees of time: pvclock records, wall clock, singleshot and periodic vCPU timers, runstate and
 * time areas. Source: xen/xen.h vcpu_time_info, xen/vcpu.h. Locks: none of its own; records are written by the CPU that runs the vCPU.
 */
#ifndef CORE_TIME_H
#define CORE_TIME_H

#include "lib/types.h"

struct domain;
struct vcpu;

void time_init(void);			      /* wall clock base from the RTC */
void time_update_vcpu(struct vcpu *v);	      /* writes vcpu_info.time (and the registered time area) */
void time_update_wallclock(struct domain *d); /* shared_info wc_* */
void time_set_wallclock(uint64_t secs, uint32_t nsecs, uint64_t system_time); /* XENPF_settime64 */
/* Runstate area registered by v (VCPUOP_register_runstate_memory_area): rewritten when the state changed and v is entered. */
void time_update_runstate(struct vcpu *v);

#endif
