/*
 * core/sched_share.c: proportional share. The runnable vCPU with the least virtual runtime runs; virtual time passes slower
 * for heavier domains. Locks: the queue's, held by the caller, where nothing else is said.
 *
 * Virtual time is comparable within a pool, so that fairness is global: an idle CPU takes the vCPU that lags most from
 * another queue, and a CPU that is two slices ahead of who waits elsewhere takes that one over. Nobody gathers credit:
 * who slept starts at most one slice behind; who runs on while others wait, or comes to a CPU whose vCPUs are far ahead
 * (as pinning makes them), is lifted to within reach of those (lag_of()), or they would wait for as long as that took.
 */
#include "core/sched_private.h"

#include "core/log.h"
#include "port/machine.h"

#define LATENCY	    (4 * SCHED_SLICE_NS) /* all that wait should have run within this, while slices are not too short */
#define SLICE_LEAST 500000ull
#define ADVANCE	    (16 * SCHED_SLICE_NS) /* so far before its turn is in the queue who is to preempt; more than any lag */

/* Changes under sched_control while it is used here. */
static unsigned weight_of(const struct vcpu *v)
{
	return __atomic_load_n(&v->domain->sched_weight, __ATOMIC_RELAXED);
}

static uint64_t ratelimit_of(const struct runq *q)
{
	return __atomic_load_n(&q->pool->ratelimit_ns, __ATOMIC_RELAXED);
}

static uint64_t scaled(uint64_t ns, unsigned weight)
{
	return weight == SCHED_WEIGHT_DEFAULT ? ns : ns * SCHED_WEIGHT_DEFAULT / weight;
}

/* So far may others be behind a vCPU of that weight, which has run a whole slice just now. */
static uint64_t lag_of(unsigned weight)
{
	return 3 * SCHED_SLICE_NS + scaled(SCHED_SLICE_NS, weight);
}

/* The turn of a vCPU of default weight: shorter the more wait. */
static uint64_t turn_of(const struct runq *q)
{
	uint64_t waiting = q->tree.count, turn = SCHED_SLICE_NS;
	unsigned cpus = q->nr_cpus;

	if (waiting > LATENCY / SCHED_SLICE_NS * cpus)
		turn = LATENCY * cpus / waiting;
	return MAX(turn, MAX(ratelimit_of(q), SLICE_LEAST));
}

static uint64_t slice_of(const struct runq *q, const struct vcpu *v)
{
	uint64_t slice = turn_of(q);
	unsigned weight = weight_of(v);

	if (weight < SCHED_WEIGHT_DEFAULT)
		slice = slice * weight / SCHED_WEIGHT_DEFAULT;
	return MAX(slice, MAX(ratelimit_of(q), SLICE_LEAST));
}

/* Queues may differ by so much before a vCPU moves. */
static int64_t too_far(const struct runq *q)
{
	return (int64_t)(2 * turn_of(q));
}

static void lift(struct vcpu *v, uint64_t least)
{
	if ((int64_t)(least - v->sched.vruntime) > 0)
		v->sched.vruntime = least;
}

/* What others may know of who runs here; they read it without a lock, as an estimate. */
static void share_show(struct sched_cpu *c, uint64_t vruntime, uint64_t now, unsigned weight)
{
	__atomic_store_n(&c->vruntime, vruntime, __ATOMIC_RELAXED);
	__atomic_store_n(&c->charged, now, __ATOMIC_RELAXED);
	__atomic_store_n(&c->weight, weight, __ATOMIC_RELAXED);
}

void share_charge(struct sched_cpu *c, struct vcpu *v, uint64_t ran, uint64_t now)
{
	unsigned weight = weight_of(v);

	v->sched.vruntime += scaled(ran, weight);
	if (unlikely(v->sched.taken))
		v->sched.quota -= (int64_t)ran;
	if ((int64_t)(v->sched.vruntime - lag_of(weight) - c->floor) > 0)
		c->floor = v->sched.vruntime - lag_of(weight);
	share_show(c, v->sched.vruntime, now, weight);
}

/* The virtual time of who runs there, now. */
static uint64_t live(const struct sched_cpu *c, uint64_t now)
{
	uint32_t weight = __atomic_load_n(&c->weight, __ATOMIC_RELAXED);
	uint64_t charged = __atomic_load_n(&c->charged, __ATOMIC_RELAXED);

	return __atomic_load_n(&c->vruntime, __ATOMIC_RELAXED) +
	       (now > charged && weight ? scaled(now - charged, weight) : 0);
}

/* --- a vCPU comes --- */

/*
 * The CPU whose current vCPU is furthest ahead of v, of those where v may run; CPUMASK_BITS: none runs anything. *alone:
 * such a CPU whose vCPU has no end of its slice, or CPUMASK_BITS.
 */
static unsigned find_victim(struct runq *q, const struct vcpu *v, uint64_t now, unsigned *alone)
{
	struct cpumask may = cpumask_and(&q->cpus, &v->sched.hard), soft = cpumask_and(&may, &v->sched.soft);
	unsigned best = CPUMASK_BITS;
	uint64_t most = 0;

	*alone = CPUMASK_BITS;
	if (!cpumask_empty(&soft))
		may = soft;
	for_each_cpu (cpu, &may) {
		const struct sched_cpu *c = &sched_cpus[cpu];
		uint64_t at = live(c, now);

		if (!__atomic_load_n(&c->current, __ATOMIC_RELAXED))
			continue;
		if (c->slice_end == NEVER)
			*alone = cpu;
		if (best == CPUMASK_BITS || (int64_t)(at - most) > 0) {
			best = cpu;
			most = at;
		}
	}
	return best;
}

/*
 * Who woke up and is to displace somebody stands in the queue before those that merely wait, or one of these might get the
 * CPU instead: its key is less than its virtual time.
 */
static bool is_advanced(const struct vcpu *v)
{
	return v->sched.node.key != v->sched.vruntime;
}

/* Not when those that wait are far behind v. */
static bool may_advance(const struct runq *q, const struct vcpu *v)
{
	struct tree_node *n = q->tree.first;

	while (n && is_advanced(vcpu_of(n)))
		n = tree_next(n);
	return !n || (int64_t)(v->sched.vruntime - n->key) < (int64_t)lag_of(weight_of(vcpu_of(n)));
}

static void stand_in_line(struct runq *q, struct vcpu *v)
{
	sched_dequeue(q, v);
	sched_enqueue(q, v, v->sched.vruntime);
}

/* v waits, and had come to due in virtual time when it fell asleep: has the right CPU look. */
static void tickle(struct runq *q, struct vcpu *v, uint64_t due, uint64_t now)
{
	struct sched_cpu *c;
	unsigned cpu, alone;
	uint64_t safe, at;

	if (sched_ask_idle(q, v))
		return;
	cpu = find_victim(q, v, now, &alone);
	if (cpu == CPUMASK_BITS)
		return;
	c = &sched_cpus[cpu];
	at = live(c, now);
	if ((int64_t)(at - due) > 0) {
		v->sched.vruntime -= (int64_t)(v->sched.vruntime - at) >= 0 ? v->sched.vruntime - at + 1 : 0;
		safe = __atomic_load_n(&c->since, __ATOMIC_RELAXED) + ratelimit_of(q);
		c->preempt = true;
		if (c->slice_end > MAX(safe, now))
			sched_ask(cpu);
		return;
	}
	if (is_advanced(v))
		stand_in_line(q, v);
	if (alone != CPUMASK_BITS)
		sched_ask(alone); /* it needs an end of its slice now */
}

/* So far may a vCPU that slept be behind: before all that run, wherever in the pool they do. */
static uint64_t head_start(const struct runq *q)
{
	return SCHED_SLICE_NS + (sched_several_queues(q) ? (uint64_t)too_far(q) : 0);
}

void share_place(struct runq *q, struct vcpu *v, uint64_t now, bool fresh)
{
	uint64_t due = v->sched.vruntime;

	/* Who ends its slice preempts nobody: the CPU it leaves has its own end of slice to come. */
	if (v->sched.on_cpu && cpumask_test(&q->cpus, v->sched.cpu) && cpumask_test(&v->sched.hard, v->sched.cpu)) {
		sched_enqueue(q, v, due);
		sched_ask_idle(q, v);
		return;
	}
	if (!v->sched.on_cpu)
		lift(v, q->vtime - (fresh ? 0 : head_start(q)));
	sched_enqueue(q, v, v->sched.vruntime - (may_advance(q, v) ? ADVANCE : 0));
	tickle(q, v, fresh ? v->sched.vruntime : due, now);
}

void share_enter(struct runq *q, struct vcpu *v)
{
	v->sched.vruntime = q->vtime;
}

void share_stopped(struct vcpu *v, uint64_t now)
{
	if (unlikely(v->sched.taken))
		cap_return(v, now);
}

/* --- between queues --- */

/* Both locked: v, which waits in from, waits in q now. */
static void take_over(struct runq *q, struct runq *from, struct vcpu *v)
{
	sched_dequeue(from, v);
	__atomic_fetch_sub(&from->members, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&q->members, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&v->sched.runq, (uint16_t)(q - runqs), __ATOMIC_RELEASE);
	sched_enqueue(q, v, v->sched.node.key);
}

/* Of the queues in look_at, the one with the least head; NULL: they are empty. */
static struct runq *least_queue(const struct cpumask *look_at)
{
	struct runq *best = NULL;
	uint64_t least = NEVER;

	for_each_cpu (i, look_at) {
		uint64_t head = __atomic_load_n(&runqs[i].head, __ATOMIC_RELAXED);

		if (head < least) {
			least = head;
			best = &runqs[i];
		}
	}
	return best;
}

/*
 * The queues of cpu's pool, its own too, and that pool (NULL: it is in none), which is only to be compared, never followed:
 * while cpu belongs to its queue the pool stays, afterwards it may go.
 */
static struct cpumask queues_of(unsigned cpu, const struct cpupool **p) NO_LOCK_CHECK
{
	unsigned own = __atomic_load_n(&sched_cpus[cpu].runq, __ATOMIC_RELAXED);
	struct cpumask queues = CPUMASK_NONE;

	*p = NULL;
	if (own == RUNQ_NONE)
		return queues;
	spin_lock(&runqs[own].lock);
	if (sched_cpus[cpu].runq == own) {
		*p = runqs[own].pool;
		queues = cpumask_read(&(*p)->queues);
	}
	spin_unlock(&runqs[own].lock);
	return queues;
}

bool share_steal(unsigned cpu) NO_LOCK_CHECK
{
	unsigned own = __atomic_load_n(&sched_cpus[cpu].runq, __ATOMIC_RELAXED);
	const struct cpupool *p;
	struct cpumask left = queues_of(cpu, &p);
	struct runq *q, *from;
	bool got = false;

	if (!p)
		return false;
	q = &runqs[own];
	cpumask_clear(&left, own);
	while (!got && (from = least_queue(&left)) != NULL) {
		struct vcpu *v;

		cpumask_clear(&left, (unsigned)(from - runqs));
		sched_lock_two(q, from);
		v = sched_cpus[cpu].runq == own && from->pool == p && q->pool == p ? sched_first(from, cpu) : NULL;
		if (v)
			take_over(q, from, v);
		got = v;
		sched_unlock_two(q, from);
	}
	return got;
}

/*
 * A vCPU asks one idle CPU. When that CPU finds another one there that came meanwhile, nobody else knows of the first, and
 * CPUs that idle may be where it can run.
 */
void share_overtaken(unsigned cpu) NO_LOCK_CHECK
{
	const struct cpupool *p;
	struct cpumask left = queues_of(cpu, &p);
	struct runq *from;

	while ((from = least_queue(&left)) != NULL) {
		cpumask_clear(&left, (unsigned)(from - runqs));
		spin_lock(&from->lock);
		if (from->pool == p)
			for (struct tree_node *n = from->tree.first; n; n = tree_next(n))
				sched_ask_idle(from, vcpu_of(n));
		spin_unlock(&from->lock);
	}
}

/* Somebody waits elsewhere who is far behind prev: he comes here. Or prev is far behind him: it is lifted. */
static void look_elsewhere(struct runq *q, unsigned cpu, struct vcpu *prev) NO_LOCK_CHECK
{
	struct cpumask others = cpumask_read(&q->pool->queues);
	struct runq *from;
	struct vcpu *v;

	cpumask_clear(&others, (unsigned)(q - runqs));
	from = least_queue(&others);
	if (!from || !spin_trylock(&from->lock))
		return;
	v = from->pool == q->pool ? sched_first(from, cpu) : NULL;
	if (v && (int64_t)(prev->sched.vruntime - v->sched.vruntime) > too_far(from)) {
		take_over(q, from, v);
		sched_cpus[cpu].preempt = true; /* whom it might have displaced there does not know it any more */
	} else if (v) {
		lift(prev, v->sched.vruntime - lag_of(weight_of(v)));
	}
	spin_unlock(&from->lock);
}

/*
 * Head waits here. Of other queues' CPUs one that is far ahead of it should take it over, those far behind should know.
 * CPUs of this queue whose vCPU was alone when it came need an end of its slice now.
 */
static void show_head(struct runq *q, const struct vcpu *head, uint64_t now)
{
	struct cpumask all = sched_several_queues(q) ? cpumask_read(&q->pool->cpus) : q->cpus;
	int64_t lag = (int64_t)lag_of(weight_of(head)), most = too_far(q);
	unsigned best = CPUMASK_BITS;

	for_each_cpu (cpu, &all) {
		struct sched_cpu *c = &sched_cpus[cpu];
		int64_t ahead = (int64_t)(live(c, now) - head->sched.vruntime);

		if (!__atomic_load_n(&c->weight, __ATOMIC_RELAXED) || !cpumask_test(&head->sched.hard, cpu))
			continue;
		if (cpumask_test(&q->cpus, cpu)) {
			if (c->slice_end == NEVER)
				sched_ask(cpu);
		} else if (ahead > most) {
			most = ahead;
			best = cpu;
		} else if (ahead < -lag) {
			__atomic_store_n(&c->look, true, __ATOMIC_RELAXED);
			sched_ask(cpu);
		}
	}
	if (best != CPUMASK_BITS) {
		__atomic_store_n(&sched_cpus[best].look, true, __ATOMIC_RELAXED);
		sched_ask(best);
	}
}

/* --- the decision --- */

/* Does prev stay before head, the first of those that wait? Sets the end of its slice. */
static bool goes_on(struct runq *q, struct sched_cpu *c, struct vcpu *prev, const struct vcpu *head, uint64_t now)
{
	uint64_t safe = prev->sched.state_entered + ratelimit_of(q);
	bool preempt = c->preempt, yielded = c->yielded;
	int64_t behind;

	c->preempt = c->yielded = false;
	if (!head) {
		c->slice_end = NEVER;
		return true;
	}
	behind = (int64_t)(head->sched.vruntime - prev->sched.vruntime);
	if (yielded && behind < (int64_t)SCHED_SLICE_NS) {
		lift(prev, head->sched.vruntime);
		return false;
	}
	if (unlikely(behind > (int64_t)lag_of(SCHED_WEIGHT_DEFAULT)))
		lift(prev, head->sched.vruntime - lag_of(weight_of(head)));
	if (now < c->slice_end && !preempt) {
		if (c->slice_end == NEVER)
			c->slice_end = now + slice_of(q, prev);
		return true;
	}
	if (behind > 0) {
		c->slice_end = now + slice_of(q, prev);
		return true;
	}
	if (now < safe) {
		c->slice_end = safe;
		return true;
	}
	return false;
}

/* May prev run on, as far as its domain's cap goes? */
static bool has_quota(struct vcpu *prev, uint64_t now)
{
	if (likely(!cap_applies(prev)) || prev->sched.quota > 0)
		return true;
	cap_return(prev, now);
	return cap_take(prev, now);
}

/* The first that waits and may run here, out of the queue. Those whose caps are used up are parked. */
static struct vcpu *take_first(struct runq *q, unsigned cpu, uint64_t now)
{
	struct vcpu *v;

	while ((v = sched_first(q, cpu)) != NULL) {
		sched_dequeue(q, v);
		if (likely(!cap_applies(v)) || cap_take(v, now))
			break;
		v->sched.parked = true;
	}
	return v;
}

static void keep_time(struct runq *q, const struct vcpu *next)
{
	uint64_t at = next->sched.vruntime;

	if (q->tree.first && (int64_t)(q->tree.first->key - at) < 0)
		at = q->tree.first->key;
	if ((int64_t)(at - q->vtime) > 0)
		__atomic_store_n(&q->vtime, at, __ATOMIC_RELAXED);
}

/* At the end of a slice, or asked to: what waits in other queues counts, too. */
static void balance(struct runq *q, unsigned cpu, struct vcpu *prev, uint64_t now)
{
	struct sched_cpu *c = &sched_cpus[cpu];
	bool look = unlikely(c->look);

	if (likely(now < c->slice_end && !look))
		return;
	c->look = false;
	if (sched_several_queues(q))
		look_elsewhere(q, cpu, prev);
	if (q->tree.first && now >= c->slice_end && __atomic_load_n(&q->pool->nr_cpus, __ATOMIC_RELAXED) > 1)
		show_head(q, vcpu_of(q->tree.first), now);
}

struct vcpu *share_pick(struct runq *q, unsigned cpu, struct vcpu *prev, uint64_t now, uint64_t *until)
{
	struct sched_cpu *c = &sched_cpus[cpu];
	struct vcpu *head, *next = prev;

	if (prev)
		balance(q, cpu, prev, now);
	if (prev && !has_quota(prev, now)) {
		prev->sched.parked = true;
		next = prev = NULL;
	}
	head = sched_first(q, cpu);
	while (prev && unlikely(head && is_advanced(head)) &&
	       (int64_t)(head->sched.vruntime - prev->sched.vruntime) > 0) {
		/* It displaces nobody any more. */
		stand_in_line(q, head);
		head = sched_first(q, cpu);
	}
	if (!prev || !goes_on(q, c, prev, head, now)) {
		next = take_first(q, cpu, now);
		if (!next)
			next = prev;
		c->preempt = c->yielded = false;
		c->slice_end = NEVER;
		if (next && (prev || sched_first(q, cpu)))
			c->slice_end = now + slice_of(q, next);
	}
	*until = NEVER;
	__atomic_store_n(&c->weight, 0, __ATOMIC_RELAXED);
	if (next) {
		lift(next, c->floor);
		keep_time(q, next);
		share_show(c, next->sched.vruntime, now, weight_of(next));
		*until = c->slice_end;
		if (unlikely(next->sched.taken))
			*until = MIN(*until, now + (uint64_t)MAX(next->sched.quota, 0));
	}
	return next;
}
