/*
 * hcall/grant_table.c: decodes GRANT_TABLE_OP; core/grant*.c do the work. Source: xen/grant_table.h. Locks: none here.
 *
 * Batches go in chunks: elements are read together, done one by one, and their results written together. A batch that
 * has to let others run restarts with the array's address and count (second and third argument) advanced past what is done.
 */
#include "core/grant.h"
#include "core/guestmem.h"
#include "hcall/compat.h"
#include "hcall/table.h"
#include "lib/lib.h"

COMPAT_SAME_SIZE(gnttab_map_grant_ref);
COMPAT_SAME_SIZE(gnttab_unmap_grant_ref);
COMPAT_SAME_SIZE(gnttab_query_size);

#define CHUNK 16u

union element {
	struct gnttab_map_grant_ref map;
	struct gnttab_unmap_grant_ref unmap;
	struct gnttab_copy copy;
};

/* A 32-bit caller's copy element as ours. */
static void widen_copy(struct gnttab_copy *to, const uint8_t *from)
{
	memset(to, 0, sizeof(*to));
	memcpy(&to->source.u, from + COMPAT_gnttab_copy_source, COMPAT_xen_pfn_SIZE);
	memcpy(&to->source.domid, from + COMPAT_gnttab_copy_source + COMPAT_gnttab_copy_ptr_domid, 2);
	memcpy(&to->source.offset, from + COMPAT_gnttab_copy_source + COMPAT_gnttab_copy_ptr_offset, 2);
	memcpy(&to->dest.u, from + COMPAT_gnttab_copy_dest, COMPAT_xen_pfn_SIZE);
	memcpy(&to->dest.domid, from + COMPAT_gnttab_copy_dest + COMPAT_gnttab_copy_ptr_domid, 2);
	memcpy(&to->dest.offset, from + COMPAT_gnttab_copy_dest + COMPAT_gnttab_copy_ptr_offset, 2);
	memcpy(&to->len, from + COMPAT_gnttab_copy_len, 2);
	memcpy(&to->flags, from + COMPAT_gnttab_copy_flags, 2);
}

static void copy_compat(struct domain *d, uint8_t *e, struct grant_kept *k)
{
	struct gnttab_copy op;

	widen_copy(&op, e);
	grant_copy(d, &op, k);
	memcpy(e + COMPAT_gnttab_copy_status, &op.status, sizeof(op.status));
}

/* Mappings of a chunk that are taken out and not yet reported to their grantors. */
struct unmapped {
	unsigned count;
	struct grant_unmapped of[CHUNK];
};

static void one(struct hcall *h, uint32_t op, uint8_t *e, struct unmapped *u, struct grant_kept *k)
{
	switch (op) {
	case GNTTABOP_map_grant_ref:
		grant_map(h->d, (struct gnttab_map_grant_ref *)e);
		break;
	case GNTTABOP_unmap_grant_ref:
		u->count += grant_unmap(h->d, (struct gnttab_unmap_grant_ref *)e, &u->of[u->count]);
		break;
	default:
		if (h->compat)
			copy_compat(h->d, e, k);
		else
			grant_copy(h->d, (struct gnttab_copy *)e, k);
	}
}

static uint32_t element_size(const struct hcall *h, uint32_t op)
{
	if (op == GNTTABOP_map_grant_ref)
		return sizeof(struct gnttab_map_grant_ref);
	if (op == GNTTABOP_unmap_grant_ref)
		return sizeof(struct gnttab_unmap_grant_ref);
	return h->compat ? COMPAT_gnttab_copy_SIZE : sizeof(struct gnttab_copy);
}

static long batch(struct hcall *h, uint32_t op)
{
	union element buf[CHUNK];
	uint8_t *e = (uint8_t *)buf;
	uint32_t size = element_size(h, op);
	bool stop = false;

	while (h->arg[2]) {
		uint32_t n = (uint32_t)MIN(h->arg[2], (uint64_t)CHUNK), done = 0;
		gva_t at = h->arg[1];
		struct grant_kept kept;
		struct unmapped u;

		u.count = 0;
		kept.from.held = kept.to.held = false;
		if (guestmem_read(h->v, e, at, n * size) || guestmem_check_write(h->v, at, n * size))
			return -EFAULT;
		while (done < n && !stop) {
			one(h, op, e + done++ * size, &u, &kept);
			stop = h->arg[2] > done && hcall_preempt();
		}
		if (u.count)
			grant_unmap_end(h->d, u.of, u.count);
		grant_copy_end(h->d, &kept);
		h->arg[1] += done * size;
		h->arg[2] -= done;
		if (guestmem_write(h->v, at, e, done * size))
			return -EFAULT;
		if (stop)
			return -ERESTART;
	}
	return 0;
}

static long query_size(struct hcall *h, gva_t arg)
{
	struct gnttab_query_size a;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	grant_query_size(h->d, &a);
	return hcall_copy_out(h, arg, &a);
}

static long set_version(struct hcall *h, gva_t arg)
{
	struct gnttab_set_version a;
	int rc;

	if (hcall_copy_in(h, &a, arg) || guestmem_check_write(h->v, arg, sizeof(a)))
		return -EFAULT;
	rc = grant_set_version(h->d, &a);
	return hcall_copy_out(h, arg, &a) ? -EFAULT : rc;
}

static long get_version(struct hcall *h, gva_t arg)
{
	struct gnttab_get_version a;
	int rc;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	rc = grant_get_version(h->d, &a);
	return rc ? rc : hcall_copy_out(h, arg, &a);
}

static long swap_grant_ref(struct hcall *h)
{
	struct gnttab_swap_grant_ref a;

	while (h->arg[2]) {
		if (hcall_copy_in(h, &a, h->arg[1]) || guestmem_check_write(h->v, h->arg[1], sizeof(a)))
			return -EFAULT;
		grant_swap_refs(h->d, &a);
		if (hcall_copy_out(h, h->arg[1], &a))
			return -EFAULT;
		h->arg[1] += sizeof(a);
		if (--h->arg[2] && hcall_preempt())
			return -ERESTART;
	}
	return 0;
}

/*
 * A translated domain places grant frames itself (XENMEM_add_to_physmap), so there is no frame number of ours to tell: the
 * list is filled with the invalid one, as for frames that were not placed.
 */
static int fill_frame_list(struct hcall *h, gva_t list, uint32_t nr)
{
	uint32_t size = h->compat ? COMPAT_xen_pfn_SIZE : sizeof(xen_pfn_t);
	xen_pfn_t none = ~(xen_pfn_t)0;

	for (uint32_t i = 0; i < nr; i++)
		if (guestmem_write(h->v, list + (gva_t)i * size, &none, size))
			return -EFAULT;
	return 0;
}

static long setup_table(struct hcall *h, gva_t arg)
{
	uint32_t off =
		h->compat ? COMPAT_gnttab_setup_table_frame_list : offsetof(struct gnttab_setup_table, frame_list);
	uint32_t nr;
	int16_t st;
	gva_t list = 0;
	domid_t dom;

	if (h->arg[2] != 1)
		return -EINVAL;
	if (guestmem_read(h->v, &dom, arg + offsetof(struct gnttab_setup_table, dom), sizeof(dom)) ||
	    guestmem_read(h->v, &nr, arg + offsetof(struct gnttab_setup_table, nr_frames), sizeof(nr)) ||
	    guestmem_read(h->v, &list, arg + off, h->compat ? sizeof(uint32_t) : sizeof(list)))
		return -EFAULT;
	st = nr > GRANT_MAX_FRAMES_LIMIT ? GNTST_general_error : grant_setup_table(h->d, dom, nr);
	if (st == GNTST_okay && fill_frame_list(h, list, nr))
		return -EFAULT;
	return guestmem_write(h->v, arg + offsetof(struct gnttab_setup_table, status), &st, sizeof(st));
}

_Static_assert(COMPAT_gnttab_setup_table_dom == offsetof(struct gnttab_setup_table, dom) &&
		       COMPAT_gnttab_setup_table_nr_frames == offsetof(struct gnttab_setup_table, nr_frames) &&
		       COMPAT_gnttab_setup_table_status == offsetof(struct gnttab_setup_table, status),
	       "first fields alike");

long hcall_grant_table_op(struct hcall *h)
{
	uint32_t op = (uint32_t)h->arg[0];

	h->arg[2] = (uint32_t)h->arg[2];
	if (h->arg[2] > INT32_MAX)
		return -EINVAL;
	switch (op) {
	case GNTTABOP_map_grant_ref:
	case GNTTABOP_unmap_grant_ref:
	case GNTTABOP_copy:
		return batch(h, op);
	case GNTTABOP_query_size:
		return h->arg[2] == 1 ? query_size(h, h->arg[1]) : -EINVAL;
	case GNTTABOP_set_version:
		return set_version(h, h->arg[1]);
	case GNTTABOP_get_version:
		return get_version(h, h->arg[1]);
	case GNTTABOP_swap_grant_ref:
		return swap_grant_ref(h);
	case GNTTABOP_setup_table:
		return setup_table(h, h->arg[1]);
	default: /* transfer, unmap_and_replace, dump_table, ...: not for translated domains on Xen either */
		return hcall_unimplemented("grant_table_op", op, ENOSYS);
	}
}
