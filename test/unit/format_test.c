/* sources: */
/* lib/format.c: formats and sizes, compared with the C library's where it has the same. */
#include "lib/lib.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#define SAME(...)                                                                   \
	do {                                                                        \
		char a[80], b[80];                                                  \
		int n = lib_snprintf(a, sizeof(a), __VA_ARGS__);                    \
		assert_int_equal(n, snprintf(b, sizeof(b), __VA_ARGS__));           \
		assert_string_equal(a, b);                                          \
	} while (0)

static void test_same(void **state)
{
	SAME("%d %i %u %x %X", -5, 7, 4000000000u, 0xabcdu, 0xabcdu);
	SAME("%ld %lu %lx %llx", -0x7fffffffffffffffl - 1, ~0ul, 0x123456789abcdeful, 5ull);
	SAME("%5d|%-5d|%05d|%05d", 42, 42, 42, -42);
	SAME("%s|%8s|%-8s|%.2s|%.*s", "one", "two", "three", "four", 3, "abcdef");
	SAME("%c%%%zu", 'x', (size_t)12);
	SAME("%016lx", 0xful);
}

static void test_bounds(void **state)
{
	char b[4] = "zzz";

	assert_int_equal(lib_snprintf(b, sizeof(b), "%s", "longer"), 6);
	assert_string_equal(b, "lon");
	assert_int_equal(lib_snprintf(NULL, 0, "%d", 1234), 4);
	assert_int_equal(lib_strlcpy(b, "abcdef", sizeof(b)), 6);
	assert_string_equal(b, "abc");
}

static void test_size(void **state)
{
	const char *end;
	uint64_t v;

	assert_true(lib_parse_size("512M,max:1G", ",", &v, &end));
	assert_int_equal(v, 512ull << 20);
	assert_string_equal(end, ",max:1G");
	assert_true(lib_parse_size("0x1fk", NULL, &v, NULL));
	assert_int_equal(v, 0x1f << 10);
	assert_false(lib_parse_size("", NULL, &v, NULL));
	assert_false(lib_parse_size("12q", NULL, &v, NULL));
	assert_false(lib_parse_size("0x", NULL, &v, NULL));
	assert_false(lib_parse_size("99999999999999999999", NULL, &v, NULL));
	assert_false(lib_parse_size("99999999T", NULL, &v, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
