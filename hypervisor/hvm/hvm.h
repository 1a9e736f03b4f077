/*
 * hvm/hvm.h: the virtual machine's state beside the general registers: per domain and per vCPU, and what its parts offer
 * to each other. The vendor's own state (VMCB, VMCS) hides behind hvm/vendor.h.
 */
#ifndef HVM_HVM_H
#define HVM_HVM_H

#include "core/domain.h"
#include "hvm/exit.h"
#include "hvm/irq.h"
#include "hvm/vioapic.h"
#include "hvm/vlapic.h"
#include "hvm/vpit.h"

enum seg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_GDTR, SEG_LDTR, SEG_IDTR, SEG_TR, SEG_COUNT };

/* attr as in the VMCB: type 0-3, S 4, DPL 5-6, P 7, AVL 8, L 9, D/B 10, G 11 (APM vol. 2, 15.5.1 and appendix B). */
struct segment {
	uint16_t sel;
	uint16_t attr;
	uint32_t limit; /* in bytes, expanded */
	uint64_t base;
};

/* Registers that the vendor's state holds; SHADOW: bit 0, interrupts wait for one more instruction. */
enum hvm_reg {
	REG_CR0,
	REG_CR2,
	REG_CR3,
	REG_CR4,
	REG_EFER,
	REG_DR6,
	REG_DR7,
	REG_PAT,
	REG_SHADOW,
	REG_SYSENTER_CS,
	REG_SYSENTER_ESP,
	REG_SYSENTER_EIP,
	REG_STAR,
	REG_LSTAR,
	REG_CSTAR,
	REG_SFMASK,
	REG_KERNEL_GS_BASE,
};

enum cpu_mode { MODE_REAL, MODE_V86, MODE_16, MODE_32, MODE_64 };

#define EVENT_NONE 0xffu

struct svm_vcpu; /* hvm/svm.c */
struct vmx_vcpu; /* hvm/vmx.c */

struct hvm_vcpu {
	union { /* vendor state, heap page(s) */
		struct svm_vcpu *svm;
		struct vmx_vcpu *vmx;
	};
	struct vmcb *vmcb; /* SVM: a heap page */
	struct vlapic lapic;
	/* The exception or re-delivered event to inject at the next entry (at most one); vector EVENT_NONE: none. */
	struct {
		uint8_t vector;
		uint8_t type; /* 0 external, 2 NMI, 3 exception, 4 software interrupt (APM 15.20) */
		bool has_error;
		uint32_t error;
	} inject;
	bool nmi_pending, nmi_masked;
	bool nmi_iret; /* the handler of the masking NMI reached its IRET, at nmi_iret_rip: done once RIP is elsewhere */
	uint64_t nmi_iret_rip;
	bool debug_used;       /* DR0-3 are the guest's: switched with the vCPU */
	uint64_t dr[4];	       /* while not on a CPU */
	bool init_pending;     /* INIT came: down and without a start state until the SIPI; domain.lock, atomic */
	uint32_t sipi;	       /* a SIPI to obey when no CPU runs the vCPU any more (hvm/vlapic.c); atomic */
	bool upcall_wanted;    /* guest_event_pending() came: deliver by vector or GSI */
	uint8_t upcall_vector; /* HVMOP_set_evtchn_upcall_vector, 0 = not set */
	uint32_t tlb_gen;      /* last domain flush generation seen */
	/* MSRs kept in software */
	uint64_t spec_ctrl; /* while not on a CPU */
	uint64_t msr_tsc_aux, mtrr_def_type, mtrr_fixed[11], mtrr_var[16];
	uint64_t tsc_offset;
	uint64_t xcr0;
	void *fpu;	    /* FXSAVE/XSAVE image while not on a CPU; heap page */
	uint32_t loaded_on; /* CPU + 1 whose registers still equal fpu, dr, xcr0 and TSC_AUX; 0: none */
};

struct hvm_domain {
	uint64_t number; /* that no other domain had or will have */
	struct vioapic ioapic;
	struct vpit pit;
	struct irq_domain irq;		 /* host interrupts bound to this domain (hardware right) */
	struct vpci_domain *vpci;	 /* NULL without the hardware right */
	uint32_t tlb_gen;		 /* guest_tlb_flush() counts up */
	uint32_t callback_gsi;		 /* HVM_PARAM_CALLBACK_IRQ type 0: 0 = none */
	uint8_t callback_vector;	 /* type 2 */
	uint8_t *io_bitmap, *msr_bitmap; /* of this domain or the shared default; vendor format (SVM) */
	uint16_t pm1_port;		 /* hardware domain: trapped PM1a_CNT, 0 = none */
	uint8_t pm1_s5;			 /* its S5 sleep type + 1, 0 = not known: every sleep type is let through */
	char debug_line[128];		 /* port 0xe9 text collected so far; domain.lock */
	uint32_t debug_len;
	bool tsc_emulated;			   /* RDTSC exits; hvm/tsc.c */
	uint64_t tsc_rate, tsc_back;		   /* guest ticks per machine tick and back, times 2^32; 0 = 1:1 */
	uint16_t pm_status, pm_enable, pm_control; /* ACPI PM block of guests (ports 0xb000..) */
};

/* --- registers in the vendor's state; current vCPU, or a paused one; more in hvm/vendor.h --- */
void hvm_get_segment(struct vcpu *v, enum seg s, struct segment *out);
void hvm_set_segment(struct vcpu *v, enum seg s, const struct segment *in); /* that of SS sets the CPL, too */
uint64_t hvm_get_cr(struct vcpu *v, unsigned cr);			    /* 0, 2, 3, 4, 8 */
void hvm_set_cr(struct vcpu *v, unsigned cr, uint64_t value);		    /* no checks; cr.c checks for guests */
uint64_t hvm_get_efer(struct vcpu *v);
void hvm_set_efer(struct vcpu *v, uint64_t value);
enum cpu_mode hvm_mode(struct vcpu *v);
unsigned hvm_cpl(struct vcpu *v);

/* What XSETBV takes without #GP (APM vol. 4, XSETBV; SDM vol. 1, 13.3): the hypervisor's own XSETBV must never fault. */
static inline bool hvm_xcr0_ok(uint64_t value, uint64_t host)
{
	const uint64_t avx512 = 0xe0;

	if (!(value & 1) || (value & ~host) || ((value & 4) && !(value & 2)))
		return false;
	return !(value & avx512) || ((value & avx512) == avx512 && (value & 4));
}

/* --- what handlers do to the guest --- */
void hvm_inject_exception(struct vcpu *v, unsigned vector, bool has_error, uint32_t error);
void hvm_triple_fault(struct vcpu *v); /* a way to reset the machine: what the tools said of it (xen/hvm/params.h) */
void hvm_inject_gp(struct vcpu *v);    /* #GP(0) */
void hvm_inject_ud(struct vcpu *v);
void hvm_inject_db(struct vcpu *v);			       /* DR6 says why already */
void hvm_inject_pf(struct vcpu *v, gva_t addr, uint32_t code); /* sets CR2 */
void hvm_redeliver(struct vcpu *v, uint64_t interrupted);      /* what an exit interrupted (struct exit) comes again */
void hvm_advance(struct vcpu *v, unsigned length);	       /* past the instruction; drops interrupt shadow */
/* Full architectural reset (INIT or power-on) / PVH-style start state set by context or builder. */
void hvm_reset(struct vcpu *v);
void hvm_sipi(struct vcpu *v, uint8_t vector); /* the start state of a SIPI; v is down and on no CPU; domain.lock */
/* PVH entry: 32-bit flat protected mode, eip, ebx = start_info (hvm/start_info.h). */
void hvm_start_pvh(struct vcpu *v, uint32_t eip, uint32_t ebx);

/* VCPUOP_initialise (xen/hvm/hvm_vcpu.h): 0, or -EINVAL and nothing changed. */
int hvm_vcpu_start_context(struct vcpu *v, const struct vcpu_hvm_context *ctx);

/* Length of the current instruction by fetching and decoding just enough (prefixes + opcode), 0 = fault was injected.
 * expect: the opcode bytes that may have caused the exit, checked. */
enum insn_expect {
	INSN_CPUID,
	INSN_RDMSR,
	INSN_WRMSR,
	INSN_VMMCALL,
	INSN_HLT,
	INSN_PAUSE,
	INSN_WBINVD,
	INSN_XSETBV,
	INSN_RDTSC,
	INSN_ANY
};
unsigned insn_length(struct vcpu *v, enum insn_expect expect); /* hvm/insn.c */

#endif
