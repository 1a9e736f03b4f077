/*
 * Loads the kernel's ELF file: check every header first, then copy. The file is in memory that no segment may touch
 * (place_check()), so that what was checked is what is copied. Stateless.
 *
 * Both ELF classes are read into the 64-bit structures of <elf.h>, so that one set of checks does for both.
 */
#include "loader/image.h"
#include "loader/place.h"
#include "loader/report.h"

#include <elf.h>
#include <stdbool.h>
#include <string.h>
#include <xen/elfnote.h>

#define MAX_SEGMENTS 64

struct file {
	const uint8_t *data;
	uint64_t size;
	bool wide; /* ELFCLASS64 */
	uint64_t phoff;
	uint32_t phnum;
};

static bool inside(const struct file *f, uint64_t offset, uint64_t size)
{
	return size <= f->size && offset <= f->size - size;
}

static void read_headers(struct file *f)
{
	const uint8_t *ident = f->data;
	uint32_t machine, phentsize;
	Elf64_Ehdr e64;
	Elf32_Ehdr e32;

	if (f->size < sizeof(e64) || memcmp(ident, ELFMAG, SELFMAG) || ident[EI_DATA] != ELFDATA2LSB)
		report_fail("the unpacked kernel is not an ELF file for x86: use a kernel with a PVH entry");
	f->wide = ident[EI_CLASS] == ELFCLASS64;
	if (f->wide) {
		memcpy(&e64, f->data, sizeof(e64));
		machine = e64.e_machine;
		phentsize = e64.e_phentsize;
		f->phoff = e64.e_phoff;
		f->phnum = e64.e_phnum;
	} else {
		memcpy(&e32, f->data, sizeof(e32));
		machine = e32.e_machine;
		phentsize = e32.e_phentsize;
		f->phoff = e32.e_phoff;
		f->phnum = e32.e_phnum;
	}
	if (machine != EM_386 && machine != EM_X86_64)
		report_fail("the kernel is for ELF machine %lu: use one for x86", (uint64_t)machine);
	if (phentsize != (f->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)) || !f->phnum || f->phnum > MAX_SEGMENTS ||
	    !inside(f, f->phoff, (uint64_t)f->phnum * phentsize))
		report_fail("the kernel's ELF program headers (%lu at 0x%lx) are damaged: replace the file",
			    (uint64_t)f->phnum, f->phoff);
}

static Elf64_Phdr segment(const struct file *f, uint32_t i)
{
	Elf64_Phdr p64;
	Elf32_Phdr p32;

	if (f->wide) {
		memcpy(&p64, f->data + f->phoff + i * sizeof(p64), sizeof(p64));
	} else {
		memcpy(&p32, f->data + f->phoff + i * sizeof(p32), sizeof(p32));
		p64 = (Elf64_Phdr){
			.p_type = p32.p_type,
			.p_offset = p32.p_offset,
			.p_paddr = p32.p_paddr,
			.p_filesz = p32.p_filesz,
			.p_memsz = p32.p_memsz,
			.p_align = p32.p_align,
		};
	}
	return p64;
}

/* Looks for the entry note among the notes in [at, end) of the file; true when found. */
static bool find_note(const struct file *f, uint64_t at, uint64_t end, uint64_t align, uint64_t *entry)
{
	uint64_t name, desc;
	Elf64_Nhdr note; /* the same in both classes */

	while (end - at >= sizeof(note)) {
		memcpy(&note, f->data + at, sizeof(note));
		name = at + sizeof(note);
		desc = (name + note.n_namesz + align - 1) & ~(align - 1);
		if (desc > end || note.n_descsz > end - desc)
			return false;
		if (note.n_type == XEN_ELFNOTE_PHYS32_ENTRY && note.n_namesz == 4 &&
		    !memcmp(f->data + name, "Xen", 4) && (note.n_descsz == 4 || note.n_descsz == 8)) {
			*entry = 0;
			memcpy(entry, f->data + desc, note.n_descsz);
			return true;
		}
		at = (desc + note.n_descsz + align - 1) & ~(align - 1);
		if (at > end)
			return false;
	}
	return false;
}

static uint64_t find_entry(const struct file *f)
{
	uint64_t entry;
	Elf64_Phdr p;
	uint32_t i;

	for (i = 0; i < f->phnum; i++) {
		p = segment(f, i);
		if (p.p_type != PT_NOTE)
			continue;
		if (!inside(f, p.p_offset, p.p_filesz))
			report_fail("the kernel's notes lie behind the end of its file (0x%lx bytes at offset 0x%lx of "
				    "0x%lx): "
				    "the file is truncated, replace it",
				    p.p_filesz, p.p_offset, f->size);
		if (find_note(f, p.p_offset, p.p_offset + p.p_filesz, p.p_align == 8 ? 8 : 4, &entry))
			return entry;
	}
	report_fail("the kernel has no PVH entry (ELF note XEN_ELFNOTE_PHYS32_ENTRY): use one built with CONFIG_PVH");
}

static void check_segments(const struct file *f, uint64_t entry)
{
	bool entry_found = false;
	Elf64_Phdr p;
	uint32_t i;

	for (i = 0; i < f->phnum; i++) {
		p = segment(f, i);
		if (p.p_type != PT_LOAD)
			continue;
		if (p.p_filesz > p.p_memsz || !inside(f, p.p_offset, p.p_filesz))
			report_fail(
				"the kernel's segment %lu is damaged (0x%lx bytes at offset 0x%lx of 0x%lx): replace "
				"the file",
				(uint64_t)i, p.p_filesz, p.p_offset, f->size);
		place_check("the kernel's segment", p.p_paddr, p.p_memsz);
		if (entry >= p.p_paddr && entry - p.p_paddr < p.p_memsz)
			entry_found = true;
	}
	if (!entry_found)
		report_fail("the kernel's PVH entry 0x%lx is in none of its segments: replace the file", entry);
}

uint32_t image_load(const uint8_t *data, uint64_t size)
{
	struct file f = { .data = data, .size = size };
	uint64_t entry;
	Elf64_Phdr p;
	uint32_t i;

	read_headers(&f);
	entry = find_entry(&f);
	check_segments(&f, entry);
	for (i = 0; i < f.phnum; i++) {
		p = segment(&f, i);
		if (p.p_type != PT_LOAD || !p.p_memsz)
			continue;
		memcpy((void *)p.p_paddr, f.data + p.p_offset, p.p_filesz);
		memset((void *)(p.p_paddr + p.p_filesz), 0, p.p_memsz - p.p_filesz);
	}
	return (uint32_t)entry;
}
