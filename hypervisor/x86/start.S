/*
 * Entry from the boot loader (Multiboot 1 and 2: 32-bit protected mode, paging off, EAX = magic, EBX = information).
 * Maps the first 4 GiB one to one and CPU 0's block (x86/cpu.h), enters long mode and calls boot_main(magic, info).
 */
#include "x86/layout.h"

#define MB1_MAGIC 0x1badb002
#define MB1_FLAGS 3 /* modules at page boundaries, memory map */
#define MB2_MAGIC 0xe85250d6

	.section .multiboot, "a"
	.balign 8
	.long	MB1_MAGIC, MB1_FLAGS, -(MB1_MAGIC + MB1_FLAGS)
	.balign 8
mb2:	.long	MB2_MAGIC, 0, mb2_end - mb2, -(MB2_MAGIC + (mb2_end - mb2))
	.short	6, 0		/* modules at page boundaries */
	.long	8
	.short	0, 0
	.long	8
mb2_end:

	.section .text.start, "ax"
	.code32
	.globl	start
start:
	cli
	cld
	movl	%eax, %edi
	movl	%ebx, %esi

	movl	$0x80000000, %eax
	cpuid
	cmpl	$0x80000001, %eax
	jb	no_long_mode
	movl	$0x80000001, %eax
	cpuid
	testl	$1 << 29, %edx
	jz	no_long_mode

	/* The loader has cleared the tables with the rest of .bss. */
	movl	$0x83, %eax
	xorl	%ecx, %ecx
1:	movl	%eax, boot_pd(, %ecx, 8)
	addl	$0x200000, %eax
	incl	%ecx
	cmpl	$2048, %ecx
	jb	1b
	movl	$boot_pdpt + 3, boot_pml4
	movl	$boot_cpu_pdpt + 3, boot_pml4 + 8 * CPU_AREA_PML4
	movl	$boot_pd + 0x0003, boot_pdpt
	movl	$boot_pd + 0x1003, boot_pdpt + 8
	movl	$boot_pd + 0x2003, boot_pdpt + 16
	movl	$boot_pd + 0x3003, boot_pdpt + 24
	movl	$boot_cpu_pd + 3, boot_cpu_pdpt
	movl	$boot_cpu_pt + 3, boot_cpu_pd
	movl	$cpu0_frames + 3, %eax
	xorl	%ecx, %ecx
2:	btl	%ecx, cpu_block_pages	/* the block's mapped pages, x86/layout.h */
	jnc	3f
	movl	%eax, boot_cpu_pt(, %ecx, 8)
	addl	$0x1000, %eax
3:	incl	%ecx
	cmpl	$CPU_BLOCK_PAGES, %ecx
	jb	2b

	movl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	$boot_pml4, %eax
	movl	%eax, %cr3
	movl	$MSR_EFER, %ecx
	movl	$(EFER_LME | EFER_NXE), %eax
	xorl	%edx, %edx
	wrmsr
	movl	$CR0_HOST, %eax
	movl	%eax, %cr0
	lgdt	boot_gdtr
	ljmp	$SEL_CODE, $start64

no_long_mode:
	movl	$no_long_mode_text, %esi
1:	movw	$0x3fd, %dx
2:	inb	%dx, %al
	testb	$0x20, %al
	jz	2b
	lodsb
	testb	%al, %al
	jz	3f
	movw	$0x3f8, %dx
	outb	%al, %dx
	jmp	1b
3:	hlt
	jmp	3b

	.code64
start64:
	movl	$SEL_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	movabsq	$(CPU_AREA + CPU_STACK_TOP), %rsp
	xorl	%ebp, %ebp
	call	boot_main
	ud2

	.section .rodata
no_long_mode_text:
	.asciz	"\r\nGossamer: this CPU has no 64-bit mode\r\n"
	.balign 4
cpu_block_pages:
	.long	CPU_BLOCK_MAP

	.section .data
	.balign 8
	.globl	boot_gdt, boot_gdtr
boot_gdt:
	.quad	0
	.quad	GDT_CODE64
	.quad	GDT_DATA
boot_gdt_end:
boot_gdtr:
	.short	boot_gdt_end - boot_gdt - 1
	.quad	boot_gdt

	.section .bss
	.balign 4096
	.globl	boot_cpu_pt
/* Page tables of the first moments; paging.c makes the final ones. */
boot_pml4:
	.skip	4096
boot_pdpt:
	.skip	4096
boot_cpu_pdpt:
	.skip	4096
boot_cpu_pd:
	.skip	4096
boot_cpu_pt:
	.skip	4096
boot_pd:
	.skip	4 * 4096
cpu0_frames:
	.skip	CPU_FRAMES * 4096
	.section .note.GNU-stack, "", @progbits
