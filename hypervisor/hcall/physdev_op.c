/*
 * hcall/physdev_op.c: what the hardware domain tells about the machine. Source: xen/physdev.h. No domain has pirqs
 * (XENFEAT_hvm_pirqs is off): interrupts of devices go through the trapped I/O APIC and MSI. Locks: none.
 */
#include "core/guestmem.h"
#include "core/policy.h"
#include "hcall/table.h"

/* Devices are found by trapped configuration space, so this is only checked, not kept. */
static long pci_device_add(struct hcall *h, gva_t arg)
{
	struct physdev_pci_device_add add;

	/* The optional array is not part of the fixed structure. */
	if (guestmem_read(h->v, &add, arg, offsetof(struct physdev_pci_device_add, optarr)))
		return -EFAULT;
	return 0;
}

static long pci_device_remove(struct hcall *h, gva_t arg)
{
	struct physdev_pci_device dev;

	return hcall_copy_in(h, &dev, arg);
}

static long pci_mmcfg_reserved(struct hcall *h, gva_t arg)
{
	struct physdev_pci_mmcfg_reserved info;

	if (hcall_copy_in(h, &info, arg))
		return -EFAULT;
	return info.start_bus <= info.end_bus ? 0 : -EINVAL;
}

long hcall_physdev_op(struct hcall *h)
{
	uint32_t cmd = (uint32_t)h->arg[0];

	if (policy_may(h->d, ACTION_HARDWARE, NULL))
		return -ENOSYS; /* as Xen answers a domain without hardware */

	switch (cmd) {
	case PHYSDEVOP_pci_mmcfg_reserved:
		return pci_mmcfg_reserved(h, h->arg[1]);
	case PHYSDEVOP_pci_device_add:
		return pci_device_add(h, h->arg[1]);
	case PHYSDEVOP_pci_device_remove:
		return pci_device_remove(h, h->arg[1]);
	case PHYSDEVOP_dbgp_op: /* no debug port of the hypervisor's to reset */
		return 0;
	default:
		return -ENOSYS; /* pirqs, and what only PV domains may do */
	}
}
