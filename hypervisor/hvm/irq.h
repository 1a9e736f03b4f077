/*
 * hvm/irq.c: physical interrupts on their way to the domain that owns the device: GSIs through its
 * vIO-APIC, messages (MSI, MSI-X) to its vlapics. upcall_irq() ends here. Locks: irq lock (one).
 */
#ifndef HVM_IRQ_H
#define HVM_IRQ_H

#include "lib/types.h"

struct domain;

struct irq_domain {
	uint64_t bound[4]; /* bit per GSI bound to a host vector */
};

/* The vIO-APIC's redirection entry of a hardware domain changed: bind, mask or unmask the physical line. */
void irq_gsi_update(struct domain *d, unsigned gsi, bool masked, bool level, bool active_low);
void irq_gsi_eoi(struct domain *d, unsigned gsi); /* guest finished a level interrupt: unmask the line */

/*
 * A message interrupt: gives it a host vector; the guest's own address and data are what it wrote. handle
 * >= 0, or -ENOSPC. irq_msi_host() tells what to program into the device.
 */
int irq_msi_bind(struct domain *d, uint64_t guest_address, uint32_t guest_data);
void irq_msi_update(int handle, uint64_t guest_address, uint32_t guest_data);
void irq_msi_host(int handle, uint64_t *address, uint32_t *data);
void irq_msi_unbind(int handle);
void irq_domain_release(struct domain *d); /* everything d still has bound (guest_release_irqs) */

#endif
