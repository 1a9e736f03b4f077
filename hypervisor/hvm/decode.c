/*
 * The instruction decoder: prefixes, opcode, ModRM, SIB, displacement, immediate. Pure: owns nothing, locks
 * nothing.
 * Invariant: never reads past bytes[n].
 */
#include "hvm/decode.h"

/* As enum seg in hvm/hvm.h, which this file does not need otherwise. */
enum { ES, CS, SS, DS, FS, GS };

/* What follows an opcode: */
#define M    0x01 /* ModRM */
#define B    0x02 /* imm8 */
#define W    0x04 /* imm16 */
#define Z    0x08 /* imm16 or imm32 by operand size */
#define V    0x10 /* imm16, imm32 or imm64 by operand size (MOV reg) */
#define A    0x20 /* address-size offset */
#define BAD  0x40 /* no instruction, or VEX and the like */
#define NO64 0x80 /* no instruction in 64-bit mode */

static const uint8_t one_byte[256] = {
	[0x00 ... 0x03] = M,
	[0x04] = B,
	[0x05] = Z,
	[0x06 ... 0x07] = NO64,
	[0x08 ... 0x0b] = M,
	[0x0c] = B,
	[0x0d] = Z,
	[0x0e] = NO64,
	[0x10 ... 0x13] = M,
	[0x14] = B,
	[0x15] = Z,
	[0x16 ... 0x17] = NO64,
	[0x18 ... 0x1b] = M,
	[0x1c] = B,
	[0x1d] = Z,
	[0x1e ... 0x1f] = NO64,
	[0x20 ... 0x23] = M,
	[0x24] = B,
	[0x25] = Z,
	[0x27] = NO64,
	[0x28 ... 0x2b] = M,
	[0x2c] = B,
	[0x2d] = Z,
	[0x2f] = NO64,
	[0x30 ... 0x33] = M,
	[0x34] = B,
	[0x35] = Z,
	[0x37] = NO64,
	[0x38 ... 0x3b] = M,
	[0x3c] = B,
	[0x3d] = Z,
	[0x3f] = NO64,
	[0x60 ... 0x61] = NO64,
	[0x62] = M | NO64,
	[0x63] = M,
	[0x68] = Z,
	[0x69] = M | Z,
	[0x6a] = B,
	[0x6b] = M | B,
	[0x70 ... 0x7f] = B,
	[0x80] = M | B,
	[0x81] = M | Z,
	[0x82] = M | B | NO64,
	[0x83] = M | B,
	[0x84 ... 0x8f] = M,
	[0x9a] = W | Z | NO64,
	[0xa0 ... 0xa3] = A,
	[0xa8] = B,
	[0xa9] = Z,
	[0xb0 ... 0xb7] = B,
	[0xb8 ... 0xbf] = V,
	[0xc0 ... 0xc1] = M | B,
	[0xc2] = W,
	[0xc4 ... 0xc5] = M | NO64,
	[0xc6] = M | B,
	[0xc7] = M | Z,
	[0xc8] = W | B,
	[0xca] = W,
	[0xcd] = B,
	[0xce] = NO64,
	[0xd0 ... 0xd3] = M,
	[0xd4 ... 0xd5] = B | NO64,
	[0xd6] = BAD,
	[0xd8 ... 0xdf] = M,
	[0xe0 ... 0xe7] = B,
	[0xe8 ... 0xe9] = Z,
	[0xea] = W | Z | NO64,
	[0xeb] = B,
	[0xf6 ... 0xf7] = M, /* TEST r/m, imm is added by hand */
	[0xfe ... 0xff] = M,
};

static const uint8_t two_byte[256] = {
	[0x00 ... 0x03] = M,
	[0x04] = BAD,
	[0x0a] = BAD,
	[0x0c] = BAD,
	[0x0d] = M,
	[0x0f] = M | B,
	[0x10 ... 0x23] = M,
	[0x24 ... 0x27] = BAD,
	[0x28 ... 0x2f] = M,
	[0x36] = BAD,
	[0x39] = BAD,
	[0x3b ... 0x3f] = BAD,
	[0x40 ... 0x6f] = M,
	[0x70 ... 0x73] = M | B,
	[0x74 ... 0x76] = M,
	[0x78 ... 0x7f] = M,
	[0x80 ... 0x8f] = Z,
	[0x90 ... 0x9f] = M,
	[0xa3] = M,
	[0xa4] = M | B,
	[0xa5] = M,
	[0xa6 ... 0xa7] = BAD,
	[0xab] = M,
	[0xac] = M | B,
	[0xad ... 0xaf] = M,
	[0xb0 ... 0xb9] = M,
	[0xba] = M | B,
	[0xbb ... 0xc1] = M,
	[0xc2] = M | B,
	[0xc3] = M,
	[0xc4 ... 0xc6] = M | B,
	[0xc7] = M,
	[0xd0 ... 0xff] = M,
};

struct cursor {
	const uint8_t *bytes;
	size_t at, end;
	bool overrun;
};

static uint8_t take(struct cursor *c)
{
	if (c->at >= c->end) {
		c->overrun = true;
		return 0;
	}
	return c->bytes[c->at++];
}

/* size 1, 2, 4, 8; sign-extended */
static int64_t take_signed(struct cursor *c, unsigned size)
{
	uint64_t x = 0;

	for (unsigned i = 0; i < size; i++)
		x |= (uint64_t)take(c) << (8 * i);
	switch (size) {
	case 1:
		return (int8_t)x;
	case 2:
		return (int16_t)x;
	case 4:
		return (int32_t)x;
	default:
		return (int64_t)x;
	}
}

/* Prefixes and REX; returns the first byte of the opcode. */
static uint8_t prefixes(struct cursor *c, unsigned bits, struct insn *in)
{
	bool opsize = false, addrsize = false;
	uint8_t b;

	for (;;) {
		b = take(c);
		if (c->overrun)
			return 0;
		if (b == 0x66)
			opsize = true;
		else if (b == 0x67)
			addrsize = true;
		else if (b == 0xf0)
			in->lock = true;
		else if (b == 0xf3)
			in->rep = true, in->repne = false;
		else if (b == 0xf2)
			in->repne = true, in->rep = false;
		else if (b == 0x64 || b == 0x65)
			in->seg = b == 0x64 ? FS : GS;
		else if ((b & 0xe7) == 0x26) {
			if (bits != 64)
				in->seg = (b >> 3) & 3; /* 26 ES, 2e CS, 36 SS, 3e DS */
		} else if (bits == 64 && (b & 0xf0) == 0x40) {
			in->rex = b;
			b = take(c);
			if ((b & 0xf0) != 0x40 && !c->overrun && b != 0x66 && b != 0x67 && b != 0xf0 && b != 0xf2 &&
			    b != 0xf3 && b != 0x64 && b != 0x65 && (b & 0xe7) != 0x26)
				break;
			in->rex = 0; /* not directly before the opcode: has no effect */
			c->at--;
		} else {
			break;
		}
	}
	if (bits == 64) {
		in->op_size = in->rex & 8 ? 8 : opsize ? 2 : 4;
		in->addr_size = addrsize ? 4 : 8;
	} else {
		in->op_size = (bits == 32) != opsize ? 4 : 2;
		in->addr_size = (bits == 32) != addrsize ? 4 : 2;
	}
	return b;
}

static void address16(struct cursor *c, struct insn *in)
{
	static const uint8_t bases[8] = { 3, 3, 5, 5, 6, 7, 5, 3 };
	static const uint8_t indexes[8] = { 6, 7, 6, 7, INSN_NO_REG, INSN_NO_REG, INSN_NO_REG, INSN_NO_REG };

	if (in->mod == 0 && in->rm == 6) {
		in->disp = take_signed(c, 2);
		return;
	}
	in->base = bases[in->rm & 7];
	in->index = indexes[in->rm & 7];
	if (in->seg == SEG_NO_PREFIX && in->base == 5)
		in->seg = SS;
	if (in->mod)
		in->disp = take_signed(c, in->mod == 1 ? 1 : 2);
}

static void address32(struct cursor *c, unsigned bits, struct insn *in)
{
	unsigned low = in->rm & 7, disp = in->mod == 1 ? 1 : in->mod == 2 ? 4 : 0;
	uint8_t sib;

	if (low == 4) {
		sib = take(c);
		in->scale = (uint8_t)(1 << (sib >> 6));
		in->index = ((sib >> 3) & 7) | (in->rex & 2 ? 8 : 0);
		if (in->index == 4)
			in->index = INSN_NO_REG;
		in->base = (sib & 7) | (in->rex & 1 ? 8 : 0);
		if ((sib & 7) == 5 && in->mod == 0) {
			in->base = INSN_NO_REG;
			disp = 4;
		}
	} else if (low == 5 && in->mod == 0) {
		in->rip_relative = bits == 64;
		disp = 4;
	} else {
		in->base = in->rm;
	}
	if (in->seg == SEG_NO_PREFIX && (in->base == 4 || in->base == 5))
		in->seg = SS;
	if (disp)
		in->disp = take_signed(c, disp);
}

static void modrm(struct cursor *c, unsigned bits, struct insn *in)
{
	uint8_t b = take(c);

	in->has_modrm = true;
	in->mod = b >> 6;
	in->reg = ((b >> 3) & 7) | (in->rex & 4 ? 8 : 0);
	in->rm = (b & 7) | (in->rex & 1 ? 8 : 0);
	/* MOV to and from control and debug registers has registers only, whatever mod says. */
	if (in->map == 1 && in->opcode >= 0x20 && in->opcode <= 0x23)
		in->mod = 3;
	if (in->mod == 3)
		return;
	if (in->addr_size == 2)
		address16(c, in);
	else
		address32(c, bits, in);
}

static void immediates(struct cursor *c, unsigned bits, uint8_t flags, struct insn *in)
{
	bool branch = in->map == 0 ? in->opcode == 0xe8 || in->opcode == 0xe9 : (in->opcode & 0xf0) == 0x80;

	if (flags & A)
		in->disp = take_signed(c, in->addr_size);
	if (flags & Z) /* near branches are 32-bit in 64-bit mode, whatever the prefix (Intel) */
		in->imm = (uint64_t)take_signed(c, in->op_size == 2 && !(bits == 64 && branch) ? 2 : 4);
	if (flags & V)
		in->imm = (uint64_t)take_signed(c, in->op_size);
	if (flags & W)
		in->imm = (uint16_t)take_signed(c, 2);
	if (flags & B)
		in->imm = (uint64_t)take_signed(c, 1);
}

bool decode_insn(const uint8_t *bytes, size_t n, unsigned bits, struct insn *out)
{
	struct cursor c = { bytes, 0, MIN(n, (size_t)INSN_MAX), false };
	struct insn in = { .seg = SEG_NO_PREFIX, .base = INSN_NO_REG, .index = INSN_NO_REG, .scale = 1 };
	uint8_t flags, op = prefixes(&c, bits, &in);

	if (op != 0x0f) {
		flags = one_byte[op];
		/* C4, C5, 62 with a register form outside 64-bit mode are VEX and EVEX, not LES, LDS and BOUND */
		if ((op == 0xc4 || op == 0xc5 || op == 0x62) && c.at < c.end && bytes[c.at] >= 0xc0)
			return false;
	} else {
		op = take(&c);
		in.map = 1;
		flags = two_byte[op];
		if (op == 0x38 || op == 0x3a) {
			in.map = op == 0x38 ? 2 : 3;
			op = take(&c);
			flags = in.map == 2 ? M : M | B;
		}
	}
	in.opcode = op;
	if ((flags & BAD) || ((flags & NO64) && bits == 64))
		return false;
	if (flags & M)
		modrm(&c, bits, &in);
	if (in.map == 0 && (op == 0xf6 || op == 0xf7) && (in.reg & 7) < 2)
		flags |= op == 0xf6 ? B : Z;
	immediates(&c, bits, flags, &in);
	if (c.overrun)
		return false;
	in.length = (uint8_t)c.at;
	*out = in;
	return true;
}
