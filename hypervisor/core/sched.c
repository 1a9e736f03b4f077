/*
 * core/sched.c: see sched.h. Owns the run queues, the run states and who is current on each CPU.
 * Locks: sched_lock. Invariants: v->sched.queued exactly when v is in a run queue; the current vCPU of a CPU is never
 * queued; the sum of v->sched.time is the time since the vCPU was made.
 *
 * Policy: the runnable vCPU with the least virtual runtime runs; virtual time passes slower for heavier domains. A
 * vCPU that slept starts at most one slice behind the leader, so that sleeping does not save up credit.
 */
#include "core/sched.h"

#include "core/domain.h"
#include "core/log.h"
#include "lib/lib.h"
#include "port/guest.h"
#include "port/machine.h"

struct sched_cpu {
	struct vcpu *queue;   /* runnable, least virtual runtime first */
	struct vcpu *current; /* runs now, or NULL: idle */
	struct timer slice;
	uint64_t min_vruntime;
	bool resched;
};

static spinlock_t sched_lock = SPINLOCK_INIT;
static struct sched_cpu cpus[NR_CPUS];

void sched_init(void)
{
	if (!timer_reserve(NR_CPUS))
		panic("no memory for the scheduler's timers");
	for (unsigned i = 0; i < NR_CPUS; i++)
		timer_init(&cpus[i].slice, TIMER_SLICE, NULL);
}

/* Run state changes: the time since the last change belongs to the old state. */
static void set_state(struct vcpu *v, int state, uint64_t now) REQUIRES(sched_lock)
{
	struct sched_vcpu *s = &v->sched;

	s->time[s->state] += now - s->state_entered;
	s->state_entered = now;
	s->state = (uint8_t)state;
}

static bool runnable(const struct vcpu *v)
{
	return v->sched.up && !v->sched.blocked && !v->sched.pause_count &&
	       !__atomic_load_n(&v->domain->pause_count, __ATOMIC_RELAXED);
}

static int idle_state(const struct vcpu *v)
{
	bool offline = !v->sched.up || v->sched.pause_count || v->domain->pause_count;

	return offline ? RUNSTATE_offline : RUNSTATE_blocked;
}

static void enqueue(struct vcpu *v, bool behind_equals) REQUIRES(sched_lock)
{
	struct vcpu **at = &cpus[v->sched.cpu].queue;

	while (*at && ((*at)->sched.vruntime < v->sched.vruntime ||
		       (behind_equals && (*at)->sched.vruntime == v->sched.vruntime)))
		at = &(*at)->sched.next;
	v->sched.next = *at;
	*at = v;
	v->sched.queued = true;
}

static void dequeue(struct vcpu *v) REQUIRES(sched_lock)
{
	struct vcpu **at = &cpus[v->sched.cpu].queue;

	while (*at != v)
		at = &(*at)->sched.next;
	*at = v->sched.next;
	v->sched.queued = false;
}

static void ask_resched(unsigned cpu)
{
	cpus[cpu].resched = true;
	if (cpu != port_cpu())
		port_kick(cpu);
}

/* v may have become runnable, or stopped being so: puts it where it belongs. */
static void reconsider(struct vcpu *v) REQUIRES(sched_lock)
{
	struct sched_cpu *c = &cpus[v->sched.cpu];
	bool run = runnable(v);

	if (c->current == v) {
		if (!run)
			ask_resched(v->sched.cpu);
		return;
	}
	if (run == v->sched.queued) {
		if (!run)
			set_state(v, idle_state(v), port_now());
		return;
	}
	if (!run) {
		dequeue(v);
		set_state(v, idle_state(v), port_now());
		return;
	}
	if (v->sched.vruntime + SCHED_SLICE_NS < c->min_vruntime)
		v->sched.vruntime = c->min_vruntime - SCHED_SLICE_NS;
	set_state(v, RUNSTATE_runnable, port_now());
	enqueue(v, false);
	if (!c->current || c->queue == v)
		ask_resched(v->sched.cpu);
}

void sched_vcpu_init(struct vcpu *v)
{
	memset(&v->sched, 0, sizeof(v->sched));
	v->sched.state = RUNSTATE_offline;
	v->sched.state_entered = port_now();
}

void sched_vcpu_destroy(struct vcpu *v)
{
	spin_lock(&sched_lock);
	if (v->sched.queued)
		dequeue(v);
	for (unsigned i = 0; i < port_cpu_count(); i++)
		ASSERT(cpus[i].current != v);
	spin_unlock(&sched_lock);
}

/* The time the current vCPU ran since it was last charged, weighted. */
static void charge(struct sched_cpu *c, struct vcpu *v, uint64_t now) REQUIRES(sched_lock)
{
	uint64_t ran = now - v->sched.charged;
	unsigned weight = v->domain->sched_weight;

	v->sched.charged = now;
	v->sched.vruntime += weight == SCHED_WEIGHT_DEFAULT ? ran : ran * SCHED_WEIGHT_DEFAULT / weight;
	if (v->sched.vruntime > c->min_vruntime)
		c->min_vruntime = v->sched.vruntime;
}

struct vcpu *sched_pick(void)
{
	unsigned cpu = port_cpu();
	struct sched_cpu *c = &cpus[cpu];
	struct vcpu *prev, *next;
	uint64_t now = port_now();

	spin_lock(&sched_lock);
	c->resched = false;
	prev = c->current;
	if (prev) {
		charge(c, prev, now);
		if (runnable(prev)) {
			if (!c->queue || prev->sched.vruntime < c->queue->sched.vruntime)
				goto out; /* goes on */
			set_state(prev, RUNSTATE_runnable, now);
			enqueue(prev, true);
		} else {
			set_state(prev, idle_state(prev), now);
		}
	}
	next = c->queue;
	if (next) {
		dequeue(next);
		set_state(next, RUNSTATE_running, now);
		next->sched.charged = now;
	}
	c->current = next;
out:
	next = c->current;
	if (next && c->queue)
		timer_set(&c->slice, now + SCHED_SLICE_NS);
	else if (timer_active(&c->slice))
		timer_stop(&c->slice);
	spin_unlock(&sched_lock);
	return next;
}

bool sched_needed(void)
{
	return cpus[port_cpu()].resched;
}

struct vcpu *sched_current(void)
{
	return cpus[port_cpu()].current;
}

void sched_slice_end(void)
{
	cpus[port_cpu()].resched = true;
}

void sched_up(struct vcpu *v)
{
	spin_lock(&sched_lock);
	v->sched.up = true;
	v->sched.blocked = false;
	reconsider(v);
	spin_unlock(&sched_lock);
}

void sched_down(struct vcpu *v)
{
	spin_lock(&sched_lock);
	v->sched.up = false;
	reconsider(v);
	spin_unlock(&sched_lock);
}

void sched_block(struct vcpu *v)
{
	/* Set first, looked at after: an event that comes in between finds us blocked and wakes us. */
	__atomic_store_n(&v->sched.blocked, true, __ATOMIC_SEQ_CST);
	if (guest_interrupt_pending(v)) {
		v->sched.blocked = false;
		return;
	}
	cpus[v->sched.cpu].resched = true;
}

void sched_wake(struct vcpu *v)
{
	if (!__atomic_load_n(&v->sched.blocked, __ATOMIC_SEQ_CST)) {
		/* It may run on another CPU right now: have it look at what came. */
		if (v->sched.cpu != port_cpu() && v->sched.state == RUNSTATE_running)
			port_kick(v->sched.cpu);
		return;
	}
	spin_lock(&sched_lock);
	v->sched.blocked = false;
	v->sched.polling = false;
	reconsider(v);
	spin_unlock(&sched_lock);
}

void sched_yield_cpu(struct vcpu *v)
{
	struct sched_cpu *c = &cpus[v->sched.cpu];

	spin_lock(&sched_lock);
	if (c->queue) {
		const struct vcpu *last = c->queue;

		while (last->sched.next)
			last = last->sched.next;
		if (v->sched.vruntime < last->sched.vruntime)
			v->sched.vruntime = last->sched.vruntime;
		c->resched = true;
	}
	spin_unlock(&sched_lock);
}

void sched_vcpu_pause(struct vcpu *v)
{
	spin_lock(&sched_lock);
	v->sched.pause_count++;
	reconsider(v);
	spin_unlock(&sched_lock);
}

void sched_vcpu_unpause(struct vcpu *v)
{
	spin_lock(&sched_lock);
	ASSERT(v->sched.pause_count);
	v->sched.pause_count--;
	reconsider(v);
	spin_unlock(&sched_lock);
}

static void reconsider_all(struct domain *d)
{
	struct vcpu *v;

	for_each_vcpu (d, v) {
		spin_lock(&sched_lock);
		reconsider(v);
		spin_unlock(&sched_lock);
	}
}

void sched_domain_pause(struct domain *d)
{
	__atomic_fetch_add(&d->pause_count, 1, __ATOMIC_SEQ_CST);
	reconsider_all(d);
}

void sched_domain_unpause(struct domain *d)
{
	if (__atomic_fetch_sub(&d->pause_count, 1, __ATOMIC_SEQ_CST) == 1)
		reconsider_all(d);
}

void sched_set_weight(struct domain *d, uint16_t weight, uint16_t cap)
{
	spin_lock(&sched_lock);
	d->sched_weight = weight;
	d->sched_cap = cap;
	spin_unlock(&sched_lock);
}

void sched_runstate_sums(struct vcpu *v, uint64_t time[4], uint64_t *entered, int *state)
{
	spin_lock(&sched_lock);
	for (int i = 0; i < 4; i++)
		time[i] = v->sched.time[i];
	*entered = v->sched.state_entered;
	*state = v->sched.state;
	spin_unlock(&sched_lock);
}

void sched_runstate(struct vcpu *v, uint64_t time[4], uint64_t *entered, int *state)
{
	sched_runstate_sums(v, time, entered, state);
	time[*state] += port_now() - *entered;
}

void sched_dump(void)
{
	spin_lock(&sched_lock);
	for (unsigned i = 0; i < port_cpu_count(); i++) {
		const struct vcpu *v = cpus[i].current;

		if (v)
			log_info("CPU %u runs d%uv%u, vruntime %lu", i, v->domain->id, v->id, v->sched.vruntime);
		else
			log_info("CPU %u idle", i);
		for (v = cpus[i].queue; v; v = v->sched.next)
			log_info("  queued d%uv%u, vruntime %lu", v->domain->id, v->id, v->sched.vruntime);
	}
	spin_unlock(&sched_lock);
}
