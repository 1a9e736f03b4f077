/*
 * PCI configuration space: ports 0xcf8/0xcfc for the first 256 bytes of segment 0, memory (ACPI MCFG) for all.
 * Locks: pci_lock for the port pair. Source: PCI Firmware 3.2, 4.1.2.
 */
#include "lib/lib.h"
#include "lib/lock.h"
#include "port/acpi.h"
#include "x86/cpu.h"
#include "x86/x86.h"

static spinlock_t pci_lock = SPINLOCK_INIT(LOCK_MACHINE);
static volatile uint8_t *ecam; /* of segment 0, bus ecam_first; NULL: none */
static uint8_t ecam_first, ecam_last;

void pci_machine_init(void)
{
	const uint8_t *m = port_acpi_find("MCFG", 0);
	uint64_t base;
	uint32_t len;
	uint16_t seg;

	if (!m)
		return;
	memcpy(&len, m + 4, sizeof(len));
	if (len < 60)
		return;
	memcpy(&base, m + 44, sizeof(base));
	memcpy(&seg, m + 52, sizeof(seg));
	if (seg || m[54] > m[55])
		return;
	ecam_first = m[54];
	ecam_last = m[55];
	ecam = port_mmio_map(base + ((uint64_t)ecam_first << 20), (size_t)(ecam_last - ecam_first + 1) << 20);
}

static volatile uint8_t *pci_memory(uint16_t seg, uint16_t bdf, uint16_t reg)
{
	unsigned bus = bdf >> 8;

	if (!ecam || seg || bus < ecam_first || bus > ecam_last)
		return NULL;
	return ecam + ((uint64_t)(bdf - (ecam_first << 8)) << 12) + reg;
}

uint32_t port_pci_read(uint16_t seg, uint16_t bdf, uint16_t reg, unsigned size)
{
	volatile uint8_t *p = pci_memory(seg, bdf, reg);
	uint32_t v;

	if (p && reg > 255)
		return size == 1 ? *p : size == 2 ? *(volatile uint16_t *)p : *(volatile uint32_t *)p;
	if (seg || reg > 255)
		return ~0u >> (32 - 8 * size);
	spin_lock(&pci_lock);
	x86_out32(0xcf8, 0x80000000u | (uint32_t)bdf << 8 | (reg & 0xfc));
	v = port_io_read(0xcfc + (reg & 3), size);
	spin_unlock(&pci_lock);
	return v;
}

void port_pci_write(uint16_t seg, uint16_t bdf, uint16_t reg, unsigned size, uint32_t value)
{
	volatile uint8_t *p = pci_memory(seg, bdf, reg);

	if (p && reg > 255) {
		if (size == 1)
			*p = (uint8_t)value;
		else if (size == 2)
			*(volatile uint16_t *)p = (uint16_t)value;
		else
			*(volatile uint32_t *)p = value;
		return;
	}
	if (seg || reg > 255)
		return;
	spin_lock(&pci_lock);
	x86_out32(0xcf8, 0x80000000u | (uint32_t)bdf << 8 | (reg & 0xfc));
	port_io_write(0xcfc + (reg & 3), size, value);
	spin_unlock(&pci_lock);
}
