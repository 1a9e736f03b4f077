/* The domain loader's binary as read-only data: port/blob.h. */
	.section .rodata
	.globl	loader_blob, loader_blob_end
	.balign 16
loader_blob:
	.incbin	"build/loader/loader.bin"
loader_blob_end:
	.section .note.GNU-stack, "", @progbits
