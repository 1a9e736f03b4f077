/*
 * core/timer.c: see timer.h. Owns the per-CPU queues: a binary heap of pointers ordered by deadline.
 * Locks: queue.lock; a timer's fields are guarded by the lock of queues[t->cpu], t->cpu itself too. Invariants: t->slot is
 * t's index in queue[t->cpu].heap, or -1; no queue is ever longer than the number of reserved timers, which its capacity
 * covers; a queue's timers are set by its own CPU only, for that one's interrupt is armed. timer_cpu_leave() alone gives
 * timers to another CPU, which it makes arm its interrupt.
 */
#include "core/timer.h"

#include "core/domain.h"
#include "core/heap.h"
#include "core/log.h"
#include "lib/lib.h"
#include "lib/lock.h"
#include "port/guest.h"
#include "port/machine.h"
#include "port/upcall.h"

#define TIMER_MAX_ORDER 6

struct queue {
	spinlock_t lock;
	struct timer **heap;
	unsigned nr;
	unsigned order;		    /* pages of heap, as a power of two */
	const struct timer *firing; /* taken out, what it stands for is being done; read by timer_kill() */
	bool due;
	bool ready;
};

static struct queue queues[NR_CPUS];
static spinlock_t reserve_lock = SPINLOCK_INIT(LOCK_TIMER_RESERVE);
static unsigned reserved;

static unsigned capacity(unsigned order)
{
	return (unsigned)((PAGE_SIZE << order) / sizeof(struct timer *));
}

void timer_cpu_init(unsigned cpu)
{
	struct queue *q = &queues[cpu];

	spin_lock_init(&q->lock, LOCK_TIMER);
	q->heap = heap_alloc_pages(0);
	if (!q->heap)
		panic("no memory for the timers of CPU %u", cpu);
	q->ready = true;
}

/* Doubles one queue's room. */
static bool grow(struct queue *q)
{
	struct timer **wide, **old;
	unsigned order;

	if (q->order == TIMER_MAX_ORDER)
		return false;
	wide = heap_alloc_pages(q->order + 1);
	if (!wide)
		return false;
	spin_lock(&q->lock);
	memcpy(wide, q->heap, q->nr * sizeof(wide[0]));
	old = q->heap;
	order = q->order;
	q->heap = wide;
	q->order++;
	spin_unlock(&q->lock);
	heap_free_pages(old, order);
	return true;
}

bool timer_reserve(unsigned count)
{
	bool ok = true;

	spin_lock(&reserve_lock);
	for (unsigned cpu = 0; ok && cpu < NR_CPUS; cpu++) {
		struct queue *q = &queues[cpu];

		while (ok && q->ready && reserved + count > capacity(q->order))
			ok = grow(q);
	}
	if (ok)
		reserved += count;
	spin_unlock(&reserve_lock);
	return ok;
}

void timer_unreserve(unsigned count)
{
	spin_lock(&reserve_lock);
	ASSERT(reserved >= count);
	reserved -= count;
	spin_unlock(&reserve_lock);
}

void timer_init(struct timer *t, enum timer_kind kind, struct vcpu *v)
{
	t->deadline = 0;
	t->vcpu = v;
	t->kind = (uint16_t)kind;
	t->cpu = 0;
	t->slot = -1;
}

static void place(struct queue *q, struct timer *t, unsigned slot)
{
	q->heap[slot] = t;
	__atomic_store_n(&t->slot, (int32_t)slot, __ATOMIC_RELAXED); /* timer_active() looks without the lock */
}

static void sift_up(struct queue *q, struct timer *t, unsigned slot) REQUIRES(q->lock)
{
	while (slot) {
		unsigned parent = (slot - 1) / 2;

		if (q->heap[parent]->deadline <= t->deadline)
			break;
		place(q, q->heap[parent], slot);
		slot = parent;
	}
	place(q, t, slot);
}

static void sift_down(struct queue *q, struct timer *t, unsigned slot) REQUIRES(q->lock)
{
	for (;;) {
		unsigned child = 2 * slot + 1;

		if (child >= q->nr)
			break;
		if (child + 1 < q->nr && q->heap[child + 1]->deadline < q->heap[child]->deadline)
			child++;
		if (t->deadline <= q->heap[child]->deadline)
			break;
		place(q, q->heap[child], slot);
		slot = child;
	}
	place(q, t, slot);
}

static void take_out(struct queue *q, struct timer *t) REQUIRES(q->lock)
{
	unsigned slot = (unsigned)t->slot;
	struct timer *last = q->heap[--q->nr];

	__atomic_store_n(&t->slot, -1, __ATOMIC_RELAXED);
	if (last == t)
		return;
	if (slot && last->deadline < q->heap[(slot - 1) / 2]->deadline)
		sift_up(q, last, slot);
	else
		sift_down(q, last, slot);
}

/* The queue t is in or was in last, locked. Only its holder moves t elsewhere. */
static struct queue *lock_queue(const struct timer *t) NO_LOCK_CHECK
{
	for (;;) {
		unsigned cpu = __atomic_load_n(&t->cpu, __ATOMIC_RELAXED);

		spin_lock(&queues[cpu].lock);
		if (likely(__atomic_load_n(&t->cpu, __ATOMIC_RELAXED) == cpu))
			return &queues[cpu];
		spin_unlock(&queues[cpu].lock);
	}
}

/* t belongs to this CPU's queue, which is returned locked. */
static struct queue *bring_here(struct timer *t) NO_LOCK_CHECK
{
	unsigned self = port_cpu();

	for (;;) {
		struct queue *q = lock_queue(t);

		if (likely(q == &queues[self]))
			return q;
		if (t->slot >= 0)
			take_out(q, t);
		__atomic_store_n(&t->cpu, (uint16_t)self, __ATOMIC_RELAXED);
		spin_unlock(&q->lock);
	}
}

void timer_set(struct timer *t, uint64_t deadline) NO_LOCK_CHECK
{
	struct queue *q = bring_here(t);
	const struct timer *top = q->nr ? q->heap[0] : NULL;

	t->deadline = deadline;
	if (t->slot >= 0) {
		sift_down(q, t, (unsigned)t->slot);
		sift_up(q, t, (unsigned)t->slot);
	} else {
		ASSERT(q->nr < capacity(q->order));
		sift_up(q, t, q->nr++);
	}
	if (q->heap[0] == t || q->heap[0] != top)
		port_timer_arm(q->heap[0]->deadline);
	spin_unlock(&q->lock);
}

void timer_stop(struct timer *t) NO_LOCK_CHECK
{
	struct queue *q;

	if (!timer_active(t))
		return;
	q = lock_queue(t);
	if (t->slot >= 0)
		take_out(q, t);
	spin_unlock(&q->lock);
}

void timer_kill(struct timer *t)
{
	unsigned self = port_cpu();

	do {
		timer_stop(t);
		for (unsigned cpu = 0; cpu < port_cpu_count(); cpu++)
			while (cpu != self && __atomic_load_n(&queues[cpu].firing, __ATOMIC_ACQUIRE) == t)
				lock_wait();
	} while (timer_active(t)); /* what fired may have set it again */
}

bool timer_active(const struct timer *t)
{
	return __atomic_load_n(&t->slot, __ATOMIC_RELAXED) >= 0;
}

static void fire(struct timer *t)
{
	struct vcpu *v = t->vcpu;

	switch ((enum timer_kind)t->kind) {
	case TIMER_PERIODIC:
		if (!v->periodic_ns) /* stopped meanwhile, from another CPU */
			break;
		timer_set(t, MAX(t->deadline + v->periodic_ns, port_now()));
		evtchn_vcpu_virq(v, VIRQ_TIMER);
		break;
	case TIMER_SINGLESHOT:
		evtchn_vcpu_virq(v, VIRQ_TIMER);
		break;
	case TIMER_POLL:
		if (__atomic_load_n(&v->sched.polling, __ATOMIC_RELAXED)) /* else the poll ended before its time */
			sched_wake(v);
		break;
	case TIMER_VLAPIC:
	case TIMER_VPIT:
		guest_timer(v, t->kind);
		break;
	case TIMER_SLICE:
		sched_slice_end();
		break;
	case TIMER_CAP:
		sched_cap_refill(t);
		break;
	case TIMER_WATCHDOG:
		log_guest(LOG_WARN, v->domain->id, "its watchdog fired: it is shut down");
		domain_shutdown(v->domain, SHUTDOWN_watchdog);
		break;
	case TIMER_KINDS:
		break;
	}
}

void timer_expire(void)
{
	struct queue *q = &queues[port_cpu()];

	__atomic_store_n(&q->due, false, __ATOMIC_SEQ_CST); /* what is put in from now on says so again */
	spin_lock(&q->lock);
	while (q->nr) {
		struct timer *t = q->heap[0];

		if (t->deadline > port_now()) {
			port_timer_arm(t->deadline);
			break;
		}
		__atomic_store_n(&q->firing, t, __ATOMIC_RELEASE);
		take_out(q, t);
		spin_unlock(&q->lock);
		fire(t);
		__atomic_store_n(&q->firing, NULL, __ATOMIC_RELEASE);
		spin_lock(&q->lock);
	}
	spin_unlock(&q->lock);
}

bool timer_due(void)
{
	return __atomic_load_n(&queues[port_cpu()].due, __ATOMIC_RELAXED);
}

void timer_cpu_leave(void) NO_LOCK_CHECK
{
	unsigned self = port_cpu();
	struct queue *q = &queues[self], *to = &queues[0];
	bool any;

	if (!self)
		return;
	spin_lock(&to->lock);
	spin_lock(&q->lock);
	any = q->nr;
	while (q->nr) {
		struct timer *t = q->heap[--q->nr];

		/* It is active all the time: who stops it meanwhile waits for a lock. */
		__atomic_store_n(&t->cpu, 0, __ATOMIC_RELAXED);
		sift_up(to, t, to->nr++);
	}
	spin_unlock(&q->lock);
	spin_unlock(&to->lock);
	if (!any)
		return;
	port_timer_arm(~0ull);
	__atomic_store_n(&to->due, true, __ATOMIC_RELEASE);
	port_kick(0);
}

void upcall_timer(void)
{
	__atomic_store_n(&queues[port_cpu()].due, true, __ATOMIC_RELAXED);
}
