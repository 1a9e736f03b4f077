/*
 * core/sched_null.c: one vCPU for each CPU, for guests that want no scheduler. A vCPU gets a free CPU when it goes up and
 * gives it back when it goes down (sched_control.c); those that find none wait, parked, until one is free.
 * Locks: the queue's, held by the caller.
 */
#include "core/sched_private.h"

void null_place(struct runq *q, struct vcpu *v)
{
	if (runq_owner(q) != v) {
		v->sched.parked = true;
		return;
	}
	sched_enqueue(q, v, 0);
	if (!sched_ask_idle(q, v))
		for_each_cpu (cpu, &q->cpus)
			sched_ask(cpu);
}

/* --- which CPU is whose, under sched_control --- */

static void stop_waiting(struct vcpu *v)
{
	struct vcpu **at = &v->domain->sched.pool->waiting;

	if (!v->sched.waiting)
		return;
	while (*at != v)
		at = &(*at)->sched.next_waiting;
	*at = v->sched.next_waiting;
	v->sched.waiting = false;
}

static struct runq *find_free(const struct cpupool *p, const struct cpumask *may)
{
	for_each_cpu (i, &p->queues)
		if (!runqs[i].owner && cpumask_meet(&runqs[i].cpus, may))
			return &runqs[i];
	return NULL;
}

void null_assign(struct vcpu *v)
{
	struct cpupool *p = v->domain->sched.pool;
	struct cpumask soft = cpumask_and(&v->sched.hard, &v->sched.soft);
	struct runq *q = find_free(p, &soft);
	struct vcpu **at = &p->waiting;

	if (runq_of(v)->owner == v || v->sched.waiting)
		return;
	if (!q)
		q = find_free(p, &v->sched.hard);
	if (q) {
		__atomic_store_n(&q->owner, v, __ATOMIC_RELAXED);
		sched_rehome(v, q, NULL, NULL, false);
		return;
	}
	while (*at)
		at = &(*at)->sched.next_waiting;
	v->sched.next_waiting = NULL;
	v->sched.waiting = true;
	*at = v;
}

void null_offer(struct runq *q)
{
	struct vcpu *v = q->pool->waiting;

	while (v && !cpumask_meet(&v->sched.hard, &q->cpus))
		v = v->sched.next_waiting;
	if (v && !q->owner) {
		stop_waiting(v);
		null_assign(v);
	}
}

void null_release(struct vcpu *v)
{
	struct runq *q = runq_of(v);

	stop_waiting(v);
	if (q->owner != v)
		return;
	__atomic_store_n(&q->owner, NULL, __ATOMIC_RELAXED);
	sched_rehome(v, q, NULL, NULL, false); /* it is parked, or asked off its CPU */
	null_offer(q);
}

void null_up(struct vcpu *v)
{
	spin_lock(&sched_control);
	if (runq_of(v)->policy == SCHED_NULL)
		null_assign(v);
	spin_unlock(&sched_control);
}

void null_down(struct vcpu *v)
{
	spin_lock(&sched_control);
	if (runq_of(v)->policy == SCHED_NULL && !v->sched.up)
		null_release(v);
	spin_unlock(&sched_control);
}
