// SPDX-License-Identifier: Apache-2.0
/*
 * Output of a guest test kernel: a small print().
 *
 * Owns: the line buffer and the choice of channel. Locks: none, one vCPU prints.
 * Invariants: the first refused console_io makes port 0xe9 the channel for good.
 */
#include <stdarg.h>

#include "guest.h"

static char line[512];
static unsigned int used;
static bool use_port;

static void flush(void)
{
	if (!use_port && hc_console(CONSOLEIO_write, used, line) < 0)
		use_port = true;
	for (unsigned int i = 0; use_port && i < used; i++)
		cpu_outb(0xe9, (uint8_t)line[i]);
	used = 0;
}

static void put(char c)
{
	line[used++] = c;
	if (c == '\n' || used == sizeof(line))
		flush();
}

static void put_number(unsigned long v, unsigned int base, int width, char pad, const char *prefix)
{
	char digits[24];
	int n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	width -= n + (int)strlen(prefix);
	for (; pad == ' ' && width > 0; width--)
		put(' ');
	for (; *prefix; prefix++)
		put(*prefix);
	for (; width > 0; width--)
		put('0');
	while (n)
		put(digits[--n]);
}

static void put_string(const char *s, int width)
{
	int n = (int)strlen(s);

	for (; *s; s++)
		put(*s);
	for (; n < width; n++)
		put(' ');
}

void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		const char *prefix = "";
		bool wide = false, signed_ = false;
		unsigned long v;
		char pad = ' ';
		int width = 0;

		if (*fmt != '%') {
			put(*fmt);
			continue;
		}
		for (fmt++; *fmt == '#' || *fmt == '0' || *fmt == '-'; fmt++) {
			if (*fmt == '#')
				prefix = "0x";
			if (*fmt == '0')
				pad = '0';
		}
		for (; *fmt >= '0' && *fmt <= '9'; fmt++)
			width = width * 10 + *fmt - '0';
		for (; *fmt == 'l'; fmt++)
			wide = true;
		if (*fmt == 's') {
			put_string(va_arg(ap, const char *), width);
			continue;
		}
		if (*fmt == 'c') {
			put((char)va_arg(ap, int));
			continue;
		}
		signed_ = *fmt == 'd';
		if (*fmt == 'p')
			v = (unsigned long)va_arg(ap, void *);
		else if (wide)
			v = va_arg(ap, unsigned long);
		else if (signed_)
			v = (unsigned long)(long)va_arg(ap, int);
		else
			v = va_arg(ap, unsigned int);
		if (signed_ && (long)v < 0) {
			prefix = "-";
			v = -v;
		}
		put_number(v, *fmt == 'x' || *fmt == 'p' ? 16 : 10, width, pad, prefix);
	}
	va_end(ap);
}
