/*
 * core/p2m.c: owns a domain's guest-to-machine map on top of core/ptab.c: what may be mapped where, the references a
 * mapping holds, and when they are dropped.
 *
 * Locks: p2m.lock guards the tables and struct p2m. References are dropped with no lock held: the last one may end
 * another domain. Invariants: core/p2m.h; d->foreign_maps counts P2M_FOREIGN leaves, p2m.pod_entries P2M_POD gfns; types
 * that hold a reference of their own are mapped in 4 KiB pieces only; no window of core/guestmem.c on this CPU outlives
 * the mapping it was found by.
 */
#include "core/p2m.h"

#include "core/domain.h"
#include "core/frame.h"
#include "core/guestmem.h"
#include "core/heap.h"
#include "core/log.h"
#include "core/policy.h"
#include "core/ptab.h"
#include "port/guest.h"
#include "port/machine.h"

#define PENDING_ALLOC	    BIT(63)
#define PENDING_TABLE	    BIT(62) /* without PENDING_ALLOC */
#define PENDING_LEVEL_SHIFT 60	    /* with PENDING_ALLOC: of the leaf that went */
#define PENDING_MFN	    (BIT(60) - 1)
#define RELINQUISH_FRAMES   2048 /* about this many in one piece */
#define RELINQUISH_BATCH    64

#define POOL_DEFAULT 256u /* table pages of a guest whose pool was not set: 1 MiB, as on Xen */

int p2m_init(struct domain *d, enum p2m_format format)
{
	struct p2m *p = &d->p2m;
	uint64_t *root = heap_alloc_pages(0);

	if (!root)
		return -ENOMEM;
	spin_lock_init(&p->lock, LOCK_P2M);
	p->format = format;
	p->root = port_direct_mfn(root);
	p->table_frames = 1;
	p->pool_frames = POOL_DEFAULT;
	return 0;
}

static bool range_ok(gfn_t g, unsigned order)
{
	if (order != ORDER_4K && order != ORDER_2M && order != ORDER_1G)
		return false;
	return !(g.n & ((1ull << order) - 1)) && g.n < PTAB_GFNS && (1ull << order) <= PTAB_GFNS - g.n;
}

static bool holds_reference(enum p2m_type t)
{
	return t == P2M_FOREIGN || t == P2M_FOREIGN_RO || t == P2M_GRANT_RW || t == P2M_GRANT_RO || t == P2M_SHARED;
}

static struct p2m_entry entry_at(struct p2m *p, uint64_t gfn)
{
	struct p2m_entry r = { MFN_INVALID, P2M_NONE, 0 };
	unsigned level;
	uint64_t e;

	if (gfn >= PTAB_GFNS)
		return r;
	e = *ptab_find(p, gfn, &level);
	r.type = ptab_type(e);
	r.order = 9 * level;
	if (e && r.type != P2M_POD)
		r.mfn = MFN(ptab_mfn(e).n + (gfn & (ptab_span(level) - 1)));
	return r;
}

struct p2m_entry p2m_lookup(struct domain *d, gfn_t g)
{
	struct p2m_entry r;

	spin_lock(&d->p2m.lock);
	r = entry_at(&d->p2m, g.n);
	spin_unlock(&d->p2m.lock);
	return r;
}

/* What goes at the next flush; p2m.lock held, there is room. The count is looked at without the lock, too. */
static void pend(struct p2m *p, uint64_t what)
{
	p->pending[p->nr_pending] = what;
	__atomic_store_n(&p->nr_pending, p->nr_pending + 1, __ATOMIC_RELAXED);
}

/* --- mapping --- */

/*
 * Makes the entry e of that level free for a leaf: nothing or P2M_POD may be there, in one table below at most (which
 * goes to the pending list). -EEXIST otherwise. p2m.lock held, room for one in the pending list.
 */
static int clear_for_leaf(struct domain *d, uint64_t *e, unsigned level)
{
	struct p2m *p = &d->p2m;
	uint64_t pods = 0;
	uint64_t *table;

	if (!*e)
		return 0;
	if (!ptab_is_table(*e)) {
		if (ptab_type(*e) != P2M_POD)
			return -EEXIST;
		p->pod_entries -= ptab_span(level);
		ptab_set(e, 0);
		return 0;
	}
	table = ptab_table(*e);
	for (unsigned i = 0; i < PTAB_ENTRIES; i++) {
		if (table[i] && ptab_type(table[i]) != P2M_POD)
			return -EEXIST;
		pods += table[i] != 0;
	}
	p->pod_entries -= pods * ptab_span(level - 1);
	ptab_set(e, 0);
	p->leaf_table = p->mid_table = NULL;
	p->table_frames--;
	pend(p, port_direct_mfn(table).n | PENDING_TABLE);
	guest_tlb_flush(d);
	return 0;
}

int p2m_place(struct domain *d, uint64_t gfn, unsigned order, uint64_t leaf)
{
	struct p2m *p = &d->p2m;
	unsigned level;
	uint64_t *e = ptab_find(p, gfn, &level);
	int ret;

	if (domain_dying(d)) /* nobody would take it out again */
		return -EINVAL;
	if (level > order / 9 && *e && ptab_type(*e) != P2M_POD)
		return -EEXIST;
	if (level != order / 9)
		e = ptab_make(d, gfn, order / 9);
	ret = e ? clear_for_leaf(d, e, order / 9) : -ENOMEM;
	if (ret)
		return ret;
	ptab_set(e, leaf);
	logdirty_touch(p, gfn, 1ull << order);
	if (gfn + (1ull << order) - 1 > p->max_gfn)
		p->max_gfn = gfn + (1ull << order) - 1;
	return 0;
}

void p2m_lock_with_room(struct domain *d) NO_LOCK_CHECK
{
	spin_lock(&d->p2m.lock);
	while (unlikely(d->p2m.nr_pending == P2M_PENDING)) {
		spin_unlock(&d->p2m.lock);
		p2m_flush(d);
		spin_lock(&d->p2m.lock);
	}
}

int p2m_map(struct domain *d, gfn_t g, mfn_t m, unsigned order, enum p2m_type type)
{
	int ret;

	if (!range_ok(g, order) || (m.n & ((1ull << order) - 1)) || m.n >= BIT(40))
		return -EINVAL;
	if (type == P2M_NONE || type == P2M_POD || (order && holds_reference(type)))
		return -EINVAL;
	p2m_lock_with_room(d);
	ret = p2m_place(d, g.n, order, ptab_leaf(d->p2m.format, m, type, order / 9));
	if (!ret && type == P2M_FOREIGN)
		d->foreign_maps++;
	spin_unlock(&d->p2m.lock);
	return ret;
}

/* --- unmapping --- */

/* Removes the leaf e of that level, RAM is given up; p2m.lock held and room for one in the pending list. */
static void remove_leaf(struct domain *d, uint64_t gfn, uint64_t *e, unsigned level)
{
	struct p2m *p = &d->p2m;
	uint64_t old = *e;
	enum p2m_type t = ptab_type(old);

	ptab_set(e, 0);
	if (t == P2M_POD) {
		p->pod_entries -= ptab_span(level);
		return;
	}
	if (t == P2M_FOREIGN)
		d->foreign_maps--;
	if (holds_reference(t))
		pend(p, ptab_mfn(old).n);
	else if (ptab_is_ram(t))
		pend(p, ptab_mfn(old).n | PENDING_ALLOC | (uint64_t)level << PENDING_LEVEL_SHIFT);
	guestmem_forget_gfns(d, gfn, ptab_span(level));
	guest_tlb_flush(d);
}

/* Does what is removed hold something that has to wait for other CPUs? */
static bool needs_room(enum p2m_type t)
{
	return holds_reference(t) || ptab_is_ram(t);
}

/* Removes leaves in [gfn, end) until the pending list has no room. Returns where it stopped; *found: something was there. */
static uint64_t unmap_some(struct domain *d, uint64_t gfn, uint64_t end, bool *found)
{
	struct p2m *p = &d->p2m;

	while (gfn < end) {
		unsigned level;
		uint64_t *e = ptab_find(p, gfn, &level);

		if (p->nr_pending == P2M_PENDING && needs_room(ptab_type(*e)))
			break;
		if (*e) {
			*found = true;
			remove_leaf(d, gfn, e, level);
		}
		gfn = (gfn | (ptab_span(level) - 1)) + 1;
	}
	return gfn;
}

/* Splits the leaf that holds g down to that level if it is larger. p2m.lock held. 0, -ENOMEM. */
static int split_to(struct domain *d, gfn_t g, unsigned level)
{
	unsigned at;
	uint64_t *e = ptab_find(&d->p2m, g.n, &at);

	if (at <= level || !*e)
		return 0;
	return ptab_make(d, g.n, level) ? 0 : -ENOMEM;
}

int p2m_unmap(struct domain *d, gfn_t g, unsigned order)
{
	struct p2m *p = &d->p2m;
	uint64_t gfn = g.n, end = g.n + (1ull << order);
	bool found = false;
	int ret;

	if (!range_ok(g, order))
		return -ENOENT;
	spin_lock(&p->lock);
	ret = split_to(d, g, order / 9);
	while (!ret && (gfn = unmap_some(d, gfn, end, &found)) < end) {
		spin_unlock(&p->lock);
		p2m_flush(d);
		spin_lock(&p->lock);
	}
	spin_unlock(&p->lock);
	if (ret)
		return ret;
	return found ? 0 : -ENOENT;
}

int p2m_release(struct domain *d, gfn_t g)
{
	unsigned level;
	uint64_t *e;
	int ret = 0;

	if (!range_ok(g, 0))
		return -ENOENT;
	p2m_lock_with_room(d);
	e = ptab_find(&d->p2m, g.n, &level);
	if (!*e)
		ret = -ENOENT;
	else if (!ptab_is_ram(ptab_type(*e)) && ptab_type(*e) != P2M_POD)
		ret = -EINVAL;
	else if (level && !(e = ptab_make(d, g.n, 0)))
		ret = -ENOMEM;
	else
		remove_leaf(d, g.n, e, 0);
	spin_unlock(&d->p2m.lock);
	return ret;
}

int p2m_take(struct domain *d, gfn_t g, mfn_t *out)
{
	unsigned level;
	uint64_t *e;
	int ret = 0;

	if (!range_ok(g, 0))
		return -EINVAL;
	spin_lock(&d->p2m.lock);
	e = ptab_find(&d->p2m, g.n, &level);
	if (ptab_type(*e) != P2M_RAM_RW && !ptab_logged(ptab_type(*e)))
		ret = -EINVAL;
	else if (level && !(e = ptab_make(d, g.n, 0)))
		ret = -ENOMEM;
	if (!ret) {
		*out = ptab_mfn(*e);
		ptab_set(e, 0);
		guestmem_forget_gfns(d, g.n, 1);
		guest_tlb_flush(d);
	}
	spin_unlock(&d->p2m.lock);
	return ret;
}

static void drop_pending(struct domain *d, uint64_t what)
{
	mfn_t m = MFN(what & PENDING_MFN);
	uint64_t span = ptab_span(what >> PENDING_LEVEL_SHIFT & 3);

	if (!(what & PENDING_ALLOC)) {
		if (what & PENDING_TABLE)
			heap_free_pages(port_direct(m), 0);
		else
			frame_put(m);
		return;
	}
	for (uint64_t i = 0; i < span; i++)
		if (span > 1 || !pod_recycle(d, m))
			frame_release_alloc(d, MFN(m.n + i));
}

/* A removal counts tlb_gen up under p2m.lock: all CPUs have seen the last one, or this returns false and nothing changed. */
static bool drop_settled(struct domain *d)
{
	struct p2m *p = &d->p2m;
	uint64_t what[P2M_PENDING];
	unsigned n = 0;
	bool settled;

	spin_lock(&p->lock);
	settled = guest_tlb_settled(d);
	if (settled) {
		n = p->nr_pending;
		for (unsigned i = 0; i < n; i++)
			what[i] = p->pending[i];
		__atomic_store_n(&p->nr_pending, 0, __ATOMIC_RELAXED);
	}
	spin_unlock(&p->lock);
	for (unsigned i = 0; i < n; i++)
		drop_pending(d, what[i]);
	return settled;
}

void p2m_flush_some(struct domain *d)
{
	if (unlikely(__atomic_load_n(&d->p2m.nr_pending, __ATOMIC_RELAXED)))
		drop_settled(d);
}

void p2m_flush(struct domain *d)
{
	if (!__atomic_load_n(&d->p2m.nr_pending, __ATOMIC_RELAXED))
		return;
	do
		guest_tlb_sync(d);
	while (!drop_settled(d));
}

/* --- types and faults --- */

/* The leaf of g becomes a 4 KiB one (if it is not) of type to. p2m.lock held. 0, -ENOMEM. */
static int retype(struct domain *d, uint64_t gfn, uint64_t *e, unsigned level, enum p2m_type to)
{
	if (level) {
		e = ptab_make(d, gfn, 0);
		if (!e)
			return -ENOMEM;
	}
	ptab_set(e, ptab_leaf(d->p2m.format, ptab_mfn(*e), to, 0));
	logdirty_touch(&d->p2m, gfn, 1);
	guestmem_forget_gfns(d, gfn, 1);
	guest_tlb_flush(d);
	return 0;
}

/* Lets a leaf that is logged be written; all of it if there is no memory to split it. p2m.lock held. */
static bool make_dirty(struct domain *d, uint64_t gfn, uint64_t *e, unsigned level)
{
	if (!retype(d, gfn, e, level, P2M_RAM_RW))
		return true;
	e = ptab_find(&d->p2m, gfn, &level); /* of a 1 GiB leaf, 2 MiB ones may have been made */
	ptab_set(e, ptab_leaf(d->p2m.format, ptab_mfn(*e), P2M_RAM_RW, level));
	logdirty_touch(&d->p2m, ALIGN_DOWN(gfn, ptab_span(level)), ptab_span(level));
	guest_tlb_flush(d);
	return true;
}

int p2m_change_type(struct domain *d, gfn_t g, enum p2m_type from, enum p2m_type to)
{
	unsigned level;
	uint64_t *e;
	int ret = -EBUSY;

	if (!range_ok(g, 0))
		return -EINVAL;
	spin_lock(&d->p2m.lock);
	e = ptab_find(&d->p2m, g.n, &level);
	if (*e && ptab_type(*e) == from && from != P2M_POD && holds_reference(from) == holds_reference(to))
		ret = retype(d, g.n, e, level, to);
	spin_unlock(&d->p2m.lock);
	return ret;
}

/* Device memory behind g, 1:1. p2m.lock held. */
static bool map_device(struct domain *d, uint64_t gfn)
{
	uint64_t *e;

	if (!(d->rights & RIGHT_HARDWARE) || frame_type(MFN(gfn)) != FRAME_NONE)
		return false;
	e = ptab_make(d, gfn, 0);
	if (!e)
		return false;
	ptab_set(e, ptab_leaf(d->p2m.format, MFN(gfn), P2M_MMIO, 0));
	return true;
}

bool p2m_fault(struct domain *d, gfn_t g, bool write, bool exec)
{
	enum p2m_type t;
	unsigned level;
	uint64_t *e;
	int ret = 0;
	bool ok;

	if (!range_ok(g, 0))
		return false;
	spin_lock(&d->p2m.lock);
	e = ptab_find(&d->p2m, g.n, &level);
	t = ptab_type(*e);
	if (t == P2M_NONE)
		ok = map_device(d, g.n);
	else if (t == P2M_POD)
		ok = (ret = pod_fill(d, g.n)) != -ENOMEM;
	else if (ptab_logged(t) && write)
		ok = make_dirty(d, g.n, e, level);
	else
		ok = (!write || ptab_writable(t)) && (!exec || ptab_executable(t));
	spin_unlock(&d->p2m.lock);
	if (unlikely(ret == -EAGAIN))
		guest_tlb_sync(d);
	return ok;
}

int p2m_get_frame(struct domain *d, gfn_t g, bool want_write, mfn_t *out)
{
	struct p2m *p = &d->p2m;
	struct p2m_entry r;
	unsigned level;
	int ret = 0;

	spin_lock(&p->lock);
	r = entry_at(p, g.n);
	while (r.type == P2M_POD && !ret) {
		ret = pod_fill(d, g.n);
		if (ret == -EAGAIN) {
			spin_unlock(&p->lock);
			guest_tlb_sync(d);
			ret = 0;
			spin_lock(&p->lock);
		}
		r = entry_at(p, g.n);
	}
	if (ptab_logged(r.type) && want_write) {
		uint64_t *e = ptab_find(p, g.n, &level);

		make_dirty(d, g.n, e, level);
		r.type = P2M_RAM_RW;
	}
	if (!ret && !ptab_is_ram(r.type) && r.type != P2M_SHARED)
		ret = -EINVAL;
	if (!ret && want_write && !ptab_writable(r.type))
		ret = -EINVAL;
	if (!ret && !frame_get(d, r.mfn))
		ret = -EINVAL;
	spin_unlock(&p->lock);
	if (!ret)
		*out = r.mfn;
	return ret;
}

void p2m_mark_dirty(struct domain *d, gfn_t g, mfn_t m)
{
	struct p2m_entry e = p2m_lookup(d, g);

	if (ptab_logged(e.type) && e.mfn.n == m.n)
		p2m_fault(d, g, true, false);
}

/* --- the end --- */

struct dropped {
	uint64_t leaf;
	uint64_t span;
};

/* The first leaf in gfn order, or NULL; empty tables on the way to it are freed. p2m.lock held. */
static uint64_t *first_leaf(struct p2m *p, unsigned *level)
{
	uint64_t *table = port_direct(p->root), *parent = NULL;
	unsigned i = 0;

	*level = PTAB_ROOT;
	for (;;) {
		while (i < PTAB_ENTRIES && !table[i])
			i++;
		if (i < PTAB_ENTRIES && !ptab_is_table(table[i]))
			return &table[i];
		if (i < PTAB_ENTRIES) {
			parent = &table[i];
			table = ptab_table(*parent);
			--*level;
		} else if (!parent) {
			return NULL;
		} else {
			ptab_set(parent, 0);
			ptab_free(p, table);
			table = port_direct(p->root);
			parent = NULL;
			*level = PTAB_ROOT;
		}
		i = 0;
	}
}

/* Removes leaves into batch until it is full, their frames reach the limit or a table ends. p2m.lock held. */
static unsigned take_leaves(struct domain *d, struct dropped *batch, uint64_t *count)
{
	unsigned n = 0, level;
	uint64_t *e = first_leaf(&d->p2m, &level);

	while (e && n < RELINQUISH_BATCH && *count < RELINQUISH_FRAMES) {
		enum p2m_type t = ptab_type(*e);

		batch[n].leaf = *e;
		batch[n++].span = ptab_span(level);
		ptab_set(e++, 0);
		if (t == P2M_FOREIGN)
			d->foreign_maps--;
		if (t == P2M_POD)
			d->p2m.pod_entries -= ptab_span(level);
		*count += ptab_is_ram(t) ? ptab_span(level) : 1;
		if (!((uintptr_t)e & (PAGE_SIZE - 1)) || !*e || ptab_is_table(*e))
			break;
	}
	return n;
}

static void drop_leaf(struct domain *d, const struct dropped *x)
{
	enum p2m_type t = ptab_type(x->leaf);
	mfn_t m = ptab_mfn(x->leaf);

	if (holds_reference(t))
		frame_put(m);
	for (uint64_t i = 0; ptab_is_ram(t) && i < x->span; i++)
		frame_release_alloc(d, MFN(m.n + i));
}

int p2m_relinquish(struct domain *d)
{
	struct p2m *p = &d->p2m;
	struct dropped batch[RELINQUISH_BATCH];
	uint64_t count = 0;
	unsigned n;

	if (!p->table_frames)
		return 0;
	p2m_flush(d);
	guestmem_forget_gfns(d, 0, PTAB_GFNS);
	if (!pod_drain(d))
		return -ERESTART;
	while (count < RELINQUISH_FRAMES) {
		spin_lock(&p->lock);
		n = take_leaves(d, batch, &count);
		spin_unlock(&p->lock);
		if (!n)
			return 0;
		for (unsigned i = 0; i < n; i++)
			drop_leaf(d, &batch[i]);
	}
	return -ERESTART;
}

void p2m_destroy(struct domain *d)
{
	struct p2m *p = &d->p2m;

	if (!p->table_frames)
		return;
	ASSERT(p->table_frames == 1);
	logdirty_end(p);
	ptab_free(p, port_direct(p->root));
	p->root = MFN_INVALID;
}
