/* hcall/bitmap.c: xenctl_bitmap (xen/xen.h): bitmaps of CPUs and nodes in a caller's memory. */
#ifndef HCALL_BITMAP_H
#define HCALL_BITMAP_H

#include "hcall/table.h"
#include "port/machine.h"

struct cpu_bits {
	uint64_t word[NR_CPUS / 64];
};

static inline void bitmap_set(struct cpu_bits *b, unsigned n)
{
	b->word[n / 64] |= BIT(n % 64);
}

bool bitmap_empty(const struct cpu_bits *b);
void bitmap_and(struct cpu_bits *b, const struct cpu_bits *with);
void bitmap_online(struct cpu_bits *out); /* CPUs 0 .. port_cpu_count() - 1 */

/* The caller's bits beyond NR_CPUS are ignored, what it did not give is 0. 0, -EFAULT. */
int bitmap_copy_in(struct hcall *h, struct cpu_bits *out, const struct xenctl_bitmap *from);
/* All of the caller's nr_bits are written, those beyond NR_CPUS as 0. 0, -EFAULT, -E2BIG (absurd size). */
int bitmap_copy_out(struct hcall *h, const struct xenctl_bitmap *to, const struct cpu_bits *b);

#endif
