/* Sets of CPUs, by value. Owns nothing, locks nothing; where CPUs share one, its owner says how. */
#ifndef LIB_CPUMASK_H
#define LIB_CPUMASK_H

#include "lib/lib.h"
#include "lib/types.h"

#define CPUMASK_BITS  256u /* NR_CPUS of port/machine.h */
#define CPUMASK_WORDS (CPUMASK_BITS / 64)

struct cpumask {
	uint64_t word[CPUMASK_WORDS];
};

#define CPUMASK_NONE ((struct cpumask){ { 0, 0, 0, 0 } })
#define CPUMASK_ALL  ((struct cpumask){ { ~0ull, ~0ull, ~0ull, ~0ull } })

static inline bool cpumask_test(const struct cpumask *m, unsigned cpu)
{
	return m->word[cpu / 64] >> cpu % 64 & 1;
}

static inline void cpumask_set(struct cpumask *m, unsigned cpu)
{
	m->word[cpu / 64] |= BIT(cpu % 64);
}

static inline void cpumask_clear(struct cpumask *m, unsigned cpu)
{
	m->word[cpu / 64] &= ~BIT(cpu % 64);
}

/* For masks that others read or change meanwhile: each word, and each change, is whole. */
static inline struct cpumask cpumask_read(const struct cpumask *m)
{
	struct cpumask r;

	for (unsigned i = 0; i < CPUMASK_WORDS; i++)
		r.word[i] = __atomic_load_n(&m->word[i], __ATOMIC_RELAXED);
	return r;
}

static inline void cpumask_set_shared(struct cpumask *m, unsigned cpu)
{
	__atomic_fetch_or(&m->word[cpu / 64], BIT(cpu % 64), __ATOMIC_SEQ_CST);
}

static inline bool cpumask_clear_shared(struct cpumask *m, unsigned cpu) /* whether it was in there */
{
	return __atomic_fetch_and(&m->word[cpu / 64], ~BIT(cpu % 64), __ATOMIC_SEQ_CST) >> cpu % 64 & 1;
}

static inline bool cpumask_test_shared(const struct cpumask *m, unsigned cpu)
{
	return __atomic_load_n(&m->word[cpu / 64], __ATOMIC_SEQ_CST) >> cpu % 64 & 1;
}

static inline struct cpumask cpumask_and(const struct cpumask *a, const struct cpumask *b)
{
	struct cpumask r;

	for (unsigned i = 0; i < CPUMASK_WORDS; i++)
		r.word[i] = a->word[i] & b->word[i];
	return r;
}

static inline bool cpumask_empty(const struct cpumask *m)
{
	return !(m->word[0] | m->word[1] | m->word[2] | m->word[3]);
}

static inline bool cpumask_meet(const struct cpumask *a, const struct cpumask *b) /* have one in common */
{
	struct cpumask both = cpumask_and(a, b);

	return !cpumask_empty(&both);
}

static inline bool cpumask_equal(const struct cpumask *a, const struct cpumask *b)
{
	uint64_t differ = 0;

	for (unsigned i = 0; i < CPUMASK_WORDS; i++)
		differ |= a->word[i] ^ b->word[i];
	return !differ;
}

static inline unsigned cpumask_count(const struct cpumask *m)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CPUMASK_WORDS; i++)
		for (uint64_t left = m->word[i]; left; left &= left - 1)
			n++;
	return n;
}

/* The first one >= from; CPUMASK_BITS: there is none. */
static inline unsigned cpumask_next(const struct cpumask *m, unsigned from)
{
	for (unsigned i = from / 64; i < CPUMASK_WORDS; i++) {
		uint64_t left = m->word[i] & (i == from / 64 ? ~0ull << from % 64 : ~0ull);

		if (left)
			return i * 64 + lib_ffs64(left);
	}
	return CPUMASK_BITS;
}

static inline unsigned cpumask_first(const struct cpumask *m)
{
	return cpumask_next(m, 0);
}

#define for_each_cpu(cpu, mask)                                                                                        \
	for (unsigned cpu = cpumask_first(mask); cpu < CPUMASK_BITS; cpu = cpumask_next(mask, cpu + 1))

#endif
