// SPDX-License-Identifier: Apache-2.0
/*
 * Start-up, checks and the verdict of a guest test kernel.
 *
 * Owns: the counts of checks, the free memory behind the image. Locks: none, vCPU 0 only.
 * Invariants: exactly one VERDICT line is printed, then the domain is shut down.
 */
#include "guest.h"

const struct hvm_start_info *guest_info;
bool guest_dom0, guest_amd;

extern uint64_t boot_info;
extern char image_end[];

static unsigned int checks, failures;
static const char *first_failure;
static char *free_page;
static bool verbose;

void *memset(void *dst, int c, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return dst;
}

void *memcpy(void *dst, const void *src, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(n) : : "memory");
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *p = a, *q = b;

	for (; n; n--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

bool guest_prefix(const char *s, const char *prefix)
{
	return !memcmp(s, prefix, strlen(prefix));
}

/* What stands behind the word on the command line, or NULL. */
static const char *option(const char *word)
{
	const char *s = (const char *)(unsigned long)guest_info->cmdline_paddr;
	size_t n = strlen(word);

	while (s && *s) {
		if (guest_prefix(s, word) && (s[n] == ' ' || s[n] == '\0' || s[n] == '='))
			return s + n;
		while (*s && *s != ' ')
			s++;
		while (*s == ' ')
			s++;
	}
	return NULL;
}

bool guest_option(const char *word)
{
	return option(word) != NULL;
}

unsigned long guest_number(const char *word, unsigned long otherwise)
{
	const char *s = option(word);
	unsigned long v = 0;

	if (!s || *s != '=')
		return otherwise;
	for (s++; *s >= '0' && *s <= '9'; s++)
		v = v * 10 + (unsigned long)(*s - '0');
	return v;
}

static bool result(const char *name, bool ok)
{
	checks++;
	if (ok)
		return true;
	failures++;
	if (!first_failure)
		first_failure = name;
	return false;
}

bool check_true(const char *name, bool ok, int line)
{
	if (!ok || verbose)
		print("%s %s:%d %s\n", ok ? "ok" : "FAIL", guest_name, line, name);
	return result(name, ok);
}

bool check_eq(const char *name, long got, long want, int line)
{
	if (got != want || verbose)
		print("%s %s:%d %s: got %ld (%#lx), want %ld\n", got == want ? "ok" : "FAIL", guest_name, line, name,
		      got, (unsigned long)got, want);
	return result(name, got == want);
}

bool check_either(const char *name, long got, long a, long b, int line)
{
	bool ok = got == a || got == b;

	if (!ok || verbose)
		print("%s %s:%d %s: got %ld (%#lx), want %ld or %ld\n", ok ? "ok" : "FAIL", guest_name, line, name, got,
		      (unsigned long)got, a, b);
	return result(name, ok);
}

_Noreturn void guest_end(void)
{
	struct sched_shutdown off = {.reason = SHUTDOWN_poweroff};

	if (failures)
		print("VERDICT %s FAIL %s (%u of %u checks failed)\n", guest_name, first_failure, failures, checks);
	else
		print("VERDICT %s PASS %u checks\n", guest_name, checks);
	for (;;)
		hc_sched(SCHEDOP_shutdown, &off);
}

void *guest_pages(unsigned int pages)
{
	char *p = free_page;

	free_page += pages * PAGE_SIZE;
	return p;
}

/* The hypercall instruction is the vendor's: AMD APM vol. 3 VMMCALL, Intel SDM vol. 3 VMCALL. */
static void pick_gate(void)
{
	uint32_t r[4];

	cpu_cpuid(0, 0, r);
	guest_amd = r[1] == 0x68747541 || r[1] == 0x6f677948; /* "Auth", "Hygo" */
	if (!guest_amd)
		((volatile char *)hypercall_gate)[2] = (char)0xc1;
}

/* A module or the start record may lie behind the image: free pages start 8 MiB above, well inside every test's RAM. */
#define FREE_AT 0x1800000UL

void guest_start(void)
{
	pick_gate();
	trap_init();
	guest_info = (const void *)(unsigned long)boot_info;
	guest_dom0 = guest_info->flags & SIF_INITDOMAIN;
	free_page = (char *)FREE_AT;
	verbose = guest_option("verbose");
	guest_main();
	guest_end();
}
