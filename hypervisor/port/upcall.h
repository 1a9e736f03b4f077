/*
 * THE SEAM, upwards from the machine: what hardware calls, defined by hvm/, core/ and boot/, bound by the linker.
 * All are called with interrupts off and no lock held, from port_poll(), port_idle() or the return of a guest.
 */
#ifndef PORT_UPCALL_H
#define PORT_UPCALL_H

#include "lib/types.h"

void upcall_timer(void);	   /* this CPU's timer fired (core/timer.c) */
void upcall_irq(unsigned vector);  /* a device interrupt on a vector that port_*_bind/alloc gave (hvm/irq.c) */
void upcall_console_rx(char c);	   /* one byte came in on the serial line (core/console.c) */
void upcall_log(const char *line); /* a message of the machine's own (core/console.c) */
_Noreturn void upcall_fatal(const char *why); /* our own mistake or a broken machine (core/console.c: panic) */
_Noreturn void upcall_cpu_main(void);	      /* a secondary CPU is up and on its own stack (hvm/run.c) */

/* A vCPU made a hypercall (hcall/table.c); length of the instruction, 0 = not reported. */
struct vcpu;
void hcall_exit(struct vcpu *v, unsigned length);
/* The guest asked for the hypercall page at frame g (hcall/page.c). 0, or -errno when there is no RAM. */
struct domain;
int upcall_hypercall_page(struct domain *d, gfn_t g);

#endif
