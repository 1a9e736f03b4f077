/* The virtual machine control block of AMD SVM (APM vol. 2, appendix B). Layout only. */
#ifndef HVM_VMCB_H
#define HVM_VMCB_H

#include "hvm/hvm.h"

struct vmcb {
	uint16_t cr_read, cr_write;
	uint16_t dr_read, dr_write;
	uint32_t exceptions;
	uint32_t general1, general2, general3;
	uint8_t pad0[0x3c - 0x18];
	uint16_t pause_threshold, pause_count;
	uint64_t iopm_pa, msrpm_pa;
	uint64_t tsc_offset;
	uint32_t asid;
	uint8_t tlb_control, pad1[3];
	uint64_t vintr;	 /* VINTR_* */
	uint64_t shadow; /* bit 0: interrupt shadow */
	uint64_t exit_code, exit_info1, exit_info2, exit_int_info;
	uint64_t np_enable;
	uint8_t pad2[0xa8 - 0x98];
	uint64_t event_inj;
	uint64_t n_cr3;
	uint64_t lbr_enable;
	uint32_t clean, pad3;
	uint64_t next_rip;
	uint8_t fetched, insn[15];
	uint8_t pad4[0x400 - 0xe0];
	struct segment seg[SEG_COUNT]; /* es cs ss ds fs gs gdtr ldtr idtr tr */
	uint8_t pad5[0x4cb - 0x4a0];
	uint8_t cpl;
	uint32_t pad6;
	uint64_t efer;
	uint8_t pad7[0x548 - 0x4d8];
	uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
	uint8_t pad8[0x5d8 - 0x580];
	uint64_t rsp, s_cet, ssp, isst_addr, rax;
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t cr2;
	uint8_t pad9[0x668 - 0x648];
	uint64_t g_pat, debugctl, br_from, br_to, last_excp_from, last_excp_to;
	uint8_t pad10[0x1000 - 0x698];
};

_Static_assert(offsetof(struct vmcb, iopm_pa) == 0x40, "VMCB layout");
_Static_assert(offsetof(struct vmcb, vintr) == 0x60, "VMCB layout");
_Static_assert(offsetof(struct vmcb, event_inj) == 0xa8, "VMCB layout");
_Static_assert(offsetof(struct vmcb, next_rip) == 0xc8, "VMCB layout");
_Static_assert(offsetof(struct vmcb, seg) == 0x400, "VMCB layout");
_Static_assert(offsetof(struct vmcb, efer) == 0x4d0, "VMCB layout");
_Static_assert(offsetof(struct vmcb, rip) == 0x578, "VMCB layout");
_Static_assert(offsetof(struct vmcb, rax) == 0x5f8, "VMCB layout");
_Static_assert(offsetof(struct vmcb, cr2) == 0x640, "VMCB layout");
_Static_assert(offsetof(struct vmcb, g_pat) == 0x668, "VMCB layout");
_Static_assert(sizeof(struct vmcb) == PAGE_SIZE, "VMCB layout");

/*
 * clean (offset 0xc0, APM vol. 2, 15.15): groups of fields that nobody changed since the last exit, so that the CPU need not read
 * them. Whoever writes one of them clears all; the two that an entry writes have their own rule (svm.c).
 */
#define CLEAN_ALL 0x3ffu /* no LBR, AVIC, CET: never changed */
#define CLEAN_TPR BIT(3) /* vintr */

/* general1 (offset 0x0c) */
#define INTERCEPT_INTR	   BIT(0)
#define INTERCEPT_NMI	   BIT(1)
#define INTERCEPT_SMI	   BIT(2)
#define INTERCEPT_INIT	   BIT(3)
#define INTERCEPT_RDTSC	   BIT(14)
#define INTERCEPT_RDPMC	   BIT(15)
#define INTERCEPT_CPUID	   BIT(18)
#define INTERCEPT_IRET	   BIT(20)
#define INTERCEPT_INVD	   BIT(22)
#define INTERCEPT_PAUSE	   BIT(23)
#define INTERCEPT_HLT	   BIT(24)
#define INTERCEPT_INVLPGA  BIT(26)
#define INTERCEPT_IO	   BIT(27)
#define INTERCEPT_MSR	   BIT(28)
#define INTERCEPT_SHUTDOWN BIT(31)
/* general2 (offset 0x10) */
#define INTERCEPT_VMRUN	  BIT(0)
#define INTERCEPT_VMMCALL BIT(1)
#define INTERCEPT_VMLOAD  BIT(2)
#define INTERCEPT_VMSAVE  BIT(3)
#define INTERCEPT_STGI	  BIT(4)
#define INTERCEPT_CLGI	  BIT(5)
#define INTERCEPT_SKINIT  BIT(6)
#define INTERCEPT_RDTSCP  BIT(7)
#define INTERCEPT_WBINVD  BIT(9)
#define INTERCEPT_MONITOR BIT(10)
#define INTERCEPT_MWAIT	  BIT(11)
#define INTERCEPT_XSETBV  BIT(13)

#define VINTR_TPR	   0xfull
#define VINTR_IRQ	   BIT(8)
#define VINTR_PRIO_SHIFT   16
#define VINTR_IGN_TPR	   BIT(20)
#define VINTR_MASKING	   BIT(24)
#define VINTR_VECTOR_SHIFT 32
#define VINTR_VECTOR	   (0xffull << VINTR_VECTOR_SHIFT)

#define TLB_FLUSH_ALL	1u
#define TLB_FLUSH_ASID	3u
#define TLB_FLUSH_GUEST 3u

/* Exit codes (APM vol. 2, appendix C) */
#define VMEXIT_CR_WRITE0  0x10u
#define VMEXIT_DR_READ0	  0x20u
#define VMEXIT_DR_WRITE15 0x3fu
#define VMEXIT_EXCEPTION0 0x40u
#define VMEXIT_INTR	  0x60u
#define VMEXIT_NMI	  0x61u
#define VMEXIT_SMI	  0x62u
#define VMEXIT_INIT	  0x63u
#define VMEXIT_VINTR	  0x64u
#define VMEXIT_RDTSC	  0x6eu
#define VMEXIT_RDPMC	  0x6fu
#define VMEXIT_CPUID	  0x72u
#define VMEXIT_IRET	  0x74u
#define VMEXIT_INVD	  0x76u
#define VMEXIT_PAUSE	  0x77u
#define VMEXIT_HLT	  0x78u
#define VMEXIT_INVLPGA	  0x7au
#define VMEXIT_IO	  0x7bu
#define VMEXIT_MSR	  0x7cu
#define VMEXIT_SHUTDOWN	  0x7fu
#define VMEXIT_VMRUN	  0x80u
#define VMEXIT_VMMCALL	  0x81u
#define VMEXIT_VMLOAD	  0x82u
#define VMEXIT_SKINIT	  0x86u
#define VMEXIT_RDTSCP	  0x87u
#define VMEXIT_WBINVD	  0x89u
#define VMEXIT_MONITOR	  0x8au
#define VMEXIT_MWAIT	  0x8bu
#define VMEXIT_MWAIT_COND 0x8cu
#define VMEXIT_XSETBV	  0x8du
#define VMEXIT_NPF	  0x400u
#define VMEXIT_INVALID	  (~0u)

#endif
