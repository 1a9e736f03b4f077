/* hvm/asid.c: see asid.h. No state of its own, no locks: each CPU's record is touched by that CPU only. */
#include "hvm/asid.h"

void asid_cpu_init(struct asid_cpu *c, uint32_t count)
{
	c->count = count;
	c->next = count; /* the first use flushes whatever the firmware left */
	c->generation = 1;
}

void asid_forget(struct asid_vcpu *v)
{
	v->generation = 0;
}

bool asid_use(struct asid_cpu *c, uint32_t cpu, struct asid_vcpu *v)
{
	bool flush = false;

	if (v->generation == c->generation && v->cpu == cpu)
		return false;
	if (c->next >= c->count) {
		c->next = 1;
		c->generation++;
		flush = true;
	}
	v->asid = c->next++;
	v->generation = c->generation;
	v->cpu = cpu;
	return flush;
}
