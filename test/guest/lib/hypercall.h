/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hypercalls of the guest test kernels.
 *
 * Owns: the calling sequence. Registers by <xen/arch-x86/xen-x86_64.h> and <xen/arch-x86/xen-x86_32.h>.
 * Invariants: hypercall_gate holds VMMCALL or VMCALL, chosen at start from the CPU's vendor, and a RET.
 */
#ifndef GUEST_HYPERCALL_H
#define GUEST_HYPERCALL_H

extern char hypercall_gate[];

#ifdef __x86_64__
static inline long hypercall5(unsigned long op, unsigned long a1, unsigned long a2, unsigned long a3, unsigned long a4,
			      unsigned long a5)
{
	register unsigned long r10 __asm__("r10") = a4;
	register unsigned long r8 __asm__("r8") = a5;
	long ret;

	__asm__ volatile("call hypercall_gate"
			 : "=a"(ret), "+D"(a1), "+S"(a2), "+d"(a3), "+r"(r10), "+r"(r8)
			 : "0"(op)
			 : "memory");
	return ret;
}
#else
static inline long hypercall5(unsigned long op, unsigned long a1, unsigned long a2, unsigned long a3, unsigned long a4,
			      unsigned long a5)
{
	long ret;

	__asm__ volatile("call hypercall_gate"
			 : "=a"(ret), "+b"(a1), "+c"(a2), "+d"(a3), "+S"(a4), "+D"(a5)
			 : "0"(op)
			 : "memory");
	return ret;
}
#endif

#define HC(op, ...)			  HC_PICK(__VA_ARGS__, HC5, HC4, HC3, HC2, HC1)(op, __VA_ARGS__)
#define HC_PICK(a, b, c, d, e, name, ...) name
#define HC_W(x)				  ((unsigned long)(x))
#define HC1(op, a)			  hypercall5(op, HC_W(a), 0, 0, 0, 0)
#define HC2(op, a, b)			  hypercall5(op, HC_W(a), HC_W(b), 0, 0, 0)
#define HC3(op, a, b, c)		  hypercall5(op, HC_W(a), HC_W(b), HC_W(c), 0, 0)
#define HC4(op, a, b, c, d)		  hypercall5(op, HC_W(a), HC_W(b), HC_W(c), HC_W(d), 0)
#define HC5(op, a, b, c, d, e)		  hypercall5(op, HC_W(a), HC_W(b), HC_W(c), HC_W(d), HC_W(e))

#define hc_memory(cmd, arg)	HC(__HYPERVISOR_memory_op, cmd, arg)
#define hc_version(cmd, arg)	HC(__HYPERVISOR_xen_version, cmd, arg)
#define hc_console(cmd, n, p)	HC(__HYPERVISOR_console_io, cmd, n, p)
#define hc_grant(cmd, arg, n)	HC(__HYPERVISOR_grant_table_op, cmd, arg, n)
#define hc_vcpu(cmd, vcpu, arg) HC(__HYPERVISOR_vcpu_op, cmd, vcpu, arg)
#define hc_sched(cmd, arg)	HC(__HYPERVISOR_sched_op, cmd, arg)
#define hc_event(cmd, arg)	HC(__HYPERVISOR_event_channel_op, cmd, arg)
#define hc_hvm(cmd, arg)	HC(__HYPERVISOR_hvm_op, cmd, arg)

#endif
