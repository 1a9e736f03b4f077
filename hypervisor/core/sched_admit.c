/*
 * core/sched_admit.c: admission control of EDF pools: an assignment of all vCPUs to CPUs in which no CPU promises more than
 * it has. First with everybody where he is; if that does not work out all are placed anew, the pinned and the large first.
 * Locks: sched_control, held by the caller.
 */
#include "core/sched_private.h"

#include "core/heap.h"

struct item {
	struct vcpu *v;
	uint64_t load;
	struct cpumask may;
	uint16_t cpu; /* where it is to be */
	bool changes;
};

struct admit_plan {
	size_t size;
	unsigned n;
	uint64_t load[NR_CPUS];
	struct item item[];
};

uint64_t admit_load(uint64_t period, uint64_t budget)
{
	return (budget / 1000 << 32) / (period / 1000);
}

static bool concerns(const struct admit_change *c, const struct vcpu *v)
{
	return c->v ? v == c->v : c->d && v->domain == c->d;
}

static bool takes_part(const struct admit_change *c, const struct vcpu *v)
{
	return v->domain->sched.pool == c->pool || concerns(c, v);
}

static void fill(struct admit_plan *p, const struct admit_change *c)
{
	for (struct vcpu *v = control_vcpus; v; v = v->sched.next_all) {
		struct item *i = &p->item[p->n];
		const struct runq *q = runq_of(v);

		if (!takes_part(c, v))
			continue;
		p->n++;
		i->v = v;
		i->changes = concerns(c, v);
		i->load = i->changes && c->load != ADMIT_SAME ? c->load : admit_load(v->sched.period, v->sched.budget);
		i->may = cpumask_and(i->changes && c->hard ? c->hard : &v->sched.hard, &c->cpus);
		i->cpu = q->pool == c->pool && !(i->changes && c->anew) ? (uint16_t)cpumask_first(&q->cpus)
									: (uint16_t)NR_CPUS;
	}
}

/* The allowed CPU with the least load, if there is room. */
static bool put(struct admit_plan *p, struct item *i)
{
	unsigned best = CPUMASK_BITS;

	for_each_cpu (cpu, &i->may)
		if (best == CPUMASK_BITS || p->load[cpu] < p->load[best])
			best = cpu;
	if (best == CPUMASK_BITS || p->load[best] + i->load > SCHED_EDF_FULL)
		return false;
	p->load[best] += i->load;
	i->cpu = (uint16_t)best;
	return true;
}

static bool may_stay(const struct admit_plan *p, const struct item *i)
{
	return i->cpu < NR_CPUS && cpumask_test(&i->may, i->cpu) && p->load[i->cpu] + i->load <= SCHED_EDF_FULL;
}

/* Who can stays where it is. */
static bool place_few(struct admit_plan *p)
{
	bool moves;

	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned n = 0; n < p->n; n++) {
			struct item *i = &p->item[n];

			moves = i->changes || i->cpu >= NR_CPUS || !cpumask_test(&i->may, i->cpu);
			if (moves != (pass == 1))
				continue;
			if (may_stay(p, i))
				p->load[i->cpu] += i->load;
			else if (!put(p, i))
				return false;
		}
	}
	return true;
}

static bool goes_first(const struct item *a, const struct item *b)
{
	bool pinned_a = cpumask_count(&a->may) == 1, pinned_b = cpumask_count(&b->may) == 1;

	return pinned_a != pinned_b ? pinned_a : a->load > b->load;
}

static bool place_all(struct admit_plan *p)
{
	for (unsigned i = 0; i < NR_CPUS; i++)
		p->load[i] = 0;
	for (unsigned n = 1; n < p->n; n++) {
		struct item moved = p->item[n];
		unsigned at = n;

		for (; at && goes_first(&moved, &p->item[at - 1]); at--)
			p->item[at] = p->item[at - 1];
		p->item[at] = moved;
	}
	for (unsigned n = 0; n < p->n; n++)
		if (!put(p, &p->item[n]))
			return false;
	return true;
}

int admit_plan(const struct admit_change *c, struct admit_plan **out)
{
	struct admit_plan *p;
	unsigned n = 0;
	size_t size;

	for (const struct vcpu *v = control_vcpus; v; v = v->sched.next_all)
		n += takes_part(c, v);
	size = sizeof(*p) + n * sizeof(p->item[0]);
	p = heap_alloc(size);
	if (!p)
		return -ENOMEM;
	p->size = size;
	fill(p, c);
	if (place_few(p) || place_all(p)) {
		*out = p;
		return 0;
	}
	heap_free(p, size);
	return -ENOSPC;
}

unsigned admit_cpu(const struct admit_plan *p, const struct vcpu *v)
{
	unsigned n = 0;

	while (p->item[n].v != v)
		n++;
	return p->item[n].cpu;
}

void admit_commit(struct admit_plan *p)
{
	for (unsigned n = 0; n < p->n; n++) {
		const struct item *i = &p->item[n];
		struct runq *to = &runqs[sched_cpus[i->cpu].runq];

		if (!i->changes && runq_of(i->v) != to)
			sched_rehome(i->v, to, NULL, NULL, false);
	}
	heap_free(p, p->size);
}
