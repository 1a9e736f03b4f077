/*
 * hcall/console_io.c: the machine's console for the domain that has the right. Source: xen/xen.h, CONSOLEIO_*.
 * Locks: none here (core/console.c has its own).
 */
#include "core/console.h"
#include "core/guestmem.h"
#include "core/policy.h"
#include "hcall/table.h"
#include "lib/lib.h"

#define PIECE 256u

/* Progress: arg[1] the bytes left, arg[2] the next byte. */
static long write_text(struct hcall *h)
{
	char buf[PIECE];

	while (h->arg[1]) {
		size_t n = MIN(h->arg[1], (uint64_t)PIECE);

		if (guestmem_read(h->v, buf, h->arg[2], n))
			return -EFAULT;
		console_write_guest(h->d->id, buf, n);
		h->arg[1] -= n;
		h->arg[2] += n;
		if (h->arg[1] && hcall_preempt())
			return -ERESTART;
	}
	return 0;
}

static long read_text(struct hcall *h)
{
	size_t want = MIN(h->arg[1], (uint64_t)PIECE);
	char buf[PIECE];
	size_t n;

	/* Input that was taken cannot be put back: the room first. */
	if (guestmem_check_write(h->v, h->arg[2], want))
		return -EFAULT;
	n = console_read(buf, want);
	if (n && guestmem_write(h->v, h->arg[2], buf, n))
		return -EFAULT;
	return (long)n;
}

long hcall_console_io(struct hcall *h)
{
	if (policy_may(h->d, ACTION_CONSOLE, NULL))
		return -EPERM;
	h->arg[1] = (uint32_t)h->arg[1];
	if (h->arg[1] > INT32_MAX)
		return -EINVAL;

	switch ((uint32_t)h->arg[0]) {
	case CONSOLEIO_write:
		return write_text(h);
	case CONSOLEIO_read:
		return read_text(h);
	default:
		return -ENOSYS;
	}
}
