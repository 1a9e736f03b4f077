/*
 * The firmware's ACPI tables: finding, checking, mapping them; and what the machine itself needs of MADT and FADT.
 * Source: ACPI 6.4, 5.2.5 (RSDP) to 5.2.12 (MADT). Read-only after port_boot_acpi(). No locks.
 */
#include "lib/lib.h"
#include "port/acpi.h"
#include "port/boot.h"
#include "x86/cpu.h"
#include "x86/x86.h"

struct rsdp {
	char sig[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t checksum2, reserved[3];
} __attribute__((packed));

struct acpi_header {
	char sig[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	uint32_t oem_revision, creator, creator_revision;
} __attribute__((packed));

#define ACPI_MAX_TABLES 64

static struct acpi_table {
	char sig[4];
	paddr_t pa;
	uint32_t len;
	const struct acpi_header *map;
} tables[ACPI_MAX_TABLES];
static unsigned nr_tables;
static paddr_t rsdp_pa;
struct acpi_machine acpi_machine;

static bool acpi_sum_ok(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint8_t sum = 0;

	while (n--)
		sum += *b++;
	return !sum;
}

static uint16_t get16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t get32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t get64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static paddr_t acpi_scan(paddr_t start, size_t size)
{
	const uint8_t *p = paging_firmware_map(start, size);

	for (size_t i = 0; p && i + 20 <= size; i += 16)
		if (!memcmp(p + i, "RSD PTR ", 8) && acpi_sum_ok(p + i, 20))
			return start + i;
	return 0;
}

static paddr_t acpi_search(void)
{
	const uint8_t *bda = paging_firmware_map(0x400, 256);
	paddr_t ebda = bda ? (paddr_t)get16(bda + 0xe) << 4 : 0, found = 0;

	if (ebda >= 0x80000 && ebda < 0xa0000)
		found = acpi_scan(ebda, 1024);
	return found ? found : acpi_scan(0xe0000, 0x20000);
}

const void *port_acpi_map(paddr_t pa)
{
	const struct acpi_header *h = paging_firmware_map(pa, 8);

	if (!h || h->length < 8 || h->length > 16u << 20)
		return NULL;
	if ((pa & (PAGE_SIZE - 1)) + h->length > PAGE_SIZE)
		h = paging_firmware_map(pa, h->length);
	return h;
}

static void acpi_add(paddr_t pa)
{
	const struct acpi_header *h = pa ? port_acpi_map(pa) : NULL;

	if (!h || nr_tables == ACPI_MAX_TABLES || h->length < sizeof(*h))
		return;
	if (!acpi_sum_ok(h, h->length)) {
		x86_log("ACPI: table %.4s at %lx has a wrong checksum, ignored", h->sig, pa);
		return;
	}
	tables[nr_tables] = (struct acpi_table){ .pa = pa, .len = h->length, .map = h };
	memcpy(tables[nr_tables++].sig, h->sig, 4);
}

static void acpi_list(void)
{
	const struct rsdp *r = paging_firmware_map(rsdp_pa, sizeof(*r));
	bool wide = r && r->revision >= 2 && r->xsdt;
	const struct acpi_header *root = r ? port_acpi_map(wide ? r->xsdt : r->rsdt) : NULL;
	unsigned entry = wide ? 8 : 4;

	if (!root || !acpi_sum_ok(root, root->length))
		x86_panic("ACPI: the %s is damaged", wide ? "XSDT" : "RSDT");
	for (size_t at = sizeof(*root); at + entry <= root->length; at += entry) {
		const char *p = (const char *)root + at;

		acpi_add(wide ? get64(p) : get32(p));
	}
}

unsigned port_acpi_count(void)
{
	return nr_tables;
}

void port_acpi_nth(unsigned i, char sig[4], paddr_t *pa, uint32_t *len)
{
	memcpy(sig, tables[i].sig, 4);
	*pa = tables[i].pa;
	*len = tables[i].len;
}

static const struct acpi_table *acpi_table(const char sig[4], unsigned n)
{
	for (unsigned i = 0; i < nr_tables; i++)
		if (!memcmp(tables[i].sig, sig, 4) && !n--)
			return &tables[i];
	return NULL;
}

const void *port_acpi_find(const char sig[4], unsigned n)
{
	const struct acpi_table *t = acpi_table(sig, n);

	return t ? t->map : NULL;
}

static void madt_cpu(uint32_t id, uint32_t flags)
{
	struct acpi_machine *m = &acpi_machine;

	if (!(flags & 1))
		return;
	for (unsigned i = 0; i < m->nr_cpus; i++)
		if (m->apicid[i] == id)
			return;
	if (m->nr_cpus < NR_CPUS)
		m->apicid[m->nr_cpus++] = id;
}

/* Interrupt source override, 5.2.12.5: flags polarity 0-1 (3 = active low), trigger 2-3 (3 = level). */
static void madt_override(const uint8_t *e)
{
	struct acpi_machine *m = &acpi_machine;
	uint16_t flags = get16(e + 8);

	if (m->nr_overrides < ACPI_MAX_OVERRIDES && e[2] == 0)
		m->override[m->nr_overrides++] = (struct acpi_override){
			.irq = e[3],
			.gsi = get32(e + 4),
			.active_low = (flags & 3) == 3,
			.level = (flags >> 2 & 3) == 3,
		};
}

static void acpi_madt(const uint8_t *madt, uint32_t len)
{
	struct acpi_machine *m = &acpi_machine;

	m->lapic = get32(madt + 36);
	for (uint32_t at = 44; at + 2 <= len && madt[at + 1] >= 2 && at + madt[at + 1] <= len; at += madt[at + 1]) {
		const uint8_t *e = madt + at;

		if (e[0] == 0 && e[1] >= 8)
			madt_cpu(e[3], get32(e + 4));
		else if (e[0] == 9 && e[1] >= 16)
			madt_cpu(get32(e + 4), get32(e + 8));
		else if (e[0] == 1 && e[1] >= 12 && m->nr_ioapics < ACPI_MAX_IOAPICS)
			m->ioapic[m->nr_ioapics++] = (struct acpi_ioapic){ get32(e + 4), get32(e + 8) };
		else if (e[0] == 2 && e[1] >= 10)
			madt_override(e);
	}
}

static void acpi_numa(void)
{
	const struct acpi_table *srat = acpi_table("SRAT", 0), *slit = acpi_table("SLIT", 0);

	topology_cpus();
	topology_nodes(srat ? (const uint8_t *)srat->map : NULL, srat ? srat->len : 0,
		       slit ? (const uint8_t *)slit->map : NULL, slit ? slit->len : 0);
}

void port_boot_acpi(paddr_t rsdp)
{
	const struct acpi_header *madt;

	rsdp_pa = rsdp ? rsdp : acpi_search();
	if (!rsdp_pa)
		x86_panic("ACPI: no RSDP found: this machine cannot be used");
	acpi_list();
	madt = port_acpi_find("APIC", 0);
	if (!madt || madt->length < 44)
		x86_panic("ACPI: no MADT: this machine cannot be used");
	acpi_madt((const uint8_t *)madt, madt->length);
	if (!acpi_machine.nr_ioapics)
		x86_panic("ACPI: the MADT names no I/O APIC");
	acpi_numa();
}

/* FADT: flags at 112 (bit 10: RESET_REG_SUP), RESET_REG at 116, RESET_VALUE at 128. */
bool acpi_reset_register(uint8_t *space, uint64_t *address, uint8_t *value)
{
	const struct acpi_table *t = acpi_table("FACP", 0);
	const uint8_t *f = t ? (const uint8_t *)t->map : NULL;

	if (!f || t->len < 129 || !(get32(f + 112) & BIT(10)))
		return false;
	*space = f[116];
	*address = get64(f + 120);
	*value = f[128];
	return *address;
}
