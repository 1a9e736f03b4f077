/* hvm/tlb.c: see tlb.h. No state of its own, no locks: each CPU's record is touched by that CPU only. */
#include "hvm/tlb.h"

void tlb_cpu_init(struct tlb_cpu *c, uint32_t count, bool by_id)
{
	c->by_id = by_id;
	c->count = count;
	c->next = count; /* the first use flushes whatever the firmware left */
	c->generation = 1;
}

void tlb_forget_linear(struct tlb_vcpu *v)
{
	v->generation = 0;
}

void tlb_forget_nested(struct tlb_vcpu *v)
{
	v->generation = 0;
	v->nested_on = 0;
}

struct tlb_flush tlb_enter_anew(struct tlb_cpu *c, uint32_t cpu, struct tlb_vcpu *v)
{
	/* What this CPU kept while v was elsewhere is as old as may be. */
	struct tlb_flush f = { .anew = true, .nested = v->nested_on != cpu + 1 };

	v->nested_on = cpu + 1;
	if (v->generation == c->generation && v->cpu == cpu)
		return f;
	if (c->by_id && v->given == c->generation && v->cpu == cpu) {
		v->generation = v->given;
		f.one = true;
		return f;
	}
	if (c->next >= c->count) {
		c->next = 1;
		c->generation++;
		f.all = true;
	}
	v->id = c->next++;
	v->generation = v->given = c->generation;
	v->cpu = cpu;
	return f;
}
