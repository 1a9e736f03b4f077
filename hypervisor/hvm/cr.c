/*
 * hvm/cr.c: writes of CR0, CR4 and CR8 by a guest, with the checks the CPU would make (APM vol. 2, 3.1 and 15.5.1: VMRUN refuses
 * what a guest could otherwise leave there), and the features its CPUID hides. Owns nothing, locks nothing.
 */
#include "core/domain.h"
#include "hvm/cpuid.h"
#include "hvm/hvm.h"
#include "hvm/insn.h"
#include "hvm/msr.h"

#define CR0_PE	   BIT(0)
#define CR0_MP	   BIT(1)
#define CR0_TS	   BIT(3)
#define CR0_NW	   BIT(29)
#define CR0_CD	   BIT(30)
#define CR0_PG	   BIT(31)
#define CR4_PAE	   BIT(5)
#define CR4_PCIDE  BIT(17)
#define CR0_KNOWN  0xe005003full /* PE .. NE, WP, AM, NW, CD, PG; the CPU drops the others */
#define EFER_LME   BIT(8)
#define EFER_LMA   BIT(10)
#define CR4_ALWAYS 0x07ffull /* VME .. PCE, OSFXSR, OSXMMEXCPT */

/* CR4 bits that need a feature: leaf, register (0 eax .. 3 edx), bit. */
static const struct {
	uint8_t cr4, leaf, reg, bit;
} features[] = {
	{ 11, 7, 2, 2 },  /* UMIP */
	{ 16, 7, 1, 0 },  /* FSGSBASE */
	{ 17, 1, 2, 17 }, /* PCIDE */
	{ 18, 1, 2, 26 }, /* OSXSAVE */
	{ 20, 7, 1, 7 },  /* SMEP */
	{ 21, 7, 1, 20 }, /* SMAP */
	{ 22, 7, 2, 3 },  /* PKE */
};

static uint64_t cr4_allowed(const struct domain *d)
{
	uint64_t may = CR4_ALWAYS;

	for (unsigned i = 0; i < ARRAY_SIZE(features); i++)
		if (cpuid_has(d, features[i].leaf, features[i].reg, features[i].bit))
			may |= BIT(features[i].cr4);
	return may;
}

bool cr_state_ok(const struct domain *d, uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	bool paging = cr0 & CR0_PG, lma = efer & EFER_LMA;

	if ((cr0 & ~CR0_KNOWN) || ((cr0 & CR0_NW) && !(cr0 & CR0_CD)) || (paging && !(cr0 & CR0_PE)))
		return false;
	if ((cr4 & ~cr4_allowed(d)) || (efer & ~msr_efer_mask(d)))
		return false;
	return lma == (paging && (efer & EFER_LME)) && (!lma || (cr4 & CR4_PAE)) && (lma || !(cr4 & CR4_PCIDE));
}

static bool cr0_write(struct vcpu *v, uint64_t value)
{
	uint64_t old = hvm_get_cr(v, 0), efer = hvm_get_efer(v), cr4 = hvm_get_cr(v, 4);
	bool turns_on = (value & ~old) & CR0_PG, turns_off = (old & ~value) & CR0_PG;

	if (value >> 32 || ((value & CR0_NW) && !(value & CR0_CD)) || ((value & CR0_PG) && !(value & CR0_PE)))
		return false;
	value &= CR0_KNOWN;
	if (turns_on && (efer & EFER_LME)) {
		struct segment cs;

		hvm_get_segment(v, SEG_CS, &cs);
		if (!(cr4 & CR4_PAE) || (cs.attr & BIT(9)))
			return false;
		hvm_set_efer(v, efer | EFER_LMA);
	}
	if (turns_off) {
		if (hvm_mode(v) == MODE_64 || (cr4 & CR4_PCIDE))
			return false;
		hvm_set_efer(v, efer & ~EFER_LMA);
	}
	hvm_set_cr(v, 0, value);
	return true;
}

static bool cr4_write(struct vcpu *v, uint64_t value)
{
	uint64_t old = hvm_get_cr(v, 4), efer = hvm_get_efer(v);

	if (value & ~cr4_allowed(v->domain))
		return false;
	if ((efer & EFER_LMA) && !(value & CR4_PAE))
		return false;
	if ((value & ~old & CR4_PCIDE) && (!(efer & EFER_LMA) || (hvm_get_cr(v, 3) & 0xfff)))
		return false;
	hvm_set_cr(v, 4, value);
	return true;
}

bool cr_write(struct vcpu *v, unsigned cr, uint64_t value)
{
	switch (cr) {
	case 0:
		return cr0_write(v, value);
	case 4:
		return cr4_write(v, value);
	case 8:
		if (value & ~0xfull)
			return false;
		vlapic_set_tpr(v, (uint8_t)(value << 4));
		return true;
	}
	return false;
}

/* MOV to CRn, CLTS and LMSW with a register exit as writes; LMSW from memory is nobody's idiom and gets #UD. */
bool cr_exit_value(struct vcpu *v, const struct insn *i, uint64_t *value)
{
	uint64_t cr0 = hvm_get_cr(v, 0);

	if (i->map != 1)
		return false;
	if (i->opcode == 0x22) {
		*value = *insn_gpr(v, i->rm);
		if (hvm_mode(v) != MODE_64)
			*value = (uint32_t)*value;
		return true;
	}
	if (i->opcode == 0x06) {
		*value = cr0 & ~CR0_TS;
		return true;
	}
	if (i->opcode == 0x01 && (i->reg & 7) == 6 && i->mod == 3) {
		/* PE can be set but not cleared. */
		*value = (cr0 & ~0xeull) | (*insn_gpr(v, i->rm) & 0xf);
		return true;
	}
	return false;
}
