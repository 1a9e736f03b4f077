/*
 * Entry of exceptions and interrupts. One stub of 16 bytes per vector, so that trap.c can compute its address.
 * Exceptions (0..31) save every register: they come anywhere. Interrupts come only inside port_poll() and port_idle(),
 * whose asm statements declare all registers that a C function may change as lost: nothing is saved for them.
 */
#include "x86/layout.h"

	.text
	.globl	trap_stubs
	.balign 16
trap_stubs:
	vector = 0
	.rept	32
	.balign 16
	.if	!((vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21) || (vector >= 29 && vector <= 30))
	pushq	$0
	.endif
	pushq	$vector
	jmp	exception
	vector = vector + 1
	.endr
	.rept	224
	.balign 16
	pushq	%rbp
	movl	$vector, %edi
	jmp	interrupt
	vector = vector + 1
	.endr

	.balign 16
	.type	exception, @function
exception:
	cld
	pushq	%r15
	pushq	%r14
	pushq	%r13
	pushq	%r12
	pushq	%r11
	pushq	%r10
	pushq	%r9
	pushq	%r8
	pushq	%rdi
	pushq	%rsi
	pushq	%rbp
	pushq	%rbx
	pushq	%rdx
	pushq	%rcx
	pushq	%rax
	movq	%rsp, %rdi
	movq	136(%rsp), %rax		/* a frame for the backtrace: return address = where it happened */
	pushq	%rax
	pushq	%rbp
	movq	%rsp, %rbp
	call	trap_exception
	addq	$16, %rsp
	popq	%rax
	popq	%rcx
	popq	%rdx
	popq	%rbx
	popq	%rbp
	popq	%rsi
	popq	%rdi
	popq	%r8
	popq	%r9
	popq	%r10
	popq	%r11
	popq	%r12
	popq	%r13
	popq	%r14
	popq	%r15
	addq	$16, %rsp
	iretq

	.type	interrupt, @function
interrupt:
	movq	%rsp, %rbp
	call	trap_interrupt
	popq	%rbp
	iretq
	.section .note.GNU-stack, "", @progbits
