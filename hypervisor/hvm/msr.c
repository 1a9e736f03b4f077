/*
 * hvm/msr.c: model-specific registers of a guest. Owns the MSR bitmap all domains share: the few MSRs that the CPU
 * switches with the guest do not exit. No locks.
 */
#include "hvm/msr.h"

#include "core/domain.h"
#include "core/guestmem.h"
#include "core/heap.h"
#include "hvm/cpuid.h"
#include "hvm/hvm.h"
#include "hvm/spec.h"
#include "hvm/tsc.h"
#include "hvm/vendor.h"
#include "lib/lib.h"
#include "port/cpu.h"
#include "port/guest.h"
#include "port/machine.h"
#include "port/upcall.h"

#define MSR_TSC		    0x10u
#define MSR_PLATFORM_ID	    0x17u
#define MSR_APIC_BASE	    0x1bu
#define MSR_FEATURE_CONTROL 0x3au
#define MSR_BIOS_SIGN	    0x8bu
#define MSR_MTRR_CAP	    0xfeu
#define MSR_SYSENTER_CS	    0x174u
#define MSR_SYSENTER_ESP    0x175u
#define MSR_SYSENTER_EIP    0x176u
#define MSR_MCG_CAP	    0x179u
#define MSR_MCG_STATUS	    0x17au
#define MSR_MCG_CTL	    0x17bu
#define MSR_MISC_ENABLE	    0x1a0u
#define MSR_DEBUGCTL	    0x1d9u
#define MSR_MTRR_VAR0	    0x200u
#define MSR_MTRR_FIX64K	    0x250u
#define MSR_PAT		    0x277u
#define MSR_MTRR_DEF_TYPE   0x2ffu
#define MSR_MC0_CTL	    0x400u
#define MSR_TSC_DEADLINE    0x6e0u
#define MSR_X2APIC	    0x800u
#define MSR_XSS		    0xda0u
#define MSR_XEN_PAGE	    0x40000000u
#define MSR_EFER	    0xc0000080u
#define MSR_STAR	    0xc0000081u
#define MSR_LSTAR	    0xc0000082u
#define MSR_CSTAR	    0xc0000083u
#define MSR_SFMASK	    0xc0000084u
#define MSR_FS_BASE	    0xc0000100u
#define MSR_GS_BASE	    0xc0000101u
#define MSR_KERNEL_GS_BASE  0xc0000102u
#define MSR_TSC_AUX	    0xc0000103u
#define MSR_PERFEVTSEL0	    0xc0010000u
#define MSR_SYSCFG	    0xc0010010u
#define MSR_HWCR	    0xc0010015u
#define MSR_NB_CFG	    0xc001001fu
#define MSR_VM_CR	    0xc0010114u
#define MSR_OSVW_ID	    0xc0010140u
#define MSR_OSVW_STATUS	    0xc0010141u

#define MTRR_VARIABLE 8u
#define MCE_BANKS     2u
#define EFER_SCE      BIT(0)
#define EFER_LME      BIT(8)
#define EFER_LMA      BIT(10)
#define EFER_NX	      BIT(11)
#define EFER_FFXSR    BIT(14)
#define CR0_PG	      BIT(31)

static uint8_t *bitmap;

/* What SYSCALL uses: VMX does not switch these, so that writes of them are noted (hvm/vmx.c). */
static bool is_syscall(uint32_t msr)
{
	return msr >= MSR_STAR && msr <= MSR_SFMASK;
}

static bool canonical(uint64_t value)
{
	return (uint64_t)((int64_t)(value << 16) >> 16) == value;
}

static enum hvm_reg syscall_reg(uint32_t msr)
{
	return (enum hvm_reg)(REG_STAR + (msr - MSR_STAR));
}

int msr_init(void)
{
	static const uint32_t direct[] = { MSR_SYSENTER_CS, MSR_SYSENTER_ESP,  MSR_SYSENTER_EIP, MSR_STAR,
					   MSR_LSTAR,	    MSR_CSTAR,	       MSR_SFMASK,	 MSR_FS_BASE,
					   MSR_GS_BASE,	    MSR_KERNEL_GS_BASE };

	bitmap = heap_alloc_pages(1);
	if (!bitmap)
		return -ENOMEM;
	memset(bitmap, 0xff, 2 * PAGE_SIZE);
	for (unsigned i = 0; i < ARRAY_SIZE(direct); i++)
		vendor_msr_pass(bitmap, direct[i], !vendor_vmx || !is_syscall(direct[i]));
	if (spec_has_ctrl())
		vendor_msr_pass(bitmap, MSR_SPEC_CTRL, true);
	if (spec_has_command(MSR_PRED_CMD))
		vendor_msr_pass(bitmap, MSR_PRED_CMD, true);
	if (spec_has_command(MSR_FLUSH_CMD))
		vendor_msr_pass(bitmap, MSR_FLUSH_CMD, true);
	return 0;
}

uint8_t *msr_bitmap(void)
{
	return bitmap;
}

static bool is_mtrr(uint32_t msr)
{
	return (msr >= MSR_MTRR_VAR0 && msr < MSR_MTRR_VAR0 + 2 * MTRR_VARIABLE) || msr == MSR_MTRR_FIX64K ||
	       msr == 0x258 || msr == 0x259 || (msr >= 0x268 && msr <= 0x26f) || msr == MSR_MTRR_DEF_TYPE;
}

static uint64_t *mtrr(struct hvm_vcpu *h, uint32_t msr)
{
	if (msr == MSR_MTRR_DEF_TYPE)
		return &h->mtrr_def_type;
	if (msr < MSR_MTRR_FIX64K)
		return &h->mtrr_var[msr - MSR_MTRR_VAR0];
	if (msr == MSR_MTRR_FIX64K)
		return &h->mtrr_fixed[0];
	if (msr < 0x268)
		return &h->mtrr_fixed[1 + msr - 0x258];
	return &h->mtrr_fixed[3 + msr - 0x268];
}

static bool type_ok(uint8_t t)
{
	return t <= 6 && t != 2 && t != 3;
}

static bool mtrr_write(struct hvm_vcpu *h, uint32_t msr, uint64_t value)
{
	if (msr == MSR_MTRR_DEF_TYPE) {
		if ((value & ~0xcffull) || !type_ok(value & 0xff))
			return false;
	} else if (msr < MSR_MTRR_FIX64K) {
		if (!(msr & 1) && ((value & 0xf00) || !type_ok(value & 0xff)))
			return false;
		if ((msr & 1) && (value & 0x7ff))
			return false;
	} else {
		for (unsigned i = 0; i < 8; i++)
			if (!type_ok((uint8_t)(value >> 8 * i)))
				return false;
	}
	*mtrr(h, msr) = value;
	return true;
}

static bool pat_ok(uint64_t value)
{
	for (unsigned i = 0; i < 8; i++) {
		uint8_t t = (uint8_t)(value >> 8 * i);

		if (t > 7 || t == 2 || t == 3)
			return false;
	}
	return true;
}

uint64_t msr_efer_mask(const struct domain *d)
{
	uint64_t may = EFER_SCE | EFER_LME | EFER_LMA | EFER_NX | EFER_FFXSR;

	return cpuid_has(d, 0x80000001, 3, 25) ? may : may & ~EFER_FFXSR;
}

static bool efer_write(struct vcpu *v, uint64_t value)
{
	uint64_t old = hvm_get_efer(v);

	if (value & ~msr_efer_mask(v->domain))
		return false;
	if (((old ^ value) & EFER_LME) && (hvm_get_cr(v, 0) & CR0_PG))
		return false;
	/* LMA follows LME and paging; software cannot change it. */
	value = (value & ~EFER_LMA) | (old & EFER_LMA);
	if (value != old)
		hvm_set_efer(v, value);
	return true;
}

/* Machine check banks: reads as none ever failed. CTL reads as all ones (what firmware leaves). */
static bool is_mce(uint32_t msr)
{
	return msr >= MSR_MC0_CTL && msr < MSR_MC0_CTL + 4 * MCE_BANKS;
}

static bool read_rare(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	bool amd_counter = (msr >= MSR_PERFEVTSEL0 && msr < MSR_PERFEVTSEL0 + 8);

	if (is_mtrr(msr)) {
		*value = *mtrr(v->hvm, msr);
		return true;
	}
	if (is_mce(msr)) {
		*value = (msr & 3) == 0 ? ~0ull : 0;
		return true;
	}
	if (amd_counter || msr == MSR_NB_CFG || msr == MSR_SYSCFG || msr == MSR_HWCR || msr == MSR_DEBUGCTL ||
	    msr == MSR_MCG_STATUS || msr == MSR_PLATFORM_ID || msr == MSR_VM_CR) {
		*value = 0;
		return true;
	}
	switch (msr) {
	case MSR_MTRR_CAP:
		*value = BIT(10) | BIT(8) | MTRR_VARIABLE; /* write-combining, fixed ranges */
		return true;
	case MSR_MCG_CAP:
		*value = MCE_BANKS | BIT(24) | BIT(8);
		return true;
	case MSR_MCG_CTL:
		*value = ~0ull;
		return true;
	case MSR_BIOS_SIGN:
	case MSR_DE_CFG:
		if (!port_rdmsr(msr, value))
			*value = 0;
		return true;
	case MSR_TSC_AUX:
		*value = v->hvm->msr_tsc_aux;
		return cpuid_has(v->domain, 0x80000001, 3, 27);
	case MSR_XSS:
		*value = 0;
		return cpuid_has_at(v->domain, 0xd, 1, 0, 3);
	case MSR_ARCH_CAPS:
		*value = spec_guest_arch_caps();
		return cpuid_has(v->domain, 7, 3, 29);
	case MSR_FEATURE_CONTROL: /* locked: no VMX for guests */
		*value = 1;
		return vendor_vmx;
	case MSR_MISC_ENABLE: /* fast strings; no branch trace, no precise events */
		*value = BIT(0) | BIT(11) | BIT(12);
		return vendor_vmx;
	}
	return false;
}

bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	if ((msr >> 8) == MSR_X2APIC >> 8 || msr == MSR_APIC_BASE || msr == MSR_TSC_DEADLINE)
		return vlapic_msr_read(v, msr, value);
	switch (msr) {
	case MSR_EFER:
		*value = hvm_get_efer(v);
		return true;
	case MSR_TSC:
		*value = guest_tsc(v, port_tsc());
		return true;
	case MSR_PAT:
		*value = vendor_get(v, REG_PAT);
		return true;
	}
	return read_rare(v, msr, value);
}

/* The hypercall page: written into the frame the guest names (xen/arch-x86/cpuid.h, leaf 2). */
static bool hypercall_page(struct vcpu *v, uint64_t value)
{
	if (value & ~PAGE_MASK)
		return false; /* one page, index 0 */
	domain_latch_layout(v->domain, hvm_mode(v) != MODE_64);
	return upcall_hypercall_page(v->domain, GFN(value >> PAGE_SHIFT)) == 0;
}

/* What the CPU's TSC_AUX holds, plus 1; 0: not known. */
static uint64_t tsc_aux_loaded[NR_CPUS];

void msr_switch_in(struct vcpu *v)
{
	uint64_t *loaded = &tsc_aux_loaded[port_cpu()], want = v->hvm->msr_tsc_aux + 1;

	if (likely(*loaded == want))
		return;
	port_wrmsr(MSR_TSC_AUX, v->hvm->msr_tsc_aux); /* a CPU without it: nothing can read it */
	*loaded = want;
}

static bool write_rare(struct vcpu *v, uint32_t msr, uint64_t value)
{
	if (is_mtrr(msr))
		return mtrr_write(v->hvm, msr, value);
	if (is_mce(msr))
		return (msr & 3) == 0 || !value;
	if (is_syscall(msr)) {
		if ((msr == MSR_LSTAR || msr == MSR_CSTAR) && !canonical(value))
			return false;
		vendor_set(v, syscall_reg(msr), msr == MSR_SFMASK ? (uint32_t)value : value);
		return true;
	}
	if (msr == MSR_MISC_ENABLE)
		return vendor_vmx;
	if (msr == MSR_XSS) /* no state that only XSAVES saves is offered */
		return !value && cpuid_has_at(v->domain, 0xd, 1, 0, 3);
	if ((msr >= MSR_PERFEVTSEL0 && msr < MSR_PERFEVTSEL0 + 8) || msr == MSR_NB_CFG || msr == MSR_HWCR ||
	    msr == MSR_DEBUGCTL || msr == MSR_MCG_STATUS || msr == MSR_MCG_CTL || msr == MSR_DE_CFG ||
	    msr == MSR_BIOS_SIGN)
		return true; /* nothing behind it */
	if (msr == MSR_TSC_AUX && cpuid_has(v->domain, 0x80000001, 3, 27) && !(value >> 32)) {
		v->hvm->msr_tsc_aux = value;
		msr_switch_in(v);
		return true;
	}
	return false;
}

bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
	if ((msr >> 8) == MSR_X2APIC >> 8 || msr == MSR_APIC_BASE || msr == MSR_TSC_DEADLINE)
		return vlapic_msr_write(v, msr, value);
	switch (msr) {
	case MSR_EFER:
		return efer_write(v, value);
	case MSR_TSC:
		tsc_set(v, value, port_tsc());
		return true;
	case MSR_PAT:
		if (!pat_ok(value))
			return false;
		vendor_set(v, REG_PAT, value);
		return true;
	case MSR_XEN_PAGE:
		return hypercall_page(v, value);
	}
	return write_rare(v, msr, value);
}
