/*
 * port_vmx_enter(regs, launched): one stay in the guest. Source: SDM vol. 3, 26 (VM entries), 27.5 (the host's state at an
 * exit): an exit comes to an exit path with this stack pointer, interrupts off, and everything but the general registers as
 * port_vmx_host_state() wrote it: at the exit path, too, that does what x86_guard wants (hvm/spec.h).
 */
#include "x86/layout.h"
#include "x86/stay.inc"

	.set	VMCS_HOST_RSP, 0x6c14

	.macro	vmx_exit_path name, guard
	.globl	\name
\name:
	pushq	%rdi
	movq	8(%rsp), %rdi
	movq	%rax, (%rdi)
	popq	%rax
	addq	$8, %rsp
	guest_regs_save %rdi, %rax
	after_exit \guard
	movl	$1, %eax
	jmp	3f
	.endm

	.text
	.globl	port_vmx_enter
	.type	port_vmx_enter, @function
	.balign 16
port_vmx_enter:
	host_regs_push
	pushq	%rdi
	movl	$VMCS_HOST_RSP, %eax
	vmwrite	%rsp, %rax
	testl	$GUARD_VERW, x86_guard(%rip)
	jz	4f
	verw	data_selector(%rip)
4:	testl	%esi, %esi
	movq	(%rdi), %rax
	guest_regs_load %rdi, %rsi, 48
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

3:	return_to_host
	.section .rodata
data_selector:
	.word	SEL_DATA
	.section .note.GNU-stack, "", @progbits
