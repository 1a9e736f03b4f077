/*
 * The loader's first and last instructions: from the PVH entry state to long mode with its own identity mapping of the
 * first 4 GiB, and back. Owns the header, the stack and the page tables. Position independent: linked at 0, %ebp is
 * where it runs, and the few absolute pointers in the libraries' tables are relocated here.
 *
 * Source: AMD APM vol. 2, 14.6 (enabling long mode) and 14.7 (leaving it: 1.3.1).
 */
#include "loader/loader.h"

#define OFF(symbol)	((symbol) - loader_head)

#define CR0_PE_MP_ET_NE	0x33		/* EM clear: SSE may run */
#define CR0_PG		0x80000000
#define CR4_PAE_SSE	0x620		/* PAE, OSFXSR, OSXMMEXCPT */
#define MSR_EFER	0xc0000080
#define EFER_LME	0x100
#define MSR_FS_BASE	0xc0000100
#define SEL_CODE64	0x08
#define SEL_DATA	0x10
#define SEL_CODE32	0x18
#define PTE_TABLE	0x3		/* present, writable */
#define PTE_2M		0x83		/* present, writable, large */

	.section .head, "ax"
	.code32
	.globl loader_head
loader_head:
	.long	LOADER_MAGIC
	.long	LOADER_VERSION
	.long	OFF(entry32)
	.long	OFF(loader_file_end)
	.long	OFF(loader_end)
	.long	OFF(params)
params:
	.skip	32			/* struct loader_params */

entry32:
	cli
	cld
	/* No stack yet: the first word of the start info serves as one for the call that tells where we run. */
	movl	(%ebx), %edx
	leal	4(%ebx), %esp
	call	1f
1:	popl	%ebp
	movl	%edx, (%ebx)
	subl	$OFF(1b), %ebp

	leal	OFF(loader_bss)(%ebp), %edi
	movl	$OFF(loader_end), %ecx
	subl	$OFF(loader_bss), %ecx
	shrl	$2, %ecx
	xorl	%eax, %eax
	rep stosl
	leal	OFF(stack_top)(%ebp), %esp
	movl	%ebx, OFF(saved_ebx)(%ebp)
	movl	%cr0, %eax
	movl	%eax, OFF(saved_cr0)(%ebp)
	movl	%cr4, %eax
	movl	%eax, OFF(saved_cr4)(%ebp)

	/* Identity mapping: one level 4 and one level 3 page, four level 2 pages of 512 entries of 2 MiB. */
	leal	OFF(table3)(%ebp), %eax
	orl	$PTE_TABLE, %eax
	movl	%eax, OFF(table4)(%ebp)
	leal	OFF(table2)(%ebp), %eax
	orl	$PTE_TABLE, %eax
	leal	OFF(table3)(%ebp), %edi
	movl	$4, %ecx
2:	movl	%eax, (%edi)
	addl	$0x1000, %eax
	addl	$8, %edi
	loop	2b
	leal	OFF(table2)(%ebp), %edi
	movl	$PTE_2M, %eax
	movl	$2048, %ecx
3:	movl	%eax, (%edi)
	addl	$0x200000, %eax
	addl	$8, %edi
	loop	3b

	leal	OFF(table4)(%ebp), %eax
	movl	%eax, %cr3
	movl	%cr4, %eax
	orl	$CR4_PAE_SSE, %eax
	movl	%eax, %cr4
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$EFER_LME, %eax
	wrmsr
	movl	$(CR0_PG | CR0_PE_MP_ET_NE), %eax
	movl	%eax, %cr0

	leal	OFF(gdt)(%ebp), %eax
	pushl	%eax
	pushw	$(gdt_end - gdt - 1)
	lgdt	(%esp)
	addl	$6, %esp
	leal	OFF(entry64)(%ebp), %eax
	pushl	$SEL_CODE64
	pushl	%eax
	lret

	.code64
entry64:
	movl	$SEL_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	%eax, %fs
	movl	%eax, %gs
	leaq	stack_top(%rip), %rsp
	leaq	loader_head(%rip), %rbp

	/* Every entry is R_X86_64_RELATIVE (the build checks): *(base + offset) = base + addend. */
	leaq	loader_rela(%rip), %rsi
	leaq	loader_rela_end(%rip), %rdi
4:	cmpq	%rdi, %rsi
	jae	5f
	movq	(%rsi), %rax
	movq	16(%rsi), %rcx
	addq	%rbp, %rcx
	movq	%rcx, (%rbp, %rax)
	addq	$24, %rsi
	jmp	4b

	/* The libraries were built with a stack protector, which reads its canary at FS:0x28. */
5:	leaq	canary(%rip), %rax
	movq	%rax, %rdx
	shrq	$32, %rdx
	movl	$MSR_FS_BASE, %ecx
	wrmsr
	rdtsc
	movl	%eax, canary + 0x29(%rip)	/* its lowest byte stays 0: a string cannot write it */

	movl	saved_ebx(%rip), %edi
	movq	%rbp, %rsi
	call	loader_main			/* the kernel's entry point, in EAX */

	movl	%eax, %esi
	leaq	exit32(%rip), %rax
	pushq	$SEL_CODE32
	pushq	%rax
	lretq

	.code32
exit32:
	movl	$SEL_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	%eax, %fs
	movl	%eax, %gs
	movl	OFF(saved_ebx)(%ebp), %ebx
	movl	OFF(saved_cr0)(%ebp), %eax
	movl	%eax, %cr0			/* paging off: leaves long mode */
	movl	$MSR_EFER, %ecx
	rdmsr
	andl	$~EFER_LME, %eax
	wrmsr
	movl	OFF(saved_cr4)(%ebp), %eax
	movl	%eax, %cr4
	xorl	%eax, %eax
	movl	%eax, %cr3
	jmp	*%esi

	.balign	8
gdt:
	.quad	0
	.quad	0x00af9a000000ffff		/* SEL_CODE64 */
	.quad	0x00cf92000000ffff		/* SEL_DATA: flat */
	.quad	0x00cf9a000000ffff		/* SEL_CODE32: flat */
gdt_end:

	.section .bss, "aw", @nobits
	.balign	4096
table4:		.skip 4096
table3:		.skip 4096
table2:		.skip 4 * 4096
stack:		.skip 65536
stack_top:
canary:		.skip 0x30
saved_ebx:	.skip 4
saved_cr0:	.skip 4
saved_cr4:	.skip 4

	.section .note.GNU-stack, "", @progbits
