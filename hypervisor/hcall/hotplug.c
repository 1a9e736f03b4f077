/*
 * hcall/hotplug.c: see hotplug.h. XEN_SYSCTL_cpu_hotplug; XENPF_cpu_online and XENPF_cpu_offline come here, too.
 * Source: xen/sysctl.h, xen/platform.h. Owns nothing; locks: none, core/sched_control.c takes its own.
 */
#include "hcall/hotplug.h"

#include "core/evtchn.h"
#include "core/log.h"
#include "core/sched.h"
#include "hcall/sysctl.h"
#include "port/machine.h"

static long told(unsigned cpu, int rc, const char *what)
{
	if (!rc) {
		log_info("CPU %u is %s", cpu, what);
		evtchn_global_virq(VIRQ_PCPU_STATE);
	}
	return rc;
}

long hotplug_down(unsigned cpu)
{
	return cpu ? told(cpu, sched_cpu_down(cpu), "offline") : -EINVAL;
}

long hotplug_up(unsigned cpu)
{
	return told(cpu, sched_cpu_up(cpu), "online");
}

/* A thread that shares its core with one of a lower number. */
static bool is_second_thread(unsigned cpu)
{
	for (unsigned i = 0; i < cpu; i++)
		if (port_cpu_core(i) == port_cpu_core(cpu) && port_cpu_socket(i) == port_cpu_socket(cpu))
			return true;
	return false;
}

static long change_threads(bool up)
{
	long rc = 0;

	if (port_threads_per_core() < 2)
		return -EOPNOTSUPP;
	for (unsigned cpu = 0; !rc && cpu < port_cpu_count(); cpu++) {
		if (!is_second_thread(cpu))
			continue;
		rc = up ? hotplug_up(cpu) : hotplug_down(cpu);
		if (rc == -EEXIST)
			rc = 0;
	}
	return rc;
}

long sysctl_cpu_hotplug(struct sysctl_call *c)
{
	const struct xen_sysctl_cpu_hotplug *p = &c->op.u.cpu_hotplug;

	switch (p->op) {
	case XEN_SYSCTL_CPU_HOTPLUG_ONLINE:
		return hotplug_up(p->cpu);
	case XEN_SYSCTL_CPU_HOTPLUG_OFFLINE:
		return hotplug_down(p->cpu);
	case XEN_SYSCTL_CPU_HOTPLUG_SMT_ENABLE:
		return change_threads(true);
	case XEN_SYSCTL_CPU_HOTPLUG_SMT_DISABLE:
		return change_threads(false);
	default:
		return -EOPNOTSUPP;
	}
}
