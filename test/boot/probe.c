// SPDX-License-Identifier: Apache-2.0
/*
 * dom0's kernel in the boot tests: says what the hypervisor gave it (memory, arguments, module) and checks that the RAM
 * is there, without a hole where Linux lies, and that the module arrived unchanged. A module for it is what
 * `seq -f %015.0f COUNT` prints: lines of 16 bytes.
 *
 * Sources: public header arch-x86/hvm/start_info.h.
 */
#include "../guest/lib/guest.h"

const char guest_name[] = "probe";

#define LINE 16
#define STEP (1UL << 20)
#define LINUX_START (16UL << 20)
#define LINUX_END (112UL << 20)
#define ENOUGH (160UL << 20)

static const char *text(uint64_t address)
{
	return address ? (const char *)address : "";
}

/* One word of each MiB below 4 GiB, and of each range's last page, is there and can be written. */
static void touch(uint64_t start, uint64_t end)
{
	for (uint64_t at = start; at < end && at < 1UL << 32; at += STEP) {
		volatile uint64_t *word = (volatile uint64_t *)at;

		*word = *word;
	}
	if (end <= 1UL << 32) {
		volatile uint64_t *word = (volatile uint64_t *)(end - 8);

		*word = *word;
	}
}

static void memory(void)
{
	const struct hvm_memmap_table_entry *map = (const void *)guest_info->memmap_paddr;
	uint64_t low = 0, high = 0, linux_room = 0;

	for (uint32_t i = 0; i < guest_info->memmap_entries; i++) {
		uint64_t start = (map[i].addr + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
		uint64_t end = (map[i].addr + map[i].size) & ~(PAGE_SIZE - 1);

		if (map[i].type != XEN_HVM_MEMMAP_TYPE_RAM || start >= end)
			continue;
		*(start < 1UL << 32 ? &low : &high) += end - start;
		if (start < LINUX_END && end > LINUX_START)
			linux_room += (end < LINUX_END ? end : LINUX_END) - (start > LINUX_START ? start : LINUX_START);
		if (start) /* a pointer to address 0 is not one for the compiler */
			touch(start, end);
	}
	if (low >= ENOUGH)
		CHECK_EQ("RAM where Linux lies has no hole", linux_room, LINUX_END - LINUX_START);
	print("RAM below 4G %lu KiB, above %lu KiB\n", low >> 10, high >> 10);
}

static uint64_t number(const char *s)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < LINE - 1; i++)
		n = n * 10 + (uint64_t)(s[i] - '0');
	return n;
}

static void module(void)
{
	const struct hvm_modlist_entry *m = (const void *)guest_info->modlist_paddr;
	const char *s;
	uint64_t n;

	print("modules %u\n", guest_info->nr_modules);
	if (!guest_info->nr_modules)
		return;
	print("module %lu bytes, arguments \"%s\"\n", m->size, text(m->cmdline_paddr));
	s = (const char *)m->paddr;
	CHECK("the module is whole pages from its start", !(m->paddr % PAGE_SIZE));
	CHECK("the module is below 4 GiB", m->paddr + m->size <= 1UL << 32);
	for (n = 0; (n + 1) * LINE <= m->size; n++)
		if (number(s + n * LINE) != n + 1 || s[n * LINE + LINE - 1] != '\n')
			break;
	CHECK_EQ("lines of the module as they were", n, m->size / LINE);
}

void guest_main(void)
{
	CHECK("a start record", guest_info && guest_info->magic == XEN_HVM_START_MAGIC_VALUE);
	print("arguments \"%s\"\n", text(guest_info->cmdline_paddr));
	memory();
	module();
}
