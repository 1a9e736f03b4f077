/*
 * hvm/vendor.h: what a vendor backend (svm.c, vmx.c) offers, and the choice between the two: a branch on vendor_vmx, set
 * once at start-up. Vendor files only decode and program.
 */
#ifndef HVM_VENDOR_H
#define HVM_VENDOR_H

#include "hvm/hvm.h"
#include "hvm/vmcb.h"

extern bool vendor_vmx; /* hvm/vendor.c */

/*
 * Boot CPU: finds out which; 0, or -ENODEV after a message that says what is missing. off: the optional features that are not to
 * be used, names separated by commas (docs/hardware.md); it stays valid until the return.
 */
int vendor_init(const char *off);
bool vendor_may_use(const char *feature); /* while vendor_init() runs */

/* What the backend found; hvm/vendor.c. */
extern uint64_t vendor_tsc_rate_max; /* 0: the CPU cannot scale a guest's TSC */
extern bool vendor_xsaves;	     /* guests may use XSAVES where the CPU has it */
extern bool vendor_apic_delivers; /* the CPU takes interrupts out of the virtual APIC's IRR by itself (hvm/vlapic.c) */
extern bool vendor_apic_posted;	  /* and those that are posted, when port_notify() tells it, without an exit */
extern bool vendor_x2apic_free;	  /* most of x2APIC mode's MSRs cost the guest no exit */
extern bool vendor_dirty_flags;	  /* the CPU sets accessed and dirty flags in nested page tables */
extern bool vendor_logs_writes;	  /* and logs the addresses of those it sets */

/* Both have these; the comments are at vendor_*() below. */
#define VENDOR_FUNCTIONS(x)                                                                                            \
	int x##_init(void);                                                                                            \
	int x##_cpu_init(unsigned cpu);                                                                                \
	int x##_vcpu_init(struct vcpu *v);                                                                             \
	void x##_vcpu_destroy(struct vcpu *v);                                                                         \
	void x##_flush_linear(struct vcpu *v);                                                                         \
	void x##_flush_nested(struct vcpu *v);                                                                         \
	void x##_run(struct vcpu *v, struct exit *e);                                                                  \
	void x##_dump(struct vcpu *v);                                                                                 \
	void x##_get_segment(struct vcpu *v, enum seg s, struct segment *out);                                         \
	void x##_set_segment(struct vcpu *v, enum seg s, const struct segment *in);                                    \
	unsigned x##_cpl(struct vcpu *v);                                                                              \
	void x##_set_tsc_offset(struct vcpu *v, uint64_t offset);                                                      \
	void x##_set_tsc_rate(struct vcpu *v, uint64_t rate);                                                          \
	void x##_trap_tsc(struct vcpu *v, bool on);                                                                    \
	void x##_allow_debug_registers(struct vcpu *v);                                                                \
	void x##_window(struct vcpu *v);                                                                               \
	void x##_msr_pass(uint8_t *bitmap, uint32_t msr, bool writes);

VENDOR_FUNCTIONS(svm)
VENDOR_FUNCTIONS(vmx)

#define VENDOR(call) (unlikely(vendor_vmx) ? vmx_##call : svm_##call)

static inline int vendor_cpu_init(unsigned cpu) /* each CPU: virtualisation on; 0, -ENODEV, -ENOMEM */
{
	return VENDOR(cpu_init(cpu));
}

static inline int vendor_vcpu_init(struct vcpu *v)
{
	return VENDOR(vcpu_init(v));
}

static inline void vendor_vcpu_destroy(struct vcpu *v)
{
	VENDOR(vcpu_destroy(v));
}

/* At v's next entry: what its own page tables gave is forgotten; what the nested ones gave, too. */
static inline void vendor_flush_linear(struct vcpu *v)
{
	VENDOR(flush_linear(v));
}

static inline void vendor_flush_nested(struct vcpu *v)
{
	VENDOR(flush_nested(v));
}

/* Enters the guest once; returns after its exit with *e decoded and v->regs current. */
static inline void vendor_run(struct vcpu *v, struct exit *e)
{
	VENDOR(run(v, e));
}

static inline void vendor_dump(struct vcpu *v)
{
	VENDOR(dump(v));
}

static inline void vendor_set_tsc_offset(struct vcpu *v, uint64_t offset)
{
	VENDOR(set_tsc_offset(v, offset));
}

/* The TSC counts rate / 2^32 as fast as the machine's; 0: just as fast. At most vendor_tsc_rate_max. */
static inline void vendor_set_tsc_rate(struct vcpu *v, uint64_t rate)
{
	VENDOR(set_tsc_rate(v, rate));
}

static inline void vendor_trap_tsc(struct vcpu *v, bool on) /* RDTSC and RDTSCP exit */
{
	VENDOR(trap_tsc(v, on));
}

/* First use: no longer intercepted, switched with the vCPU. */
static inline void vendor_allow_debug_registers(struct vcpu *v)
{
	VENDOR(allow_debug_registers(v));
}

static inline void vendor_window(struct vcpu *v) /* EXIT_WINDOW */
{
	VENDOR(window(v));
}

/* In a bitmap that says "exit" for all: that MSR may be read, or read and written, without one. */
static inline void vendor_msr_pass(uint8_t *bitmap, uint32_t msr, bool writes)
{
	VENDOR(msr_pass(bitmap, msr, writes));
}

/* --- registers; v runs on this CPU, or on none --- */

static inline struct vmcb *svm_vmcb(struct vcpu *v)
{
	return v->hvm->vmcb;
}

/* For whoever changes it: no field is clean any more (CLEAN_ALL). */
static inline struct vmcb *svm_change(struct vcpu *v)
{
	struct vmcb *c = svm_vmcb(v);

	c->clean = 0;
	return c;
}

uint64_t vmx_get(struct vcpu *v, enum hvm_reg r);
void vmx_set(struct vcpu *v, enum hvm_reg r, uint64_t value);

static inline uint64_t *svm_reg(struct vmcb *c, enum hvm_reg r)
{
	switch (r) {
	case REG_CR0:
		return &c->cr0;
	case REG_CR2:
		return &c->cr2;
	case REG_CR3:
		return &c->cr3;
	case REG_CR4:
		return &c->cr4;
	case REG_EFER:
		return &c->efer;
	case REG_DR6:
		return &c->dr6;
	case REG_DR7:
		return &c->dr7;
	case REG_PAT:
		return &c->g_pat;
	case REG_SHADOW:
		return &c->shadow;
	case REG_SYSENTER_CS:
		return &c->sysenter_cs;
	case REG_SYSENTER_ESP:
		return &c->sysenter_esp;
	case REG_SYSENTER_EIP:
		return &c->sysenter_eip;
	case REG_STAR:
		return &c->star;
	case REG_LSTAR:
		return &c->lstar;
	case REG_CSTAR:
		return &c->cstar;
	case REG_SFMASK:
		return &c->sfmask;
	case REG_KERNEL_GS_BASE:
		break;
	}
	return &c->kernel_gs_base;
}

static inline uint64_t vendor_get(struct vcpu *v, enum hvm_reg r)
{
	return unlikely(vendor_vmx) ? vmx_get(v, r) : *svm_reg(svm_vmcb(v), r);
}

static inline void vendor_set(struct vcpu *v, enum hvm_reg r, uint64_t value)
{
	if (unlikely(vendor_vmx))
		vmx_set(v, r, value);
	else
		*svm_reg(svm_change(v), r) = value;
}

/* --- beside that --- */

/* Features found and used, printed at boot. */
struct svm_features {
	bool npt, nrips, decode_assists, pause_filter, flush_by_asid, tsc_rate;
	uint32_t clean; /* CLEAN_ALL, or 0 */
	uint32_t asids;
};
extern struct svm_features svm_features;
void svm_decode(const void *vmcb, struct exit *e); /* pure: a VMCB page -> struct exit */

void svm_switch_in(struct vcpu *v); /* v starts running on this CPU, which does not hold its state */
/* v starts, or stops, running on this CPU. held: the CPU still has what is not in the VMCS. */
void vmx_switch_in(struct vcpu *v, bool held);
void vmx_switch_out(struct vcpu *v);

#endif
