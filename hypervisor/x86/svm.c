/*
 * Switching SVM on (APM vol. 2, 15.4) and the host's side of VMLOAD: one VMCB per CPU, internal to x86/, that holds TR and
 * the other registers VMRUN does not restore. No locks: each CPU its own.
 */
#include "lib/lib.h"
#include "port/cpu.h"
#include "x86/cpu.h"
#include "x86/x86.h"

void svm_host_init(void)
{
	cpu_this()->host_vmcb = paging_frame();
}

bool port_svm_on(uint64_t hsave_pa)
{
	uint64_t efer, vm_cr;

	if (!port_rdmsr(MSR_VM_CR, &vm_cr) || vm_cr & VM_CR_SVMDIS)
		return false;
	efer = x86_rdmsr(MSR_EFER);
	if (!port_wrmsr(MSR_EFER, efer | EFER_SVME) || !port_wrmsr(MSR_VM_HSAVE_PA, hsave_pa))
		return false;
	__asm__ volatile("vmsave %%rax" : : "a"(cpu_this()->host_vmcb) : "memory");
	return true;
}
