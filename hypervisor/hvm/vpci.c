/*
 * Trapped PCI configuration space of the hardware domain: configuration mechanism 1 (PCI Local Bus 3.0,
 * 3.2.2.3.2) and MMCONFIG (PCI Express 3.0, 7.2.2), and the MSI capability (PCI 3.0, 6.8.1). MSI-X tables
 * are vmsix.c's.
 *
 * Owns: struct vpci_domain and the list of functions seen. Locks: vpci_domain.lock, taken before p2m.lock
 * and irq.c's.
 * Invariants: a function whose MSI is enabled has a host vector, and the device holds that vector's
 * message; the guest reads back what it wrote. One message per function: Multiple Message Capable reads 0.
 */
#include "hvm/vpci.h"

#include "core/domain.h"
#include "core/heap.h"
#include "core/log.h"
#include "hvm/hvm.h"
#include "hvm/irq.h"
#include "hvm/vmsix.h"
#include "lib/lib.h"
#include "port/machine.h"

#define BUCKETS	   64
#define MAX_HIDDEN 16

#define PCI_VENDOR     0x00
#define PCI_COMMAND    0x04
#define PCI_STATUS     0x06
#define PCI_BAR0       0x10
#define PCI_BAR_END    0x28
#define PCI_CAPABILITY 0x34
#define STATUS_CAPS    0x10u
#define CAP_MSI	       0x05
#define CAP_MSIX       0x11
#define MSI_ENABLE     0x0001u
#define MSI_MULTIPLE   0x007eu /* capable and enabled counts */
#define MSI_64BIT      0x0080u
#define MSIX_ENABLE    0x8000u
#define ADDRESS_ENABLE 0x80000000u

struct vpci_func {
	struct vpci_func *next;
	uint16_t bdf;
	uint8_t msi; /* offset of the MSI capability, 0: none */
	bool msi_64;
	uint64_t msi_address; /* as the guest wrote them */
	uint16_t msi_data;
	int msi_handle; /* -1: none */
	struct vmsix msix;
};

struct vpci_domain {
	spinlock_t lock;
	uint32_t address; /* port 0xcf8 */
	uint64_t mmcfg_base;
	uint8_t bus_start, bus_end;
	unsigned nr_hidden;
	uint16_t hidden[MAX_HIDDEN];
	struct vpci_func *bucket[BUCKETS];
};

/* --- functions --- */

static void find_capabilities(struct domain *d, struct vpci_func *f)
{
	uint8_t at, id;

	if (!(port_pci_read(0, f->bdf, PCI_STATUS, 2) & STATUS_CAPS))
		return;
	at = port_pci_read(0, f->bdf, PCI_CAPABILITY, 1) & 0xfc;
	for (unsigned n = 0; at >= 0x40 && n < 48; n++) { /* a list of 48 capabilities has a loop */
		id = (uint8_t)port_pci_read(0, f->bdf, at, 1);
		if (id == CAP_MSI && !f->msi) {
			f->msi = at;
			f->msi_64 = port_pci_read(0, f->bdf, at + 2u, 2) & MSI_64BIT;
		} else if (id == CAP_MSIX && !f->msix.cap) {
			vmsix_discover(&f->msix, f->bdf, at);
			vmsix_relocate(d, &f->msix, f->bdf);
		}
		at = port_pci_read(0, f->bdf, at + 1u, 1) & 0xfc;
	}
}

/* NULL: no such function, or no memory (then it simply passes through). */
static struct vpci_func *get_func(struct domain *d, struct vpci_domain *p, uint16_t bdf) REQUIRES(p->lock)
{
	struct vpci_func **head = &p->bucket[(bdf ^ bdf >> 3 ^ bdf >> 8) % BUCKETS], *f;
	uint16_t vendor;

	for (f = *head; f; f = f->next)
		if (f->bdf == bdf)
			return f;
	vendor = (uint16_t)port_pci_read(0, bdf, PCI_VENDOR, 2);
	if (vendor == 0xffff || vendor == 0)
		return NULL;
	f = heap_new(struct vpci_func);
	if (!f)
		return NULL;
	f->bdf = bdf;
	f->msi_handle = -1;
	f->next = *head;
	*head = f;
	find_capabilities(d, f);
	return f;
}

static bool is_hidden(const struct vpci_domain *p, uint16_t bdf)
{
	for (unsigned i = 0; i < p->nr_hidden; i++)
		if (p->hidden[i] == bdf)
			return true;
	return false;
}

/* --- MSI --- */

/* Offset of the data register in the capability. */
static unsigned msi_data_at(const struct vpci_func *f)
{
	return f->msi_64 ? 12 : 8;
}

static bool in_msi(const struct vpci_func *f, uint16_t reg)
{
	return f->msi && reg >= f->msi && reg < f->msi + msi_data_at(f) + 4;
}

static uint32_t msi_read_dword(const struct vpci_func *f, unsigned off)
{
	uint32_t raw = port_pci_read(0, f->bdf, (uint16_t)(f->msi + off), 4);

	if (off == 0)
		return raw & ~(MSI_MULTIPLE << 16);
	if (off == 4)
		return (uint32_t)f->msi_address;
	if (off == msi_data_at(f))
		return (raw & 0xffff0000u) | f->msi_data;
	return (uint32_t)(f->msi_address >> 32);
}

static void msi_program(const struct vpci_func *f)
{
	uint64_t address;
	uint32_t data;

	irq_msi_host(f->msi_handle, &address, &data);
	port_pci_write(0, f->bdf, f->msi + 4u, 4, (uint32_t)address);
	if (f->msi_64)
		port_pci_write(0, f->bdf, f->msi + 8u, 4, (uint32_t)(address >> 32));
	port_pci_write(0, f->bdf, (uint16_t)(f->msi + msi_data_at(f)), 2, data);
}

static void msi_control(struct domain *d, struct vpci_func *f, uint16_t control)
{
	bool on = control & MSI_ENABLE;

	if (on && f->msi_handle < 0) {
		f->msi_handle = irq_msi_bind(d, f->msi_address, f->msi_data);
		if (f->msi_handle < 0) {
			log_warn("d%u: no host vector is left for an MSI", d->id);
			return;
		}
	}
	if (on)
		msi_program(f);
	port_pci_write(0, f->bdf, f->msi + 2u, 2, control & ~MSI_MULTIPLE);
	if (!on && f->msi_handle >= 0) {
		irq_msi_unbind(f->msi_handle);
		f->msi_handle = -1;
	}
}

/* value: the dword at off as it becomes */
static void msi_write_dword(struct domain *d, struct vpci_func *f, unsigned off, uint32_t value)
{
	if (off == 0) {
		msi_control(d, f, (uint16_t)(value >> 16));
		return;
	}
	if (off == 4)
		f->msi_address = (f->msi_address & ~0xffffffffull) | (value & ~3u);
	else if (off == msi_data_at(f))
		f->msi_data = (uint16_t)value;
	else
		f->msi_address = (uint32_t)f->msi_address | (uint64_t)value << 32;
	if (f->msi_handle >= 0) {
		irq_msi_update(f->msi_handle, f->msi_address, f->msi_data);
		msi_program(f); /* a reset may have cleared it: the guest restores it this way */
	}
}

/* --- configuration space; accesses never cross a dword --- */

static uint32_t ones(unsigned size)
{
	return size == 4 ? 0xffffffffu : (1u << (size * 8)) - 1;
}

static uint32_t config_read(struct domain *d, struct vpci_domain *p, uint16_t bdf, uint16_t reg, unsigned size)
	REQUIRES(p->lock)
{
	struct vpci_func *f;
	unsigned off;

	if ((reg & (size - 1)) || is_hidden(p, bdf))
		return ones(size);
	f = get_func(d, p, bdf);
	if (!f || !in_msi(f, reg))
		return port_pci_read(0, bdf, reg, size);
	off = reg - f->msi;
	return msi_read_dword(f, off & ~3u) >> ((off & 3) * 8) & ones(size);
}

static void config_write(struct domain *d, struct vpci_domain *p, uint16_t bdf, uint16_t reg, unsigned size,
			 uint32_t value) REQUIRES(p->lock)
{
	uint16_t dword = reg & ~3u;
	struct vpci_func *f;
	uint32_t shift, old;

	if ((reg & (size - 1)) || is_hidden(p, bdf))
		return;
	f = get_func(d, p, bdf);
	if (f && in_msi(f, reg)) {
		shift = (reg & 3) * 8;
		old = msi_read_dword(f, dword - f->msi);
		old = (old & ~(ones(size) << shift)) | (value & ones(size)) << shift;
		msi_write_dword(d, f, dword - f->msi, old);
		return;
	}
	port_pci_write(0, bdf, reg, size, value);
	if (!f || !f->msix.cap)
		return;
	if (dword == PCI_COMMAND || (dword >= PCI_BAR0 && dword < PCI_BAR_END))
		vmsix_relocate(d, &f->msix, bdf);
	else if (dword == f->msix.cap && !(port_pci_read(0, bdf, f->msix.cap + 2u, 2) & MSIX_ENABLE))
		vmsix_release(&f->msix);
}

/* --- ports 0xcf8-0xcff --- */

uint32_t vpci_port_read(struct vcpu *v, uint16_t port, unsigned size)
{
	struct vpci_domain *p = v->domain->hvm->vpci;
	uint32_t value = ones(size);

	if (port < 0xcfc && !(port == 0xcf8 && size == 4))
		return port_io_read(port, size); /* not the address register: 0xcf9 is reset control */
	spin_lock(&p->lock);
	if (port == 0xcf8)
		value = p->address;
	else if ((p->address & ADDRESS_ENABLE) && (port & 3) + size <= 4)
		value = config_read(v->domain, p, (uint16_t)(p->address >> 8), (p->address & 0xfc) + (port & 3u), size);
	spin_unlock(&p->lock);
	return value;
}

void vpci_port_write(struct vcpu *v, uint16_t port, unsigned size, uint32_t value)
{
	struct vpci_domain *p = v->domain->hvm->vpci;

	if (port < 0xcfc && !(port == 0xcf8 && size == 4)) {
		port_io_write(port, size, value);
		return;
	}
	spin_lock(&p->lock);
	if (port == 0xcf8)
		p->address = value & ~3u;
	else if ((p->address & ADDRESS_ENABLE) && (port & 3) + size <= 4)
		config_write(v->domain, p, (uint16_t)(p->address >> 8), (p->address & 0xfc) + (port & 3u), size, value);
	spin_unlock(&p->lock);
}

/* --- MMCONFIG and MSI-X tables --- */

static bool in_mmcfg(const struct vpci_domain *p, gpa_t gpa)
{
	return p->mmcfg_base && gpa >= p->mmcfg_base + ((uint64_t)p->bus_start << 20) &&
	       gpa < p->mmcfg_base + (((uint64_t)p->bus_end + 1) << 20);
}

static struct vpci_func *table_owner(struct vpci_domain *p, gpa_t gpa) REQUIRES(p->lock)
{
	struct vpci_func *f;

	for (unsigned i = 0; i < BUCKETS; i++)
		for (f = p->bucket[i]; f; f = f->next)
			if (vmsix_owns(&f->msix, gpa))
				return f;
	return NULL;
}

bool vpci_mmio_owns(struct domain *d, uint64_t gpa)
{
	struct vpci_domain *p = d->hvm->vpci;
	bool owns;

	if (in_mmcfg(p, gpa))
		return true;
	spin_lock(&p->lock);
	owns = table_owner(p, gpa);
	spin_unlock(&p->lock);
	return owns;
}

uint64_t vpci_mmio_read(struct vcpu *v, uint64_t gpa, unsigned size)
{
	struct vpci_domain *p = v->domain->hvm->vpci;
	uint64_t off = gpa - p->mmcfg_base, value = ~0ull;
	struct vpci_func *f;

	spin_lock(&p->lock);
	if (in_mmcfg(p, gpa)) {
		value = config_read(v->domain, p, (uint16_t)(off >> 12), off & 0xfff, MIN(size, 4u));
		if (size == 8)
			value |= (uint64_t)config_read(v->domain, p, (uint16_t)(off >> 12), (off & 0xfff) + 4, 4) << 32;
	} else if ((f = table_owner(p, gpa)) != NULL) {
		value = vmsix_read(&f->msix, gpa, size);
	}
	spin_unlock(&p->lock);
	return value;
}

void vpci_mmio_write(struct vcpu *v, uint64_t gpa, unsigned size, uint64_t value)
{
	struct vpci_domain *p = v->domain->hvm->vpci;
	uint64_t off = gpa - p->mmcfg_base;
	struct vpci_func *f;

	spin_lock(&p->lock);
	if (in_mmcfg(p, gpa)) {
		config_write(v->domain, p, (uint16_t)(off >> 12), off & 0xfff, MIN(size, 4u), (uint32_t)value);
		if (size == 8)
			config_write(v->domain, p, (uint16_t)(off >> 12), (off & 0xfff) + 4, 4,
				     (uint32_t)(value >> 32));
	} else if ((f = table_owner(p, gpa)) != NULL) {
		vmsix_write(v->domain, &f->msix, gpa, size, value);
	}
	spin_unlock(&p->lock);
}

/* --- life --- */

int vpci_init(struct domain *d, uint64_t mmcfg_base, uint8_t bus_start, uint8_t bus_end)
{
	struct vpci_domain *p = heap_new(struct vpci_domain);

	if (!p)
		return -ENOMEM;
	spin_lock_init(&p->lock, LOCK_VPCI);
	p->mmcfg_base = mmcfg_base;
	p->bus_start = bus_start;
	p->bus_end = bus_end;
	d->hvm->vpci = p;
	return 0;
}

void vpci_hide(struct domain *d, uint16_t bdf)
{
	struct vpci_domain *p = d->hvm->vpci;

	spin_lock(&p->lock);
	if (p->nr_hidden < MAX_HIDDEN)
		p->hidden[p->nr_hidden++] = bdf;
	else
		log_warn("vpci: no room to hide function %04x", bdf);
	spin_unlock(&p->lock);
}

/* Host vectors are gone already: irq_domain_release(). */
void vpci_destroy(struct domain *d)
{
	struct vpci_domain *p = d->hvm->vpci;
	struct vpci_func *f;

	for (unsigned i = 0; i < BUCKETS; i++) {
		while ((f = p->bucket[i]) != NULL) {
			p->bucket[i] = f->next;
			vmsix_destroy(&f->msix);
			heap_free(f, sizeof(*f));
		}
	}
	heap_free(p, sizeof(*p));
	d->hvm->vpci = NULL;
}
