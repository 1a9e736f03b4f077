/* Stateless helpers: strings, formatting, bits. No locks, no state. */
#ifndef LIB_LIB_H
#define LIB_LIB_H

#include "lib/types.h"

void *memcpy(void *dst, const void *src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strstr(const char *s, const char *needle);

/* Copies at most size - 1 characters and always terminates. Returns strlen(src). */
size_t lib_strlcpy(char *dst, const char *src, size_t size);

/* The next word of *list, which ends at a comma or the end, and its length; *list goes behind it. NULL: there is none. */
const char *lib_next_word(const char **list, size_t *n);
bool lib_word_is(const char *word, size_t n, const char *what);

/*
 * %d %i %u %x %X %p %s %c %% with flags 0 - width, .precision for %s, and l, ll, z sizes.
 * Returns the length the full text has; writes at most size bytes including the final NUL.
 */
int lib_vsnprintf(char *buf, size_t size, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));
int lib_snprintf(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * Parses an unsigned number (0x prefix: hex) with an optional K/M/G/T suffix; returns false if s is not all
 * consumed up to one of the characters in stop (or NUL). *end is set to the stop.
 */
bool lib_parse_size(const char *s, const char *stop, uint64_t *out, const char **end);

static inline unsigned lib_ffs64(uint64_t x) /* index of lowest set bit; x != 0 */
{
	return (unsigned)__builtin_ctzll(x);
}

static inline unsigned lib_fls64(uint64_t x) /* index of highest set bit; x != 0 */
{
	return 63u - (unsigned)__builtin_clzll(x);
}

/* The pvclock factors of a clock of khz (not 0): ns = ((ticks << shift) * mul) >> 32. */
void lib_clock_scale(uint64_t khz, uint32_t *mul, int8_t *shift);

/* a * mul >> 32 without overflow of the 96-bit product (pvclock arithmetic). */
static inline uint64_t lib_mul_shift32(uint64_t a, uint32_t mul)
{
	return (uint64_t)(((unsigned __int128)a * mul) >> 32);
}

#endif
