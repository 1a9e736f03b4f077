/*
 * core/sched_cap.c: caps. A domain with a cap has a bucket of CPU time that fills at that rate and holds one slice at
 * most; whoever is picked takes a piece of it and gives back what it did not use. Over any span of time a domain so runs
 * no longer than its cap and one slice. Who finds the bucket empty is parked until a timer has something for it.
 * Locks: d->sched.lock, inside the queues' locks. Invariant: tokens + taken never pass the bucket's size.
 */
#include "core/sched_private.h"

#include "port/machine.h"

#define BUCKET	  ((int64_t)SCHED_SLICE_NS)
#define UNLIMITED INT64_MAX

/* A cap that all vCPUs together cannot reach is none. */
static bool has_cap(const struct domain *d)
{
	return d->sched_cap && d->sched_cap < 100u * d->max_vcpus;
}

/* How much is taken at a time: so little that as many vCPUs as the cap allows may run at once. */
static int64_t quantum(const struct domain *d)
{
	return BUCKET / (4 * (d->sched_cap / 100 + 1));
}

static void fill(struct domain *d, uint64_t now)
{
	struct sched_domain *s = &d->sched;
	uint64_t passed = MIN(now - s->refilled, 1000000000ull);
	int64_t sum;

	s->refilled = now;
	sum = s->tokens + (int64_t)(passed * d->sched_cap / 100);
	s->tokens = MIN(sum, BUCKET - s->taken);
}

bool cap_take(struct vcpu *v, uint64_t now)
{
	struct domain *d = v->domain;
	struct sched_domain *s = &d->sched;
	int64_t want;

	spin_lock(&s->lock);
	v->sched.taken = 0;
	v->sched.quota = UNLIMITED;
	if (has_cap(d)) {
		fill(d, now);
		want = quantum(d);
		if (s->tokens >= want) {
			s->tokens -= want;
			s->taken += want;
			v->sched.quota = v->sched.taken = want;
		} else {
			v->sched.quota = 0;
			if (!s->waiting) {
				s->waiting = true;
				timer_set(&s->refill, now + (uint64_t)(want - s->tokens) * 100 / d->sched_cap + 1);
			}
		}
	}
	spin_unlock(&s->lock);
	return v->sched.quota != 0;
}

void cap_return(struct vcpu *v, uint64_t now)
{
	struct domain *d = v->domain;
	struct sched_domain *s = &d->sched;

	spin_lock(&s->lock);
	if (v->sched.taken) {
		s->taken -= v->sched.taken;
		s->tokens += v->sched.quota;
	}
	if (d->sched_cap)
		fill(d, now);
	v->sched.taken = v->sched.quota = 0;
	spin_unlock(&s->lock);
}

void sched_cap_refill(struct timer *t) NO_LOCK_CHECK
{
	struct domain *d = container_of(t, struct domain, sched.refill);
	struct vcpu *v;

	spin_lock(&d->sched.lock);
	d->sched.waiting = false;
	spin_unlock(&d->sched.lock);
	for_each_vcpu (d, v) {
		struct runq *q = sched_lock_vcpu(v);

		if (v->sched.parked && q->policy == SCHED_SHARE)
			sched_unpark(q, v, port_now());
		spin_unlock(&q->lock);
	}
}
