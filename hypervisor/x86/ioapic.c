/*
 * I/O APICs, host vectors, and where a device interrupt goes. Source: 82093AA data sheet; ACPI 6.4, 5.2.12.
 * Locks: ioapic_lock for the registers (index and data), the vector table and lines. Interrupt handlers take it too:
 * they run only where their CPU holds no lock.
 */
#include "lib/lib.h"
#include "lib/lock.h"
#include "lib/xen.h"
#include "port/upcall.h"
#include "x86/cpu.h"
#include "x86/x86.h"

#define RTE(n)	   (0x10 + 2 * (n))
#define RTE_LOW	   BIT(13)
#define RTE_LEVEL  BIT(15)
#define RTE_MASKED BIT(16)

#define GSI_MAX	   512
#define VECTORS	   256
#define OWNER_FREE 0 /* else: GSI + 1, or OWNER_MSI */
#define OWNER_MSI  0xffff

struct ioapic {
	volatile uint32_t *regs; /* index at 0, data at 0x10 */
	uint32_t gsi_base, lines;
};

static spinlock_t ioapic_lock = SPINLOCK_INIT(LOCK_MACHINE);
static struct ioapic ioapics[ACPI_MAX_IOAPICS];
static unsigned nr_ioapics, gsi_count;
static uint16_t vector_owner[VECTORS]; /* ioapic_lock */
static uint32_t rte_low[GSI_MAX];      /* low half of each entry as written; ioapic_lock */

static uint32_t ioapic_read(const struct ioapic *a, unsigned reg)
{
	a->regs[0] = reg;
	return a->regs[4];
}

static void ioapic_write(const struct ioapic *a, unsigned reg, uint32_t v)
{
	a->regs[0] = reg;
	a->regs[4] = v;
}

static const struct ioapic *ioapic_of(unsigned gsi)
{
	for (unsigned i = 0; i < nr_ioapics; i++)
		if (gsi - ioapics[i].gsi_base < ioapics[i].lines && gsi < GSI_MAX)
			return &ioapics[i];
	return NULL;
}

static void ioapic_set_low(const struct ioapic *a, unsigned gsi, uint32_t low)
{
	rte_low[gsi] = low;
	ioapic_write(a, RTE(gsi - a->gsi_base), low);
}

void ioapic_init(void)
{
	const struct acpi_machine *m = &acpi_machine;

	for (unsigned i = 0; i < m->nr_ioapics; i++) {
		struct ioapic *a = &ioapics[nr_ioapics++];

		a->regs = port_mmio_map(m->ioapic[i].address, PAGE_SIZE);
		a->gsi_base = m->ioapic[i].gsi_base;
		a->lines = (ioapic_read(a, 1) >> 16 & 0xff) + 1;
		gsi_count = MIN(MAX(gsi_count, a->gsi_base + a->lines), (unsigned)GSI_MAX);
		for (unsigned n = 0; n < a->lines && a->gsi_base + n < GSI_MAX; n++)
			ioapic_set_low(a, a->gsi_base + n, RTE_MASKED);
	}
	for (unsigned v = 0; v < VECTORS; v++)
		if (v < VECTOR_DEVICE_FIRST || v > VECTOR_DEVICE_LAST)
			vector_owner[v] = OWNER_MSI;
}

unsigned port_gsi_count(void)
{
	return gsi_count;
}

static int vector_take(uint16_t owner) REQUIRES(ioapic_lock)
{
	for (unsigned v = VECTOR_DEVICE_FIRST; v <= VECTOR_DEVICE_LAST; v++) {
		if (vector_owner[v] == OWNER_FREE) {
			vector_owner[v] = owner;
			return (int)v;
		}
	}
	return -ENOSPC;
}

int port_vector_alloc(void)
{
	int v;

	spin_lock(&ioapic_lock);
	v = vector_take(OWNER_MSI);
	spin_unlock(&ioapic_lock);
	return v;
}

void port_vector_free(unsigned vector)
{
	if (vector < VECTOR_DEVICE_FIRST || vector > VECTOR_DEVICE_LAST)
		x86_panic("vector %u is not a device's", vector);
	spin_lock(&ioapic_lock);
	vector_owner[vector] = OWNER_FREE;
	spin_unlock(&ioapic_lock);
}

int port_gsi_bind(unsigned gsi, bool level, bool active_low, unsigned cpu)
{
	const struct ioapic *a = ioapic_of(gsi);
	int v;

	if (!a || cpu >= port_cpu_count())
		return -EINVAL;
	spin_lock(&ioapic_lock);
	v = rte_low[gsi] & 0xff ? -EBUSY : vector_take((uint16_t)(gsi + 1));
	if (v >= 0) {
		ioapic_write(a, RTE(gsi - a->gsi_base) + 1, port_cpu_apicid(cpu) << 24);
		ioapic_set_low(a, gsi, (uint32_t)v | (level ? RTE_LEVEL : 0) | (active_low ? RTE_LOW : 0));
	}
	spin_unlock(&ioapic_lock);
	return v;
}

static void gsi_change(unsigned gsi, uint32_t set, uint32_t clear)
{
	const struct ioapic *a = ioapic_of(gsi);

	if (!a)
		return;
	spin_lock(&ioapic_lock);
	if (rte_low[gsi] & 0xff)
		ioapic_set_low(a, gsi, (rte_low[gsi] & ~clear) | set);
	spin_unlock(&ioapic_lock);
}

void port_gsi_mask(unsigned gsi)
{
	gsi_change(gsi, RTE_MASKED, 0);
}

void port_gsi_unmask(unsigned gsi)
{
	gsi_change(gsi, 0, RTE_MASKED);
}

void port_gsi_unbind(unsigned gsi)
{
	const struct ioapic *a = ioapic_of(gsi);

	if (!a)
		return;
	spin_lock(&ioapic_lock);
	if (rte_low[gsi] & 0xff)
		vector_owner[rte_low[gsi] & 0xff] = OWNER_FREE;
	ioapic_set_low(a, gsi, RTE_MASKED);
	spin_unlock(&ioapic_lock);
}

/* Physical destination, fixed delivery, edge: SDM vol. 3, 11.11. */
void port_msi_message(unsigned vector, unsigned cpu, uint64_t *address, uint32_t *data)
{
	*address = 0xfee00000ull | (uint64_t)(port_cpu_apicid(cpu) & 0xff) << 12;
	*data = vector;
}

unsigned ioapic_isa_gsi(unsigned irq, bool *level, bool *active_low)
{
	const struct acpi_machine *m = &acpi_machine;

	*level = *active_low = false;
	for (unsigned i = 0; i < m->nr_overrides; i++) {
		if (m->override[i].irq == irq) {
			*level = m->override[i].level;
			*active_low = m->override[i].active_low;
			return m->override[i].gsi;
		}
	}
	return irq;
}

int ioapic_own_irq(unsigned irq)
{
	bool level, low;
	unsigned gsi = ioapic_isa_gsi(irq, &level, &low);

	return port_gsi_bind(gsi, level, low, 0);
}

void ioapic_interrupt(unsigned vector)
{
	uint16_t owner = __atomic_load_n(&vector_owner[vector], __ATOMIC_RELAXED);

	if (vector == serial_vector()) {
		apic_eoi();
		serial_interrupt(vector);
		return;
	}
	if (tcg_interrupt(vector))
		return;
	if (owner != OWNER_FREE && owner != OWNER_MSI && rte_low[owner - 1] & RTE_LEVEL)
		port_gsi_mask(owner - 1u);
	apic_eoi();
	if (owner != OWNER_FREE)
		upcall_irq(vector);
}
