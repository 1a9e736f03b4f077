/*
 * hvm/vendor.h: what a vendor backend (svm.c, one day vmx.c) offers; the choice between them is a two-way branch in the
 * callers of hvm/vendor.c. Vendor files only decode and program.
 */
#ifndef HVM_VENDOR_H
#define HVM_VENDOR_H

#include "hvm/hvm.h"

/* Features found and used, printed at boot. */
struct svm_features {
	bool npt, nrips, decode_assists, flush_by_asid, vmcb_clean, pause_filter, vgif;
	uint32_t asids;
};
extern struct svm_features svm_features;

int svm_init(void);		/* boot CPU: 0, or -ENODEV after a message that says what is missing */
int svm_cpu_init(unsigned cpu); /* each CPU: EFER.SVME, host save area */
int svm_vcpu_init(struct vcpu *v);
void svm_vcpu_destroy(struct vcpu *v);
void svm_flush_tlb(struct vcpu *v); /* at its next entry */
/* Enters the guest once; returns after #VMEXIT with *e decoded and v->regs current. */
void svm_run(struct vcpu *v, struct exit *e);
/* Pure: a VMCB page -> struct exit. */
void svm_decode(const void *vmcb, struct exit *e);
void svm_dump(struct vcpu *v);
struct vmcb *svm_vmcb(struct vcpu *v);
void svm_set_tsc_offset(struct vcpu *v, uint64_t offset);
void svm_trap_tsc(struct vcpu *v, bool on);	/* RDTSC and RDTSCP exit */
void svm_allow_debug_registers(struct vcpu *v); /* first use: no longer intercepted, switched with the vCPU */
void svm_nmi_done(struct vcpu *v);		/* at its IRET: after it, the next NMI may come */
void svm_redeliver(struct vcpu *v, uint64_t interrupted);

#endif
