/*
 * core/logdirty.c: which frames of a domain were written, for migration (XEN_DOMCTL_shadow_op of xen/domctl.h). No bitmap
 * is kept: the type of a leaf is the mark. While p2m.logdirty is on, P2M_RAM_RW means dirty, P2M_RAM_LOGDIRTY clean and
 * P2M_RAM_TRACKED clean unless the CPU has set its dirty flag, which costs no exit; p2m_fault() and p2m_get_frame() make
 * the latter two the first before anybody else writes.
 *
 * Locks: p2m.lock. Invariants: a leaf that loses write permission or its dirty flag is followed by a TLB flush and by the
 * loss of the hypervisor's windows on it before the lock is given back; a leaf larger than 4 KiB is dirty as a whole or
 * not at all.
 */
#include "core/domain.h"
#include "core/frame.h"
#include "core/guestmem.h"
#include "core/ptab.h"
#include "lib/lib.h"
#include "port/guest.h"

static void retag(struct p2m *p, uint64_t *e, unsigned level, enum p2m_type to)
{
	ptab_set(e, ptab_leaf(p->format, ptab_mfn(*e), to, level));
}

static void writers_must_fault(struct domain *d, uint64_t gfn, uint64_t count)
{
	guestmem_forget_gfns(d, gfn, count);
	guest_tlb_flush(d);
}

bool logdirty_switch(struct domain *d, bool on, uint64_t *at)
{
	struct p2m *p = &d->p2m;
	uint64_t gfn = *at;
	bool done;

	spin_lock(&p->lock);
	for (unsigned n = 0; n < LOGDIRTY_PIECE && gfn <= p->max_gfn; n++) {
		unsigned level;
		uint64_t *e = ptab_find(p, gfn, &level);

		if (on ? ptab_type(*e) == P2M_RAM_RW : ptab_logged(ptab_type(*e)))
			retag(p, e, level, on ? ptab_clean_type(p, level) : P2M_RAM_RW);
		gfn = (gfn | (ptab_span(level) - 1)) + 1;
	}
	done = gfn > p->max_gfn;
	if (done)
		p->logdirty = on;
	if (on)
		writers_must_fault(d, *at, gfn - *at);
	spin_unlock(&p->lock);
	*at = gfn;
	return done;
}

static void set_bit(uint8_t *bits, uint64_t n)
{
	bits[n / 8] |= (uint8_t)(1u << (n % 8));
}

/* Marks those of count frames from m on that somebody beside the domain's own p2m holds. Returns how many. */
static unsigned mark_held(uint8_t *bits, uint64_t first, mfn_t m, uint64_t count)
{
	unsigned held = 0;

	for (uint64_t i = 0; i < count; i++) {
		if (frame_refs(MFN(m.n + i)) > 1) {
			set_bit(bits, first + i);
			held++;
		}
	}
	return held;
}

unsigned logdirty_read(struct domain *d, uint64_t from, unsigned count, unsigned flags, uint8_t *bits)
{
	struct p2m *p = &d->p2m;
	uint64_t end = from + count;
	unsigned dirty = 0;

	memset(bits, 0, DIV_UP(count, 8));
	spin_lock(&p->lock);
	for (uint64_t gfn = from, next; gfn < end; gfn = next) {
		unsigned level;
		uint64_t *e = ptab_find(p, gfn, &level);
		uint64_t beyond = (gfn | (ptab_span(level) - 1)) + 1;
		enum p2m_type t = ptab_type(*e);

		next = MIN(beyond, end);
		if (t == P2M_RAM_RW || (t == P2M_RAM_TRACKED && ptab_dirty(p->format, *e))) {
			for (uint64_t g = gfn; g < next; g++)
				set_bit(bits, g - from);
			dirty += (unsigned)(next - gfn);
			if ((flags & LOGDIRTY_CLEAN) && next == beyond)
				retag(p, e, level, ptab_clean_type(p, level));
		} else if ((flags & LOGDIRTY_HELD) && ptab_logged(t)) {
			mfn_t m = MFN(ptab_mfn(*e).n + (gfn & (ptab_span(level) - 1)));

			dirty += mark_held(bits, gfn - from, m, next - gfn);
		}
	}
	if ((flags & LOGDIRTY_CLEAN) && dirty)
		writers_must_fault(d, ALIGN_DOWN(from, ptab_span(2)), end - ALIGN_DOWN(from, ptab_span(2)));
	spin_unlock(&p->lock);
	return dirty;
}
