/*
 * Physical interrupts on their way to the domain that owns the device.
 *
 * Owns: the table from host vector to what it stands for. Locks: irq_lock guards the table; it is never
 * held while an interrupt is delivered. A handle of a message is its host vector.
 * Invariants: a GSI is bound from its first unmasking on; gsi_vector[g] is then the slot that says so.
 */
#include "hvm/irq.h"

#include "core/domain.h"
#include "core/log.h"
#include "core/policy.h"
#include "hvm/hvm.h"
#include "lib/lock.h"
#include "port/machine.h"
#include "port/upcall.h"

#define NR_VECTORS 256
#define NR_GSIS	   256

enum slot_kind { SLOT_FREE, SLOT_GSI, SLOT_MSI };

struct slot {
	struct domain *d;
	uint64_t address; /* SLOT_MSI: as the guest wrote it */
	uint32_t data;
	uint8_t kind;
	uint8_t gsi; /* SLOT_GSI: */
	bool level, active_low;
};

static spinlock_t irq_lock = SPINLOCK_INIT(LOCK_IRQ);
static struct slot slots[NR_VECTORS] GUARDED_BY(irq_lock);
static uint8_t gsi_vector[NR_GSIS] GUARDED_BY(irq_lock); /* 0: not bound */

/* --- GSIs --- */

static void gsi_unbind(unsigned gsi) REQUIRES(irq_lock)
{
	struct slot *s = &slots[gsi_vector[gsi]];

	port_gsi_unbind(gsi);
	s->d->hvm->irq.bound[gsi / 64] &= ~BIT(gsi % 64);
	s->kind = SLOT_FREE;
	s->d = NULL;
	gsi_vector[gsi] = 0;
}

static void gsi_bind(struct domain *d, unsigned gsi, bool level, bool active_low) REQUIRES(irq_lock)
{
	int vector = port_gsi_bind(gsi, level, active_low, 0);

	if (vector <= 0 || vector >= NR_VECTORS) {
		log_warn("irq: GSI %u cannot be bound (%d)", gsi, vector);
		return;
	}
	slots[vector] = (struct slot){
		.d = d, .kind = SLOT_GSI, .gsi = (uint8_t)gsi, .level = level, .active_low = active_low
	};
	gsi_vector[gsi] = (uint8_t)vector;
	d->hvm->irq.bound[gsi / 64] |= BIT(gsi % 64);
}

void irq_gsi_update(struct domain *d, unsigned gsi, bool masked, bool level, bool active_low)
{
	struct slot *s;

	if (gsi >= NR_GSIS || gsi >= port_gsi_count() || policy_may(d, ACTION_HARDWARE, NULL))
		return;
	spin_lock(&irq_lock);
	s = gsi_vector[gsi] ? &slots[gsi_vector[gsi]] : NULL;
	if (s && s->d != d) {
		spin_unlock(&irq_lock);
		return;
	}
	if (s && !masked && (s->level != level || s->active_low != active_low)) {
		gsi_unbind(gsi);
		s = NULL;
	}
	if (!s && !masked) {
		gsi_bind(d, gsi, level, active_low);
	} else if (s && masked) {
		port_gsi_mask(gsi);
	} else if (s) {
		port_gsi_unmask(gsi);
	}
	spin_unlock(&irq_lock);
}

void irq_gsi_eoi(struct domain *d, unsigned gsi)
{
	if (gsi >= NR_GSIS)
		return;
	spin_lock(&irq_lock);
	if (gsi_vector[gsi] && slots[gsi_vector[gsi]].d == d)
		port_gsi_unmask(gsi);
	spin_unlock(&irq_lock);
}

/* --- messages --- */

int irq_msi_bind(struct domain *d, uint64_t guest_address, uint32_t guest_data)
{
	int vector = port_vector_alloc();

	if (vector < 0 || vector >= NR_VECTORS)
		return -ENOSPC;
	spin_lock(&irq_lock);
	slots[vector] = (struct slot){ .d = d, .kind = SLOT_MSI, .address = guest_address, .data = guest_data };
	spin_unlock(&irq_lock);
	return vector;
}

void irq_msi_update(int handle, uint64_t guest_address, uint32_t guest_data)
{
	spin_lock(&irq_lock);
	slots[handle].address = guest_address;
	slots[handle].data = guest_data;
	spin_unlock(&irq_lock);
}

void irq_msi_host(int handle, uint64_t *address, uint32_t *data)
{
	port_msi_message((unsigned)handle, 0, address, data);
}

void irq_msi_unbind(int handle)
{
	spin_lock(&irq_lock);
	slots[handle] = (struct slot){ 0 };
	spin_unlock(&irq_lock);
	port_vector_free((unsigned)handle);
}

void irq_domain_release(struct domain *d)
{
	spin_lock(&irq_lock);
	for (unsigned gsi = 0; gsi < NR_GSIS; gsi++)
		if (gsi_vector[gsi] && slots[gsi_vector[gsi]].d == d)
			gsi_unbind(gsi);
	for (unsigned i = 0; i < NR_VECTORS; i++) {
		if (slots[i].kind != SLOT_MSI || slots[i].d != d)
			continue;
		slots[i] = (struct slot){ 0 };
		port_vector_free(i);
	}
	spin_unlock(&irq_lock);
}

void upcall_irq(unsigned vector)
{
	struct slot s;

	if (vector >= NR_VECTORS)
		return;
	spin_lock(&irq_lock);
	s = slots[vector];
	if (s.d)
		domain_hold(s.d); /* irq_domain_release() may run on another CPU */
	spin_unlock(&irq_lock);
	if (s.kind == SLOT_GSI)
		vioapic_pulse(s.d, s.gsi);
	else if (s.kind == SLOT_MSI) /* message layout: SDM vol. 3, 11.11 */
		vlapic_deliver(s.d, (s.address >> 12) & 0xff, s.address & 4, (s.data >> 8) & 7, (uint8_t)s.data,
			       s.data & 0x8000);
	if (s.d)
		domain_put(s.d);
}
