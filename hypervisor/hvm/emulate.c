/*
 * Instructions that touched an emulated physical address: executes exactly the one access (or the string
 * piece inside the page) that faulted. The guest's own page tables allowed the access before the nested
 * fault came, and the CPU gave the physical address, so nothing is translated again but the other side of
 * MOVS. Owns nothing, locks nothing.
 * Source: AMD APM vol. 3. Invariant: registers and RIP change only when the instruction (or string piece)
 * is done.
 */
#include "core/guestmem.h"
#include "hvm/hvm.h"
#include "hvm/insn.h"
#include "hvm/io.h"
#include "lib/lib.h"

#define CF	    0x001u
#define PF	    0x004u
#define AF	    0x010u
#define ZF	    0x040u
#define SF	    0x080u
#define OF	    0x800u
#define DF	    0x400u
#define ARITH_FLAGS (CF | PF | AF | ZF | SF | OF)

#define STRING_PIECE 128u /* elements per exit */

enum alu { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };

struct access {
	struct vcpu *v;
	const struct insn *in;
	gpa_t gpa;
	unsigned size; /* of the memory operand */
};

static inline uint64_t mask_of(unsigned size)
{
	return size == 8 ? ~0ull : (1ull << (size * 8)) - 1;
}

static uint64_t get_reg(const struct access *x, unsigned reg, unsigned size)
{
	if (size == 1 && !x->in->rex && reg >= 4 && reg < 8)
		return (*insn_gpr(x->v, reg - 4) >> 8) & 0xff; /* AH, CH, DH, BH */
	return *insn_gpr(x->v, reg) & mask_of(size);
}

static void set_reg(const struct access *x, unsigned reg, unsigned size, uint64_t value)
{
	uint64_t *r, mask = mask_of(size);

	if (size == 1 && !x->in->rex && reg >= 4 && reg < 8) {
		r = insn_gpr(x->v, reg - 4);
		*r = (*r & ~0xff00ull) | (value & 0xff) << 8;
		return;
	}
	r = insn_gpr(x->v, reg);
	if (size >= 4)
		*r = value & mask; /* 32-bit results clear the upper half */
	else
		*r = (*r & ~mask) | (value & mask);
}

static uint64_t load(const struct access *x)
{
	return io_mmio_read(x->v, x->gpa, x->size) & mask_of(x->size);
}

static void store(const struct access *x, uint64_t value)
{
	io_mmio_write(x->v, x->gpa, x->size, value & mask_of(x->size));
}

/* --- arithmetic --- */

static void set_flags(struct vcpu *v, uint64_t flags)
{
	v->regs.rflags = (v->regs.rflags & ~(uint64_t)ARITH_FLAGS) | flags;
}

static uint64_t result_flags(uint64_t r, unsigned size)
{
	uint64_t f = 0;

	if (!(r & mask_of(size)))
		f |= ZF;
	if (r >> (size * 8 - 1) & 1)
		f |= SF;
	if (!__builtin_parity((unsigned)(r & 0xff)))
		f |= PF;
	return f;
}

/* a op b, flags set. */
static uint64_t alu(struct vcpu *v, enum alu op, uint64_t a, uint64_t b, unsigned size)
{
	uint64_t mask = mask_of(size), top = 1ull << (size * 8 - 1), r, carries, f = 0, carry = 0;

	switch (op) {
	case ALU_OR:
		r = a | b;
		break;
	case ALU_AND:
		r = a & b;
		break;
	case ALU_XOR:
		r = a ^ b;
		break;
	case ALU_ADC:
		carry = v->regs.rflags & CF;
		/* fall through */
	case ALU_ADD:
		r = (a + b + carry) & mask;
		carries = (a & b) | ((a | b) & ~r);
		f = (carries & top ? CF : 0) | (carries & 8 ? AF : 0) | ((a ^ r) & (b ^ r) & top ? OF : 0);
		break;
	case ALU_SBB:
		carry = v->regs.rflags & CF;
		/* fall through */
	default: /* ALU_SUB, ALU_CMP */
		r = (a - b - carry) & mask;
		carries = (~a & b) | ((~a | b) & r);
		f = (carries & top ? CF : 0) | (carries & 8 ? AF : 0) | ((a ^ b) & (a ^ r) & top ? OF : 0);
		break;
	}
	set_flags(v, f | result_flags(r, size));
	return r & mask;
}

/* memory op= value (CMP and TEST write nothing) */
static void alu_memory(const struct access *x, enum alu op, uint64_t value)
{
	uint64_t r = alu(x->v, op, load(x), value & mask_of(x->size), x->size);

	if (op != ALU_CMP)
		store(x, r);
}

static void alu_register(const struct access *x, enum alu op)
{
	uint64_t r = alu(x->v, op, get_reg(x, x->in->reg, x->size), load(x), x->size);

	if (op != ALU_CMP)
		set_reg(x, x->in->reg, x->size, r);
}

/* BT, BTS, BTR, BTC: op is 0..3 */
static void bit_op(const struct access *x, unsigned op, unsigned bit)
{
	uint64_t value = load(x), m = 1ull << bit;

	x->v->regs.rflags = (x->v->regs.rflags & ~(uint64_t)CF) | (value & m ? CF : 0);
	if (op == 1)
		store(x, value | m);
	else if (op == 2)
		store(x, value & ~m);
	else if (op == 3)
		store(x, value ^ m);
}

static void inc_dec(const struct access *x, bool dec)
{
	uint64_t cf = x->v->regs.rflags & CF, r = alu(x->v, dec ? ALU_SUB : ALU_ADD, load(x), 1, x->size);

	x->v->regs.rflags = (x->v->regs.rflags & ~(uint64_t)CF) | cf;
	store(x, r);
}

static void cmpxchg(const struct access *x)
{
	uint64_t old = load(x), acc = get_reg(x, 0, x->size);

	alu(x->v, ALU_CMP, acc, old, x->size);
	if (acc == old) {
		store(x, get_reg(x, x->in->reg, x->size));
	} else {
		store(x, old); /* the CPU writes in both cases */
		set_reg(x, 0, x->size, old);
	}
}

/* --- addresses --- */

static uint64_t seg_base(struct vcpu *v, unsigned seg, const struct insn *in)
{
	struct segment s;

	if (in->addr_size == 8 && seg != SEG_FS && seg != SEG_GS)
		return 0;
	if (seg != SEG_FS && seg != SEG_GS && hvm_mode(v) == MODE_64)
		return 0; /* 32-bit addresses in 64-bit mode */
	hvm_get_segment(v, (enum seg)seg, &s);
	return s.base;
}

static uint64_t address_mask(const struct insn *in)
{
	return mask_of(in->addr_size);
}

/* The linear address of a ModRM or moffs operand; its low 12 bits are those of the physical one. */
static gva_t effective(struct vcpu *v, const struct insn *in, uint64_t extra)
{
	uint64_t ea = (uint64_t)in->disp;

	if (in->rip_relative)
		ea += v->regs.rip + in->length;
	if (in->base != INSN_NO_REG)
		ea += *insn_gpr(v, in->base);
	if (in->index != INSN_NO_REG)
		ea += *insn_gpr(v, in->index) * in->scale;
	ea = (ea + extra) & address_mask(in);
	return ea + seg_base(v, in->seg == SEG_NO_PREFIX ? SEG_DS : in->seg, in);
}

/* --- string instructions --- */

static void advance_index(struct vcpu *v, const struct insn *in, unsigned reg, int64_t by)
{
	uint64_t *r = insn_gpr(v, reg), mask = address_mask(in);

	if (in->addr_size == 4)
		*r = (uint32_t)(*r + (uint64_t)by);
	else
		*r = (*r & ~mask) | ((*r + (uint64_t)by) & mask);
}

/* One element between the device page and, for MOVS, memory. False: a fault was injected. */
static bool movs_element(const struct access *x, bool write)
{
	struct vcpu *v = x->v;
	const struct insn *in = x->in;
	unsigned user = hvm_cpl(v) == 3 ? GUESTMEM_USER : 0;
	struct guestmem_fault f = { 0 };
	uint64_t value = 0;
	gva_t other;
	int rc;

	if (write) {
		other = (v->regs.rsi & address_mask(in)) + seg_base(v, in->seg == SEG_NO_PREFIX ? SEG_DS : in->seg, in);
		rc = guestmem_access_read(v, &value, other, x->size, user, &f);
		if (rc && f.not_ram) {
			value = io_mmio_read(v, f.gpa, x->size);
			rc = 0;
		}
		if (rc == 0)
			store(x, value);
	} else {
		other = (v->regs.rdi & address_mask(in)) + seg_base(v, SEG_ES, in);
		rc = guestmem_translate(v, other, GUESTMEM_WRITE | user, &f.gpa, &f);
		if (rc == 0 || f.not_ram) {
			value = load(x);
			rc = guestmem_access_write(v, other, &value, x->size, GUESTMEM_WRITE | user, &f);
			if (rc && f.not_ram) {
				io_mmio_write(v, f.gpa, x->size, value);
				rc = 0;
			}
		}
	}
	if (rc)
		hvm_inject_pf(v, f.addr, f.code);
	return rc == 0;
}

/* MOVS (A4, A5), STOS (AA, AB), LODS (AC, AD): a bounded piece inside the page. RIP stays while a rest is left. */
static bool string_op(struct access *x, bool write)
{
	struct vcpu *v = x->v;
	const struct insn *in = x->in;
	unsigned kind = in->opcode & 0xfe;
	int64_t step = v->regs.rflags & DF ? -(int64_t)x->size : (int64_t)x->size;
	bool rep = in->rep || in->repne, source = kind == 0xac || (kind == 0xa4 && !write);
	uint64_t *index = source ? &v->regs.rsi : &v->regs.rdi, count;
	gva_t base = seg_base(v, source ? (in->seg == SEG_NO_PREFIX ? SEG_DS : in->seg) : SEG_ES, in);

	if (((*index & address_mask(in)) + base - x->gpa) & (PAGE_SIZE - 1))
		return false;
	for (unsigned n = 0; n < STRING_PIECE; n++) {
		count = v->regs.rcx & address_mask(in);
		if (rep && count == 0)
			break;
		if ((x->gpa & (PAGE_SIZE - 1)) + x->size > PAGE_SIZE)
			return n != 0; /* an element across pages is not understood */
		if (kind == 0xaa)
			store(x, get_reg(x, 0, x->size));
		else if (kind == 0xac)
			set_reg(x, 0, x->size, load(x));
		else if (!movs_element(x, write))
			return true;
		if (kind != 0xaa)
			advance_index(v, in, 6, step);
		if (kind != 0xac)
			advance_index(v, in, 7, step);
		if (!rep)
			break;
		advance_index(v, in, 1, -1);
		if (((x->gpa ^ (x->gpa + (uint64_t)step)) & PAGE_MASK) != 0)
			break; /* the next page faults by itself, or is memory */
		x->gpa += (uint64_t)step;
	}
	if (!rep || (v->regs.rcx & address_mask(in)) == 0)
		hvm_advance(v, in->length);
	return true;
}

/* --- dispatch --- */

static bool group3(const struct access *x)
{
	switch (x->in->reg & 7) {
	case 0:
	case 1:
		alu(x->v, ALU_AND, load(x), x->in->imm & mask_of(x->size), x->size);
		return true;
	case 2:
		store(x, ~load(x));
		return true;
	case 3:
		store(x, alu(x->v, ALU_SUB, 0, load(x), x->size));
		return true;
	default:
		return false;
	}
}

static bool execute_one_byte(const struct access *x)
{
	const struct insn *in = x->in;
	uint64_t old;

	switch (in->opcode) {
	case 0x88:
	case 0x89:
		store(x, get_reg(x, in->reg, x->size));
		return true;
	case 0x8a:
	case 0x8b:
		set_reg(x, in->reg, x->size, load(x));
		return true;
	case 0xa0:
	case 0xa1:
		set_reg(x, 0, x->size, load(x));
		return true;
	case 0xa2:
	case 0xa3:
		store(x, get_reg(x, 0, x->size));
		return true;
	case 0xc6:
	case 0xc7:
		if (in->reg & 7)
			return false;
		store(x, in->imm);
		return true;
	case 0x63:
		set_reg(x, in->reg, in->op_size, (uint64_t)(int64_t)(int32_t)load(x));
		return true;
	case 0x84:
	case 0x85:
		alu(x->v, ALU_AND, load(x), get_reg(x, in->reg, x->size), x->size);
		return true;
	case 0x86:
	case 0x87:
		old = load(x);
		store(x, get_reg(x, in->reg, x->size));
		set_reg(x, in->reg, x->size, old);
		return true;
	case 0x80 ... 0x83:
		alu_memory(x, (enum alu)(in->reg & 7), in->imm);
		return true;
	case 0xf6:
	case 0xf7:
		return group3(x);
	case 0xfe:
	case 0xff:
		if ((in->reg & 7) > 1)
			return false;
		inc_dec(x, in->reg & 1);
		return true;
	default:
		if (in->opcode >= 0x40 || (in->opcode & 7) > 3)
			return false;
		if (in->opcode & 2)
			alu_register(x, (enum alu)(in->opcode >> 3));
		else
			alu_memory(x, (enum alu)(in->opcode >> 3), get_reg(x, in->reg, x->size));
		return true;
	}
}

static bool execute_two_byte(const struct access *x)
{
	const struct insn *in = x->in;
	uint64_t value;

	switch (in->opcode) {
	case 0xb6:
	case 0xb7:
		set_reg(x, in->reg, in->op_size, load(x));
		return true;
	case 0xbe:
		set_reg(x, in->reg, in->op_size, (uint64_t)(int64_t)(int8_t)load(x));
		return true;
	case 0xbf:
		set_reg(x, in->reg, in->op_size, (uint64_t)(int64_t)(int16_t)load(x));
		return true;
	case 0xa3:
	case 0xab:
	case 0xb3:
	case 0xbb:
		bit_op(x, (in->opcode >> 3) & 3, (unsigned)get_reg(x, in->reg, x->size) & (x->size * 8 - 1));
		return true;
	case 0xba:
		if ((in->reg & 7) < 4)
			return false;
		bit_op(x, in->reg & 3, (unsigned)in->imm & (x->size * 8 - 1));
		return true;
	case 0xb0:
	case 0xb1:
		cmpxchg(x);
		return true;
	case 0xc0:
	case 0xc1:
		value = load(x);
		store(x, alu(x->v, ALU_ADD, value, get_reg(x, in->reg, x->size), x->size));
		set_reg(x, in->reg, x->size, value);
		return true;
	case 0xc3: /* MOVNTI */
		store(x, get_reg(x, in->reg, x->size));
		return true;
	default:
		return false;
	}
}

/* Bytes the memory operand has. */
static unsigned memory_size(const struct insn *in)
{
	if (in->map == 1) {
		switch (in->opcode) {
		case 0xb6:
		case 0xbe:
		case 0xb0:
		case 0xc0:
			return 1;
		case 0xb7:
		case 0xbf:
			return 2;
		default:
			return in->op_size;
		}
	}
	if (in->opcode == 0x63)
		return 4;
	return in->opcode & 1 || in->opcode == 0x83 ? in->op_size : 1;
}

/* BT and its kin with a register index bits beyond the operand. */
static uint64_t bit_displacement(struct vcpu *v, const struct insn *in)
{
	int64_t bit;

	if (in->map != 1 || (in->opcode != 0xa3 && in->opcode != 0xab && in->opcode != 0xb3 && in->opcode != 0xbb))
		return 0;
	bit = (int64_t)*insn_gpr(v, in->reg);
	if (in->op_size == 4)
		bit = (int32_t)bit;
	else if (in->op_size == 2)
		bit = (int16_t)bit;
	return (uint64_t)(bit >> 3) & ~(uint64_t)(in->op_size - 1);
}

bool emulate_mmio(struct vcpu *v, gpa_t gpa, bool write)
{
	struct insn in;
	struct access x = { .v = v, .in = &in, .gpa = gpa };
	bool injected, moffs;
	gva_t va;

	if (!insn_get(v, &in, &injected))
		return injected;
	x.size = memory_size(&in);
	if (in.map == 0 && ((in.opcode >= 0xa4 && in.opcode <= 0xa5) || (in.opcode >= 0xaa && in.opcode <= 0xad)))
		return string_op(&x, write);
	moffs = in.map == 0 && in.opcode >= 0xa0 && in.opcode <= 0xa3;
	if (!moffs && (!in.has_modrm || in.mod == 3))
		return false;
	va = effective(v, &in, bit_displacement(v, &in));
	if (((va ^ gpa) & (PAGE_SIZE - 1)) || (gpa & (PAGE_SIZE - 1)) + x.size > PAGE_SIZE)
		return false;
	if (in.map == 0 ? !execute_one_byte(&x) : in.map != 1 || !execute_two_byte(&x))
		return false;
	hvm_advance(v, in.length);
	return true;
}
