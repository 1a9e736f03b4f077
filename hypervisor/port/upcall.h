/*
 * THE SEAM, upwards from the machine: what hardware calls, defined by hvm/, core/ and boot/, bound by the linker.
 * All are called with interrupts off and no lock held, from port_poll(), port_idle() or the return of a guest.
 */
#ifndef PORT_UPCALL_H
#define PORT_UPCALL_H

#include "lib/types.h"

void upcall_timer(void);		 /* this CPU's timer fired (core/timer.c) */
void upcall_irq(unsigned vector);	 /* a device interrupt on a vector that port_*_bind/alloc gave (hvm/irq.c) */
void upcall_console_rx(char c);		 /* one byte came in on the serial line (core/console.c) */
_Noreturn void upcall_cpu_main(void);	 /* a secondary CPU is up and on its own stack (hvm/run.c) */

#endif
