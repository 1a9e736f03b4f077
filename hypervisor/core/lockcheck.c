/*
 * core/lockcheck.c: checks the order in which locks are taken (lib/lock.h), in builds with -DLOCK_CHECK only. Owns what each
 * CPU holds; no locks, a CPU touches its own. Invariant: held[l] counts the locks of level l that the CPU holds.
 */
#include "core/log.h"
#include "lib/lib.h"
#include "lib/lock.h"
#include "port/machine.h"

#ifdef LOCK_CHECK

#define SAME_LEVEL_MOST 2

static struct held {
	const spinlock_t *last[LOCK_LEVELS]; /* of each level, the one taken last */
	uint8_t count[LOCK_LEVELS];
	bool broken; /* the report itself takes locks */
} held[NR_CPUS];

static void report(struct held *h, const char *what, unsigned level, unsigned other)
{
	if (h->broken)
		return;
	h->broken = true;
	panic("lock order: %s, level %u while level %u is held", what, level, other);
}

void lockcheck_take(const spinlock_t *l, bool waits)
{
	struct held *h = &held[port_cpu()];

	/* Who does not wait cannot be part of a deadlock. */
	for (unsigned i = l->level + 1u; waits && i < LOCK_LEVELS; i++)
		if (h->count[i])
			report(h, "an outer lock is wanted inside an inner one", l->level, i);
	if (h->count[l->level] >= SAME_LEVEL_MOST || (waits && h->count[l->level] && h->last[l->level] == l))
		report(h, "taken twice, or more than two of the same kind", l->level, l->level);
	h->count[l->level]++;
	h->last[l->level] = l;
}

void lockcheck_forget(void)
{
	memset(held, 0, sizeof(held));
}

void lockcheck_drop(const spinlock_t *l)
{
	struct held *h = &held[port_cpu()];

	if (!h->count[l->level])
		report(h, "dropped by a CPU that does not hold it", l->level, l->level);
	h->count[l->level]--;
}

#endif
