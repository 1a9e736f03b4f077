/*
 * hcall/multicall.c: several hypercalls in one. Source: xen/xen.h, multicall_entry; a 32-bit caller's entries have
 * 32-bit words. Locks: none.
 *
 * Progress is kept in the arguments: the list pointer and the count move on with every finished entry; an entry that
 * must restart has its changed arguments written back to the list.
 */
#include "core/guestmem.h"
#include "hcall/compat.h"
#include "hcall/table.h"
#include "lib/lib.h"

struct compat_entry { /* multicall_entry of a 32-bit caller */
	uint32_t op, result, args[6];
};
_Static_assert(COMPAT_multicall_entry_SIZE == sizeof(struct compat_entry), "as 32-bit callers lay it out");
_Static_assert(COMPAT_multicall_entry_result == offsetof(struct compat_entry, result), "result");
_Static_assert(COMPAT_multicall_entry_args == offsetof(struct compat_entry, args), "args");

union entry {
	struct multicall_entry native;
	struct compat_entry compat;
};

static void entry_to_call(const struct hcall *h, const union entry *e, struct hcall *inner)
{
	inner->v = h->v;
	inner->d = h->d;
	inner->compat = h->compat;
	if (h->compat) {
		inner->nr = e->compat.op;
		for (unsigned i = 0; i < 6; i++)
			inner->arg[i] = e->compat.args[i];
		return;
	}
	inner->nr = e->native.op <= UINT32_MAX ? (uint32_t)e->native.op : UINT32_MAX;
	for (unsigned i = 0; i < 6; i++)
		inner->arg[i] = e->native.args[i];
}

static void call_to_entry(const struct hcall *inner, union entry *e)
{
	for (unsigned i = 0; i < 6; i++) {
		if (inner->compat)
			e->compat.args[i] = (uint32_t)inner->arg[i];
		else
			e->native.args[i] = inner->arg[i];
	}
}

/* Runs the entry at h->arg[0]. 0: done; -ERESTART: its progress is in the list; -EFAULT. */
static int run_entry(struct hcall *h, size_t size)
{
	struct hcall inner;
	union entry e;
	long ret;

	if (guestmem_read(h->v, &e, h->arg[0], size) || guestmem_check_write(h->v, h->arg[0], size))
		return -EFAULT;
	entry_to_call(h, &e, &inner);
	ret = hcall_dispatch(&inner);
	if (ret == -ERESTART) {
		call_to_entry(&inner, &e);
		return guestmem_write(h->v, h->arg[0], &e, size) ? -EFAULT : -ERESTART;
	}
	if (h->compat) {
		uint32_t result = (uint32_t)ret;

		return guestmem_write(h->v, h->arg[0] + offsetof(struct compat_entry, result), &result, sizeof(result));
	}
	return guestmem_write(h->v, h->arg[0] + offsetof(struct multicall_entry, result), &ret, sizeof(ret));
}

long hcall_multicall(struct hcall *h)
{
	size_t size = h->compat ? sizeof(struct compat_entry) : sizeof(struct multicall_entry);

	h->arg[1] = (uint32_t)h->arg[1];
	while (h->arg[1]) {
		int ret = run_entry(h, size);

		if (ret)
			return ret;
		h->arg[0] += size;
		if (--h->arg[1] && hcall_preempt())
			return -ERESTART;
	}
	return 0;
}
