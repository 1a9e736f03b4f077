/*
 * Spin locks with clang thread-safety annotations. Interrupt handlers take no locks (interrupts are only let in at
 * points where none is held), so there is no irq-saving variant.
 *
 * Lock order, outermost first:
 *   domain_list_lock -> domain.lock -> p2m.lock -> grant.lock -> evtchn.lock -> sched.lock -> timer.lock
 *   -> vlapic/vioapic (hvm) -> frame lock -> heap lock -> console lock
 * Two locks of the same kind (two domains): lower domid first.
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

typedef struct CAPABILITY spinlock {
	uint16_t next;
	uint16_t serving;
} spinlock_t;

#define SPINLOCK_INIT                                                                                                  \
	{                                                                                                              \
		0, 0                                                                                                   \
	}

static inline void spin_lock_init(spinlock_t *l)
{
	l->next = 0;
	l->serving = 0;
}

static inline void spin_lock(spinlock_t *l) ACQUIRE(l) NO_LOCK_CHECK
{
	uint16_t ticket = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);

	while (__atomic_load_n(&l->serving, __ATOMIC_ACQUIRE) != ticket)
		__builtin_ia32_pause();
}

static inline bool spin_trylock(spinlock_t *l) TRY_ACQUIRE(true, l) NO_LOCK_CHECK
{
	uint16_t serving = __atomic_load_n(&l->serving, __ATOMIC_RELAXED);
	uint16_t want = serving;

	return __atomic_compare_exchange_n(&l->next, &want, (uint16_t)(serving + 1), false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

static inline void spin_unlock(spinlock_t *l) RELEASE(l) NO_LOCK_CHECK
{
	__atomic_store_n(&l->serving, (uint16_t)(l->serving + 1), __ATOMIC_RELEASE);
}

static inline bool spin_is_locked(const spinlock_t *l)
{
	return __atomic_load_n(&l->serving, __ATOMIC_RELAXED) != __atomic_load_n(&l->next, __ATOMIC_RELAXED);
}

#endif
