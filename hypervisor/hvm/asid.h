/*
 * hvm/asid.c: address space identifiers of one CPU, handed out so that a stale translation is never used: a vCPU that must
 * forget its translations gets an identifier nothing was ever cached under since the last full flush. Pure; tested by model.
 */
#ifndef HVM_ASID_H
#define HVM_ASID_H

#include "lib/types.h"

struct asid_cpu {
	uint32_t count;	     /* identifiers the CPU has, 0 is the host's */
	uint32_t next;	     /* the next unused one */
	uint64_t generation; /* counts full flushes; starts at 1 */
};

struct asid_vcpu {
	uint64_t generation; /* of the CPU it was given on; 0: none */
	uint32_t asid;
	uint32_t cpu;
};

void asid_cpu_init(struct asid_cpu *c, uint32_t count);
void asid_forget(struct asid_vcpu *v); /* its translations are stale */
/* v is about to enter on this CPU: makes v->asid valid. Returns true when the CPU's whole TLB must be flushed first. */
bool asid_use(struct asid_cpu *c, uint32_t cpu, struct asid_vcpu *v);

#endif
