/* hcall/hotplug.c: CPUs of the machine go offline and online. */
#ifndef HCALL_HOTPLUG_H
#define HCALL_HOTPLUG_H

#include "lib/types.h"

/*
 * 0 or -errno; the hardware domain hears of it by VIRQ_PCPU_STATE. down: -EINVAL for CPU 0, which has the devices'
 * interrupts; else the errors of sched_cpu_down() and sched_cpu_up(). No locks held.
 */
long hotplug_down(unsigned cpu);
long hotplug_up(unsigned cpu);

#endif
