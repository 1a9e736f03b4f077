/* hvm/run.c: the loop every CPU runs; everything starts here. */
#ifndef HVM_RUN_H
#define HVM_RUN_H

#include "lib/types.h"

struct vcpu;

/* Vendor set-up of the boot CPU (vendor_init()), defences against speculation (spec_init()): 0 or -ENODEV with a message. */
int run_init(const char *virt_off, const char *spec_ctrl);
_Noreturn void run_loop(void);

/* For guest_switch_out() and guest_switch_in(): this CPU stopped, or starts, running guests of a domain. */
void run_left(void);
bool run_entered(struct vcpu *v); /* true: its registers still hold v's state */

#endif
