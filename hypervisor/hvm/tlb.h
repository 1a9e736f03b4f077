/*
 * hvm/tlb.c: what must be flushed before a vCPU enters, so that a stale translation is never used. Pure; tested with a model
 * TLB that forgets nothing unless told (test/unit/tlb_test.c).
 *
 * Translations of a guest are tagged with an identifier (AMD's ASID, Intel's VPID). A vCPU that must forget its own gets an
 * identifier that nothing was cached under since the CPU's last full flush. With AMD that forgets what the nested tables gave,
 * too; Intel's CPUs keep that apart, tagged with the tables' root alone, and every vCPU of the domain on that CPU uses it.
 */
#ifndef HVM_TLB_H
#define HVM_TLB_H

#include "lib/types.h"

struct tlb_cpu {
	uint32_t count;	     /* identifiers the CPU has, 0 is the host's */
	uint32_t next;	     /* the next unused one */
	uint64_t generation; /* counts full flushes; starts at 1 */
	bool by_id;	     /* it can flush what is tagged with one identifier as it enters */
};

struct tlb_vcpu {
	uint64_t generation; /* of the CPU it was given on; 0: none, or what is tagged with it is stale */
	uint64_t given;	     /* the same, also while that is stale */
	uint32_t id;
	uint32_t cpu;
	uint32_t nested_on; /* CPU + 1 where what the nested tables gave is fresh for this vCPU; 0: nowhere */
};

struct tlb_flush {
	bool all; /* everything that is tagged with an identifier, on this CPU */
	bool one; /* what is tagged with v->id */
	bool anew; /* v did not run on this CPU last, or has stale translations: for what else a CPU may have cached of it */
	bool nested; /* what this domain's nested tables gave, on this CPU (Intel; included in a new identifier with AMD) */
};

void tlb_cpu_init(struct tlb_cpu *c, uint32_t count, bool by_id);
void tlb_forget_linear(struct tlb_vcpu *v); /* what its own page tables gave is stale */
void tlb_forget_nested(struct tlb_vcpu *v); /* what the nested page tables gave is stale, too */
/* v is about to enter on this CPU: makes v->id valid, and says what must be flushed first. */
struct tlb_flush tlb_enter_anew(struct tlb_cpu *c, uint32_t cpu, struct tlb_vcpu *v);
static inline struct tlb_flush tlb_enter(struct tlb_cpu *c, uint32_t cpu, struct tlb_vcpu *v)
{
	if (likely(v->generation == c->generation && v->cpu == cpu && v->nested_on == cpu + 1))
		return (struct tlb_flush){ 0 };
	return tlb_enter_anew(c, cpu, v);
}

#endif
