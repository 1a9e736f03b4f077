/*
 * core/grant_copy.c: GNTTABOP_copy: bytes from one page to another, each named by a grant or by the caller's own frame
 * number. See grant.h. Locks: none of its own. Both pages are held (pinned or referenced) while the bytes move.
 */
#include "core/grant_private.h"

#include "core/frame.h"
#include "core/guestmem.h"
#include "lib/lib.h"

struct side {
	struct domain *rd; /* the grantor, with a reference; NULL: the caller's own frame, referenced */
	struct grant_pinned page;
	uint32_t ref;
};

static int16_t claim(struct domain *d, const struct gnttab_copy_ptr *p, bool by_ref, bool write, struct side *s)
{
	int16_t rc;

	s->rd = NULL;
	if (!by_ref) {
		if (p->domid != DOMID_SELF)
			return GNTST_permission_denied;
		if (p->u.gmfn >= P2M_MAX_GFN || p2m_get_frame(d, GFN(p->u.gmfn), write, &s->page.mfn))
			return GNTST_bad_page;
		s->page.start = 0;
		s->page.length = PAGE_SIZE;
		return GNTST_okay;
	}
	s->rd = domain_get_for(d, p->domid);
	if (!s->rd)
		return GNTST_bad_domain;
	s->ref = p->u.ref;
	rc = s->rd->is_dying ? GNTST_bad_domain : grant_pin(s->rd, s->ref, d->id, write, false, &s->page);
	if (rc)
		domain_put(s->rd);
	return rc;
}

static void unclaim(struct side *s, bool write)
{
	if (!s->rd) {
		frame_put(s->page.mfn);
		return;
	}
	grant_unpin(s->rd, s->ref, write);
	domain_put(s->rd);
}

static bool inside(const struct side *s, uint16_t offset, uint16_t len)
{
	return offset >= s->page.start && offset + len <= s->page.start + s->page.length;
}

static void move(const struct side *from, uint16_t from_offset, const struct side *to, uint16_t to_offset, uint16_t len)
{
	const char *src = (const char *)guestmem_window(from->page.mfn) + from_offset;
	char *dst = (char *)guestmem_window(to->page.mfn) + to_offset;

	if (from->page.mfn.n == to->page.mfn.n)
		memmove(dst, src, len);
	else
		memcpy(dst, src, len);
}

void grant_copy(struct domain *d, struct gnttab_copy *op)
{
	struct side from, to;

	op->status = GNTST_bad_copy_arg;
	if (op->source.offset + op->len > PAGE_SIZE || op->dest.offset + op->len > PAGE_SIZE)
		return;
	op->status = claim(d, &op->source, op->flags & GNTCOPY_source_gref, false, &from);
	if (op->status)
		return;
	op->status = claim(d, &op->dest, op->flags & GNTCOPY_dest_gref, true, &to);
	if (!op->status) {
		if (inside(&from, op->source.offset, op->len) && inside(&to, op->dest.offset, op->len))
			move(&from, op->source.offset, &to, op->dest.offset, op->len);
		else
			op->status = GNTST_general_error;
		unclaim(&to, true);
	}
	unclaim(&from, false);
}
