/* sources: hvm/decode.c */
/* The instruction decoder: fields of typical encodings, prefixes, sizes, and that it never reads past its input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "hvm/decode.h"

static struct insn in;

static unsigned len(unsigned bits, const char *bytes, size_t n)
{
	return decode_insn((const uint8_t *)bytes, n, bits, &in) ? in.length : 0;
}

#define LEN(bits, s) len(bits, s, sizeof(s) - 1)

static void lengths(void **state)
{
	assert_int_equal(LEN(64, "\x0f\xa2"), 2);
	assert_int_equal(LEN(64, "\x66\x0f\xa2"), 3);
	assert_int_equal(LEN(64, "\x0f\x01\xd9"), 3);
	assert_int_equal(LEN(64, "\xf4"), 1);
	assert_int_equal(LEN(64, "\xee"), 1);
	assert_int_equal(LEN(64, "\x48\xb8\1\2\3\4\5\6\7\x88"), 10);
	assert_int_equal(in.imm, 0x8807060504030201);
	assert_int_equal(LEN(64, "\xc7\x05\x10\0\0\0\x78\x56\x34\x92"), 10);
	assert_true(in.rip_relative);
	assert_int_equal(in.disp, 16);
	assert_int_equal(in.imm, 0xffffffff92345678);
	assert_int_equal(LEN(32, "\xc7\x05\x10\0\0\0\x78\x56\x34\x92"), 10);
	assert_false(in.rip_relative);
	assert_int_equal(LEN(64, "\x66\xc7\x00\x34\x12"), 5);
	assert_int_equal(LEN(64, "\xf6\x00\x01"), 3); /* TEST has an immediate, NOT has none */
	assert_int_equal(LEN(64, "\xf6\x10"), 2);
	assert_int_equal(LEN(64, "\xf7\x00\1\2\3\4"), 6);
	assert_int_equal(LEN(64, "\xe8\1\2\3\4"), 5);
	assert_int_equal(LEN(64, "\x66\xe8\1\2\3\4"), 6);
	assert_int_equal(LEN(16, "\xe8\1\2"), 3);
	assert_int_equal(LEN(32, "\xea\1\2\3\4\5\6"), 7);
	assert_int_equal(LEN(64, "\xea\1\2\3\4\5\6"), 0);
	assert_int_equal(LEN(64, "\xc8\1\2\3"), 4);
	assert_int_equal(LEN(64, "\x0f\xba\x20\x03"), 4);
	assert_int_equal(LEN(64, "\x0f\x38\xf0\x00"), 4);
	assert_int_equal(LEN(64, "\x0f\x3a\x0f\xc1\x04"), 5);
	assert_int_equal(LEN(64, "\xc5\xf8\x77"), 0); /* VEX */
	assert_int_equal(LEN(32, "\xc5\x00"), 2);     /* LDS */
}

static void operands(void **state)
{
	assert_int_equal(LEN(64, "\x8b\x00"), 2);
	assert_int_equal(in.base, 0);
	assert_int_equal(in.op_size, 4);
	assert_int_equal(LEN(64, "\x44\x8b\x8c\x48\x00\x10\x00\x80"), 8);
	assert_int_equal(in.reg, 9);
	assert_int_equal(in.base, 0);
	assert_int_equal(in.index, 1);
	assert_int_equal(in.scale, 2);
	assert_int_equal(in.disp, (int32_t)0x80001000);
	assert_int_equal(LEN(64, "\x49\x89\x45\xf8"), 4);
	assert_int_equal(in.base, 13);
	assert_int_equal(in.op_size, 8);
	assert_int_equal(in.disp, -8);
	assert_int_equal(in.seg, SEG_NO_PREFIX);
	assert_int_equal(LEN(64, "\x8b\x04\x24"), 3);
	assert_int_equal(in.base, 4);
	assert_int_equal(in.index, INSN_NO_REG);
	assert_int_equal(in.seg, 2); /* SS */
	assert_int_equal(LEN(64, "\x43\x8b\x04\x24"), 4);
	assert_int_equal(in.base, 12);
	assert_int_equal(in.index, 12);
	assert_int_equal(LEN(64, "\x8b\x04\x25\x00\x00\xe0\xfe"), 7);
	assert_int_equal(in.base, INSN_NO_REG);
	assert_int_equal(in.disp, (int32_t)0xfee00000);
	assert_int_equal(LEN(64, "\x65\x8b\x00"), 3);
	assert_int_equal(in.seg, 5);
	assert_int_equal(LEN(64, "\x36\x8b\x00"), 3); /* no effect in 64-bit mode */
	assert_int_equal(in.seg, SEG_NO_PREFIX);
	assert_int_equal(LEN(32, "\x36\x8b\x00"), 3);
	assert_int_equal(in.seg, 2);
	assert_int_equal(LEN(64, "\x48\xa1\1\2\3\4\5\6\7\x08"), 10);
	assert_int_equal(in.disp, 0x0807060504030201);
	assert_int_equal(LEN(64, "\x67\xa1\1\2\3\4"), 6);
	assert_int_equal(LEN(16, "\x8b\x40\x10"), 3); /* [bx+si+16] */
	assert_int_equal(in.base, 3);
	assert_int_equal(in.index, 6);
	assert_int_equal(in.op_size, 2);
	assert_int_equal(LEN(16, "\x67\x66\x8b\x00"), 4);
	assert_int_equal(in.addr_size, 4);
	assert_int_equal(in.op_size, 4);
	assert_int_equal(LEN(64, "\x0f\x22\x00"), 3); /* MOV CR: registers only */
	assert_int_equal(in.mod, 3);
}

static void prefixes(void **state)
{
	assert_int_equal(LEN(64, "\xf3\xa5"), 2);
	assert_true(in.rep);
	assert_int_equal(LEN(64, "\x48\x66\x89\x00"), 4); /* REX not directly before the opcode: ignored */
	assert_int_equal(in.rex, 0);
	assert_int_equal(in.op_size, 2);
	assert_int_equal(LEN(64, "\x66\x48\x89\x00"), 4);
	assert_int_equal(in.op_size, 8);
	assert_int_equal(LEN(64, "\x40\x48\x89\x00"), 4);
	assert_int_equal(in.rex, 0x48);
	assert_int_equal(LEN(64, "\xf0\x0f\xb1\x0a"), 4);
	assert_true(in.lock);
	assert_int_equal(LEN(64, "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90"), 15);
	assert_int_equal(LEN(64, "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90"), 0);
}

/* Every cut of an instruction is refused, on a heap block of just that size so that ASan sees a read too far. */
static void cut_short(void **state)
{
	static const uint8_t samples[][12] = {
		{ 10, 0xc7, 0x05, 1, 2, 3, 4, 5, 6, 7, 8 }, { 8, 0x44, 0x8b, 0x8c, 0x48, 0, 0x10, 0, 0x80 },
		{ 10, 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8 }, { 5, 0x0f, 0x3a, 0x0f, 0xc1, 4 }, { 4, 0x66, 0x67, 0x8b, 0 },
	};

	for (unsigned i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		for (unsigned n = 0; n <= samples[i][0]; n++) {
			uint8_t *p = malloc(n ? n : 1);

			memcpy(p, samples[i] + 1, n);
			assert_int_equal(decode_insn(p, n, 64, &in), n == samples[i][0]);
			free(p);
		}
}

static void random_bytes(void **state)
{
	uint8_t b[15];
	uint64_t seed = 99;

	for (unsigned i = 0; i < 300000; i++) {
		for (unsigned k = 0; k < sizeof(b); k++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			b[k] = (uint8_t)(seed >> 56);
		}
		for (unsigned bits = 16; bits <= 64; bits *= 2) {
			if (!decode_insn(b, sizeof(b), bits, &in))
				continue;
			assert_in_range(in.length, 1, 15);
			assert_true(decode_insn(b, in.length, bits, &in));
			assert_true(in.length == 1 || !decode_insn(b, in.length - 1u, bits, &in));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lengths),   cmocka_unit_test(operands),     cmocka_unit_test(prefixes),
		cmocka_unit_test(cut_short), cmocka_unit_test(random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
