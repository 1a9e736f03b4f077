/*
 * Where a secondary CPU starts (real mode, CS:IP = page:0): copied to a page below 640 KiB by smp.c, which also fills in
 * CR3 and the stack at the page's end. Goes straight to long mode (APM vol. 2, 14.6.1) and calls smp_cpu_start().
 */
#include "x86/layout.h"

	.section .rodata
	.globl	trampoline, trampoline_end
	.balign 16
	.code16
trampoline:
	cli
	cld
	movw	%cs, %ax
	movw	%ax, %ds
	movl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	TRAMPOLINE_CR3, %eax
	movl	%eax, %cr3
	movl	$MSR_EFER, %ecx
	movl	$(EFER_LME | EFER_NXE), %eax
	xorl	%edx, %edx
	wrmsr
	lgdtl	tramp_gdtr - trampoline
	movl	$CR0_HOST, %eax
	movl	%eax, %cr0
	ljmpl	*(tramp_jump - trampoline)

	.code64
trampoline64:
	movl	$SEL_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	movq	trampoline + TRAMPOLINE_STACK(%rip), %rsp
	xorl	%ebp, %ebp
	pushq	$0
	pushq	$smp_cpu_start
	ret

	.balign 8
	/* smp.c adds the page's address to these two. */
	.globl	tramp_jump, tramp_gdtr
tramp_jump:
	.long	trampoline64 - trampoline
	.short	SEL_CODE
	.balign 8
tramp_gdtr:
	.short	23
	.long	tramp_gdt - trampoline
	.balign 8
tramp_gdt:
	.quad	0
	.quad	GDT_CODE64
	.quad	GDT_DATA
trampoline_end:
	.section .note.GNU-stack, "", @progbits
