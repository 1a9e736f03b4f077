/*
 * The loader's C code as an ordinary program: everything but the entry assembly, the message and the memory functions.
 *
 * The loader works with guest-physical addresses, so this maps memory at the same addresses: one block of RAM with
 * the test kernel's place in it, in which payload and scratch stand between inaccessible pages. The payload ends just
 * before one, so that the libraries (which are not instrumented) cannot read past it unseen. Their heap is ASan's,
 * within the size that the loader allows them.
 *
 * Usage: host <seed> <directory with the packed kernels>. The last line is "N passed, N failed".
 */
#include "loader/libc.h"
#include "loader/loader.h"
#include "loader/report.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xen/arch-x86/hvm/start_info.h>

#define PAGE	     4096ul
#define INFO	     0x800000ul /* start info, memory map, module list, command line */
#define HEAD	     0x900000ul
#define HEAD_SIZE    0x10000ul
#define KERNEL	     0x1000000ul /* where guest64 is linked */
#define KERNEL_ROOM  0x800000ul
#define SCRATCH	     0x2000000ul
#define SCRATCH_SIZE 0x1000000ul
#define PAYLOAD_END  0x4000000ul
#define PAYLOAD_ROOM 0x400000ul
#define MODULE	     0x5000000ul
#define RAM_END	     0x5800000ul
#define MUTATIONS    500
#define FENCE	     4096ul /* bytes above the unpacked kernel's room that must stay as they are */

uint32_t loader_main(const struct hvm_start_info *info, const struct loader_header *head);

struct block {
	uint8_t *data;
	size_t size;
};

static struct hvm_start_info *const info = (void *)INFO;
static struct hvm_memmap_table_entry *const map = (void *)(INFO + 0x400);
static struct hvm_modlist_entry *const mods = (void *)(INFO + 0x800);
static char *const cmdline = (char *)(INFO + 0xc00);
static struct loader_header *const head = (void *)HEAD;
static struct loader_params *const params = (void *)(HEAD + sizeof(struct loader_header));

static jmp_buf failed;
static char message[512];
static unsigned int good_cases, bad_cases;
static uint64_t heap_room, heap_used;
static uintptr_t heap_floor;
static void *blocks[4096];
static unsigned int nr_blocks;
static bool in_loader;
static uint64_t random_state;

void *__real_malloc(size_t size);
void __real_free(void *block);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void __wrap_free(void *block);

/* Like the loader's own heap: what is freed does not come back. */
void *__wrap_malloc(size_t size)
{
	void *block;

	if (!in_loader)
		return __real_malloc(size);
	if (size > heap_room - heap_used || nr_blocks == sizeof(blocks) / sizeof(blocks[0]))
		return NULL;
	block = __real_malloc(size);
	if (block) {
		heap_used += (size + 15) & ~15ul;
		blocks[nr_blocks++] = block;
	}
	return block;
}

void *__wrap_calloc(size_t count, size_t size)
{
	void *block;

	if (!in_loader)
		return __real_calloc(count, size);
	block = __wrap_malloc(count * size);
	return block ? memset(block, 0, count * size) : NULL;
}

void __wrap_free(void *block)
{
	if (!in_loader)
		__real_free(block);
}

void libc_heap_start(uintptr_t top, uintptr_t bottom)
{
	heap_room = top - bottom;
	heap_floor = bottom;
	memset((void *)bottom, 0xa5, FENCE);
}

void libc_heap_bottom(uintptr_t bottom)
{
	heap_room += heap_floor - bottom;
	heap_floor = bottom;
	memset((void *)bottom, 0xa5, FENCE);
}

_Noreturn void report_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	longjmp(failed, 1);
}

static uint64_t next_random(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % below;
}

static void map_memory(void)
{
	void *p = mmap((void *)INFO, RAM_END - INFO, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != (void *)INFO) {
		perror("no memory at the guest's addresses");
		exit(2);
	}
	mprotect((void *)(SCRATCH - PAGE), PAGE, PROT_NONE);
	mprotect((void *)(SCRATCH + SCRATCH_SIZE), PAGE, PROT_NONE);
	mprotect((void *)(PAYLOAD_END - PAYLOAD_ROOM - PAGE), PAGE, PROT_NONE);
	mprotect((void *)PAYLOAD_END, PAGE, PROT_NONE);
}

/* The domain as a builder would leave it; a case then changes what it is about. RAM is in pieces around the guard
 * pages. */
static void make_domain(const struct block *file)
{
	static const uint64_t ends[] = {
		KERNEL + 0x5000, SCRATCH - PAGE, SCRATCH + SCRATCH_SIZE, PAYLOAD_END - PAYLOAD_ROOM - PAGE,
		PAYLOAD_END,	 RAM_END};
	uint64_t at = INFO;
	unsigned int i;

	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		map[i] = (struct hvm_memmap_table_entry){at, ends[i] - at, XEN_HVM_MEMMAP_TYPE_RAM, 0};
		at = i ? ends[i] + PAGE : ends[i]; /* the first two adjoin, in the middle of the kernel */
	}
	map[2].addr = SCRATCH;
	map[4].addr = PAYLOAD_END - PAYLOAD_ROOM;
	*info = (struct hvm_start_info){
		.magic = XEN_HVM_START_MAGIC_VALUE,
		.version = 1,
		.nr_modules = 1,
		.modlist_paddr = (uintptr_t)mods,
		.cmdline_paddr = (uintptr_t)cmdline,
		.memmap_paddr = (uintptr_t)map,
		.memmap_entries = i,
	};
	*mods = (struct hvm_modlist_entry){.paddr = MODULE, .size = 0x1000};
	strcpy(cmdline, "console=hvc0");
	*head = (struct loader_header){LOADER_MAGIC, LOADER_VERSION, 0, 0x1000, HEAD_SIZE, sizeof(*head)};
	*params = (struct loader_params){PAYLOAD_END - file->size, file->size, SCRATCH, SCRATCH_SIZE};
	memcpy((void *)(PAYLOAD_END - file->size), file->data, file->size);
	memset((void *)KERNEL, 0x5a, KERNEL_ROOM);
}

static bool fence_stands(void)
{
	static uint8_t fence[FENCE];

	memset(fence, 0xa5, FENCE);
	return !heap_floor || !memcmp((void *)heap_floor, fence, FENCE);
}

/* Runs the loader; the entry point, or 0 and a message. */
static uint32_t load(void)
{
	volatile uint32_t entry = 0;

	message[0] = 0;
	heap_room = 0;
	heap_used = 0;
	heap_floor = 0;
	in_loader = true;
	if (!setjmp(failed))
		entry = loader_main(info, head);
	in_loader = false;
	while (nr_blocks)
		free(blocks[--nr_blocks]);
	return entry;
}

static void verdict(bool ok, const char *name)
{
	if (ok) {
		good_cases++;
		return;
	}
	bad_cases++;
	printf("FAILED: host: %s (\"%s\")\n", name, message);
}

static struct block read_file(const char *directory, const char *name)
{
	struct block b = {0};
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, "rb");
	if (!f) {
		perror(path);
		exit(2);
	}
	b.data = malloc(PAYLOAD_ROOM);
	b.size = fread(b.data, 1, PAYLOAD_ROOM, f);
	fclose(f);
	return b;
}

/* Whether the first segment of the (64-bit) file stands in memory, bss included, and nothing behind it was touched. */
static bool kernel_in_place(const struct block *elf)
{
	const Elf64_Ehdr *e = (const void *)elf->data;
	const Elf64_Phdr *p = (const void *)(elf->data + e->e_phoff);
	const uint8_t *m = (const void *)KERNEL;
	uint64_t i;

	if (p->p_paddr != KERNEL || memcmp(m, elf->data + p->p_offset, p->p_filesz))
		return false;
	for (i = p->p_filesz; i < p->p_memsz; i++) {
		if (m[i])
			return false;
	}
	return m[i] == 0x5a;
}

static void test_good(const struct block *file, const struct block *elf, const char *name)
{
	uint32_t entry;

	make_domain(file);
	entry = load();
	verdict(entry == KERNEL && kernel_in_place(elf) && fence_stands(), name);
}

static void expect(const char *what)
{
	verdict(!load() && strstr(message, what), what);
}

static void test_domains(const struct block *elf, const struct block *packed)
{
	make_domain(elf);
	info->magic = 0;
	expect("EBX does not point to a start info");
	make_domain(elf);
	info->version = 0;
	expect("EBX does not point to a start info");
	make_domain(elf);
	info->memmap_entries = 0;
	expect("the start info has 0 memory map entries");
	make_domain(elf);
	info->nr_modules = 65;
	expect("the start info has 65 modules");
	make_domain(elf);
	info->modlist_paddr = ~0ull - 8;
	expect("the module list at 0xfffffffffffffff7, 0x20 bytes, is not below 4 GiB");
	make_domain(elf);
	params->payload_size = 0;
	expect("the payload is empty");
	make_domain(elf);
	params->payload_paddr = ~0ull - 4;
	expect("is not below 4 GiB");
	make_domain(elf);
	params->payload_size += 1;
	expect("the payload at 0x");
	make_domain(elf);
	params->scratch_paddr = HEAD + HEAD_SIZE - 1;
	expect("the scratch area at 0x90ffff, 0x1000000 bytes, overlaps the loader");
	make_domain(elf);
	params->scratch_paddr = 1ull << 32;
	expect("the scratch area at 0x100000000, 0x1000000 bytes, is not below 4 GiB");
	make_domain(elf);
	mods->paddr = SCRATCH + 5;
	expect("the scratch area at 0x2000000, 0x1000000 bytes, overlaps the module at 0x2000005");
	make_domain(elf);
	mods->paddr = KERNEL + 100;
	expect("the kernel's segment at 0x1000000");
	make_domain(elf);
	mods->cmdline_paddr = KERNEL + 0x2000;
	strcpy((char *)KERNEL + 0x2000, "args");
	expect("overlaps the module's command line at 0x1002000");
	make_domain(elf);
	map[0].size -= 1;
	expect("needs RAM at 0x1004fff, where the domain has none");
	make_domain(elf);
	map[1].type = XEN_HVM_MEMMAP_TYPE_ACPI;
	expect("needs RAM at 0x1005000, where the domain has none");
	make_domain(packed);
	params->scratch_size = 0x1000;
	expect("0x1000 bytes of scratch do not hold the kernel");
	make_domain(packed);
	params->scratch_size = 0;
	expect("of scratch do not hold the kernel");
}

static void test_kernels(const struct block *elf)
{
	struct block copy = {malloc(elf->size), elf->size};
	Elf64_Ehdr *e = (void *)copy.data;
	Elf64_Phdr *p = (void *)(copy.data + sizeof(*e));

#define CASE(change, what)                                                                                             \
	do {                                                                                                           \
		memcpy(copy.data, elf->data, elf->size);                                                               \
		change;                                                                                                \
		make_domain(&copy);                                                                                    \
		expect(what);                                                                                          \
	} while (0)
	CASE(e->e_machine = EM_AARCH64, "the kernel is for ELF machine 183");
	CASE(e->e_ident[EI_DATA] = ELFDATA2MSB, "is not an ELF file for x86");
	CASE(e->e_phnum = 0, "program headers (0 at");
	CASE(e->e_phnum = 65, "program headers (65 at");
	CASE(e->e_phoff = ~0ull - 100, "program headers");
	CASE(e->e_phentsize = 32, "program headers");
	CASE(p[0].p_filesz = elf->size, "segment 0 is damaged");
	CASE(p[0].p_offset = ~0ull, "segment 0 is damaged");
	CASE(p[0].p_memsz = p[0].p_filesz - 1, "segment 0 is damaged");
	CASE(p[0].p_memsz = ~0ull, "is not below 4 GiB");
	CASE(p[0].p_paddr = ~0ull, "is not below 4 GiB");
	CASE(p[0].p_paddr = MODULE + 0x10000, "is in none of its segments");
	CASE((p[0].p_paddr = HEAD - 0x80000, p[0].p_memsz = 0x100000), "overlaps the loader at 0x900000");
	CASE((p[0].p_paddr = SCRATCH + 4, p[0].p_memsz = 0x100000), "overlaps the scratch area at 0x2000000");
	CASE((p[0].p_paddr = PAYLOAD_END - 0x100000, p[0].p_memsz = 0x100000), "overlaps the payload at");
	CASE(p[1].p_type = PT_NULL, "has no PVH entry");
	CASE(p[1].p_filesz = 8, "has no PVH entry");
	CASE(p[1].p_offset = ~0ull, "the file is truncated");
	CASE(e->e_ident[0] = 0, "neither a bzImage nor an ELF file");
#undef CASE
	free(copy.data);
}

static void mutate(struct block *b)
{
	uint64_t at, n, i;

	switch (next_random(4)) {
	case 0: /* cut */
		n = 1 + next_random(b->size);
		memmove((void *)(PAYLOAD_END - n), (void *)(PAYLOAD_END - b->size), n);
		params->payload_paddr = PAYLOAD_END - n;
		params->payload_size = n;
		return;
	case 1: /* a run of one value */
		at = next_random(b->size);
		n = 1 + next_random(16);
		for (i = at; i < at + n && i < b->size; i++)
			((uint8_t *)params->payload_paddr)[i] = next_random(2) ? 0xff : 0;
		return;
	case 2: /* headers: of the file, or of a bzImage and what it holds */
		at = next_random(2) ? 0 : next_random(2) ? 0x1f1 : 1024;
		for (n = 1 + next_random(4); n; n--)
			((uint8_t *)params->payload_paddr)[at + next_random(96)] = next_random(256);
		return;
	default:
		for (n = 1 + next_random(4); n; n--)
			((uint8_t *)params->payload_paddr)[next_random(b->size)] ^= 1u << next_random(8);
	}
}

/* Whatever the file: either a message or an entry point, nothing but the kernel's place and scratch written. */
static void test_mutations(struct block *file, const char *name)
{
	static uint8_t page_before[PAGE], module_before[PAGE];
	uint64_t saved_random = 0;
	bool ok = true;
	unsigned int i;
	uint32_t entry;

	for (i = 0; ok && i < MUTATIONS; i++) {
		saved_random = random_state;
		make_domain(file);
		mutate(file);
		memset((void *)MODULE, 0xa5, PAGE);
		memcpy(page_before, info, PAGE);
		memcpy(module_before, (void *)MODULE, PAGE);
		entry = load();
		ok = !entry == !!message[0] && !memcmp(page_before, info, PAGE) &&
		     !memcmp(module_before, (void *)MODULE, PAGE) && fence_stands();
	}
	if (!ok)
		printf("mutation %u of %s, state 0x%lx\n", i, name, saved_random);
	verdict(ok, name);
}

int main(int argc, char **argv)
{
	static const char *const names[] = {"guest64", "guest32", "e.gz",  "e.xz",    "e.lzma", "e.zst",
					    "e.lz4",   "bz.gz",	  "bz.xz", "bz.lzma", "bz.zst", "bz.lz4"};
	struct block elf, file;
	unsigned int i;

	if (argc != 3)
		return 2;
	random_state = strtoull(argv[1], NULL, 0) * 0x9e3779b97f4a7c15ull + 1;
	printf("seed %s\n", argv[1]);
	map_memory();
	elf = read_file(argv[2], "guest64");
	file = read_file(argv[2], "e.xz");
	test_domains(&elf, &file);
	free(file.data);
	test_kernels(&elf);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		file = read_file(argv[2], names[i]);
		test_good(&file, &elf, names[i]);
		test_mutations(&file, names[i]);
		free(file.data);
	}
	printf("%u passed, %u failed\n", good_cases, bad_cases);
	return bad_cases != 0;
}
