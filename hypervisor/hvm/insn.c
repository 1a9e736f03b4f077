/*
 * The instruction at RIP: fetching it, and finding the length of the few that exit without one (no NRIP
 * save).
 * Owns nothing, locks nothing. The encoding without prefixes is compared first: two or three bytes decide
 * nearly always.
 */
#include "hvm/insn.h"

#include "core/guestmem.h"
#include "hvm/hvm.h"
#include "lib/lib.h"

#define PAGE_LEFT(va) ((unsigned)(PAGE_SIZE - ((va) & (PAGE_SIZE - 1))))

struct pattern {
	uint8_t length;
	uint8_t bytes[3];
};

static const struct pattern patterns[] = {
	[INSN_CPUID] = { 2, { 0x0f, 0xa2 } },  [INSN_RDMSR] = { 2, { 0x0f, 0x32 } },
	[INSN_WRMSR] = { 2, { 0x0f, 0x30 } },  [INSN_VMMCALL] = { 3, { 0x0f, 0x01, 0xd9 } },
	[INSN_HLT] = { 1, { 0xf4 } },	       [INSN_PAUSE] = { 2, { 0xf3, 0x90 } },
	[INSN_WBINVD] = { 2, { 0x0f, 0x09 } }, [INSN_XSETBV] = { 3, { 0x0f, 0x01, 0xd1 } },
	[INSN_RDTSC] = { 2, { 0x0f, 0x31 } },
};

unsigned insn_bits(struct vcpu *v)
{
	switch (hvm_mode(v)) {
	case MODE_64:
		return 64;
	case MODE_32:
		return 32;
	default:
		return 16;
	}
}

uint64_t *insn_gpr(struct vcpu *v, unsigned reg)
{
	struct regs *r = &v->regs;

	switch (reg) {
	case 0:
		return &r->rax;
	case 1:
		return &r->rcx;
	case 2:
		return &r->rdx;
	case 3:
		return &r->rbx;
	case 4:
		return &r->rsp;
	case 5:
		return &r->rbp;
	case 6:
		return &r->rsi;
	case 7:
		return &r->rdi;
	default:
		return &r->r8 + (reg & 7);
	}
}

static gva_t linear_rip(struct vcpu *v)
{
	struct segment cs;

	if (hvm_mode(v) == MODE_64)
		return v->regs.rip;
	hvm_get_segment(v, SEG_CS, &cs);
	return (uint32_t)(cs.base + v->regs.rip);
}

static unsigned fetch_access(struct vcpu *v)
{
	return GUESTMEM_FETCH | (hvm_cpl(v) == 3 ? GUESTMEM_USER : 0);
}

/* n bytes at va; the fault goes to the guest. */
static bool fetch(struct vcpu *v, uint8_t *buf, gva_t va, unsigned n)
{
	struct guestmem_fault f;

	if (likely(guestmem_access_read(v, buf, va, n, fetch_access(v), &f) == 0))
		return true;
	if (f.not_ram)
		hvm_inject_gp(v); /* code outside RAM cannot be followed */
	else
		hvm_inject_pf(v, f.addr, f.code);
	return false;
}

unsigned insn_fetch(struct vcpu *v, uint8_t buf[INSN_MAX])
{
	gva_t va = linear_rip(v);
	unsigned first = MIN(PAGE_LEFT(va), (unsigned)INSN_MAX);
	struct guestmem_fault f;

	if (!fetch(v, buf, va, first))
		return 0;
	if (first < INSN_MAX &&
	    guestmem_access_read(v, buf + first, va + first, INSN_MAX - first, fetch_access(v), &f) == 0)
		return INSN_MAX;
	return first;
}

bool insn_get(struct vcpu *v, struct insn *out, bool *injected)
{
	uint8_t buf[INSN_MAX];
	gva_t va = linear_rip(v);
	unsigned first, bits = insn_bits(v);

	*injected = false;
	first = MIN(PAGE_LEFT(va), (unsigned)INSN_MAX);
	if (!fetch(v, buf, va, first)) {
		*injected = true;
		return false;
	}
	if (likely(decode_insn(buf, first, bits, out)))
		return true;
	if (first == INSN_MAX)
		return false;
	if (!fetch(v, buf + first, va + first, INSN_MAX - first)) { /* it goes on in the next page */
		*injected = true;
		return false;
	}
	return decode_insn(buf, INSN_MAX, bits, out);
}

static bool expected(const struct insn *in, enum insn_expect expect)
{
	/* the last byte of 0F 01 xx with a register form */
	unsigned modrm = in->mod == 3 ? 0xc0u | (in->reg & 7u) << 3 | (in->rm & 7u) : 0;

	switch (expect) {
	case INSN_ANY:
		return true;
	case INSN_PAUSE:
		return in->map == 0 && in->opcode == 0x90;
	case INSN_HLT:
		return in->map == 0 && in->opcode == 0xf4;
	case INSN_VMMCALL: /* VMMCALL 0F 01 D9 or VMCALL 0F 01 C1 */
		return in->map == 1 && in->opcode == 1 && (modrm == 0xd9 || modrm == 0xc1);
	case INSN_XSETBV:
		return in->map == 1 && in->opcode == 1 && modrm == 0xd1;
	case INSN_WBINVD: /* and INVD */
		return in->map == 1 && (in->opcode == 9 || in->opcode == 8);
	case INSN_RDTSC: /* and RDTSCP 0F 01 F9 */
		return in->map == 1 && (in->opcode == 0x31 || (in->opcode == 1 && modrm == 0xf9));
	default:
		return in->map == 1 && in->opcode == patterns[expect].bytes[1];
	}
}

/* Prefixes, a page boundary, or not what we expect. */
static __attribute__((noinline)) unsigned length_slow(struct vcpu *v, enum insn_expect expect)
{
	struct insn in;
	bool injected;

	if (insn_get(v, &in, &injected) && expected(&in, expect))
		return in.length;
	if (!injected)
		hvm_inject_ud(v);
	return 0;
}

unsigned insn_length(struct vcpu *v, enum insn_expect expect)
{
	const struct pattern *p = &patterns[expect];
	uint8_t buf[4] = { 0 };
	struct guestmem_fault f;
	gva_t va;

	if (likely(expect != INSN_ANY)) {
		va = linear_rip(v);
		if (likely(PAGE_LEFT(va) >= sizeof(buf)) &&
		    likely(guestmem_access_read(v, buf, va, sizeof(buf), fetch_access(v), &f) == 0)) {
			if (p->length == 2 && buf[0] == p->bytes[0] && buf[1] == p->bytes[1])
				return 2;
			if (p->length == 3 && buf[0] == p->bytes[0] && buf[1] == p->bytes[1] && buf[2] == p->bytes[2])
				return 3;
			if (p->length == 1 && buf[0] == p->bytes[0])
				return 1;
		}
	}
	return length_slow(v, expect);
}
