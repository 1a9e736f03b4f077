/*
 * core/logdirty.c: which frames of a domain were written, for migration (XEN_DOMCTL_shadow_op of xen/domctl.h). No bitmap
 * is kept: the type of a leaf is the mark. While p2m.logdirty is on, P2M_RAM_RW means dirty, P2M_RAM_LOGDIRTY clean and
 * P2M_RAM_TRACKED clean unless the CPU has set its dirty flag, which costs no exit; p2m_fault() and p2m_get_frame() make
 * the latter two the first before anybody else writes. Where the CPU also logs those writes, p2m.regions says which parts of
 * the memory are worth looking at: a round costs what was written, not what there is.
 *
 * Locks: p2m.lock. Invariants: a leaf that loses write permission or its dirty flag is followed by a TLB flush and by the
 * loss of the hypervisor's windows on it before the lock is given back; a leaf larger than 4 KiB is dirty as a whole or
 * not at all.
 */
#include "core/domain.h"
#include "core/frame.h"
#include "core/guestmem.h"
#include "core/heap.h"
#include "core/ptab.h"
#include "lib/lib.h"
#include "port/guest.h"

#define REGION 512u /* gfns */

static bool in_bitmap(const struct p2m *p, uint64_t region)
{
	return region < ((uint64_t)PAGE_SIZE * 8) << p->regions_order;
}

void logdirty_touch(struct p2m *p, uint64_t gfn, uint64_t count)
{
	if (likely(!p->regions))
		return;
	for (uint64_t r = gfn / REGION; r <= (gfn + count - 1) / REGION && in_bitmap(p, r); r++)
		p->regions[r / 8] |= (uint8_t)(1u << r % 8);
}

void logdirty_logged(struct domain *d, const uint64_t *gpas, unsigned n)
{
	spin_lock(&d->p2m.lock);
	for (unsigned i = 0; i < n; i++)
		logdirty_touch(&d->p2m, gpas[i] >> PAGE_SHIFT, 1);
	spin_unlock(&d->p2m.lock);
}

/*
 * All marked at first: until the vCPUs have entered anew, nobody logs what they write. Without memory for it nothing is
 * lost but time. What populates on demand changes leaves by itself.
 */
static void regions_begin(struct p2m *p)
{
	unsigned order = 0;
	uint8_t *regions;

	if (p->regions || !guest_logs_writes() || ptab_clean_type(p, 0) != P2M_RAM_TRACKED)
		return;
	while (order < 6 && p->max_gfn / REGION >= ((uint64_t)PAGE_SIZE * 8) << order)
		order++;
	regions = heap_alloc_pages(order);
	if (!regions)
		return;
	memset(regions, 0xff, PAGE_SIZE << order);
	p->regions_order = order;
	__atomic_store_n(&p->regions, regions, __ATOMIC_RELEASE);
}

void logdirty_end(struct p2m *p)
{
	if (p->regions)
		heap_free_pages(p->regions, p->regions_order);
	__atomic_store_n(&p->regions, NULL, __ATOMIC_RELEASE);
}

/* Nothing of that region, which gfn is in, is dirty. */
static bool region_clean(const struct p2m *p, uint64_t gfn)
{
	uint64_t r = gfn / REGION;

	return p->regions && !p->pod_used && in_bitmap(p, r) && !(p->regions[r / 8] >> r % 8 & 1);
}

/* The region that is [gfn, end), if that is one, becomes clean, but for a leaf that is larger; what is logged marks it anew. */
static void region_settle(struct p2m *p, uint64_t gfn, uint64_t end)
{
	uint64_t r = gfn / REGION;
	unsigned level;

	if (!p->regions || end - gfn < REGION || !in_bitmap(p, r))
		return;
	ptab_find(p, gfn, &level);
	if (level < 2)
		p->regions[r / 8] &= (uint8_t) ~(1u << r % 8);
}

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
	if (on)
		regions_begin(p);
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
	if (done && !on)
		logdirty_end(p);
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

/* Of gfns [gfn, end): their bits, the first of which is that of from. p2m.lock held. */
static unsigned read_span(struct p2m *p, uint64_t from, uint64_t gfn, uint64_t end, unsigned flags, uint8_t *bits)
{
	unsigned dirty = 0;

	for (uint64_t next; gfn < end; gfn = next) {
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
	return dirty;
}

unsigned logdirty_read(struct domain *d, uint64_t from, unsigned count, unsigned flags, uint8_t *bits)
{
	struct p2m *p = &d->p2m;
	uint64_t end = from + count;
	unsigned dirty = 0;

	memset(bits, 0, DIV_UP(count, 8));
	spin_lock(&p->lock);
	for (uint64_t gfn = from, next; gfn < end; gfn = next) {
		next = MIN((gfn | (REGION - 1)) + 1, end);
		if (!(flags & LOGDIRTY_HELD) && region_clean(p, gfn))
			continue;
		if (flags & LOGDIRTY_CLEAN)
			region_settle(p, gfn, next);
		dirty += read_span(p, from, gfn, next, flags, bits);
	}
	if ((flags & LOGDIRTY_CLEAN) && dirty)
		writers_must_fault(d, ALIGN_DOWN(from, ptab_span(2)), end - ALIGN_DOWN(from, ptab_span(2)));
	spin_unlock(&p->lock);
	return dirty;
}
