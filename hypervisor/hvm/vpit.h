/*
 * hvm/vpit.c: 8254 timer and port 0x61 gate of a virtual machine. The domain with the hardware right gets
 * the virtual 8254 too (the hypervisor keeps the real one); other domains have one only with
 * XEN_X86_EMU_PIT, else all ones.
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
	bool present; /* the domain has one: hardware right, or XEN_X86_EMU_PIT */
	struct vpit_channel ch[3];
	uint8_t speaker; /* port 0x61 bits 0, 1 */
	struct timer timer;
};

void vpit_init(struct domain *d);
/* Ports 0x40-0x43, 0x61. */
uint32_t vpit_read(struct vcpu *v, uint16_t port, unsigned size);
void vpit_write(struct vcpu *v, uint16_t port, unsigned size, uint32_t value);
void vpit_timer(struct vcpu *v);

#endif
