/*
 * The loader's error message: formatted here, written to the Xen console and to port 0xe9, after which the domain is
 * shut down as crashed. No locks: one CPU, interrupts off. Works without a hypervisor as well (tests in a bare
 * emulator).
 */
#include "loader/report.h"

#include <cpuid.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/sched.h>

static char line[512];
static size_t length;

static void put(char c)
{
	/* Room for the newline is kept: the message may be cut, never its end. */
	if (length < sizeof(line) - 1)
		line[length++] = c;
}

static void put_string(const char *s)
{
	while (*s)
		put(*s++);
}

static void put_number(uint64_t value, unsigned int base)
{
	char digits[20];
	unsigned int n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (n)
		put(digits[--n]);
}

static void format_line(const char *format, va_list args)
{
	put_string("loader: ");
	for (; *format; format++) {
		if (*format != '%') {
			put(*format);
			continue;
		}
		format++;
		if (*format == 's') {
			put_string(va_arg(args, const char *));
			continue;
		}
		format++; /* the l of %lx and %lu */
		put_number(va_arg(args, uint64_t), *format == 'x' ? 16 : 10);
	}
	line[length++] = '\n';
}

/* Xen announces itself at the first of the leaves 0x40000000, 0x40000100, ... that carries its signature. */
static bool on_xen(void)
{
	uint32_t leaf, eax, text[3];

	for (leaf = 0x40000000; leaf < 0x40010000; leaf += 0x100) {
		__cpuid(leaf, eax, text[0], text[1], text[2]);
		if (eax >= leaf + 2 && !memcmp(text, "XenVMMXenVMM", 12))
			return true;
	}
	return false;
}

/* The 64-bit hypercall ABI (arch-x86/xen-x86_64.h): number in RAX, arguments in RDI, RSI, RDX. */
static uint64_t hypercall(uint64_t number, uint64_t a, uint64_t b, uint64_t c)
{
	uint32_t eax, vendor[3];

	__cpuid(0, eax, vendor[0], vendor[2], vendor[1]);
	if (!memcmp(vendor, "AuthenticAMD", 12) || !memcmp(vendor, "HygonGenuine", 12))
		__asm__ volatile("vmmcall" : "+a"(number), "+D"(a), "+S"(b), "+d"(c) : : "memory");
	else
		__asm__ volatile("vmcall" : "+a"(number), "+D"(a), "+S"(b), "+d"(c) : : "memory");
	return number;
}

_Noreturn void report_fail(const char *format, ...)
{
	struct sched_shutdown shutdown = { .reason = SHUTDOWN_crash };
	va_list args;
	size_t i;

	length = 0;
	va_start(args, format);
	format_line(format, args);
	va_end(args);
	for (i = 0; i < length; i++)
		__asm__ volatile("outb %b0, %w1" : : "a"(line[i]), "Nd"(0xe9));
	if (on_xen()) {
		hypercall(__HYPERVISOR_console_io, CONSOLEIO_write, length, (uintptr_t)line);
		hypercall(__HYPERVISOR_sched_op, SCHEDOP_shutdown, (uintptr_t)&shutdown, 0);
	}
	for (;;)
		__asm__ volatile("cli; hlt");
}
