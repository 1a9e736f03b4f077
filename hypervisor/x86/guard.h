/* Assembly macros: what is done right behind an exit from a guest, before the first return, against speculation (hvm/spec.h). */

/* IA32_PRED_CMD, bit 0 (SDM vol. 4; APM vol. 2, 3.2.9). Changes rax, rcx, rdx. */
	.macro	predictions_forget
	movl	$0x49, %ecx
	movl	$1, %eax
	xorl	%edx, %edx
	wrmsr
	.endm

/* 32 calls: returns are predicted to go to where speculation stops. The last LFENCE: no return before the stack is right. */
	.macro	returns_fill
	.rept	32
	call	771f
770:	pause
	lfence
	jmp	770b
771:
	.endr
	addq	$256, %rsp
	lfence
	.endm
