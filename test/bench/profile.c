/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adds up what QEMU's log of executed blocks tells (-d in_asm,exec,nochain): instructions per hypervisor function, of each
 * guest, and per reason for leaving a guest.
 *
 * profile SYMBOLS OWNER OTHER TICKS LINES <LOG: SYMBOLS is nm's output for the hypervisor. The log begins and ends in the
 * guest called OWNER. At most LINES functions are listed. TICKS is a file that has the window's length in virtual time when
 * the log is over, one an instruction: what was not executed of it was idle.
 *
 * A block's length is what in_asm said when it was translated. A block that an exit cut short counts whole.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS (1u << 20) /* slots of the table, a power of two; QEMU has fewer blocks */
#define EXITS  0x500u
#define GUESTS 64u

struct symbol {
	uint64_t address, instructions, calls;
	char *name;
};

struct block {
	uint64_t code; /* the translated code's address: a block's identity until QEMU starts afresh; 0: unused */
	uint64_t pc;
	uint32_t length;
	struct symbol *symbol; /* when the block was executed outside a guest */
};

struct guest {
	uint64_t vmcb, instructions;
};

static struct symbol *symbols;
static size_t nr_symbols;
static struct block *blocks;
static struct guest guests[GUESTS], *inside; /* inside: NULL outside, or in the first guest before its VMCB is known */
static unsigned int nr_guests;
static uint64_t total, before_first_exit;
static struct {
	uint64_t count, instructions;
} exits[EXITS];

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return (x->address > y->address) - (x->address < y->address);
}

static int by_instructions(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return (x->instructions < y->instructions) - (x->instructions > y->instructions);
}

static void read_symbols(const char *file)
{
	FILE *f = fopen(file, "r");
	char name[256], type;
	unsigned long address;
	size_t room = 0;

	if (f == NULL)
		die(file);
	while (fscanf(f, "%lx %c %255s", &address, &type, name) == 3) {
		if (strchr("tT", type) == NULL || name[0] == '.')
			continue;
		if (nr_symbols == room) {
			room = room * 2 + 1024;
			symbols = realloc(symbols, room * sizeof(*symbols));
			if (symbols == NULL)
				die("memory");
		}
		symbols[nr_symbols++] = (struct symbol){ .address = address, .name = strdup(name) };
	}
	fclose(f);
	if (nr_symbols == 0)
		die("no symbols");
	qsort(symbols, nr_symbols, sizeof(*symbols), by_address);
}

static struct symbol *symbol_at(uint64_t pc)
{
	size_t low = 0, high = nr_symbols;

	while (high - low > 1) {
		size_t middle = (low + high) / 2;

		if (symbols[middle].address <= pc)
			low = middle;
		else
			high = middle;
	}
	return &symbols[low];
}

static struct guest *guest_of(uint64_t vmcb)
{
	unsigned int i;

	for (i = 0; i < nr_guests; i++)
		if (guests[i].vmcb == vmcb)
			return &guests[i];
	if (nr_guests == GUESTS)
		die("too many guests");
	guests[nr_guests++].vmcb = vmcb;
	return &guests[i];
}

/* The block whose translated code lies there; a new one, or one whose place QEMU used again, has length 0. */
static struct block *block_at(uint64_t code, uint64_t pc)
{
	size_t i = (code >> 6) * 0x9e3779b97f4a7c15ull >> 44;

	while (blocks[i].code != 0 && blocks[i].code != code)
		i = (i + 1) % BLOCKS;
	if (blocks[i].code == 0 || blocks[i].pc != pc)
		blocks[i] = (struct block){ .code = code, .pc = pc };
	return &blocks[i];
}

/* Is this line of in_asm an instruction, and not only the rest of the bytes of the one before? */
static bool instruction(const char *bytes)
{
	for (;;) {
		bytes += strspn(bytes, " ");
		if (*bytes == '\0' || *bytes == '\n')
			return false;
		if (strspn(bytes, "0123456789abcdef") != 2 || (bytes[2] != ' ' && bytes[2] != '\n' && bytes[2] != '\0'))
			return true;
		bytes += 2;
	}
}

/* What was translated last, and may be executed next. */
static struct {
	uint64_t pc;
	uint32_t length;
} fresh;

static void translated(const char *line)
{
	char *rest;
	uint64_t pc = strtoull(line, &rest, 16);

	if (*rest != ':' || !instruction(rest + 1))
		return;
	if (fresh.length++ == 0)
		fresh.pc = pc;
}

/* When the log's line is a step of the run: follows it. */
static void executed(const char *line)
{
	static bool any_exit;
	static uint64_t reason, handling;
	const char *at;

	if (strncmp(line, "Trace ", 6) == 0) {
		uint64_t code = strtoull(strchr(line + 6, ' ') + 1, NULL, 16), pc;
		struct block *b;

		at = strchr(line, '/');
		if (at == NULL)
			return;
		pc = strtoull(at + 1, NULL, 16);
		b = block_at(code, pc);
		if (b->length == 0) {
			b->length = fresh.length != 0 && fresh.pc == pc ? fresh.length : 1;
			b->symbol = symbol_at(pc);
		}
		total += b->length;
		if (inside != NULL) {
			inside->instructions += b->length;
		} else if (!any_exit) {
			before_first_exit += b->length;
		} else {
			b->symbol->instructions += b->length;
			b->symbol->calls += b->pc == b->symbol->address;
			handling += b->length;
		}
	} else if (strncmp(line, "vmrun! ", 7) == 0) {
		inside = guest_of(strtoull(line + 7, NULL, 16));
		if (any_exit) {
			exits[reason].count++;
			exits[reason].instructions += handling;
		}
	} else if (strncmp(line, "vmexit(", 7) == 0) {
		inside = NULL;
		any_exit = true;
		reason = strtoull(line + 7, NULL, 16);
		reason = reason < EXITS ? reason : EXITS - 1;
		handling = 0;
	} else if (strncmp(line, "IN: ", 4) == 0) {
		fresh.length = 0;
	}
}

static const char *exit_name(unsigned int reason)
{
	/* APM vol. 2, appendix C */
	static const struct {
		unsigned int reason;
		const char *name;
	} names[] = {
		{ 0x10, "CR0 write" }, { 0x14, "CR4 write" }, { 0x60, "interrupt" },	{ 0x64, "interrupt window" },
		{ 0x72, "CPUID" },     { 0x78, "HLT" },	      { 0x7b, "I/O port" },	{ 0x7c, "MSR" },
		{ 0x81, "VMMCALL" },   { 0x77, "PAUSE" },     { 0x400, "nested page fault" },
	};
	static char number[16];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].reason == reason)
			return names[i].name;
	snprintf(number, sizeof(number), "exit 0x%x", reason);
	return number;
}

static void line_of(const char *what, uint64_t instructions, uint64_t all)
{
	printf("    %-36s %12lu  %5.1f%%", what, instructions, 100.0 * (double)instructions / (double)all);
}

static void report(const char *owner, const char *other, uint64_t all, int lines)
{
	uint64_t own = before_first_exit, others = 0, hypervisor;

	for (unsigned int i = 0; i < nr_guests; i++) {
		if (inside == &guests[i])
			own += guests[i].instructions;
		else
			others += guests[i].instructions;
	}
	hypervisor = total - own - others;
	all = all > total ? all : total;
	line_of(owner, own, all);
	printf("\n");
	if (others != 0) {
		line_of(other, others, all);
		printf("\n");
	}
	line_of("idle", all - total, all);
	printf("\n");
	line_of("hypervisor", hypervisor, all);
	printf("\n");
	qsort(symbols, nr_symbols, sizeof(*symbols), by_instructions);
	for (int i = 0; i < lines && (size_t)i < nr_symbols && symbols[i].instructions != 0; i++) {
		line_of(symbols[i].name, symbols[i].instructions, all);
		printf("  %lu calls\n", symbols[i].calls);
	}
	for (unsigned int i = 0; i < EXITS; i++)
		if (exits[i].count != 0)
			printf("    exits: %-29s %12lu  of %lu instructions each\n", exit_name(i), exits[i].count,
			       exits[i].instructions / exits[i].count);
}

int main(int argc, char **argv)
{
	unsigned long all = 0;
	char *line = NULL;
	size_t size = 0;
	FILE *f;

	if (argc != 6)
		return 2;
	read_symbols(argv[1]);
	blocks = calloc(BLOCKS, sizeof(*blocks));
	if (blocks == NULL)
		die("memory");
	setvbuf(stdin, NULL, _IOFBF, 1u << 20);
	while (getline(&line, &size, stdin) > 0) {
		if (line[0] == '0' && line[1] == 'x')
			translated(line);
		else
			executed(line);
	}
	f = fopen(argv[4], "r");
	if (f == NULL || fscanf(f, "%lu", &all) != 1)
		all = total;
	report(argv[2], argv[3], all, atoi(argv[5]));
	return 0;
}
