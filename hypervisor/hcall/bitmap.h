/* hcall/bitmap.c: xenctl_bitmap (xen/xen.h): bitmaps of CPUs and nodes in a caller's memory. */
#ifndef HCALL_BITMAP_H
#define HCALL_BITMAP_H

#include "hcall/table.h"
#include "lib/cpumask.h"

/* The caller's bits beyond CPUMASK_BITS are ignored, what it did not give is 0. 0, -EFAULT. */
int bitmap_copy_in(struct hcall *h, struct cpumask *out, const struct xenctl_bitmap *from);
/* All of the caller's nr_bits are written, those beyond CPUMASK_BITS as 0. 0, -EFAULT, -E2BIG (absurd size). */
int bitmap_copy_out(struct hcall *h, const struct xenctl_bitmap *to, const struct cpumask *b);
/* Would it go well? The same errors. */
int bitmap_check_out(struct hcall *h, const struct xenctl_bitmap *to);

#endif
