/*
 * core/sched.c: see sched.h. Owns the run states, who is current on each CPU, and the run queues' locks.
 * Locks: the run queues'. Invariants: a vCPU is in its queue's tree exactly when it is runnable, not running and not
 * parked; no CPU picks from a queue that it does not belong to; a vCPU's registers are saved before another CPU may pick
 * it; the sum of v->sched.time is the time since the vCPU was made.
 */
#include "core/sched.h"

#include "core/log.h"
#include "core/perfc.h"
#include "core/sched_private.h"
#include "core/trace.h"
#include "lib/lib.h"
#include "port/guest.h"
#include "port/machine.h"

_Static_assert(CPUMASK_BITS == NR_CPUS, "a bit for each CPU");

struct runq runqs[NR_CPUS];
struct sched_cpu sched_cpus[NR_CPUS];

void sched_init(enum sched_policy policy)
{
	if (!timer_reserve(NR_CPUS))
		panic("no memory for the scheduler's timers");
	for (unsigned i = 0; i < NR_CPUS; i++) {
		struct sched_cpu *c = &sched_cpus[i];

		memset(c, 0, sizeof(*c));
		memset(&runqs[i], 0, sizeof(runqs[i]));
		spin_lock_init(&runqs[i].lock, LOCK_RUNQ);
		runqs[i].head = NEVER;
		timer_init(&c->slice, TIMER_SLICE, NULL);
		c->runq = RUNQ_NONE;
		c->slice_end = NEVER;
		c->online = i < port_cpu_count();
	}
	cpupool_boot(policy);
}

/* --- queues and their locks --- */

struct runq *sched_lock_vcpu(struct vcpu *v) NO_LOCK_CHECK
{
	for (;;) {
		struct runq *q = runq_of(v);

		spin_lock(&q->lock);
		if (likely(runq_of(v) == q))
			return q;
		spin_unlock(&q->lock);
	}
}

void sched_lock_two(struct runq *a, struct runq *b) NO_LOCK_CHECK
{
	if (a > b) {
		struct runq *swap = a;

		a = b;
		b = swap;
	}
	spin_lock(&a->lock);
	if (a != b)
		spin_lock(&b->lock);
}

void sched_unlock_two(struct runq *a, struct runq *b) NO_LOCK_CHECK
{
	spin_unlock(&a->lock);
	if (a != b)
		spin_unlock(&b->lock);
}

/* This CPU's queue, locked; NULL: it has none. */
static struct runq *lock_own(const struct sched_cpu *c) NO_LOCK_CHECK
{
	for (;;) {
		unsigned i = __atomic_load_n(&c->runq, __ATOMIC_RELAXED);

		if (unlikely(i == RUNQ_NONE))
			return NULL;
		spin_lock(&runqs[i].lock);
		if (likely(__atomic_load_n(&c->runq, __ATOMIC_RELAXED) == i))
			return &runqs[i];
		spin_unlock(&runqs[i].lock);
	}
}

static void note_head(struct runq *q)
{
	__atomic_store_n(&q->head, q->tree.first ? q->tree.first->key : NEVER, __ATOMIC_RELAXED);
}

void sched_enqueue(struct runq *q, struct vcpu *v, uint64_t key)
{
	tree_insert(&q->tree, &v->sched.node, key);
	v->sched.queued = true;
	note_head(q);
}

void sched_dequeue(struct runq *q, struct vcpu *v)
{
	tree_remove(&q->tree, &v->sched.node);
	v->sched.queued = false;
	note_head(q);
}

struct vcpu *sched_first(struct runq *q, unsigned cpu)
{
	struct tree_node *n = q->tree.first;

	while (n && unlikely(!cpumask_test(&vcpu_of(n)->sched.hard, cpu)))
		n = tree_next(n);
	return vcpu_of(n);
}

/* --- run states --- */

static void set_state(struct vcpu *v, unsigned state, uint64_t now)
{
	struct sched_vcpu *s = &v->sched;

	if (unlikely(trace_events))
		trace_runstate(v, state);
	s->time[s->state] += now - s->state_entered;
	s->state_entered = now;
	__atomic_store_n(&s->state, (uint8_t)state, __ATOMIC_RELAXED);
}

bool sched_runnable(const struct vcpu *v)
{
	return v->sched.up && !__atomic_load_n(&v->sched.blocked, __ATOMIC_RELAXED) && !v->sched.pause_count &&
	       !__atomic_load_n(&v->domain->pause_count, __ATOMIC_RELAXED);
}

static unsigned idle_state(const struct vcpu *v)
{
	bool offline =
		!v->sched.up || v->sched.pause_count || __atomic_load_n(&v->domain->pause_count, __ATOMIC_RELAXED);

	return offline ? RUNSTATE_offline : RUNSTATE_blocked;
}

void sched_ask(unsigned cpu)
{
	ASSERT(cpu < NR_CPUS);
	/* When it was asked already and did not look yet, it is on its way. */
	if (!__atomic_exchange_n(&sched_cpus[cpu].resched, true, __ATOMIC_SEQ_CST) && cpu != port_cpu()) {
		perfc_inc(port_cpu(), PERFC_sched_kick);
		port_kick(cpu);
	}
}

static unsigned best_idle(struct runq *q, const struct vcpu *v)
{
	struct cpumask idle = cpumask_read(&q->pool->idle), near, soft;
	unsigned cpu;

	if (likely(cpumask_empty(&idle)))
		return CPUMASK_BITS;
	idle = cpumask_and(&idle, &v->sched.hard);
	near = cpumask_and(&idle, &q->cpus);
	if (q->policy != SCHED_SHARE)
		return cpumask_first(&near); /* its one CPU, or none */

	if (cpumask_empty(&idle))
		return CPUMASK_BITS;
	if (cpumask_test(&idle, v->sched.cpu) && cpumask_test(&v->sched.soft, v->sched.cpu))
		return v->sched.cpu;
	soft = cpumask_and(&near, &v->sched.soft);
	cpu = cpumask_first(&soft);
	if (cpu == CPUMASK_BITS) {
		soft = cpumask_and(&idle, &v->sched.soft);
		cpu = cpumask_first(&soft);
	}
	if (cpu == CPUMASK_BITS)
		cpu = cpumask_first(&near);
	return cpu == CPUMASK_BITS ? cpumask_first(&idle) : cpu;
}

bool sched_ask_idle(struct runq *q, const struct vcpu *v)
{
	unsigned cpu;

	/* v is in its queue: an idle CPU that looked before is seen here (share_steal() looks after it said that it idles). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	while ((cpu = best_idle(q, v)) != CPUMASK_BITS) {
		if (cpumask_clear_shared(&q->pool->idle, cpu)) {
			__atomic_store_n(&sched_cpus[cpu].claimed, v, __ATOMIC_RELAXED);
			sched_ask(cpu);
			return true;
		}
	}
	return false;
}

static void place(struct runq *q, struct vcpu *v, uint64_t now, bool fresh)
{
	switch (q->policy) {
	case SCHED_SHARE:
		share_place(q, v, now, fresh);
		break;
	case SCHED_EDF:
		edf_place(q, v, now);
		break;
	case SCHED_NULL:
		null_place(q, v);
		break;
	}
}

void sched_place(struct runq *q, struct vcpu *v, uint64_t now, bool fresh)
{
	set_state(v, RUNSTATE_runnable, now);
	place(q, v, now, fresh);
}

void sched_unpark(struct runq *q, struct vcpu *v, uint64_t now)
{
	v->sched.parked = false;
	place(q, v, now, false);
}

/* v may have become runnable, or stopped being so: puts it where it belongs. */
static void reconsider(struct runq *q, struct vcpu *v, bool fresh)
{
	bool run = sched_runnable(v);
	uint64_t now;

	if (v->sched.on_cpu) {
		if (!run)
			sched_ask(v->sched.cpu);
		return;
	}
	now = port_now();
	if (!run) {
		if (v->sched.queued)
			sched_dequeue(q, v);
		v->sched.parked = false;
		set_state(v, idle_state(v), now);
	} else if (!v->sched.queued && !v->sched.parked) {
		sched_place(q, v, now, fresh);
	}
}

static void leave_queue(struct runq *q, struct vcpu *v, uint64_t now)
{
	if (q->policy == SCHED_EDF)
		edf_leave(q, v);
	else if (q->policy == SCHED_SHARE)
		share_stopped(v, now);
	__atomic_fetch_sub(&q->members, 1, __ATOMIC_RELAXED);
}

static void enter_queue(struct runq *q, struct vcpu *v, bool fresh)
{
	if (q->policy == SCHED_EDF)
		edf_enter(q, v);
	else if (q->policy == SCHED_SHARE && fresh)
		share_enter(q, v);
	__atomic_fetch_add(&q->members, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&v->sched.runq, (uint16_t)(q - runqs), __ATOMIC_RELEASE);
}

void sched_rehome(struct vcpu *v, struct runq *to, const struct cpumask *hard, const struct cpumask *soft, bool fresh)
	NO_LOCK_CHECK
{
	struct sched_vcpu *s = &v->sched;
	struct runq *from;
	bool waits;
	uint64_t now;

	while (sched_lock_two(from = runq_of(v), to), unlikely(runq_of(v) != from))
		sched_unlock_two(from, to);
	now = port_now();
	waits = s->queued || s->parked;
	if (s->queued)
		sched_dequeue(from, v);
	s->parked = false;
	if (hard)
		s->hard = *hard;
	if (soft)
		s->soft = *soft;
	if (from != to || fresh) {
		leave_queue(from, v, now);
		enter_queue(to, v, fresh || from->pool != to->pool);
	}
	if (waits)
		place(to, v, now, false);
	else if (s->on_cpu)
		sched_ask(s->cpu);
	sched_unlock_two(from, to);
}

/* --- the decision --- */

static void charge(struct runq *q, struct sched_cpu *c, struct vcpu *v, uint64_t now)
{
	uint64_t ran = now - v->sched.charged;

	v->sched.charged = now;
	switch (q->policy) {
	case SCHED_SHARE:
		share_charge(c, v, ran, now);
		break;
	case SCHED_EDF:
		edf_charge(v, ran);
		break;
	case SCHED_NULL:
		break;
	}
}

static struct vcpu *decide(struct runq *q, unsigned cpu, struct vcpu *prev, uint64_t now, uint64_t *until)
{
	struct vcpu *next;

	switch (q->policy) {
	case SCHED_SHARE:
		return share_pick(q, cpu, prev, now, until);
	case SCHED_EDF:
		return edf_pick(q, cpu, prev, now, until);
	case SCHED_NULL:
		break;
	}
	*until = NEVER;
	if (prev && runq_owner(q) == prev)
		return prev;
	if (prev)
		prev->sched.parked = true;
	next = sched_first(q, cpu);
	if (next)
		sched_dequeue(q, next);
	return next;
}

/* v stops running on this CPU: its queue's lock is held. */
static void stop(struct runq *q, struct sched_cpu *c, struct vcpu *v, uint64_t now)
{
	__atomic_store_n(&c->current, NULL, __ATOMIC_RELEASE);
	if (q->policy == SCHED_SHARE)
		share_stopped(v, now);
	set_state(v, sched_runnable(v) ? RUNSTATE_runnable : idle_state(v), now);
	guest_switch_out(v);
	if (v->sched.state != RUNSTATE_runnable)
		v->sched.parked = false;
	else if (!v->sched.parked)
		place(q, v, now, false);
	__atomic_store_n(&v->sched.on_cpu, false, __ATOMIC_RELEASE);
}

static void start(struct sched_cpu *c, unsigned cpu, struct vcpu *v, uint64_t now)
{
	set_state(v, RUNSTATE_running, now);
	v->sched.charged = now;
	__atomic_store_n(&v->sched.cpu, (uint16_t)cpu, __ATOMIC_RELAXED);
	__atomic_store_n(&v->sched.on_cpu, true, __ATOMIC_RELAXED);
	__atomic_store_n(&c->since, now, __ATOMIC_RELAXED);
	__atomic_store_n(&c->current, v, __ATOMIC_RELEASE);
}

/* One place where a CPU goes from one vCPU (or idling) to another. */
static void switch_to(struct runq *q, unsigned cpu, struct vcpu *prev, struct vcpu *next, uint64_t now)
{
	struct sched_cpu *c = &sched_cpus[cpu];
	uint64_t ran = prev ? now - prev->sched.state_entered : 0;

	if (prev)
		stop(q, c, prev, now);
	else
		c->idle_ns += now - c->idle_since;
	c->idle_since = now;
	perfc_inc(cpu, PERFC_sched_switch);
	if (unlikely(trace_events))
		trace_switch(prev, next, ran, next ? now - next->sched.state_entered : 0);
	if (next) {
		start(c, cpu, next, now);
		if (cpumask_test_shared(&q->pool->idle, cpu))
			cpumask_clear_shared(&q->pool->idle, cpu);
	}
}

static void set_slice(struct sched_cpu *c, uint64_t until)
{
	if (until == NEVER) {
		if (timer_active(&c->slice))
			timer_stop(&c->slice);
	} else if (until != c->slice.deadline || !timer_active(&c->slice)) {
		timer_set(&c->slice, until);
	}
}

/* What this CPU runs went to another queue, or this CPU did. */
static void put_back(struct sched_cpu *c, unsigned cpu, struct vcpu *v) NO_LOCK_CHECK
{
	struct runq *q = sched_lock_vcpu(v);
	uint64_t now = port_now();

	charge(q, c, v, now);
	switch_to(q, cpu, v, NULL, now);
	__atomic_store_n(&c->weight, 0, __ATOMIC_RELAXED);
	spin_unlock(&q->lock);
}

struct vcpu *sched_pick(void) NO_LOCK_CHECK
{
	unsigned cpu = port_cpu();
	struct sched_cpu *c = &sched_cpus[cpu];
	struct vcpu *last = c->current, *prev, *next;
	const struct vcpu *claimed = NULL;
	uint64_t now, until;
	bool left = false, steal;
	struct runq *q;

again:
	q = lock_own(c);
	prev = c->current;
	if (unlikely(!q || (prev && runq_of(prev) != q))) {
		__atomic_store_n(&c->resched, false, __ATOMIC_SEQ_CST);
		if (q)
			spin_unlock(&q->lock);
		left = prev;
		if (prev)
			put_back(c, cpu, prev);
		if (q)
			goto again;
		set_slice(c, NEVER);
		timer_cpu_leave();
		return NULL;
	}
	/* What is asked for from here on is asked under the queue's lock, or is looked at again later. */
	__atomic_store_n(&c->resched, false, __ATOMIC_RELAXED);
	if (__atomic_load_n(&c->claimed, __ATOMIC_RELAXED))
		claimed = __atomic_exchange_n(&c->claimed, NULL, __ATOMIC_RELAXED);
	perfc_inc(cpu, PERFC_sched_pick);
	now = port_now();
	next = NULL;
	if (prev) {
		charge(q, c, prev, now);
		if (likely(sched_runnable(prev) && cpumask_test(&prev->sched.hard, cpu)))
			next = prev;
	}
	next = decide(q, cpu, next, now, &until);
	if (next != prev) {
		switch_to(q, cpu, prev, next, now);
		left = left || prev == last;
	}
	if (!next)
		cpumask_set_shared(&q->pool->idle, cpu);
	/* Once its lock is dropped, the queue may go to another pool. */
	steal = !next && q->policy == SCHED_SHARE && sched_several_queues(q);
	spin_unlock(&q->lock);
	if (steal && share_steal(cpu))
		goto again;
	if (unlikely(claimed && next && next != claimed))
		share_overtaken(cpu);
	set_slice(c, until);
	if (unlikely(left && next && next == last))
		guest_switch_in(next);
	return next;
}

bool sched_needed(void)
{
	return __atomic_load_n(&sched_cpus[port_cpu()].resched, __ATOMIC_RELAXED);
}

struct vcpu *sched_current(void)
{
	return sched_cpus[port_cpu()].current;
}

void sched_slice_end(void)
{
	__atomic_store_n(&sched_cpus[port_cpu()].resched, true, __ATOMIC_RELAXED);
}

/* --- life of a vCPU --- */

void sched_up(struct vcpu *v) NO_LOCK_CHECK
{
	struct runq *q;

	if (runq_of(v)->policy == SCHED_NULL)
		null_up(v);
	q = sched_lock_vcpu(v);
	if (!v->sched.up) {
		v->sched.up = true;
		__atomic_store_n(&v->sched.blocked, false, __ATOMIC_SEQ_CST);
		reconsider(q, v, true);
	}
	spin_unlock(&q->lock);
}

void sched_down(struct vcpu *v) NO_LOCK_CHECK
{
	struct runq *q = sched_lock_vcpu(v);

	v->sched.up = false;
	reconsider(q, v, false);
	spin_unlock(&q->lock);
	if (q->policy == SCHED_NULL)
		null_down(v);
}

void sched_block(struct vcpu *v)
{
	/* Set first, looked at after: an event that comes in between finds us blocked and wakes us. */
	__atomic_store_n(&v->sched.blocked, true, __ATOMIC_SEQ_CST);
	if (guest_interrupt_pending(v)) {
		__atomic_store_n(&v->sched.blocked, false, __ATOMIC_SEQ_CST);
	} else {
		if (unlikely(trace_events))
			trace_vcpu(TRC_SCHED_BLOCK, v);
		sched_slice_end();
	}
}

/* The CPU, another one, whose guest v is right now; false: none. */
static bool runs_elsewhere(const struct vcpu *v, unsigned *cpu)
{
	*cpu = __atomic_load_n(&v->sched.cpu, __ATOMIC_RELAXED);
	return *cpu != port_cpu() && __atomic_load_n(&v->sched.state, __ATOMIC_RELAXED) == RUNSTATE_running;
}

static void wake(struct vcpu *v) NO_LOCK_CHECK
{
	struct runq *q = sched_lock_vcpu(v);

	if (__atomic_load_n(&v->sched.blocked, __ATOMIC_RELAXED)) {
		__atomic_store_n(&v->sched.polling, false, __ATOMIC_SEQ_CST);
		__atomic_store_n(&v->sched.blocked, false, __ATOMIC_SEQ_CST);
		perfc_inc(port_cpu(), PERFC_sched_wake);
		if (unlikely(trace_events))
			trace_vcpu(TRC_SCHED_WAKE, v);
		reconsider(q, v, false);
	}
	spin_unlock(&q->lock);
}

void sched_wake(struct vcpu *v)
{
	unsigned cpu;

	/* What came is there for all to see before we look: the other half of sched_block(), and of a switch to v. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&v->sched.blocked, __ATOMIC_RELAXED))
		wake(v);
	else if (runs_elsewhere(v, &cpu))
		port_kick(cpu); /* have it look at what came */
}

void sched_notify(struct vcpu *v, bool tell)
{
	unsigned cpu;

	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* as above */
	if (__atomic_load_n(&v->sched.blocked, __ATOMIC_RELAXED))
		wake(v);
	else if (tell && runs_elsewhere(v, &cpu))
		port_notify(cpu);
}

void sched_yield_cpu(struct vcpu *v)
{
	struct sched_cpu *c = &sched_cpus[port_cpu()];

	if (unlikely(trace_events))
		trace_vcpu(TRC_SCHED_YIELD, v);
	if (__atomic_load_n(&runq_of(v)->head, __ATOMIC_RELAXED) == NEVER)
		return;
	c->yielded = true;
	sched_slice_end();
}

/* --- pausing --- */

static void change_pauses(struct vcpu *v, int by) NO_LOCK_CHECK
{
	struct runq *q = sched_lock_vcpu(v);

	ASSERT(by > 0 || v->sched.pause_count);
	v->sched.pause_count += (uint32_t)by;
	reconsider(q, v, false);
	spin_unlock(&q->lock);
}

void sched_vcpu_sync(struct vcpu *v)
{
	guest_waits(true);
	for (unsigned n = 1; __atomic_load_n(&v->sched.on_cpu, __ATOMIC_ACQUIRE); n++) {
		unsigned cpu = __atomic_load_n(&v->sched.cpu, __ATOMIC_RELAXED);

		if (cpu == port_cpu())
			break;
		if (n % PORT_KICK_AGAIN == 0)
			port_kick(cpu);
		port_relax();
	}
	guest_waits(false);
}

void sched_vcpu_pause_nosync(struct vcpu *v)
{
	change_pauses(v, 1);
}

void sched_vcpu_pause(struct vcpu *v)
{
	change_pauses(v, 1);
	sched_vcpu_sync(v);
}

void sched_vcpu_unpause(struct vcpu *v)
{
	change_pauses(v, -1);
}

static void reconsider_all(struct domain *d) NO_LOCK_CHECK
{
	struct vcpu *v;

	for_each_vcpu (d, v) {
		struct runq *q = sched_lock_vcpu(v);

		reconsider(q, v, false);
		spin_unlock(&q->lock);
	}
}

void sched_domain_pause_nosync(struct domain *d)
{
	__atomic_fetch_add(&d->pause_count, 1, __ATOMIC_SEQ_CST);
	reconsider_all(d);
}

void sched_domain_pause(struct domain *d)
{
	struct vcpu *v;

	sched_domain_pause_nosync(d);
	for_each_vcpu (d, v)
		sched_vcpu_sync(v);
}

void sched_domain_unpause(struct domain *d)
{
	if (__atomic_fetch_sub(&d->pause_count, 1, __ATOMIC_SEQ_CST) == 1)
		reconsider_all(d);
}

/* --- information --- */

void sched_runstate_sums(struct vcpu *v, uint64_t time[4], uint64_t *entered, int *state) NO_LOCK_CHECK
{
	struct runq *q = sched_lock_vcpu(v);

	for (int i = 0; i < 4; i++)
		time[i] = v->sched.time[i];
	*entered = v->sched.state_entered;
	*state = v->sched.state;
	spin_unlock(&q->lock);
}

void sched_runstate(struct vcpu *v, uint64_t time[4], uint64_t *entered, int *state)
{
	uint64_t now;

	sched_runstate_sums(v, time, entered, state);
	now = port_now();
	time[*state] += now - *entered;
}

uint64_t sched_idle_ns(unsigned cpu) NO_LOCK_CHECK
{
	const struct sched_cpu *c = &sched_cpus[cpu];
	struct runq *q = lock_own(c);
	uint64_t ns = c->idle_ns + (c->current ? 0 : port_now() - c->idle_since);

	if (q)
		spin_unlock(&q->lock);
	return ns;
}

static const char *policy_name(enum sched_policy p)
{
	return p == SCHED_SHARE ? "credit2" : p == SCHED_EDF ? "rtds" : "null";
}

static void dump_queue(unsigned i) NO_LOCK_CHECK
{
	struct runq *q = &runqs[i];

	spin_lock(&q->lock);
	for_each_cpu (cpu, &q->cpus) {
		const struct vcpu *v = sched_cpus[cpu].current;

		if (v)
			log_info(" CPU %u runs d%uv%u, vruntime %lu", cpu, v->domain->id, v->id, v->sched.vruntime);
		else
			log_info(" CPU %u idle", cpu);
	}
	for (struct tree_node *n = q->tree.first; n; n = tree_next(n)) {
		const struct vcpu *v = vcpu_of(n);

		log_info("  queued d%uv%u, key %lu, last on CPU %u", v->domain->id, v->id, n->key, v->sched.cpu);
	}
	spin_unlock(&q->lock);
}

void sched_dump(void) NO_LOCK_CHECK
{
	spin_lock(&sched_control);
	for (const struct cpupool *p = cpupool_first(); p; p = p->next) {
		log_info("pool %u, %s, %u domains", p->id, policy_name(p->policy), p->domains);
		for_each_cpu (i, &p->queues)
			dump_queue(i);
	}
	spin_unlock(&sched_control);
}
