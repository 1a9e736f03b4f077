/*
 * Spin locks with clang thread-safety annotations. Interrupt handlers take no locks (interrupts are only let in at
 * points where none is held), so there is no irq-saving variant.
 *
 * The lock order is enum lock_level, outermost first: a CPU takes a lock only while all it holds come before that one. Two
 * locks of the same level: lower domid, or lower address, first. Built with -DLOCK_CHECK (make LOCK_CHECK=1, and always in
 * host tests) each acquisition is checked by core/lockcheck.c.
 */
#ifndef LIB_LOCK_H
#define LIB_LOCK_H

#include "lib/types.h"

#if defined(__clang__)
#define LOCK_ATTR(x) __attribute__((x))
#else
#define LOCK_ATTR(x)
#endif
#define CAPABILITY	 LOCK_ATTR(capability("lock"))
#define GUARDED_BY(l)	 LOCK_ATTR(guarded_by(l))
#define ACQUIRE(...)	 LOCK_ATTR(acquire_capability(__VA_ARGS__))
#define RELEASE(...)	 LOCK_ATTR(release_capability(__VA_ARGS__))
#define TRY_ACQUIRE(...) LOCK_ATTR(try_acquire_capability(__VA_ARGS__))
#define REQUIRES(...)	 LOCK_ATTR(requires_capability(__VA_ARGS__))
#define EXCLUDES(...)	 LOCK_ATTR(locks_excluded(__VA_ARGS__))
#define NO_LOCK_CHECK	 LOCK_ATTR(no_thread_safety_analysis)

enum lock_level {
	LOCK_NONE,	    /* not initialised */
	LOCK_DOMCTL,	    /* taken only by spin_trylock(): the loser's hypercall restarts */
	LOCK_SCHED_CONTROL, /* affinity, pools, CPUs up and down */
	LOCK_TRACE,
	LOCK_DOMAIN,
	LOCK_VPCI,
	LOCK_P2M,
	LOCK_GRANT,
	LOCK_EVTCHN,
	LOCK_FIFO,
	LOCK_VIOAPIC,
	LOCK_IRQ,
	LOCK_RUNQ,
	LOCK_CAP,
	LOCK_TIMER_RESERVE,
	LOCK_TIMER,
	LOCK_DOMAIN_LIST,
	LOCK_NUMA,
	LOCK_WALLCLOCK,
	LOCK_FRAME,
	LOCK_HEAP,
	LOCK_MACHINE, /* x86/: paging, I/O APIC, PCI; one at a time */
	LOCK_REFUSED,
	LOCK_CONSOLE,
	LOCK_LEVELS
};

typedef struct CAPABILITY spinlock {
	uint16_t next;
	uint16_t serving;
	uint16_t level; /* enum lock_level */
} spinlock_t;

#define SPINLOCK_INIT(l)                                                                                               \
	{                                                                                                              \
		0, 0, l                                                                                                \
	}

#ifdef LOCK_CHECK
void lockcheck_take(const spinlock_t *l, bool waits);
void lockcheck_drop(const spinlock_t *l);
void lockcheck_forget(void); /* nobody holds anything: a test starts anew */
#else
static inline void lockcheck_take(const spinlock_t *l, bool waits)
{
}

static inline void lockcheck_drop(const spinlock_t *l)
{
}
#endif

/*
 * With -DLOCK_TEST (host tests) a test is told where CPUs may interleave: before a lock is taken and after it was dropped
 * (lock_point()), and while a CPU waits for another (lock_wait()).
 */
#ifdef LOCK_TEST
void lock_point(void);
void lock_wait(void);
#else
static inline void lock_point(void)
{
}

static inline void lock_wait(void)
{
	__builtin_ia32_pause();
}
#endif

static inline void spin_lock_init(spinlock_t *l, enum lock_level level)
{
	l->next = 0;
	l->serving = 0;
	l->level = (uint16_t)level;
}

static inline void spin_lock(spinlock_t *l) ACQUIRE(l) NO_LOCK_CHECK
{
	uint16_t ticket;

	lock_point();
	lockcheck_take(l, true);
	ticket = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);
	while (__atomic_load_n(&l->serving, __ATOMIC_ACQUIRE) != ticket)
		lock_wait();
}

static inline bool spin_trylock(spinlock_t *l) TRY_ACQUIRE(true, l) NO_LOCK_CHECK
{
	uint16_t serving = __atomic_load_n(&l->serving, __ATOMIC_ACQUIRE); /* pairs with spin_unlock() */
	uint16_t want = serving;

	if (!__atomic_compare_exchange_n(&l->next, &want, (uint16_t)(serving + 1), false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return false;
	lockcheck_take(l, false);
	return true;
}

static inline void spin_unlock(spinlock_t *l) RELEASE(l) NO_LOCK_CHECK
{
	lockcheck_drop(l);
	__atomic_store_n(&l->serving, (uint16_t)(l->serving + 1), __ATOMIC_RELEASE);
	lock_point();
}

static inline bool spin_is_locked(const spinlock_t *l)
{
	return __atomic_load_n(&l->serving, __ATOMIC_RELAXED) != __atomic_load_n(&l->next, __ATOMIC_RELAXED);
}

#endif
