/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core_page FILE FRAME: prints the page that a core file of xl dump-core has for the guest's frame. Checks the file
 * before, and says what is wrong with it. Runs in dom0. Layout: docs/misc/dump-core-format.txt of Xen, xen/elfnote.h.
 */
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <xenctrl.h>
#include <xen/elfnote.h>

#define PAGE 4096u

struct part {
	const uint8_t *data;
	uint64_t size;
};

static const uint8_t *file;
static uint64_t file_size;

#define REQUIRE(condition)                                                                                            \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fputs("the core file is wrong: not " #condition "\n", stderr);                                 \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

static struct part section(const char *name)
{
	const Elf64_Ehdr *eh = (const void *)file;
	const Elf64_Shdr *sh, *names;

	REQUIRE(eh->e_shoff + (uint64_t)eh->e_shnum * sizeof(*sh) <= file_size && eh->e_shstrndx < eh->e_shnum);
	sh = (const void *)(file + eh->e_shoff);
	names = &sh[eh->e_shstrndx];
	REQUIRE(names->sh_offset + names->sh_size <= file_size);
	for (unsigned int i = 1; i < eh->e_shnum; i++) {
		if (strcmp((const char *)file + names->sh_offset + sh[i].sh_name, name) != 0)
			continue;
		REQUIRE(sh[i].sh_offset + sh[i].sh_size <= file_size);
		return (struct part){file + sh[i].sh_offset, sh[i].sh_size};
	}
	fprintf(stderr, "the core file has no section %s\n", name);
	exit(1);
}

/* The description of one of the notes; they all have the name "Xen". */
static struct part note(struct part notes, uint32_t type)
{
	while (notes.size >= sizeof(Elf64_Nhdr) + 4) {
		const Elf64_Nhdr *nh = (const void *)notes.data;
		uint64_t whole = sizeof(*nh) + 4 + (nh->n_descsz + 3) / 4 * 4;

		REQUIRE(nh->n_namesz == 4 && memcmp(nh + 1, "Xen", 4) == 0 && whole <= notes.size);
		if (nh->n_type == type)
			return (struct part){(const uint8_t *)(nh + 1) + 4, nh->n_descsz};
		notes.data += whole;
		notes.size -= whole;
	}
	fprintf(stderr, "the core file has no note %#x\n", type);
	exit(1);
}

/* Magic number, vCPUs, pages, page size. */
static void check_notes(uint64_t vcpus, uint64_t pages)
{
	struct part notes = section(".note.Xen"), head = note(notes, XEN_ELFNOTE_DUMPCORE_HEADER);
	struct part version = note(notes, XEN_ELFNOTE_DUMPCORE_XEN_VERSION);
	uint64_t header[4], number[2];

	REQUIRE(head.size == sizeof(header) && version.size > sizeof(number));
	memcpy(header, head.data, sizeof(header));
	memcpy(number, version.data, sizeof(number));
	REQUIRE(header[0] == XC_CORE_MAGIC_HVM && header[1] == vcpus && header[2] == pages && header[3] == PAGE);
	REQUIRE(number[0] == 4 && number[1] == 17);
	note(notes, XEN_ELFNOTE_DUMPCORE_FORMAT_VERSION);
}

int main(int argc, char **argv)
{
	int fd = argc == 3 ? open(argv[1], O_RDONLY) : -1;
	const Elf64_Ehdr *eh;
	struct part pages, pfns, status;
	struct stat st;
	uint64_t wanted;

	REQUIRE(fd >= 0 && fstat(fd, &st) == 0 && st.st_size >= (off_t)sizeof(*eh));
	wanted = strtoull(argv[2], NULL, 16);
	file_size = (uint64_t)st.st_size;
	file = mmap(NULL, file_size, PROT_READ, MAP_PRIVATE, fd, 0);
	REQUIRE(file != MAP_FAILED);
	eh = (const void *)file;
	REQUIRE(memcmp(eh->e_ident, ELFMAG, SELFMAG) == 0 && eh->e_ident[EI_CLASS] == ELFCLASS64);
	REQUIRE(eh->e_type == ET_CORE && eh->e_machine == EM_X86_64);
	pages = section(".xen_pages");
	pfns = section(".xen_pfn");
	status = section(".xen_prstatus");
	REQUIRE(pages.size != 0 && pages.size % PAGE == 0 && pfns.size == pages.size / PAGE * sizeof(uint64_t));
	REQUIRE(status.size == sizeof(struct vcpu_guest_context));
	REQUIRE(section(".xen_shared_info").size == PAGE);
	check_notes(1, pages.size / PAGE);
	for (uint64_t i = 0; i < pages.size / PAGE; i++) {
		uint64_t pfn;

		memcpy(&pfn, pfns.data + i * sizeof(pfn), sizeof(pfn));
		if (pfn == wanted)
			return fwrite(pages.data + i * PAGE, PAGE, 1, stdout) != 1;
	}
	fprintf(stderr, "the core file has no page of frame %s\n", argv[2]);
	return 1;
}
