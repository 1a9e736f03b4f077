/*
 * Where things lie in the domain's memory. Owns copies of the start info and of the loader's parameters, made once by
 * place_init() and constant from then on; the tables they point to are read where they are and were checked to be RAM
 * that nothing else uses, so the kernel's segments can never reach them.
 */
#include "loader/place.h"
#include "loader/loader.h"
#include "loader/report.h"

#include <stdbool.h>
#include <string.h>

#define LIMIT	    (1ull << 32)
#define MAX_MEMMAP  4096
#define MAX_MODULES 64
#define MAX_CMDLINE 65536

static struct hvm_start_info info;
static struct loader_params params;
static uint64_t info_paddr, head_paddr, head_size;

static void check_range(const char *name, uint64_t start, uint64_t size)
{
	if (size > LIMIT || start > LIMIT - size)
		report_fail("%s at 0x%lx, 0x%lx bytes, is not below 4 GiB: the loader reaches no further", name, start,
			    size);
}

/* The end of the RAM that holds address at, or at itself when the memory map has no RAM there. */
static uint64_t ram_end(uint64_t at)
{
	const struct hvm_memmap_table_entry *map = (const void *)(uintptr_t)info.memmap_paddr;
	uint32_t i;

	for (i = 0; i < info.memmap_entries; i++) {
		if (map[i].type == XEN_HVM_MEMMAP_TYPE_RAM && at >= map[i].addr && at - map[i].addr < map[i].size)
			return map[i].size > LIMIT - map[i].addr ? LIMIT : map[i].addr + map[i].size;
	}
	return at;
}

/* RAM may be described in several adjoining entries: go from one end to the next. */
static void check_ram(const char *name, uint64_t start, uint64_t size)
{
	uint64_t at = start, next;

	check_range(name, start, size);
	while (at < start + size) {
		next = ram_end(at);
		if (next <= at)
			report_fail("%s at 0x%lx, 0x%lx bytes, needs RAM at 0x%lx, where the domain has none: "
				    "give the domain more memory",
				    name, start, size, at);
		at = next;
	}
}

static void check_apart(const char *name, uint64_t start, uint64_t size, const char *other, uint64_t other_start,
			uint64_t other_size)
{
	if (size && other_size && start < other_start + other_size && other_start < start + size)
		report_fail("%s at 0x%lx, 0x%lx bytes, overlaps the %s at 0x%lx, 0x%lx bytes: the builder must put it "
			    "elsewhere",
			    name, start, size, other, other_start, other_size);
}

static uint64_t cmdline_size(uint64_t paddr)
{
	const char *text = (const char *)(uintptr_t)paddr;
	uint64_t n;

	if (!paddr)
		return 0;
	for (n = 0; n < MAX_CMDLINE && paddr + n < LIMIT; n++) {
		if (!text[n])
			return n + 1;
	}
	report_fail("a command line at 0x%lx has no end: give shorter arguments", paddr);
}

/* What the start info points to must outlive the loader: the kernel reads it. */
static void check_apart_from_info(const char *name, uint64_t start, uint64_t size)
{
	const struct hvm_modlist_entry *mod = (const void *)(uintptr_t)info.modlist_paddr;
	uint32_t i;

	check_apart(name, start, size, "start info", info_paddr, sizeof(info));
	check_apart(name, start, size, "memory map", info.memmap_paddr,
		    info.memmap_entries * sizeof(struct hvm_memmap_table_entry));
	check_apart(name, start, size, "command line", info.cmdline_paddr, cmdline_size(info.cmdline_paddr));
	check_apart(name, start, size, "module list", info.modlist_paddr, info.nr_modules * sizeof(*mod));
	for (i = 0; i < info.nr_modules; i++) {
		check_apart(name, start, size, "module", mod[i].paddr, mod[i].size);
		check_apart(name, start, size, "module's command line", mod[i].cmdline_paddr,
			    cmdline_size(mod[i].cmdline_paddr));
	}
}

static void check_info(void)
{
	const struct hvm_modlist_entry *mod = (const void *)(uintptr_t)info.modlist_paddr;
	uint32_t i;

	if (info.magic != XEN_HVM_START_MAGIC_VALUE || info.version < 1)
		report_fail("EBX does not point to a start info of version 1 or newer: the loader needs a PVH domain");
	if (!info.memmap_entries || info.memmap_entries > MAX_MEMMAP)
		report_fail("the start info has %lu memory map entries: the builder must give 1 to %lu",
			    (uint64_t)info.memmap_entries, (uint64_t)MAX_MEMMAP);
	if (info.nr_modules > MAX_MODULES)
		report_fail("the start info has %lu modules: give %lu at most", (uint64_t)info.nr_modules,
			    (uint64_t)MAX_MODULES);
	check_range("the memory map", info.memmap_paddr, info.memmap_entries * sizeof(struct hvm_memmap_table_entry));
	check_range("the module list", info.modlist_paddr, info.nr_modules * sizeof(*mod));
	for (i = 0; i < info.nr_modules; i++)
		check_range("a module", mod[i].paddr, mod[i].size);
}

void place_init(const struct hvm_start_info *start_info, const struct loader_header *head)
{
	memcpy(&info, start_info, sizeof(info));
	memcpy(&params, (const char *)head + head->params, sizeof(params));
	info_paddr = (uintptr_t)start_info;
	head_paddr = (uintptr_t)head;
	head_size = head->mem_size;

	check_info();
	if (!params.payload_size)
		report_fail("the payload is empty: the builder must pass a kernel");
	check_ram("the loader", head_paddr, head_size);
	check_ram("the payload", params.payload_paddr, params.payload_size);
	check_ram("the scratch area", params.scratch_paddr, params.scratch_size);
	check_apart("the payload", params.payload_paddr, params.payload_size, "loader", head_paddr, head_size);
	check_apart("the scratch area", params.scratch_paddr, params.scratch_size, "loader", head_paddr, head_size);
	check_apart("the scratch area", params.scratch_paddr, params.scratch_size, "payload", params.payload_paddr,
		    params.payload_size);
	check_apart_from_info("the loader", head_paddr, head_size);
	check_apart_from_info("the scratch area", params.scratch_paddr, params.scratch_size);
}

const struct loader_params *place_params(void)
{
	return &params;
}

void place_check(const char *name, uint64_t start, uint64_t size)
{
	check_ram(name, start, size);
	check_apart(name, start, size, "loader", head_paddr, head_size);
	check_apart(name, start, size, "payload", params.payload_paddr, params.payload_size);
	check_apart(name, start, size, "scratch area", params.scratch_paddr, params.scratch_size);
	check_apart_from_info(name, start, size);
}
