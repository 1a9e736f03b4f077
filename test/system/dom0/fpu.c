/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fpu SECONDS: loads the FPU's registers again and again with a pattern of its own, and looks whether they keep it. Runs in dom0.
 * Each FXRSTOR on any CPU is also what makes an unmended QEMU 7.2 lose state of its first CPU (docs/debugging.md).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define XMM	 160 /* where XMM0 to XMM15 stand in the image */
#define XMM_SIZE 256

static uint8_t mine[512] __attribute__((aligned(16))), found[512] __attribute__((aligned(16)));

int main(int argc, char **argv)
{
	time_t end = time(NULL) + (argc == 2 ? atoi(argv[1]) : 1);
	long rounds;

	__asm__ volatile("fxsave64 %0" : "=m"(mine));
	for (int i = 0; i < XMM_SIZE; i++)
		mine[XMM + i] = (uint8_t)(getpid() * 31 + i);
	do {
		rounds = 2000;
		/* In one piece: the compiler uses these registers, too. */
		__asm__ volatile("1: fxrstor64 %2\n\tdec %1\n\tjnz 1b\n\tfxsave64 %0"
				 : "=m"(found), "+r"(rounds)
				 : "m"(mine)
				 : "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
				   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
		if (memcmp(mine + XMM, found + XMM, XMM_SIZE)) {
			puts("fpu: a register has changed");
			return 1;
		}
	} while (time(NULL) < end);
	return 0;
}
