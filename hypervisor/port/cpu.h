/* THE SEAM, downwards: what the CPU itself offers to hvm/. Implemented by x86/ and faked by test/host/. */
#ifndef PORT_CPU_H
#define PORT_CPU_H

#include "lib/types.h"

void port_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]); /* eax, ebx, ecx, edx */
bool port_rdmsr(uint32_t msr, uint64_t *value);			   /* false: the CPU refused it (#GP, recovered) */
bool port_wrmsr(uint32_t msr, uint64_t value);

/* FPU/SSE/AVX state of the guest that owns the FPU now; area: a 4 KiB heap page, 64-byte aligned (XSAVE with all of XCR0
 * the host enables, else FXSAVE). */
void port_fpu_save(void *area);
void port_fpu_restore(const void *area);
void port_fpu_init(void *area); /* writes the reset state into area */
void port_set_xcr0(uint64_t xcr0);
uint64_t port_host_xcr0(void); /* 0 when XSAVE is not used */

/* DR0-DR3. */
void port_dr_save(uint64_t dr[4]);
void port_dr_restore(const uint64_t dr[4]);

/* EFER.SVME on this CPU and its host save area (one frame). False: locked off by the firmware (VM_CR.SVMDIS). */
bool port_svm_on(uint64_t hsave_pa);
/*
 * VMLOAD guest, VMRUN, VMSAVE guest, VMLOAD host; guest general registers except rax and rsp (those are in the VMCB) are
 * exchanged with regs (order of struct regs in core/domain.h). Interrupts off before and after; GIF is set on return, a
 * pending physical interrupt is taken by the next port_poll().
 */
void port_svm_enter(uint64_t vmcb_pa, uint64_t *regs);

#endif
