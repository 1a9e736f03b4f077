// SPDX-License-Identifier: MIT
/*
 * A second vCPU for guest test kernels (64-bit ones).
 *
 * Owns: vCPU 1's stack. Locks: none; what the two vCPUs share is the test's matter.
 */
#include "guest.h"

#include <xen/hvm/hvm_vcpu.h>

static char stack[SMP_STACK] __attribute__((aligned(16)));

bool smp_on_second(void)
{
	unsigned long sp = (unsigned long)__builtin_frame_address(0);

	return sp - (unsigned long)stack < sizeof(stack);
}

#ifdef __x86_64__
extern char smp_entry[], pml4_table[];
static void (*second_main)(void);

static void second_start(void)
{
	trap_load();
	second_main();
}

/* Public headers vcpu.h VCPUOP_initialise and hvm/hvm_vcpu.h. */
long smp_start(void (*fn)(void))
{
	static struct vcpu_hvm_context c;
	long rc;

	second_main = fn;
	c.mode = VCPU_HVM_MODE_64B;
	c.cpu_regs.x86_64 = (struct vcpu_hvm_x86_64){
		.rip = (unsigned long)smp_entry,
		.rsp = (unsigned long)stack + sizeof(stack),
		.rdi = (unsigned long)second_start,
		.rflags = 2,
		.cr0 = 0x80010033,
		.cr3 = (unsigned long)pml4_table,
		.cr4 = 0x220,
		.efer = 0x500,
	};
	rc = hc_vcpu(VCPUOP_initialise, 1, &c);
	if (rc == 0)
		rc = hc_vcpu(VCPUOP_up, 1, 0);
	return rc;
}
#endif
