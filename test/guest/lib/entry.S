/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first instructions of a guest test kernel, its exception and interrupt stubs, and the hypercall gate.
 *
 * Owns: page tables, GDT and stacks. PVH hands over in 32-bit protected mode without paging, %ebx pointing at
 * struct hvm_start_info (public header arch-x86/hvm/start_info.h). 64-bit kernels enter long mode with the first 4 GiB mapped one to one; 32-bit
 * kernels stay as they are.
 */
#include <xen/elfnote.h>

#define SMP_STACK 8192 /* guest.h */

	.pushsection .note.Xen, "a", @note
	.balign 4
	.long 4, 4, XEN_ELFNOTE_PHYS32_ENTRY
	.asciz "Xen"
	.long entry
	.popsection

	.section .text.entry, "ax"
	.code32
	.globl entry
entry:
	cld
	movl $boot_stack_top, %esp
	movl %ebx, boot_info
	lgdt gdt_pointer
	movl $0x18, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
#ifdef __x86_64__
	call build_tables
	call long_mode_on
	ljmp $0x08, $start64
#else
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	ljmp $0x10, $start32
start32:
	call guest_start
1:	hlt
	jmp 1b
#endif

#ifdef __x86_64__
/* 4 GiB in 2 MiB pages, the top GiB uncached. */
build_tables:
	movl $pd_table, %edi
	movl $0x83, %eax
	movl $2048, %ecx
1:	movl %eax, (%edi)
	cmpl $0xc0000000, %eax
	jb 2f
	orl $0x18, (%edi)
2:	movl $0, 4(%edi)
	addl $0x200000, %eax
	addl $8, %edi
	loop 1b
	movl $pd_table + 3, %eax
	movl $pdpt_table, %edi
	movl $4, %ecx
3:	movl %eax, (%edi)
	addl $4096, %eax
	addl $8, %edi
	loop 3b
	movl $pdpt_table + 3, pml4_table
	ret

long_mode_on:
	movl $0x220, %eax		/* PAE, OSFXSR */
	movl %eax, %cr4
	movl $pml4_table, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx
	rdmsr
	orl $0x100, %eax		/* LME */
	wrmsr
	movl $0x80010033, %eax		/* PG, WP, NE, ET, MP, PE */
	movl %eax, %cr0
	ret

	.code64
start64:
	movl $boot_stack_top, %esp
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	call guest_start
1:	hlt
	jmp 1b
#endif

	.text
#ifdef __x86_64__
	/* A further vCPU comes in long mode with flat segments, but without our GDT; %rdi is the routine to call. */
	.globl smp_entry
smp_entry:
	lgdt gdt_pointer
	mov $0x18, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	push $0x08
	push $1f
	lretq
1:	call *%rdi
2:	hlt
	jmp 2b

	/*
	 * A vCPU that a start-up IPI starts begins here, in real mode, in the copy at page SMP_SIPI_PAGE. Its number comes
	 * from CPUID leaf 0x40000004 (public header arch-x86/cpuid.h), its stack follows from that.
	 */
	.globl smp_trampoline, smp_trampoline_end
smp_trampoline:
	.code16
	cli
	mov %cs, %ax
	mov %ax, %ds
	lgdtl sipi_gdt - smp_trampoline
	mov $0x11, %eax
	mov %eax, %cr0
	ljmpl $0x10, $sipi_protected
sipi_gdt:
	.word gdt_pointer - gdt - 1
	.long gdt
smp_trampoline_end:
	.code32
sipi_protected:
	mov $0x18, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov $0x220, %eax
	mov %eax, %cr4
	mov $pml4_table, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx
	rdmsr
	or $0x100, %eax
	wrmsr
	mov $0x80010033, %eax
	mov %eax, %cr0
	ljmp $0x08, $sipi_long
	.code64
sipi_long:
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	mov $0x40000004, %eax
	xor %ecx, %ecx
	cpuid
	imul $SMP_STACK, %rbx, %rsp
	add $smp_stacks, %rsp
	call smp_begin
1:	hlt
	jmp 1b
#endif

	.globl hypercall_gate
	.balign 16
hypercall_gate:				/* patched to vmcall (0f 01 c1) on Intel */
	vmmcall
	ret

	/* 256 stubs of 16 bytes: an error code, real or 0, then the vector. */
	.balign 16
	.globl trap_stubs
trap_stubs:
	.set vec, 0
	.rept 256
	.balign 16
	.if !(vec == 8 || (vec >= 10 && vec <= 14) || vec == 17 || vec == 21 || vec == 29 || vec == 30)
	push $0
	.endif
	push $vec
	jmp trap_common
	.set vec, vec + 1
	.endr

	.balign 16
trap_common:
#ifdef __x86_64__
	push %rax; push %rcx; push %rdx; push %rbx; push %rbp; push %rsi; push %rdi
	push %r8; push %r9; push %r10; push %r11; push %r12; push %r13; push %r14; push %r15
	mov %rsp, %rdi
	mov %rsp, %rbp
	and $-16, %rsp
	cld
	call trap_dispatch
	mov %rbp, %rsp
	pop %r15; pop %r14; pop %r13; pop %r12; pop %r11; pop %r10; pop %r9; pop %r8
	pop %rdi; pop %rsi; pop %rbp; pop %rbx; pop %rdx; pop %rcx; pop %rax
	add $16, %rsp
	iretq
#else
	push %eax; push %ecx; push %edx; push %ebx; push %ebp; push %esi; push %edi
	mov %esp, %ebp
	push %ebp
	cld
	call trap_dispatch
	mov %ebp, %esp
	pop %edi; pop %esi; pop %ebp; pop %ebx; pop %edx; pop %ecx; pop %eax
	add $8, %esp
	iretl
#endif

	.data
	.balign 16
gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* 0x08: 64-bit code */
	.quad 0x00cf9b000000ffff	/* 0x10: 32-bit code */
	.quad 0x00cf93000000ffff	/* 0x18: data */
	.quad 0x00cff3000000ffff	/* 0x20: data, privilege 3 */
	.quad 0x00affb000000ffff	/* 0x28: 64-bit code, privilege 3 */
	.globl gdt_tss
gdt_tss:
	.quad 0, 0			/* 0x30: a task state segment, for the test that wants one */
	.globl gdt_pointer
gdt_pointer:
	.word gdt_pointer - gdt - 1
#ifdef __x86_64__
	.quad gdt
#else
	.long gdt
#endif
	.globl boot_info
	.balign 8
boot_info:
	.quad 0

	.bss
	.balign 4096
#ifdef __x86_64__
	.globl pml4_table, pdpt_table, pd_table
pml4_table:
	.skip 4096
pdpt_table:
	.skip 4096
pd_table:
	.skip 4 * 4096
#endif
boot_stack:
	.skip 4 * 4096
boot_stack_top:
