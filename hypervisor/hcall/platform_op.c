/*
 * hcall/platform_op.c: the machine as its hardware domain manages it. Source: xen/platform.h. Locks: none.
 */
#include "core/guestmem.h"
#include "core/policy.h"
#include "core/sched.h"
#include "core/time.h"
#include "hcall/hotplug.h"
#include "hcall/table.h"
#include "lib/lib.h"
#include "port/cpu.h"
#include "port/machine.h"

static long platform_settime64(struct xen_platform_op *op)
{
	const struct xenpf_settime64 *t = &op->u.settime64;

	if (t->mbz)
		return -EINVAL;
	time_set_wallclock(t->secs, t->nsecs, t->system_time);
	return 0;
}

static long platform_settime32(struct xen_platform_op *op)
{
	const struct xenpf_settime32 *t = &op->u.settime32;

	time_set_wallclock(t->secs, t->nsecs, t->system_time);
	return 0;
}

/* We were not started by EFI and asked the BIOS nothing. */
static long platform_firmware_info(struct xen_platform_op *op)
{
	switch (op->u.firmware_info.type) {
	case XEN_FW_DISK_INFO:
	case XEN_FW_DISK_MBR_SIGNATURE:
	case XEN_FW_VBEDDC_INFO:
		return -ESRCH;
	case XEN_FW_EFI_INFO:
		return -ENOSYS;
	case XEN_FW_KBD_SHIFT_FLAGS:
		op->u.firmware_info.u.kbd_shift_flags = 0;
		return 0;
	default:
		return -EINVAL;
	}
}

static long platform_get_cpuinfo(struct xen_platform_op *op)
{
	struct xenpf_pcpuinfo *info = &op->u.pcpu_info;
	struct cpumask online = sched_online();

	info->max_present = port_cpu_count() - 1;
	if (info->xen_cpuid >= port_cpu_count()) {
		info->flags = XEN_PCPU_FLAGS_INVALID;
		return 0;
	}
	info->flags = cpumask_test(&online, info->xen_cpuid) ? XEN_PCPU_FLAGS_ONLINE : 0;
	info->apic_id = port_cpu_apicid(info->xen_cpuid);
	info->acpi_id = info->xen_cpuid;
	return 0;
}

/* All CPUs are taken to be of one kind. CPUID leaf 1: extended family and model apply by the vendor's rule. */
static long platform_get_cpu_version(struct xen_platform_op *op)
{
	struct xenpf_pcpu_version *ver = &op->u.pcpu_version;
	uint32_t r[4];

	ver->max_present = port_cpu_count() - 1;
	if (ver->xen_cpuid >= port_cpu_count()) {
		memset(ver->vendor_id, 0, sizeof(ver->vendor_id));
		ver->family = ver->model = ver->stepping = 0;
		return 0;
	}
	port_cpuid(0, 0, r);
	memcpy(ver->vendor_id, &r[1], 4);
	memcpy(ver->vendor_id + 4, &r[3], 4);
	memcpy(ver->vendor_id + 8, &r[2], 4);
	port_cpuid(1, 0, r);
	ver->family = r[0] >> 8 & 0xf;
	ver->model = r[0] >> 4 & 0xf;
	ver->stepping = r[0] & 0xf;
	if (ver->family == 0xf || ver->family == 6)
		ver->model |= r[0] >> 12 & 0xf0;
	if (ver->family == 0xf)
		ver->family += r[0] >> 20 & 0xff;
	return 0;
}

/*
 * XEN_PM_PDC asks which power states the hypervisor wants to keep from the firmware's _PDC: none, since it manages none,
 * so the caller's capabilities stay as they are. What it found out about such states nobody here can use.
 */
static long platform_set_processor_pminfo(struct xen_platform_op *op)
{
	if (op->u.set_pminfo.type == XEN_PM_PDC)
		return 0;
	return hcall_unimplemented("platform_op set_processor_pminfo", op->u.set_pminfo.type, ENOSYS);
}

/* What is as it is to be is fine here, unlike for XEN_SYSCTL_cpu_hotplug. */
static long platform_cpu_online(struct xen_platform_op *op)
{
	long rc = hotplug_up(op->u.cpu_ol.cpuid);

	return rc == -EEXIST ? 0 : rc;
}

static long platform_cpu_offline(struct xen_platform_op *op)
{
	long rc = op->u.cpu_ol.cpuid ? hotplug_down(op->u.cpu_ol.cpuid) : -EOPNOTSUPP;

	return rc == -EEXIST ? 0 : rc;
}

/* -1: unknown; else whether the structure goes back. */
static int platform_direction(uint32_t cmd)
{
	enum { IN, INOUT };

	switch (cmd) {
#define PLATFORM(name, dir)                                                                                            \
	case XENPF_##name:                                                                                             \
		return dir;
#include "hcall/ops.def"
	default:
		return -1;
	}
}

static long platform_run(struct xen_platform_op *op)
{
	switch (op->cmd) {
#define PLATFORM(name, dir)                                                                                            \
	case XENPF_##name:                                                                                             \
		return platform_##name(op);
#define PLATFORM_REFUSED(name, error)                                                                                  \
	case XENPF_##name:                                                                                             \
		return -error;
#define PLATFORM_MISSING(name, error)                                                                                  \
	case XENPF_##name:                                                                                             \
		return hcall_unimplemented("platform_op", op->cmd, error);
#include "hcall/ops.def"
	default:
		return -ENOSYS;
	}
}

/* The parts of the structure that are offered lie alike for 32-bit callers (see hcall/compat.c). */
long hcall_platform_op(struct hcall *h)
{
	struct xen_platform_op op;
	long ret;
	int back;

	if (hcall_copy_in(h, &op, h->arg[0]))
		return -EFAULT;
	if (op.interface_version != XENPF_INTERFACE_VERSION)
		return -EACCES;
	ret = policy_may(h->d, ACTION_PLATFORM, NULL);
	if (ret)
		return ret;
	back = platform_direction(op.cmd);
	if (back > 0 && guestmem_check_write(h->v, h->arg[0], sizeof(op)))
		return -EFAULT;
	ret = platform_run(&op);
	if (ret == 0 && back > 0)
		ret = hcall_copy_out(h, h->arg[0], &op);
	return ret;
}
