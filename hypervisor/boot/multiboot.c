/*
 * What the boot loader says: Multiboot 1 and 2 information -> boot_info. Runs first, with the first 4 GiB mapped one to
 * one; everything is copied, nothing refers to the loader's memory afterwards but modules. Source: Multiboot 0.6.96, 3.3;
 * Multiboot2 2.0, 3.6.
 */
#include "boot/boot.h"
#include "core/log.h"
#include "lib/lib.h"

#define MB1_BOOT_MAGIC 0x2badb002u
#define MB2_BOOT_MAGIC 0x36d76289u

#define MB1_CMDLINE BIT(2)
#define MB1_MODULES BIT(3)
#define MB1_MMAP    BIT(6)
#define MB1_LOADER  BIT(9)

#define RAW_MAX	      256
#define TYPE_RAM      1u
#define TYPE_RESERVED 2u
#define TYPE_ACPI     3u
#define TYPE_NVS      4u
#define TYPE_UNUSABLE 5u

struct mb1_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
	uint32_t mmap_length, mmap_addr, drives_length, drives_addr, config_table, loader_name;
};

struct mb1_module {
	uint32_t start, end, string, reserved;
};

struct mb1_mmap {
	uint32_t size; /* of the rest */
	uint64_t addr, len;
	uint32_t type;
} __attribute__((packed));

struct mb2_tag {
	uint32_t type, size;
};

enum mb2_type {
	MB2_END = 0,
	MB2_CMDLINE = 1,
	MB2_LOADER = 2,
	MB2_MODULE = 3,
	MB2_MMAP = 6,
	MB2_EFI32 = 11,
	MB2_EFI64 = 12,
	MB2_ACPI_OLD = 14,
	MB2_ACPI_NEW = 15,
	MB2_EFI_MMAP = 17,
	MB2_EFI_ACTIVE = 18,
};

struct mb2_mmap {
	struct mb2_tag tag;
	uint32_t entry_size, entry_version;
};

struct efi_descriptor { /* UEFI 2.9, 7.2 */
	uint32_t type, pad;
	uint64_t start, virtual_start, pages, attribute;
};

struct boot_info boot_info;

/* The map as given: not sorted, possibly overlapping. */
static struct {
	uint64_t start, end;
	uint32_t type;
} raw[RAW_MAX];
static unsigned nr_raw;
static uint64_t edges[2 * RAW_MAX];
static uint8_t rsdp_copy[36] __attribute__((aligned(16)));

static const void *at(uint64_t address)
{
	return (const void *)(uintptr_t)address;
}

static void raw_add(uint64_t start, uint64_t len, uint32_t type)
{
	if (!len || start + len < start)
		return;
	if (nr_raw == RAW_MAX) {
		log_warn("memory map: more than %u entries, %lx is ignored", RAW_MAX, start);
		return;
	}
	raw[nr_raw].start = start;
	raw[nr_raw].end = start + len;
	raw[nr_raw++].type = type >= TYPE_RAM && type <= TYPE_UNUSABLE ? type : TYPE_RESERVED;
}

/* What [start, end) is when several entries cover it: anything but RAM wins over RAM. 0: nothing. */
static uint32_t raw_type(uint64_t start, uint64_t end)
{
	static const uint8_t rank[] = { 0, 1, 4, 2, 3, 5 };
	uint32_t type = 0;

	for (unsigned i = 0; i < nr_raw; i++)
		if (raw[i].start < end && raw[i].end > start && rank[raw[i].type] > rank[type])
			type = raw[i].type;
	return type;
}

static void map_add(uint64_t start, uint64_t end, uint32_t type)
{
	struct boot_info *b = &boot_info;

	if (b->nr_ram && b->ram[b->nr_ram - 1].end == start && b->ram[b->nr_ram - 1].type == type) {
		b->ram[b->nr_ram - 1].end = end;
		return;
	}
	if (b->nr_ram == BOOT_MAX_RAM) {
		log_warn("memory map: more than %u ranges, %lx to %lx is not used", BOOT_MAX_RAM, start, end);
		return;
	}
	b->ram[b->nr_ram].start = start;
	b->ram[b->nr_ram].end = end;
	b->ram[b->nr_ram++].type = type;
}

static void map_finish(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nr_raw; i++) {
		edges[n++] = raw[i].start;
		edges[n++] = raw[i].end;
	}
	for (unsigned i = 1; i < n; i++) {
		uint64_t e = edges[i];
		unsigned j = i;

		for (; j && edges[j - 1] > e; j--)
			edges[j] = edges[j - 1];
		edges[j] = e;
	}
	for (unsigned i = 0; i + 1 < n; i++) {
		uint32_t type = edges[i] < edges[i + 1] ? raw_type(edges[i], edges[i + 1]) : 0;

		if (type)
			map_add(edges[i], edges[i + 1], type);
	}
	if (!boot_info.nr_ram)
		panic("the boot loader (%s) gave no memory map", boot_info.loader);
}

/* GRUB passes arguments only; others (QEMU, iPXE, SYSLINUX) put the file's name before them. */
static const char *skip_own_name(const char *s)
{
	if (!strncmp(boot_info.loader, "GRUB", 4))
		return s;
	while (*s && *s != ' ')
		s++;
	while (*s == ' ')
		s++;
	return s;
}

static void add_module(uint64_t start, uint64_t end, const char *args)
{
	struct boot_module *m = &boot_info.module[boot_info.nr_modules];

	if (boot_info.nr_modules == BOOT_MAX_MODULES) {
		log_warn("more than %u modules: the rest is ignored", BOOT_MAX_MODULES);
		return;
	}
	m->start = start;
	m->size = end - start;
	if (lib_strlcpy(m->args, skip_own_name(args), sizeof(m->args)) >= sizeof(m->args))
		panic("the arguments of module %u are longer than %lu characters", boot_info.nr_modules,
		      sizeof(m->args) - 1);
	boot_info.nr_modules++;
}

static void set_cmdline(const char *s)
{
	if (lib_strlcpy(boot_info.cmdline, skip_own_name(s), sizeof(boot_info.cmdline)) >= sizeof(boot_info.cmdline))
		panic("the hypervisor's options are longer than %lu characters", sizeof(boot_info.cmdline) - 1);
}

static void parse_mb1(const struct mb1_info *m)
{
	if (m->flags & MB1_LOADER)
		lib_strlcpy(boot_info.loader, at(m->loader_name), sizeof(boot_info.loader));
	if (m->flags & MB1_CMDLINE)
		set_cmdline(at(m->cmdline));
	if (m->flags & MB1_MODULES) {
		const struct mb1_module *mod = at(m->mods_addr);

		for (unsigned i = 0; i < m->mods_count; i++)
			add_module(mod[i].start, mod[i].end, mod[i].string ? at(mod[i].string) : "");
	}
	if (m->flags & MB1_MMAP) {
		for (uint32_t o = 0; o + sizeof(struct mb1_mmap) <= m->mmap_length;) {
			const struct mb1_mmap *e = at((uint64_t)m->mmap_addr + o);

			raw_add(e->addr, e->len, e->type);
			o += e->size + (uint32_t)sizeof(e->size);
		}
	}
}

static uint32_t efi_type(uint32_t t)
{
	switch (t) {
	case 1: /* loader code and data, boot services, conventional */
	case 2:
	case 3:
	case 4:
	case 7:
		return TYPE_RAM;
	case 9:
		return TYPE_ACPI;
	case 10:
		return TYPE_NVS;
	case 8:
		return TYPE_UNUSABLE;
	default:
		return TYPE_RESERVED;
	}
}

static void parse_mb2_mmap(const struct mb2_mmap *m, bool efi)
{
	const char *p = (const char *)(m + 1), *end = (const char *)m + m->tag.size;

	for (; m->entry_size >= 24 && p + m->entry_size <= end; p += m->entry_size) {
		struct efi_descriptor d;
		uint64_t w[3];

		if (efi) {
			memcpy(&d, p, sizeof(d));
			raw_add(d.start, d.pages << PAGE_SHIFT, efi_type(d.type));
		} else {
			memcpy(w, p, sizeof(w));
			raw_add(w[0], w[1], (uint32_t)w[2]);
		}
	}
}

static void parse_mb2_tag(const struct mb2_tag *t)
{
	const char *body = (const char *)(t + 1);
	const uint32_t *word = (const uint32_t *)body;

	switch (t->type) {
	case MB2_CMDLINE:
		set_cmdline(body);
		break;
	case MB2_MODULE:
		add_module(word[0], word[1], body + 8);
		break;
	case MB2_MMAP:
		parse_mb2_mmap((const struct mb2_mmap *)t, false);
		break;
	case MB2_EFI32:
	case MB2_EFI64:
		boot_info.efi = true;
		break;
	case MB2_EFI_ACTIVE:
		panic("the boot loader has not left the EFI boot services");
	case MB2_ACPI_OLD:
	case MB2_ACPI_NEW: /* a copy of the RSDP: kept here, since the loader's memory will be used */
		if (t->type == MB2_ACPI_OLD && boot_info.rsdp)
			break;
		memcpy(rsdp_copy, body, MIN(t->size - sizeof(*t), sizeof(rsdp_copy)));
		boot_info.rsdp = (uint64_t)(uintptr_t)rsdp_copy;
		break;
	default:
		break;
	}
}

static const struct mb2_tag *next_tag(const struct mb2_tag *t)
{
	return (const struct mb2_tag *)((const char *)t + ALIGN_UP(t->size, 8u));
}

static void parse_mb2(const uint32_t *info)
{
	const struct mb2_tag *first = (const struct mb2_tag *)(info + 2), *t;

	for (t = first; t->type != MB2_END; t = next_tag(t))
		if (t->type == MB2_LOADER)
			lib_strlcpy(boot_info.loader, (const char *)(t + 1), sizeof(boot_info.loader));
	for (t = first; t->type != MB2_END; t = next_tag(t))
		parse_mb2_tag(t);
	if (nr_raw)
		return;
	for (t = first; t->type != MB2_END; t = next_tag(t))
		if (t->type == MB2_EFI_MMAP)
			parse_mb2_mmap((const struct mb2_mmap *)t, true);
}

void multiboot_parse(uint32_t magic, const void *info)
{
	lib_strlcpy(boot_info.loader, "an unnamed boot loader", sizeof(boot_info.loader));
	if (magic == MB1_BOOT_MAGIC)
		parse_mb1(info);
	else if (magic == MB2_BOOT_MAGIC)
		parse_mb2(info);
	else
		panic("not started by a Multiboot 1 or 2 boot loader (magic %x)", magic);
	map_finish();
}
