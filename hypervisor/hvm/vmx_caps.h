/* hvm/vmx_caps.c: which VMX controls this machine's CPUs have, and are used. vmx_init() (hvm/vendor.h) fills it in once. */
#ifndef HVM_VMX_CAPS_H
#define HVM_VMX_CAPS_H

#include "hvm/vmx_check.h"

struct vmx_caps {
	uint32_t revision;			       /* of the VMCS's format */
	uint32_t pin, primary, secondary, exit, entry; /* controls that every VMCS starts with */
	unsigned timer_shift;			       /* the preemption timer counts once in 2^this ticks of the TSC */
	uint64_t ept; /* IA32_VMX_EPT_VPID_CAP; the same on all CPUs (vmx_cpu_init() checks) */
};
extern struct vmx_caps vmx_caps;

uint32_t vmx_caps_msr(enum vmx_word w, uint64_t basic); /* the one that says what is allowed; basic: MSR_VMX_BASIC */

#endif
