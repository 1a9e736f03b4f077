/*
 * port_vmx_enter(regs, launched): one stay in the guest. Source: SDM vol. 3, 26 (VM entries), 27.5 (the host's state at an
 * exit): an exit comes to an exit path with this stack pointer, interrupts off, and everything but the general registers as
 * port_vmx_host_state() wrote it: at the exit path, too, that does what x86_guard wants (hvm/spec.h).
 */
#include "x86/guard.inc"
#include "x86/layout.h"

	.set	VMCS_HOST_RSP, 0x6c14

	.macro	vmx_exit_path name, guard
	.globl	\name
\name:
	pushq	%rdi
	movq	8(%rsp), %rdi
	movq	%rax, (%rdi)
	popq	%rax
	addq	$8, %rsp
	movq	%rcx, 8(%rdi)
	movq	%rdx, 16(%rdi)
	movq	%rbx, 24(%rdi)
	movq	%rbp, 40(%rdi)
	movq	%rsi, 48(%rdi)
	movq	%rax, 56(%rdi)
	movq	%r8, 64(%rdi)
	movq	%r9, 72(%rdi)
	movq	%r10, 80(%rdi)
	movq	%r11, 88(%rdi)
	movq	%r12, 96(%rdi)
	movq	%r13, 104(%rdi)
	movq	%r14, 112(%rdi)
	movq	%r15, 120(%rdi)
	.if	\guard & GUARD_IBPB
	predictions_forget
	.endif
	.if	\guard & GUARD_RSB
	returns_fill
	.endif
	movl	$1, %eax
	jmp	3f
	.endm


	.text
	.globl	port_vmx_enter
	.type	port_vmx_enter, @function
	.balign 16
port_vmx_enter:
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushq	%rdi
	movl	$VMCS_HOST_RSP, %eax
	vmwrite	%rsp, %rax
	testl	$GUARD_VERW, x86_guard(%rip)
	jz	4f
	verw	data_selector(%rip)
4:	testl	%esi, %esi
	movq	(%rdi), %rax
	movq	8(%rdi), %rcx
	movq	16(%rdi), %rdx
	movq	24(%rdi), %rbx
	movq	40(%rdi), %rbp
	movq	48(%rdi), %rsi
	movq	64(%rdi), %r8
	movq	72(%rdi), %r9
	movq	80(%rdi), %r10
	movq	88(%rdi), %r11
	movq	96(%rdi), %r12
	movq	104(%rdi), %r13
	movq	112(%rdi), %r14
	movq	120(%rdi), %r15
	movq	56(%rdi), %rdi
	jnz	1f
	vmlaunch
	jmp	2f
1:	vmresume
2:	popq	%rdi			/* refused: nothing of the guest ran */
	xorl	%eax, %eax
	jmp	3f

	vmx_exit_path vmx_exit, 0
	vmx_exit_path vmx_exit_rsb, GUARD_RSB
	vmx_exit_path vmx_exit_ibpb, GUARD_RSB | GUARD_IBPB

	/* Nothing of the guest's stays in a register that C code may use before it writes it. */
3:	xorl	%ecx, %ecx
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
	.section .rodata
data_selector:
	.word	SEL_DATA
	.section .note.GNU-stack, "", @progbits
