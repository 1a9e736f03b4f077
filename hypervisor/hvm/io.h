/*
 * hvm/io.c: who answers a port or a physical address that is not RAM: the device models above, the platform
 * (hardware right), or nobody (reads all ones, writes vanish). hvm/emulate.c: the instructions that touch
 * such addresses.
 */
#ifndef HVM_IO_H
#define HVM_IO_H

#include "hvm/exit.h"
#include "lib/types.h"

struct vcpu;
struct domain;

uint32_t io_port_read(struct vcpu *v, uint16_t port, unsigned size);
void io_port_write(struct vcpu *v, uint16_t port, unsigned size, uint32_t value);
/* EXIT_IO: in/out and ins/outs with rep (bounded pieces; the instruction restarts). */
void io_exit(struct vcpu *v, const struct exit *e);

/* MMIO: true if a model owns gpa. size 1, 2, 4, 8; never crosses a page. */
bool io_mmio_owns(struct domain *d, gpa_t gpa);
uint64_t io_mmio_read(struct vcpu *v, gpa_t gpa, unsigned size);
void io_mmio_write(struct vcpu *v, gpa_t gpa, unsigned size, uint64_t value);

/* Which ports exit is a bitmap in the VMCB's format (APM 15.10.1): 12 KiB, 1 = exit. Default: all exit. */
int io_domain_init(struct domain *d); /* sets d->hvm->io_bitmap (own one for the hardware right); 0, -ENOMEM */
void io_domain_destroy(struct domain *d);
void io_trap_port_range(struct domain *d, uint16_t first, uint16_t last); /* no longer straight to the device */

/*
 * hvm/emulate.c: emulates the instruction at v's RIP that accessed gpa (EXIT_NPF on an MMIO address).
 * False: not understood; the caller crashes the domain with the bytes in the message.
 */
bool emulate_mmio(struct vcpu *v, gpa_t gpa, bool write);

#endif
