/*
 * boot/acpi0.c: the ACPI tables the hardware domain sees: its own RSDP, XSDT and MADT (virtual CPUs, one virtual I/O APIC),
 * copies of FADT and DSDT without the sleep states S1 to S4, and the firmware's other tables by address, except those
 * that describe what the hypervisor keeps. Source: ACPI 6.4 chapter 5. Start-up only: no locks.
 */
#include "boot/boot.h"
#include "core/log.h"
#include "hvm/vioapic.h"
#include "lib/lib.h"
#include "lib/xen.h"
#include "port/acpi.h"

struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} __attribute__((packed));

struct madt_lapic {
	uint8_t type, length, uid, id;
	uint32_t flags;
} __attribute__((packed));

struct madt_x2apic {
	uint8_t type, length;
	uint16_t reserved;
	uint32_t id, flags, uid;
} __attribute__((packed));

struct madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address, gsi_base;
} __attribute__((packed));

#define MADT_ENTRIES	44 /* offset of the first entry */
#define MADT_OVERRIDE	2
#define FADT_DSDT	40
#define FADT_PM1A_CNT	64
#define FADT_X_DSDT	140
#define FADT_X_PM1A_CNT 172
#define MCFG_ENTRY	44
#define IVRS_ENTRIES	48
#define MAX_TABLES	64

struct writer {
	char *buf;
	size_t size, used;
	uint64_t gpa;
};

static void fix_checksum(void *table, size_t length, uint8_t *sum)
{
	uint8_t total = 0;

	*sum = 0;
	for (size_t i = 0; i < length; i++)
		total = (uint8_t)(total + ((uint8_t *)table)[i]);
	*sum = (uint8_t)-total;
}

/* Room for n bytes, 16-byte aligned; NULL: full. */
static void *reserve(struct writer *w, size_t n, uint64_t *gpa)
{
	size_t at = ALIGN_UP(w->used, 16);

	if (at + n > w->size)
		return NULL;
	w->used = at + n;
	*gpa = w->gpa + at;
	memset(w->buf + at, 0, n);
	return w->buf + at;
}

static void fill_header(struct header *h, const char *signature, uint8_t revision, uint32_t length)
{
	memcpy(h->signature, signature, 4);
	h->length = length;
	h->revision = revision;
	memcpy(h->oem_id, "GOSMER", 6);
	memcpy(h->oem_table_id, "GOSSAMER", 8);
	h->oem_revision = 1;
	memcpy(h->creator_id, "GSMR", 4);
	h->creator_revision = 1;
}

static bool is(const char sig[4], const char *name)
{
	return memcmp(sig, name, 4) == 0;
}

/* Tables of things the hypervisor keeps to itself, or that would be wrong for virtual CPUs. */
static bool hidden(const char sig[4])
{
	static const char names[][5] = {
		"APIC", "FACP", "DMAR", "IVRS", "HPET", "SRAT", "SLIT", "MPST", "PMTT", "MSCT",
		"HMAT", "BERT", "ERST", "EINJ", "HEST", "WSMT", "PPTT", "CPEP", "XSDT", "RSDT"
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (is(sig, names[i]))
			return true;
	return false;
}

static char *put_overrides(char *at, const struct header *machine)
{
	const uint8_t *e = (const uint8_t *)machine + MADT_ENTRIES, *end = (const uint8_t *)machine + machine->length;

	for (; e + 2 <= end && e[1] >= 2 && e + e[1] <= end; e += e[1])
		if (e[0] == MADT_OVERRIDE) {
			memcpy(at, e, e[1]);
			at += e[1];
		}
	return at;
}

static uint64_t put_madt(struct writer *w, unsigned vcpus)
{
	const struct header *machine = port_acpi_find("APIC", 0);
	size_t most = MADT_ENTRIES + vcpus * sizeof(struct madt_x2apic) + sizeof(struct madt_ioapic) +
		      (machine ? machine->length : 0);
	uint32_t base = 0xfee00000;
	uint64_t gpa;
	struct header *h = reserve(w, most, &gpa);
	char *at;

	if (!h)
		return 0;
	at = (char *)h + MADT_ENTRIES;
	memcpy((char *)h + sizeof(*h), &base, sizeof(base));
	for (unsigned i = 0; i < vcpus; i++) {
		struct madt_lapic l = { 0, sizeof(l), (uint8_t)i, (uint8_t)(i * 2), 1 };
		struct madt_x2apic x = { 9, sizeof(x), 0, i * 2, 1, i };

		if (i * 2 < 255) {
			memcpy(at, &l, sizeof(l));
			at += sizeof(l);
		} else {
			memcpy(at, &x, sizeof(x));
			at += sizeof(x);
		}
	}
	struct madt_ioapic io = { 1, sizeof(io), 0, 0, (uint32_t)VIOAPIC_BASE, 0 };

	memcpy(at, &io, sizeof(io));
	at += sizeof(io);
	if (machine)
		at = put_overrides(at, machine);
	fill_header(h, "APIC", 3, (uint32_t)(at - (char *)h));
	fix_checksum(h, h->length, &h->checksum);
	return gpa;
}

/* Names S1_ to S4_ in AML become unknown ones; NameOp is 0x08 (ACPI 20.2.5.1). */
static void hide_sleep_states(uint8_t *aml, size_t n)
{
	for (size_t i = 0; i + 5 <= n; i++)
		if (aml[i] == 0x08 && aml[i + 1] == '_' && aml[i + 2] == 'S' && aml[i + 3] >= '1' &&
		    aml[i + 3] <= '4' && aml[i + 4] == '_')
			aml[i + 1] = 'X';
}

/* The sleep type of S5 for PM1_CNT: first element of Name(_S5_, Package() { ... }), plus 1; 0: not found (ACPI 7.4.2). */
static uint8_t find_s5(const uint8_t *aml, size_t n)
{
	for (size_t i = 0; i + 12 <= n; i++) {
		const uint8_t *p = aml + i + 5;

		if (aml[i] != 0x08 || memcmp(aml + i + 1, "_S5_", 4) || *p != 0x12)
			continue;
		p += 1 + 1 + (p[1] >> 6) + 1; /* PackageOp, PkgLength, NumElements */
		if (p + 2 > aml + n)
			return 0;
		return (uint8_t)((*p == 0x0a ? p[1] : *p) + 1);
	}
	return 0;
}

static uint64_t put_dsdt(struct writer *w, uint64_t address, struct acpi0 *out)
{
	const struct header *machine = address ? port_acpi_map(address) : NULL;
	uint64_t gpa;
	struct header *h;

	if (!machine || machine->length < sizeof(*machine))
		return address;
	out->pm1_s5 = find_s5((const uint8_t *)machine, machine->length);
	h = reserve(w, machine->length, &gpa);
	if (!h) {
		log_warn("dom0: the DSDT (%u bytes) is too large to copy; sleep states S1-S4 stay visible",
			 machine->length);
		return address;
	}
	memcpy(h, machine, machine->length);
	hide_sleep_states((uint8_t *)h, h->length);
	fix_checksum(h, h->length, &h->checksum);
	return gpa;
}

static uint64_t put_fadt(struct writer *w, struct acpi0 *out)
{
	const struct header *machine = port_acpi_find("FACP", 0);
	uint64_t gpa, dsdt = 0, pm1a = 0;
	uint32_t low;
	struct header *h;

	if (!machine || machine->length < FADT_PM1A_CNT + 4)
		return 0;
	h = reserve(w, machine->length, &gpa);
	if (!h)
		return 0;
	memcpy(h, machine, machine->length);
	memcpy(&low, (char *)h + FADT_PM1A_CNT, sizeof(low));
	if (!low && h->length >= FADT_X_PM1A_CNT + 12 && ((char *)h)[FADT_X_PM1A_CNT] == 1)
		memcpy(&pm1a, (char *)h + FADT_X_PM1A_CNT + 4, sizeof(pm1a));
	out->pm1a_cnt = (uint16_t)(low ? low : pm1a);
	memcpy(&low, (char *)h + FADT_DSDT, sizeof(low));
	if (h->length >= FADT_X_DSDT + 8)
		memcpy(&dsdt, (char *)h + FADT_X_DSDT, sizeof(dsdt));
	dsdt = put_dsdt(w, dsdt ? dsdt : low, out);
	low = (uint32_t)dsdt;
	memcpy((char *)h + FADT_DSDT, &low, sizeof(low));
	if (h->length >= FADT_X_DSDT + 8)
		memcpy((char *)h + FADT_X_DSDT, &dsdt, sizeof(dsdt));
	fix_checksum(h, h->length, &h->checksum);
	return gpa;
}

static void find_mcfg(struct acpi0 *out)
{
	const struct header *h = port_acpi_find("MCFG", 0);
	const uint8_t *e = (const uint8_t *)h + MCFG_ENTRY;

	if (!h || h->length < MCFG_ENTRY + 16)
		return;
	memcpy(&out->mcfg_base, e, 8);
	out->mcfg_bus_start = e[10];
	out->mcfg_bus_end = e[11];
}

/* The IOMMU's own PCI functions (AMD I/O virtualization specification, IVHD blocks). */
static void find_iommus(struct acpi0 *out)
{
	const struct header *h = port_acpi_find("IVRS", 0);
	const uint8_t *e = (const uint8_t *)h + IVRS_ENTRIES, *end = h ? (const uint8_t *)h + h->length : e;

	while (h && e + 6 <= end) {
		uint16_t length, bdf;

		memcpy(&length, e + 2, 2);
		memcpy(&bdf, e + 4, 2);
		if (length < 6)
			return;
		if ((e[0] == 0x10 || e[0] == 0x11 || e[0] == 0x40) && out->nr_hidden < ARRAY_SIZE(out->hidden_bdf) &&
		    (!out->nr_hidden || out->hidden_bdf[out->nr_hidden - 1] != bdf))
			out->hidden_bdf[out->nr_hidden++] = bdf;
		e += length;
	}
}

static uint64_t put_xsdt(struct writer *w, uint64_t madt, uint64_t fadt)
{
	uint64_t table[MAX_TABLES], gpa;
	unsigned n = 0;
	struct header *h;

	if (fadt)
		table[n++] = fadt;
	table[n++] = madt;
	for (unsigned i = 0; i < port_acpi_count() && n < MAX_TABLES; i++) {
		char sig[4];
		paddr_t pa;
		uint32_t len;

		port_acpi_nth(i, sig, &pa, &len);
		if (!hidden(sig))
			table[n++] = pa;
	}
	h = reserve(w, sizeof(*h) + n * sizeof(table[0]), &gpa);
	if (!h)
		return 0;
	memcpy(h + 1, table, n * sizeof(table[0]));
	fill_header(h, "XSDT", 1, (uint32_t)(sizeof(*h) + n * sizeof(table[0])));
	fix_checksum(h, h->length, &h->checksum);
	return gpa;
}

int acpi0_build(void *buf, size_t size, uint64_t gpa, unsigned vcpus, struct acpi0 *out)
{
	struct writer w = { .buf = buf, .size = size, .gpa = gpa };
	struct rsdp *r;
	uint64_t madt, fadt, xsdt;

	memset(out, 0, sizeof(*out));
	r = reserve(&w, sizeof(*r), &out->rsdp_gpa);
	madt = put_madt(&w, vcpus);
	fadt = put_fadt(&w, out);
	find_mcfg(out);
	find_iommus(out);
	xsdt = put_xsdt(&w, madt, fadt);
	if (!r || !madt || !xsdt) {
		log_err("dom0: its ACPI tables do not fit into %lu KiB", size >> 10);
		return -ENOSPC;
	}
	memcpy(r->signature, "RSD PTR ", 8);
	memcpy(r->oem_id, "GOSMER", 6);
	r->revision = 2;
	r->length = sizeof(*r);
	r->xsdt = xsdt;
	fix_checksum(r, 20, &r->checksum);
	fix_checksum(r, sizeof(*r), &r->extended_checksum);
	return (int)w.used;
}
