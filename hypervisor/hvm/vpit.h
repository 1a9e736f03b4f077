/*
 * hvm/vpit.c: 8254 timer, port 0x61 gate, the 8259 pair as far as probing kernels look, CMOS clock and PM timer of a
 * virtual machine. The domain with the hardware right gets the virtual 8254 too (the hypervisor keeps the real one).
 */
#ifndef HVM_VPIT_H
#define HVM_VPIT_H

#include "core/timer.h"
#include "lib/types.h"

struct domain;
struct vcpu;

struct vpit_channel {
	uint16_t reload;
	uint8_t mode, access, read_state, write_state, write_latch, status;
	bool bcd, latched, status_latched, gate, null_count;
	uint16_t latch;
	uint64_t start; /* ns when counting began */
};

struct vpit {
	struct vpit_channel ch[3];
	uint8_t speaker; /* port 0x61 bits 0, 1 */
	struct timer timer;
	uint8_t pic_mask[2];
	uint8_t pic_state[2];
};

void vpit_init(struct domain *d);
/* Ports 0x40-0x43, 0x61, 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1. */
uint32_t vpit_read(struct vcpu *v, uint16_t port, unsigned size);
void vpit_write(struct vcpu *v, uint16_t port, unsigned size, uint32_t value);
void vpit_timer(struct vcpu *v);

#endif
