/*
 * Plays the dom0 builder on a bare emulator: a PVH kernel that copies the loader it carries to where the command line
 * says, takes the first module (qemu -initrd) as the payload, and starts the loader.
 *
 * Command line: L<address of the loader> S<address>:<size of the scratch area> in hexadecimal, then the kernel's own.
 */
#include "loader/loader.h"

#include <stddef.h>
#include <xen/arch-x86/hvm/start_info.h>

extern const uint8_t image[], image_end[];
static struct hvm_memmap_table_entry ram = {0x100000, 0x17f00000, XEN_HVM_MEMMAP_TYPE_RAM, 0};

void enter(uint32_t entry, struct hvm_start_info *info);
void wrapper_main(struct hvm_start_info *info);

static const char *number(const char *s, char mark, uint32_t *value)
{
	*value = 0;
	if (*s++ != mark)
		return s - 1;
	for (; *s && *s != ' ' && *s != ':'; s++)
		*value = *value * 16 + (*s <= '9' ? *s - '0' : *s - 'a' + 10);
	return *s == ' ' ? s + 1 : s;
}

void wrapper_main(struct hvm_start_info *info)
{
	const struct hvm_modlist_entry *mod = (void *)(uintptr_t)info->modlist_paddr;
	const char *s = (const char *)(uintptr_t)info->cmdline_paddr;
	uint32_t base, scratch, size, i;
	volatile uint8_t *to;
	struct loader_header *head;
	struct loader_params *params;

	/* QEMU puts the kernel's name first. */
	while (*s && *s != 'L')
		s++;
	s = number(s, 'L', &base);
	s = number(s, 'S', &scratch);
	s = number(s, ':', &size);
	to = (volatile uint8_t *)(uintptr_t)base;
	for (i = 0; i < (uint32_t)(image_end - image); i++)
		to[i] = image[i];
	head = (struct loader_header *)(uintptr_t)base;
	params = (struct loader_params *)(uintptr_t)(base + head->params);
	params->payload_paddr = info->nr_modules ? mod[0].paddr : 0;
	params->payload_size = info->nr_modules ? mod[0].size : 0;
	params->scratch_paddr = scratch;
	params->scratch_size = size;
	info->nr_modules = 0;
	/* Xen 4.17 gives its PVH dom0 no memory map here: what the tests give it at least. */
	if (!info->version) {
		info->version = 1;
		info->memmap_paddr = (uintptr_t)&ram;
		info->memmap_entries = 1;
	}
	enter(base + head->entry, info);
}
