/*
 * hvm/vioapic.c: the virtual I/O APIC (one per domain; for the hardware domain as many pins as the machine
 * has GSIs, its lines bound to the physical ones). Source: Intel 82093AA. Locks: vioapic.lock.
 */
#ifndef HVM_VIOAPIC_H
#define HVM_VIOAPIC_H

#include "lib/lock.h"
#include "lib/types.h"

struct domain;

#define VIOAPIC_BASE 0xfec00000ull
#define VIOAPIC_PINS 48
#define VIOAPIC_MAX  4

struct vioapic {
	spinlock_t lock;
	uint32_t nr_pins;
	uint64_t base;
	uint32_t select;
	uint32_t id;
	uint64_t redir[VIOAPIC_PINS]; /* mask is bit 16, remote IRR bit 14, trigger 15, polarity 13 */
};

void vioapic_init(struct domain *d, uint32_t nr_pins);
uint32_t vioapic_mmio_read(struct domain *d, uint32_t offset);
void vioapic_mmio_write(struct domain *d, uint32_t offset, uint32_t value);
void vioapic_pulse(struct domain *d, uint32_t pin); /* the physical line fired: an edge, or asserted until the EOI */
void vioapic_eoi(struct domain *d, uint8_t vector); /* broadcast from a vlapic */

#endif
