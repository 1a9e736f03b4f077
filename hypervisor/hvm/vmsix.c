/*
 * MSI-X tables: see vmsix.h. Owns struct vmsix. Locks: vpci.c's.
 * Invariants: an entry that the guest unmasked has a host vector, and the device's entry holds that
 * vector's message.
 */
#include "hvm/vmsix.h"

#include "core/domain.h"
#include "core/heap.h"
#include "core/log.h"
#include "core/p2m.h"
#include "hvm/irq.h"
#include "port/machine.h"

#define ENTRY_BYTES   16u
#define FIELD_ADDRESS 0
#define FIELD_HIGH    4
#define FIELD_DATA    8
#define FIELD_CONTROL 12
#define CONTROL_MASK  1u

#define PCI_COMMAND	   0x04
#define PCI_COMMAND_MEMORY 2u
#define PCI_BAR0	   0x10

void vmsix_discover(struct vmsix *m, uint16_t bdf, uint8_t cap)
{
	uint32_t table = port_pci_read(0, bdf, cap + 4u, 4);

	m->cap = cap;
	m->entries = (uint16_t)((port_pci_read(0, bdf, cap + 2u, 2) & 0x7ff) + 1);
	m->bir = table & 7;
	m->offset = table & ~7u;
}

static uint64_t table_bytes(const struct vmsix *m)
{
	return (uint64_t)m->entries * ENTRY_BYTES;
}

static gpa_t table_address(const struct vmsix *m, uint16_t bdf)
{
	uint16_t reg = (uint16_t)(PCI_BAR0 + m->bir * 4);
	uint64_t bar;

	if (m->bir > 5 || !(port_pci_read(0, bdf, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY))
		return 0;
	bar = port_pci_read(0, bdf, reg, 4);
	if (bar & 1)
		return 0;
	if ((bar & 6) == 4 && m->bir < 5)
		bar |= (uint64_t)port_pci_read(0, bdf, (uint16_t)(reg + 4), 4) << 32;
	bar &= ~0xfull;
	return bar ? bar + m->offset : 0;
}

void vmsix_relocate(struct domain *d, struct vmsix *m, uint16_t bdf)
{
	m->table = table_address(m, bdf);
	if (!m->table)
		return;
	/* Device memory is mapped 1:1 on demand: what was mapped while the table was elsewhere goes. */
	for (gpa_t page = m->table & PAGE_MASK; page < m->table + table_bytes(m); page += PAGE_SIZE)
		if (p2m_lookup(d, GFN(page >> PAGE_SHIFT)).type == P2M_MMIO)
			p2m_unmap(d, GFN(page >> PAGE_SHIFT), ORDER_4K);
}

bool vmsix_owns(const struct vmsix *m, gpa_t gpa)
{
	return m->table && gpa >= (m->table & PAGE_MASK) && gpa < ALIGN_UP(m->table + table_bytes(m), PAGE_SIZE);
}

/* Makes entries and mapping exist for the table's place of now. */
static bool prepare(struct vmsix *m)
{
	gpa_t first = m->table & PAGE_MASK;

	if (!m->entry) {
		m->entry = heap_alloc(m->entries * sizeof(*m->entry));
		if (!m->entry)
			return false;
		for (unsigned i = 0; i < m->entries; i++)
			m->entry[i].handle = -1;
	}
	if (!m->map || m->mapped != first) {
		m->map = port_mmio_map(first, ALIGN_UP(m->table + table_bytes(m), PAGE_SIZE) - first);
		m->mapped = first;
	}
	return m->map;
}

static uint64_t device_read(const struct vmsix *m, gpa_t gpa, unsigned size)
{
	const volatile uint8_t *p = m->map + (gpa - m->mapped);

	switch (size) {
	case 1:
		return *p;
	case 2:
		return *(const volatile uint16_t *)p;
	case 4:
		return *(const volatile uint32_t *)p;
	default:
		return *(const volatile uint64_t *)p;
	}
}

static void device_write(const struct vmsix *m, gpa_t gpa, unsigned size, uint64_t value)
{
	volatile uint8_t *p = m->map + (gpa - m->mapped);

	switch (size) {
	case 1:
		*p = (uint8_t)value;
		break;
	case 2:
		*(volatile uint16_t *)p = (uint16_t)value;
		break;
	case 4:
		*(volatile uint32_t *)p = (uint32_t)value;
		break;
	default:
		*(volatile uint64_t *)p = value;
		break;
	}
}

static bool in_table(const struct vmsix *m, gpa_t gpa)
{
	return gpa >= m->table && gpa < m->table + table_bytes(m);
}

static uint32_t field_read(const struct vmsix *m, unsigned i, unsigned field)
{
	const struct vmsix_entry *e = &m->entry[i];

	switch (field) {
	case FIELD_ADDRESS:
		return (uint32_t)e->address;
	case FIELD_HIGH:
		return (uint32_t)(e->address >> 32);
	case FIELD_DATA:
		return e->data;
	default:
		return (uint32_t)device_read(m, m->table + i * ENTRY_BYTES + FIELD_CONTROL, 4);
	}
}

/* The device's entry gets the host's message. */
static void program(const struct vmsix *m, unsigned i)
{
	gpa_t at = m->table + i * ENTRY_BYTES;
	uint64_t address;
	uint32_t data;

	irq_msi_host(m->entry[i].handle, &address, &data);
	device_write(m, at + FIELD_ADDRESS, 4, (uint32_t)address);
	device_write(m, at + FIELD_HIGH, 4, address >> 32);
	device_write(m, at + FIELD_DATA, 4, data);
}

static void control_write(struct domain *d, struct vmsix *m, unsigned i, uint32_t value)
{
	struct vmsix_entry *e = &m->entry[i];

	if (!(value & CONTROL_MASK) && e->handle < 0 && e->address) {
		e->handle = irq_msi_bind(d, e->address, e->data);
		if (e->handle < 0) {
			log_warn("d%u: no host vector is left for an MSI-X entry", d->id);
			value |= CONTROL_MASK;
		} else {
			program(m, i);
		}
	}
	device_write(m, m->table + i * ENTRY_BYTES + FIELD_CONTROL, 4, value);
}

static void field_write(struct domain *d, struct vmsix *m, unsigned i, unsigned field, uint32_t value)
{
	struct vmsix_entry *e = &m->entry[i];

	switch (field) {
	case FIELD_ADDRESS:
		e->address = (e->address & ~0xffffffffull) | value;
		break;
	case FIELD_HIGH:
		e->address = (uint32_t)e->address | (uint64_t)value << 32;
		break;
	case FIELD_DATA:
		e->data = value;
		break;
	default:
		control_write(d, m, i, value);
		return;
	}
	if (e->handle >= 0) {
		irq_msi_update(e->handle, e->address, e->data);
		program(m, i); /* the device may have lost it in a reset: the guest restores it this way */
	}
}

uint64_t vmsix_read(struct vmsix *m, gpa_t gpa, unsigned size)
{
	uint32_t rel;
	uint64_t value;

	if (!prepare(m))
		return ~0ull;
	if (!in_table(m, gpa))
		return device_read(m, gpa, size);
	rel = (uint32_t)(gpa - m->table);
	if ((rel & 3) + size > 4 && !(size == 8 && (rel & 7) == 0))
		return ~0ull;
	value = field_read(m, rel / ENTRY_BYTES, rel & 12);
	if (size == 8)
		return value | (uint64_t)field_read(m, rel / ENTRY_BYTES, (rel & 12) + 4) << 32;
	return value >> ((rel & 3) * 8);
}

/* Inside the table only whole aligned dwords and quadwords are defined; others are ignored. */
void vmsix_write(struct domain *d, struct vmsix *m, gpa_t gpa, unsigned size, uint64_t value)
{
	uint32_t rel;

	if (!prepare(m))
		return;
	if (!in_table(m, gpa)) {
		device_write(m, gpa, size, value);
		return;
	}
	rel = (uint32_t)(gpa - m->table);
	if (size < 4 || (rel & (size - 1)))
		return;
	field_write(d, m, rel / ENTRY_BYTES, rel & 12, (uint32_t)value);
	if (size == 8)
		field_write(d, m, rel / ENTRY_BYTES, (rel & 12) + 4, (uint32_t)(value >> 32));
}

void vmsix_release(struct vmsix *m)
{
	for (unsigned i = 0; m->entry && i < m->entries; i++) {
		if (m->entry[i].handle >= 0)
			irq_msi_unbind(m->entry[i].handle);
		m->entry[i].handle = -1;
	}
}

void vmsix_destroy(struct vmsix *m)
{
	if (m->entry)
		heap_free(m->entry, m->entries * sizeof(*m->entry));
	m->entry = NULL;
}
