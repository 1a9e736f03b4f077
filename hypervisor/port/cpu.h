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

/*
 * What every stay in a guest is framed with from now on (hvm/spec.h). At the exit, before anything returns: RSB fills the
 * return stack, IBPB flushes branch predictions as well (the CPU must have it). Before the entry: VERW (VMX).
 */
#define PORT_GUARD_RSB	1u
#define PORT_GUARD_IBPB 2u /* implies RSB */
#define PORT_GUARD_VERW 4u
void port_guard_entries(unsigned guard);
bool port_cpu_emulated(void); /* by QEMU's TCG */

/* EFER.SVME on this CPU and its host save area (one frame). False: locked off by the firmware (VM_CR.SVMDIS). */
bool port_svm_on(uint64_t hsave_pa);
/*
 * VMLOAD guest, VMRUN, VMSAVE guest, VMLOAD host; guest general registers except rax and rsp (those are in the VMCB) are
 * exchanged with regs (order of struct regs in core/domain.h). Interrupts off before and after; GIF is set on return, a
 * pending physical interrupt is taken by the next port_poll().
 */
void port_svm_enter(uint64_t vmcb_pa, uint64_t *regs);

/* --- Intel VMX (SDM vol. 3, 24 and 30) --- */

/* CR4.VMXE and VMXON with a region of one frame that starts with the revision. False: locked off by the firmware. */
bool port_vmx_on(uint64_t region_pa);
void port_vmclear(uint64_t vmcs_pa);
void port_vmptrld(uint64_t vmcs_pa); /* what follows works on that one */
uint64_t port_vmread(uint32_t field);
void port_vmwrite(uint32_t field, uint64_t value);
void port_vmx_host_state(void); /* the fields that an exit loads, for this CPU */
void port_invept(uint64_t type, uint64_t eptp);
void port_invvpid(uint64_t type, uint16_t vpid);
/*
 * VMLAUNCH, or VMRESUME when launched; guest general registers except rsp are exchanged with regs (order of struct regs).
 * Interrupts off before and after; a physical interrupt that ended the stay is taken by the next port_poll(). False: the
 * CPU refused the VMCS as a whole (VM-instruction error).
 */
bool port_vmx_enter(uint64_t *regs, bool launched);
unsigned port_vmx_notify_vector(void);
void port_vmx_interrupt(unsigned vector); /* an interrupt that the CPU acknowledged when it ended a stay in the guest */
void port_nmi(void);			  /* the NMI that ended a stay in the guest is handled as if it had come here */
uint64_t port_cr2_get(void);
void port_cr2_set(uint64_t value);
uint64_t port_dr6_get(void);
void port_dr6_set(uint64_t value);

#endif
