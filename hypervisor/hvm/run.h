/* hvm/run.c: the loop every CPU runs: pick, enter, handle. */
#ifndef HVM_RUN_H
#define HVM_RUN_H

#include "lib/types.h"

_Noreturn void run_loop(void); /* this CPU, for good */
struct vcpu;
void run_forget(struct vcpu *v); /* v goes away: no CPU keeps its FPU state */
int run_init(void);		 /* boot CPU: vendor, cpuid, msr tables; 0 or -ENODEV with a message */

#endif
