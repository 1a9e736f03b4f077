/*
 * tools/qemu_mend.c: loaded into QEMU 7.2 (LD_PRELOAD) by qemu_mend in tools/lib.sh, for machines of several CPUs. There each FXRSTOR,
 * XRSTOR and FLDENV calls cpu_clear_ignne(), which changes a word of the first CPU without a lock, so that this CPU now and then
 * loses what VMRUN, #VMEXIT, CLGI or STGI write to the same word (docs/debugging.md). What it clears is set by port 0xf0 alone,
 * which nobody here uses: the function returns at once instead.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define RET 0xc3

__attribute__((constructor)) static void mend(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char *code = dlsym(RTLD_DEFAULT, "cpu_clear_ignne");
	void *page = (void *)((uintptr_t)code & ~(size - 1));

	if (!code) {
		fputs("qemu_mend: this QEMU has no cpu_clear_ignne(): it stays as it is\n", stderr);
		return;
	}
	if (mprotect(page, size, PROT_READ | PROT_WRITE | PROT_EXEC)) {
		perror("qemu_mend: mprotect");
		return;
	}
	*code = RET;
	mprotect(page, size, PROT_READ | PROT_EXEC);
}
