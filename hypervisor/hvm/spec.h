/*
 * hvm/spec.c: defences against speculative execution: which this CPU needs and can have, decided once at boot, and what is
 * done at switches, entries and exits. Sources: Intel's "Affected Processors" and the guidance per issue; AMD's "Software
 * techniques for managing speculation" and its bulletins 7005 (SRSO) and 1037 (branch type confusion).
 *
 * The hypervisor has no indirect branch (test/static) and maps no guest memory but what it uses, so that it needs no IBRS
 * for itself: SPEC_CTRL (IBRS, STIBP, SSBD) is the guest's, unintercepted, and switched with the vCPU.
 */
#ifndef HVM_SPEC_H
#define HVM_SPEC_H

#include "lib/types.h"

struct domain;
struct vcpu;

enum spec_defence {
	SPEC_RSB,	/* the return stack is filled after each exit */
	SPEC_IBPB_EXIT, /* branch predictions are flushed after each exit, before the first return */
	SPEC_IBPB,	/* they are flushed between the vCPUs of two domains */
	SPEC_MD_CLEAR,	/* buffers are cleared (VERW) before each entry */
	SPEC_L1D_FLUSH, /* L1D is flushed between domains, and after what may have read another domain's memory */
	SPEC_LFENCE,	/* LFENCE serialises (AMD: a bit says so) */
	SPEC_DEFENCES
};

/* What decides: as CPUID and IA32_ARCH_CAPABILITIES say it. */
struct spec_cpu {
	bool amd;	       /* or Hygon; otherwise Intel's rules */
	bool emulated;	       /* QEMU's TCG: nothing is speculated */
	uint8_t family, model; /* display family and model */
	uint32_t leaf7_d, leaf80000008_b, leaf80000021_a;
	uint64_t arch_caps; /* 0: no such MSR */
};

struct spec_plan {
	bool on[SPEC_DEFENCES];
	const char *why[SPEC_DEFENCES]; /* for the boot message */
};

/*
 * Pure. options: "" as the CPU needs it, "no" nothing, "yes" all that the CPU can do, or a list of rsb, ibpb-entry, ibpb,
 * md-clear, l1d-flush, each perhaps with no- before it. Returns the first word of it that means nothing, or NULL.
 */
const char *spec_decide(const struct spec_cpu *c, const char *options, struct spec_plan *plan);

void spec_init(const char *options); /* boot CPU, before guests' CPUID is made */
void spec_cpu_init(void);	     /* each CPU */

extern bool spec_l1d_flush;
void spec_flush_l1d(void);

/* v's SPEC_CTRL; what another domain left in predictors and caches is flushed. Locks: none. */
void spec_switch_out(struct vcpu *v);
void spec_switch_in(struct vcpu *v);

bool spec_has_ctrl(void);	     /* IA32_SPEC_CTRL is there */
bool spec_has_command(uint32_t msr); /* IA32_PRED_CMD, IA32_FLUSH_CMD */
uint64_t spec_guest_arch_caps(void); /* IA32_ARCH_CAPABILITIES as guests read it */

#define MSR_SPEC_CTRL 0x48u
#define MSR_PRED_CMD  0x49u
#define MSR_ARCH_CAPS 0x10au
#define MSR_FLUSH_CMD 0x10bu
#define MSR_DE_CFG    0xc0011029u

#endif
