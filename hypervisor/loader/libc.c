/*
 * What the decompression libraries need of a C library: memory and string functions, and a heap that only grows (the
 * loader runs once and each decoder allocates a handful of blocks). No locks: one CPU, interrupts off.
 */
#include "loader/libc.h"
#include "loader/report.h"

#include <stddef.h>
#include <string.h>

/* Above this the string instructions win; below, their start-up costs more than a loop. */
#define LONG_COPY 128

/* gcc must not turn the bodies below into calls of themselves; -ffreestanding is enough for clang. */
#ifndef __clang__
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

typedef uint64_t __attribute__((may_alias, aligned(1))) word_t;
typedef uint32_t __attribute__((may_alias, aligned(1))) half_t;

static uintptr_t heap_top, heap_bottom;

void libc_heap_start(uintptr_t top, uintptr_t bottom)
{
	heap_top = top;
	heap_bottom = bottom;
}

void libc_heap_bottom(uintptr_t bottom)
{
	heap_bottom = bottom;
}

void *malloc(size_t size)
{
	size_t room = heap_top > heap_bottom ? heap_top - heap_bottom : 0;

	if (size > room || ((size + 15) & ~(size_t)15) > room)
		return NULL;
	heap_top -= (size + 15) & ~(size_t)15;
	heap_top &= ~(uintptr_t)15;
	return (void *)heap_top;
}

void *calloc(size_t count, size_t size)
{
	size_t bytes;
	void *block;

	if (__builtin_mul_overflow(count, size, &bytes))
		return NULL;
	block = malloc(bytes);
	return block ? memset(block, 0, bytes) : NULL;
}

void free(void *block)
{
	(void)block;
}

/*
 * The last bytes are copied as one word that may overlap the word before: most copies are a few bytes long, there are
 * tens of millions of them in a kernel, and a loop over single bytes at the end doubles their cost. What overlaps is
 * read before anything is written, so copying downwards (to < from) works with overlapping blocks.
 */
void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	unsigned char *d = to;
	const unsigned char *s = from;
	unsigned char *end = d + size;
	word_t last;
	half_t half;
	size_t words;

	if (size < 4) {
		for (; d < end; d++, s++)
			*d = *s;
		return to;
	}
	if (size < 8) {
		half = *(const half_t *)(s + size - 4);
		*(half_t *)d = *(const half_t *)s;
		*(half_t *)(end - 4) = half;
		return to;
	}
	last = *(const word_t *)(s + size - 8);
	if (size >= LONG_COPY) {
		words = (size - 1) / 8;
		__asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(words) : : "memory");
	} else {
		for (; d < end - 8; d += 8, s += 8)
			*(word_t *)d = *(const word_t *)s;
	}
	*(word_t *)(end - 8) = last;
	return to;
}

void *memmove(void *to, const void *from, size_t size)
{
	unsigned char *d = to;
	const unsigned char *s = from;

	if ((uintptr_t)to - (uintptr_t)from >= size)
		return memcpy(to, from, size);
	while (size) {
		size--;
		d[size] = s[size];
	}
	return to;
}

void *memset(void *to, int value, size_t size)
{
	unsigned char *d = to;
	uint64_t pattern = (uint8_t)value * 0x0101010101010101ull;
	size_t words = size / 8;

	__asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(pattern) : "memory");
	for (size &= 7; size; size--)
		*d++ = (unsigned char)value;
	return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const unsigned char *x = a, *y = b;

	for (; size; size--, x++, y++) {
		if (*x != *y)
			return *x - *y;
	}
	return 0;
}

void *memchr(const void *block, int c, size_t size)
{
	const unsigned char *p = block;

	for (; size; size--, p++) {
		if (*p == (unsigned char)c)
			return (void *)p;
	}
	return NULL;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

_Noreturn void __stack_chk_fail(void);
_Noreturn void __stack_chk_fail(void)
{
	report_fail("a decompression library overran its stack frame: report this, and use an uncompressed kernel");
}

/* Stands in for every entry of libzstd's old decoders (loader.lds). */
_Noreturn void libc_old_zstd(void);
_Noreturn void libc_old_zstd(void)
{
	report_fail("the zstd data of the kernel is in a format from before 2016 or damaged: replace the file");
}
