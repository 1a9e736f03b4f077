/* hcall/bitmap.c: see bitmap.h. Locks: none. Bit n of the ABI's bitmap is bit n % 8 of byte n / 8. */
#include "core/guestmem.h"
#include "hcall/bitmap.h"
#include "lib/lib.h"
#include "port/machine.h"

#define MAX_BYTES 4096u /* of a caller's bitmap */

_Static_assert(CPUMASK_BITS == NR_CPUS, "one bit per CPU");

/* Clears the bits from nr on. */
static void cut(struct cpumask *b, uint32_t nr)
{
	for (unsigned i = 0; i < ARRAY_SIZE(b->word); i++) {
		if (nr >= (i + 1) * 64)
			continue;
		b->word[i] &= nr <= i * 64 ? 0 : BIT(nr % 64) - 1;
	}
}

int bitmap_copy_in(struct hcall *h, struct cpumask *out, const struct xenctl_bitmap *from)
{
	size_t bytes = MIN(DIV_UP((uint64_t)from->nr_bits, 8), sizeof(*out));

	memset(out, 0, sizeof(*out));
	if (bytes && guestmem_read(h->v, out, (gva_t)from->bitmap.p, bytes))
		return -EFAULT;
	cut(out, from->nr_bits);
	return 0;
}

int bitmap_check_out(struct hcall *h, const struct xenctl_bitmap *to)
{
	size_t bytes = DIV_UP((uint64_t)to->nr_bits, 8);

	if (bytes > MAX_BYTES)
		return -E2BIG;
	return bytes ? guestmem_check_write(h->v, (gva_t)to->bitmap.p, bytes) : 0;
}

int bitmap_copy_out(struct hcall *h, const struct xenctl_bitmap *to, const struct cpumask *b)
{
	size_t bytes = DIV_UP((uint64_t)to->nr_bits, 8), known = MIN(bytes, sizeof(*b));
	gva_t at = (gva_t)to->bitmap.p;
	struct cpumask bits = *b;
	static const uint8_t zero[64];
	int ret = bitmap_check_out(h, to);

	if (ret || !bytes)
		return ret;
	cut(&bits, to->nr_bits);
	if (guestmem_write(h->v, at, &bits, known))
		return -EFAULT;
	for (size_t done = known; done < bytes; done += MIN(bytes - done, sizeof(zero)))
		if (guestmem_write(h->v, at + done, zero, MIN(bytes - done, sizeof(zero))))
			return -EFAULT;
	return 0;
}
