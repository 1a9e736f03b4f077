/*
 * Two PVH programs for a bare emulator (qemu -kernel): with -DWRAPPER the entry of wrapper.c, else the small kernel
 * that the loader is to start. The kernel checks the state it is entered in and its own memory, says so on port 0xe9,
 * and leaves the emulator through isa-debug-exit (port 0xf4).
 */
	.code32
	.section .note.Xen, "a", @note
	.balign	4
	.long	4, 4, 18		/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	start

	.text
	.globl	start
start:
#ifdef WRAPPER
	movl	$stack_top, %esp
	pushl	%ebx
	call	wrapper_main
1:	hlt
	jmp	1b

	/* enter(entry, info): into the loader, with junk in what PVH leaves open. */
	.globl	enter
enter:
	movl	4(%esp), %eax
	movl	8(%esp), %ebx
	movl	$0xdeadbeef, %ecx
	movl	%ecx, %edx
	movl	%ecx, %esi
	movl	%ecx, %edi
	movl	%ecx, %ebp
	movl	$0x10, %esp
	jmp	*%eax

	.data
	.balign	8
	.globl	image, image_end
image:	.incbin	LOADER_BIN
image_end:
#else
	movl	$bad_state, %esi
	movl	%cr0, %eax
	testl	$0x80000000, %eax
	jnz	say
	movl	%cr4, %eax
	testl	%eax, %eax
	jnz	say
	movl	$0xc0000080, %ecx
	rdmsr
	testl	$0x500, %eax
	jnz	say
	movl	$bad_info, %esi
	cmpl	$0x336ec578, (%ebx)
	jne	say

	/* The two copies in the file arrived alike, and the bss is clear. */
	movl	$bad_data, %eax
	movl	$copy1, %esi
	movl	$copy2, %edi
	movl	$(copy1_end - copy1), %ecx
	repe cmpsb
	movl	%eax, %esi
	jne	say
	movl	$bad_bss, %esi
	movl	$bss, %edi
	movl	$(bss_end - bss), %ecx
	xorl	%eax, %eax
	repe scasb
	jne	say
	movl	$good, %esi

say:	lodsb
	testb	%al, %al
	jz	2f
	outb	%al, $0xe9
	jmp	say
2:	outb	%al, $0xf4
3:	cli
	hlt
	jmp	3b

	.section .rodata
good:		.asciz	"guest: OK\n"
bad_state:	.asciz	"guest: not entered in the PVH state\n"
bad_info:	.asciz	"guest: EBX is not the start info\n"
bad_data:	.asciz	"guest: data damaged\n"
bad_bss:	.asciz	"guest: bss not clear\n"

	.data
copy1:	.incbin	LOADER_BIN, 4096, 65536
copy1_end:
copy2:	.incbin	LOADER_BIN, 4096, 65536
#endif

	.bss
	.balign	16
bss:	.skip	100001
bss_end:
	.balign	16
stack:	.skip	4096
stack_top:

	.section .note.GNU-stack, "", @progbits
