/* hcall/bitmap.c: see bitmap.h. Locks: none. Bit n of the ABI's bitmap is bit n % 8 of byte n / 8. */
#include "core/guestmem.h"
#include "hcall/bitmap.h"
#include "lib/lib.h"

#define MAX_BYTES 4096u /* of a caller's bitmap */

bool bitmap_empty(const struct cpu_bits *b)
{
	uint64_t any = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(b->word); i++)
		any |= b->word[i];
	return any == 0;
}

void bitmap_and(struct cpu_bits *b, const struct cpu_bits *with)
{
	for (unsigned i = 0; i < ARRAY_SIZE(b->word); i++)
		b->word[i] &= with->word[i];
}

void bitmap_online(struct cpu_bits *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < port_cpu_count(); i++)
		bitmap_set(out, i);
}

/* Clears the bits from nr on. */
static void cut(struct cpu_bits *b, uint32_t nr)
{
	for (unsigned i = 0; i < ARRAY_SIZE(b->word); i++) {
		if (nr >= (i + 1) * 64)
			continue;
		b->word[i] &= nr <= i * 64 ? 0 : BIT(nr % 64) - 1;
	}
}

int bitmap_copy_in(struct hcall *h, struct cpu_bits *out, const struct xenctl_bitmap *from)
{
	size_t bytes = MIN(DIV_UP((uint64_t)from->nr_bits, 8), sizeof(*out));

	memset(out, 0, sizeof(*out));
	if (bytes && guestmem_read(h->v, out, (gva_t)from->bitmap.p, bytes))
		return -EFAULT;
	cut(out, from->nr_bits);
	return 0;
}

int bitmap_copy_out(struct hcall *h, const struct xenctl_bitmap *to, const struct cpu_bits *b)
{
	size_t bytes = DIV_UP((uint64_t)to->nr_bits, 8), known = MIN(bytes, sizeof(*b));
	gva_t at = (gva_t)to->bitmap.p;
	struct cpu_bits bits = *b;
	static const uint8_t zero[64];

	if (bytes > MAX_BYTES)
		return -E2BIG;
	if (!bytes)
		return 0;
	cut(&bits, to->nr_bits);
	if (guestmem_check_write(h->v, at, bytes) || guestmem_write(h->v, at, &bits, known))
		return -EFAULT;
	for (size_t done = known; done < bytes; done += MIN(bytes - done, sizeof(zero)))
		if (guestmem_write(h->v, at + done, zero, MIN(bytes - done, sizeof(zero))))
			return -EFAULT;
	return 0;
}
