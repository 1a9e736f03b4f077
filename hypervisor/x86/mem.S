/* memcpy and friends for the image (a hosted build has the C library's). Words first: the bulk is one string instruction. */
	.text
	.globl	memcpy, memmove, memset, memcmp
	.type	memcpy, @function
	.type	memmove, @function
	.type	memset, @function
	.type	memcmp, @function

	.balign 16
memmove:
	movq	%rdi, %rax
	subq	%rsi, %rax
	cmpq	%rdx, %rax
	jb	1f		/* the destination begins inside the source: from the end */
memcpy:
	movq	%rdi, %rax
	movq	%rdx, %rcx
	shrq	$3, %rcx
	rep movsq
	movl	%edx, %ecx
	andl	$7, %ecx
	rep movsb
	ret
1:	movq	%rdi, %rax
	leaq	-1(%rsi,%rdx), %rsi
	leaq	-1(%rdi,%rdx), %rdi
	movq	%rdx, %rcx
	std
	rep movsb
	cld
	ret

	.balign 16
memset:
	movq	%rdi, %r8
	movzbl	%sil, %eax
	movabsq	$0x0101010101010101, %rcx
	imulq	%rcx, %rax
	movq	%rdx, %rcx
	shrq	$3, %rcx
	rep stosq
	movl	%edx, %ecx
	andl	$7, %ecx
	rep stosb
	movq	%r8, %rax
	ret

	.balign 16
memcmp:
	movq	%rdx, %rcx
	xorl	%eax, %eax
	cmpq	%rax, %rcx	/* equal flags when there is nothing to compare */
	repe cmpsb
	je	1f
	movzbl	-1(%rdi), %ecx
	movzbl	-1(%rsi), %eax
	subl	%ecx, %eax
1:	ret
	.section .note.GNU-stack, "", @progbits
