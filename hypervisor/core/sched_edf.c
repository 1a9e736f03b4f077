/*
 * core/sched_edf.c: promises. Each vCPU has a budget for each period and belongs to one CPU, where the sum of all
 * budget/period is at most one (sched_control.c sees to that); of those with budget left the earliest deadline runs first,
 * which keeps every promise (Liu and Layland, 1973). Who used its budget up waits for its deadline, when the next period
 * begins; with extra time it runs on when nobody with budget wants to, all of those in turn.
 *
 * Who wakes up goes on with what it has left only if that is no more than its rate until its deadline; else a new period
 * begins (the rule of a constant bandwidth server: Abeni and Buttazzo, 1998), so that its sleep harms nobody else.
 * Locks: the queue's, held by the caller. Invariant: in q->refills is exactly who is depleted.
 */
#include "core/sched_private.h"

#include "lib/lib.h"

#define EXTRA BIT(63) /* keys of those that run on extra time: behind all deadlines */

static uint64_t key_of(const struct vcpu *v)
{
	return v->sched.depleted ? EXTRA | v->sched.vruntime : v->sched.deadline;
}

static struct vcpu *first_refill(struct runq *q)
{
	return q->refills.first ? container_of(q->refills.first, struct vcpu, sched.refill) : NULL;
}

static void begin_period(struct vcpu *v, uint64_t deadline)
{
	struct sched_vcpu *s = &v->sched;

	s->left = (int64_t)s->budget + MIN(s->left, 0);
	s->deadline = deadline;
}

static void deplete(struct runq *q, struct vcpu *v)
{
	v->sched.depleted = true;
	tree_insert(&q->refills, &v->sched.refill, v->sched.deadline);
}

static void undeplete(struct runq *q, struct vcpu *v)
{
	if (v->sched.depleted)
		tree_remove(&q->refills, &v->sched.refill);
	v->sched.depleted = false;
}

void edf_enter(struct runq *q, struct vcpu *v)
{
	v->sched.depleted = false;
	v->sched.left = (int64_t)v->sched.budget;
	v->sched.deadline = 0; /* past: the next wake-up begins a period */
	v->sched.vruntime = 0;
}

void edf_leave(struct runq *q, struct vcpu *v)
{
	undeplete(q, v);
}

void edf_charge(struct vcpu *v, uint64_t ran)
{
	if (v->sched.depleted)
		v->sched.vruntime += ran;
	else
		v->sched.left -= (int64_t)ran;
}

/* More left than its rate gives until the deadline? */
static bool too_much_left(const struct sched_vcpu *s, uint64_t now)
{
	return s->left > 0 &&
	       (unsigned __int128)(uint64_t)s->left * s->period > (unsigned __int128)(s->deadline - now) * s->budget;
}

static void enqueue(struct runq *q, struct vcpu *v)
{
	if (v->sched.depleted && v->sched.vruntime + SCHED_SLICE_NS < q->vtime)
		v->sched.vruntime = q->vtime - SCHED_SLICE_NS; /* who did without extra time has not saved it up */
	if (v->sched.depleted && !v->sched.extra)
		v->sched.parked = true;
	else
		sched_enqueue(q, v, key_of(v));
}

void edf_place(struct runq *q, struct vcpu *v, uint64_t now)
{
	struct sched_vcpu *s = &v->sched;

	if (!s->on_cpu && !s->depleted && (now >= s->deadline || too_much_left(s, now)))
		begin_period(v, now + s->period);
	enqueue(q, v);
	/* One vCPU of extra time does not preempt another one. */
	if (s->queued && !sched_ask_idle(q, v) && q->tree.first == &s->node && !s->on_cpu) {
		unsigned cpu = cpumask_first(&q->cpus);
		const struct vcpu *runs;

		if (cpu == CPUMASK_BITS)
			return; /* it just left the pool: all that belong here go elsewhere */
		runs = __atomic_load_n(&sched_cpus[cpu].current, __ATOMIC_ACQUIRE);
		/* One that was given to another queue meanwhile is that one's to look at, and leaves. */
		if (!runs || __atomic_load_n(&runs->sched.runq, __ATOMIC_RELAXED) != q - runqs ||
		    runs->sched.extra != s->extra || runs->sched.depleted || !s->depleted)
			sched_ask(cpu);
	}
}

/* The next period of all whose deadline came. */
static void refill(struct runq *q, uint64_t now)
{
	struct vcpu *v;

	while ((v = first_refill(q)) != NULL && v->sched.deadline <= now) {
		uint64_t deadline = v->sched.deadline + v->sched.period;

		undeplete(q, v);
		begin_period(v, deadline > now ? deadline : now + v->sched.period);
		if (v->sched.left <= 0) { /* it overran so far that this period is gone, too */
			deplete(q, v);
			continue;
		}
		if (v->sched.queued)
			sched_dequeue(q, v);
		else if (!v->sched.parked)
			continue; /* it runs, or sleeps */
		v->sched.parked = false;
		sched_enqueue(q, v, key_of(v));
	}
}

static struct vcpu *take_first(struct runq *q, uint64_t now)
{
	struct vcpu *v;

	while ((v = vcpu_of(q->tree.first)) != NULL) {
		sched_dequeue(q, v);
		if (v->sched.depleted)
			__atomic_store_n(&q->vtime, MAX(q->vtime, v->sched.vruntime), __ATOMIC_RELAXED);
		if (v->sched.depleted || v->sched.deadline > now)
			break;
		begin_period(v, now + v->sched.period); /* late, by what the machine itself took */
		sched_enqueue(q, v, key_of(v));
	}
	return v;
}

struct vcpu *edf_pick(struct runq *q, unsigned cpu, struct vcpu *prev, uint64_t now, uint64_t *until)
{
	struct vcpu *next = prev, *v = sched_cpus[cpu].current;

	if (v && !v->sched.depleted) {
		if (v->sched.left <= 0)
			deplete(q, v);
		else if (v->sched.deadline <= now)
			begin_period(v, v->sched.deadline + v->sched.period > now ? v->sched.deadline + v->sched.period
										  : now + v->sched.period);
	}
	refill(q, now);
	if (prev && prev->sched.depleted && !prev->sched.extra) {
		prev->sched.parked = true;
		next = prev = NULL;
	}
	if (!prev || (q->tree.first && q->tree.first->key < key_of(prev))) {
		next = take_first(q, now);
		if (!next)
			next = prev;
	}
	*until = first_refill(q) ? first_refill(q)->sched.deadline : NEVER;
	if (next && !next->sched.depleted)
		*until = MIN(*until, MIN(next->sched.deadline, now + (uint64_t)next->sched.left));
	else if (next && (q->tree.first || next != prev))
		*until = MIN(*until, now + SCHED_SLICE_NS);
	return next;
}
