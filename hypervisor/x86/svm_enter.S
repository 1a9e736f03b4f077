/*
 * port_svm_enter(vmcb_pa, regs): one stay in the guest. Source: APM vol. 2, 15.5 (VMRUN, VMLOAD, VMSAVE), 15.17 (GIF),
 * 15.21.1 (with V_INTR_MASKING the host's IF lets physical interrupts end the stay).
 *
 * GIF is clear from CLGI to STGI: an NMI waits until the host's TR is back, for its handler uses an IST stack.
 * VMRUN itself restores CS..DS, GDTR, IDTR, CR0-4, EFER, RAX and RSP; VMLOAD of this CPU's own VMCB the rest.
 * What is done against speculation after the exit (x86_guard, hvm/spec.h) is decided before the entry: no branch that the
 * guest could have trained stands before it. AMD's CPUs need no VERW.
 */
#include "x86/layout.h"
#include "x86/stay.inc"

	.macro	svm_stay guard
	host_regs_push
	pushq	%rsi
	movq	%rdi, %rax
	clgi
	sti
	vmload	%rax
	guest_regs_load %rsi, %rdi, 56
	movq	48(%rsi), %rsi
	vmrun	%rax
	vmsave	%rax
	popq	%rax
	guest_regs_save %rax, %rdi
	after_exit \guard
	movq	%rsp, %rax
	andq	$-(1 << CPU_BLOCK_SHIFT), %rax
	movq	CPU_HOST_VMCB(%rax), %rax
	vmload	%rax
	cli
	stgi
	return_to_host
	.endm

	.text
	.globl	port_svm_enter
	.type	port_svm_enter, @function
	.balign 16
port_svm_enter:
	cmpl	$0, x86_guard(%rip)
	jne	2f
	svm_stay 0
2:	testl	$GUARD_IBPB, x86_guard(%rip)
	jnz	3f
	svm_stay GUARD_RSB
3:	svm_stay GUARD_RSB | GUARD_IBPB
	.section .note.GNU-stack, "", @progbits
