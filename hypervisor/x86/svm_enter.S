/*
 * port_svm_enter(vmcb_pa, regs): one stay in the guest. Source: APM vol. 2, 15.5 (VMRUN, VMLOAD, VMSAVE), 15.17 (GIF),
 * 15.21.1 (with V_INTR_MASKING the host's IF lets physical interrupts end the stay).
 *
 * GIF is clear from CLGI to STGI: an NMI waits until the host's TR is back, for its handler uses an IST stack.
 * VMRUN itself restores CS..DS, GDTR, IDTR, CR0-4, EFER, RAX and RSP; VMLOAD of this CPU's own VMCB the rest.
 * What is done against speculation after the exit (x86_guard, hvm/spec.h) is decided before the entry: no branch that the
 * guest could have trained stands before it. AMD's CPUs need no VERW.
 */
#include "x86/guard.inc"
#include "x86/layout.h"

	.macro	svm_stay guard
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushq	%rsi
	movq	%rdi, %rax
	clgi
	sti
	vmload	%rax
	movq	8(%rsi), %rcx
	movq	16(%rsi), %rdx
	movq	24(%rsi), %rbx
	movq	40(%rsi), %rbp
	movq	56(%rsi), %rdi
	movq	64(%rsi), %r8
	movq	72(%rsi), %r9
	movq	80(%rsi), %r10
	movq	88(%rsi), %r11
	movq	96(%rsi), %r12
	movq	104(%rsi), %r13
	movq	112(%rsi), %r14
	movq	120(%rsi), %r15
	movq	48(%rsi), %rsi
	vmrun	%rax
	vmsave	%rax
	popq	%rax
	movq	%rcx, 8(%rax)
	movq	%rdx, 16(%rax)
	movq	%rbx, 24(%rax)
	movq	%rbp, 40(%rax)
	movq	%rsi, 48(%rax)
	movq	%rdi, 56(%rax)
	movq	%r8, 64(%rax)
	movq	%r9, 72(%rax)
	movq	%r10, 80(%rax)
	movq	%r11, 88(%rax)
	movq	%r12, 96(%rax)
	movq	%r13, 104(%rax)
	movq	%r14, 112(%rax)
	movq	%r15, 120(%rax)
	.if	\guard & GUARD_IBPB
	predictions_forget
	.endif
	.if	\guard & GUARD_RSB
	returns_fill
	.endif
	movq	%rsp, %rax
	andq	$-(1 << CPU_BLOCK_SHIFT), %rax
	movq	CPU_HOST_VMCB(%rax), %rax
	vmload	%rax
	cli
	stgi
	/* Nothing of the guest's stays in a register that C code may use before it writes it. */
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	xorl	%esi, %esi
	xorl	%edi, %edi
	xorl	%r8d, %r8d
	xorl	%r9d, %r9d
	xorl	%r10d, %r10d
	xorl	%r11d, %r11d
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	ret
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
