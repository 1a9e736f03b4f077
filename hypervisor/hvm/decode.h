/*
 * hvm/decode.c: a pure x86 instruction decoder: bytes in, fields and length out. It knows the length of
 * every instruction of the one-byte and 0F, 0F 38, 0F 3A maps, and nothing about what they do. No state, no
 * locks.
 * Source: Intel SDM vol. 2 chapter 2 and appendix A, AMD APM vol. 3 chapter 1 and appendix A. VEX, EVEX and
 * XOP are refused.
 */
#ifndef HVM_DECODE_H
#define HVM_DECODE_H

#include "lib/types.h"

#define INSN_MAX 15 /* bytes; a longer instruction is #GP */

struct insn {
	uint8_t length; /* bytes, prefixes included */
	uint8_t map;	/* 0: one-byte, 1: 0F, 2: 0F 38, 3: 0F 3A */
	uint8_t opcode;
	uint8_t rex;	   /* 0x40..0x4f, or 0 */
	uint8_t seg;	   /* enum seg of the prefix, SEG_NO_PREFIX: none that counts */
	uint8_t op_size;   /* 2, 4, 8: the operand size in force (8-bit forms are the opcode's matter) */
	uint8_t addr_size; /* 2, 4, 8 */
	bool lock, rep, repne;
	bool has_modrm;
	uint8_t mod;	 /* 0..3 */
	uint8_t reg, rm; /* 0..15, REX applied; rm is a register when mod is 3 */
	uint8_t base;	 /* register of the address, INSN_NO_REG: none */
	uint8_t index;	 /* likewise */
	uint8_t scale;	 /* 1, 2, 4, 8 */
	bool rip_relative;
	int64_t disp; /* sign-extended; for A0-A3 the whole address */
	uint64_t imm; /* sign-extended to 64 bits */
};

#define INSN_NO_REG   0xff
#define SEG_NO_PREFIX 0xff

/*
 * Decodes what starts at bytes; bits: 16, 32 or 64 (the code segment's default). Returns true and fills
 * *out; false: not an instruction we know, or it does not end within n bytes (n <= INSN_MAX).
 */
bool decode_insn(const uint8_t *bytes, size_t n, unsigned bits, struct insn *out);

#endif
