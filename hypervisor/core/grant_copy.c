/*
 * core/grant_copy.c: GNTTABOP_copy: bytes from one page to another, each named by a grant or by the caller's own frame
 * number. See grant.h. Locks: none of its own. Both pages are held (pinned or referenced) while the bytes move, and kept until
 * another page is named or the call ends.
 */
#include "core/grant_private.h"

#include "core/frame.h"
#include "core/guestmem.h"
#include "lib/lib.h"

static void unclaim(struct domain *d, struct grant_side *s, bool write)
{
	s->held = false;
	if (s->rd) {
		grant_unpin(s->rd, (uint32_t)s->number, write);
		domain_put(s->rd);
		return;
	}
	if (unlikely(write && d->p2m.logdirty)) /* it may have been written until now */
		p2m_mark_dirty(d, GFN(s->number), s->page.mfn);
	frame_put(s->page.mfn);
}

static int16_t claim_new(struct domain *d, const struct gnttab_copy_ptr *p, bool by_ref, bool write,
			 struct grant_side *s)
{
	int16_t rc;

	s->by_ref = by_ref;
	s->domid = p->domid;
	s->rd = NULL;
	if (!by_ref) {
		s->number = p->u.gmfn;
		if (p->domid != DOMID_SELF)
			return GNTST_permission_denied;
		if (p->u.gmfn >= P2M_MAX_GFN || p2m_get_frame(d, GFN(p->u.gmfn), write, &s->page.mfn))
			return GNTST_bad_page;
		s->page.start = 0;
		s->page.length = PAGE_SIZE;
		return GNTST_okay;
	}
	s->number = p->u.ref;
	s->rd = domain_get_for(d, p->domid);
	if (!s->rd)
		return GNTST_bad_domain;
	rc = domain_dying(s->rd) ? GNTST_bad_domain : grant_pin(s->rd, p->u.ref, d->id, write, false, &s->page);
	if (rc)
		domain_put(s->rd);
	return rc;
}

/* Makes s the page that p names, unless it is that already. */
static int16_t claim(struct domain *d, const struct gnttab_copy_ptr *p, bool by_ref, bool write, struct grant_side *s)
{
	int16_t rc;

	if (s->held) {
		if (s->number == (by_ref ? p->u.ref : p->u.gmfn) && s->domid == p->domid && s->by_ref == by_ref)
			return GNTST_okay;
		unclaim(d, s, write);
	}
	rc = claim_new(d, p, by_ref, write, s);
	s->held = !rc;
	return rc;
}

void grant_copy_end(struct domain *d, struct grant_kept *k)
{
	if (k->to.held)
		unclaim(d, &k->to, true);
	if (k->from.held)
		unclaim(d, &k->from, false);
}

static bool inside(const struct grant_side *s, uint16_t offset, uint16_t len)
{
	return offset >= s->page.start && offset + len <= s->page.start + s->page.length;
}

static void move(const struct grant_side *from, uint16_t from_offset, const struct grant_side *to, uint16_t to_offset,
		 uint16_t len)
{
	const char *src = (const char *)guestmem_window(from->page.mfn) + from_offset;
	char *dst = (char *)guestmem_window(to->page.mfn) + to_offset;

	if (from->page.mfn.n == to->page.mfn.n)
		memmove(dst, src, len);
	else
		memcpy(dst, src, len);
}

void grant_copy(struct domain *d, struct gnttab_copy *op, struct grant_kept *k)
{
	op->status = GNTST_bad_copy_arg;
	if (op->source.offset + op->len > PAGE_SIZE || op->dest.offset + op->len > PAGE_SIZE)
		return;
	op->status = claim(d, &op->source, op->flags & GNTCOPY_source_gref, false, &k->from);
	if (op->status)
		return;
	op->status = claim(d, &op->dest, op->flags & GNTCOPY_dest_gref, true, &k->to);
	if (op->status)
		return;
	if (inside(&k->from, op->source.offset, op->len) && inside(&k->to, op->dest.offset, op->len))
		move(&k->from, op->source.offset, &k->to, op->dest.offset, op->len);
	else
		op->status = GNTST_general_error;
}
