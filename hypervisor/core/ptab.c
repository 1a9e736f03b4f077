/*
 * core/ptab.c: owns the format of nested page tables (AMD NPT; EPT is the second branch of make_leaf and make_table) and
 * the pages they are made of. Locks and invariants: core/ptab.h. A table page that the CPU may have cached is not freed
 * here but goes through p2m.pending.
 */
#include "core/ptab.h"

#include "core/heap.h"
#include "core/policy.h"
#include "port/machine.h"

/* APM vol. 2, 5.3.3 and 15.25.5: nested entries must be user; accessed and dirty are set ahead to spare the walk. */
#define NPT_P	BIT(0)
#define NPT_W	BIT(1)
#define NPT_U	BIT(2)
#define NPT_PWT BIT(3)
#define NPT_PCD BIT(4)
#define NPT_A	BIT(5)
#define NPT_D	BIT(6)
#define NPT_PS	BIT(7)
#define NPT_NX	BIT(63)

/* SDM vol. 3, 28.3.2. */
#define EPT_R  BIT(0)
#define EPT_W  BIT(1)
#define EPT_X  BIT(2)
#define EPT_WB (6ull << 3)
#define EPT_UC (0ull << 3)
#define EPT_PS BIT(7)
#define EPT_A  BIT(8) /* this and the next are nothing to a CPU without the flags */
#define EPT_D  BIT(9)

static uint64_t npt_leaf(enum p2m_type t, unsigned level)
{
	uint64_t e = NPT_P | NPT_U | NPT_A;

	if (ptab_writable(t))
		e |= t == P2M_RAM_TRACKED ? NPT_W : NPT_W | NPT_D;
	if (!ptab_executable(t))
		e |= NPT_NX;
	if (t == P2M_MMIO)
		e |= NPT_PCD | NPT_PWT;
	if (level)
		e |= NPT_PS;
	return e;
}

static uint64_t ept_leaf(enum p2m_type t, unsigned level)
{
	uint64_t e = EPT_R | EPT_A | (t == P2M_MMIO ? EPT_UC : EPT_WB);

	if (ptab_writable(t))
		e |= t == P2M_RAM_TRACKED ? EPT_W : EPT_W | EPT_D;
	if (ptab_executable(t))
		e |= EPT_X;
	if (level)
		e |= EPT_PS;
	return e;
}

uint64_t ptab_leaf(enum p2m_format f, mfn_t m, enum p2m_type t, unsigned level)
{
	uint64_t e = (uint64_t)t << 52;

	if (t == P2M_POD)
		return e;
	e |= m.n << PAGE_SHIFT;
	return e | (f == P2M_FORMAT_EPT ? ept_leaf(t, level) : npt_leaf(t, level));
}

bool ptab_dirty(enum p2m_format f, uint64_t e)
{
	return e & (f == P2M_FORMAT_EPT ? EPT_D : NPT_D);
}

/* Populate on demand takes pages away that nobody can write any more: it wants them protected. */
enum p2m_type ptab_clean_type(const struct p2m *p, unsigned level)
{
	return p->dirty_flags && !p->pod_used && !level ? P2M_RAM_TRACKED : P2M_RAM_LOGDIRTY;
}

static uint64_t table_entry(enum p2m_format f, uint64_t *table)
{
	uint64_t e = port_direct_mfn(table).n << PAGE_SHIFT;

	return e | (f == P2M_FORMAT_EPT ? EPT_R | EPT_W | EPT_X | EPT_A : NPT_P | NPT_W | NPT_U | NPT_A);
}

uint64_t *ptab_table(uint64_t e)
{
	return port_direct(ptab_mfn(e));
}

static uint64_t pool_limit(const struct domain *d)
{
	return (d->rights & RIGHT_HARDWARE) ? ~0ull : d->p2m.pool_frames;
}

uint64_t *ptab_new(struct domain *d)
{
	uint64_t *table;

	if (d->p2m.table_frames >= pool_limit(d))
		return NULL;
	table = heap_alloc_pages(0);
	if (table)
		d->p2m.table_frames++;
	return table;
}

void ptab_free(struct p2m *p, uint64_t *table)
{
	if (p->leaf_table == table)
		p->leaf_table = NULL;
	if (p->mid_table == table)
		p->mid_table = NULL;
	p->table_frames--;
	heap_free_pages(table, 0);
}

uint64_t *ptab_find(struct p2m *p, uint64_t gfn, unsigned *level)
{
	uint64_t *table;
	unsigned l;

	if (p->leaf_table && p->leaf_region == gfn >> 9) {
		*level = 0;
		return &p->leaf_table[gfn % PTAB_ENTRIES];
	}
	if (p->mid_table && p->mid_region == gfn >> 18) {
		table = p->mid_table;
		l = 1;
	} else {
		table = port_direct(p->root);
		l = PTAB_ROOT;
	}
	for (;;) {
		uint64_t *e = &table[(gfn >> (9 * l)) % PTAB_ENTRIES];

		if (!l) {
			p->leaf_table = table;
			p->leaf_region = gfn >> 9;
		} else if (l == 1) {
			p->mid_table = table;
			p->mid_region = gfn >> 18;
		}
		if (!l || !ptab_is_table(*e)) {
			*level = l;
			return e;
		}
		table = ptab_table(*e);
		l--;
	}
}

/* A table of the level below that maps what the entry e of that level maps. */
static uint64_t *table_for(struct domain *d, uint64_t e, unsigned level)
{
	enum p2m_type t = ptab_type(e) == P2M_RAM_LOGDIRTY ? ptab_clean_type(&d->p2m, level - 1) : ptab_type(e);
	uint64_t *table = ptab_new(d);

	if (!table || !e)
		return table;
	for (uint64_t i = 0; i < PTAB_ENTRIES; i++) {
		mfn_t m = MFN(ptab_mfn(e).n + i * ptab_span(level - 1));

		table[i] = ptab_leaf(d->p2m.format, m, t, level - 1);
	}
	return table;
}

uint64_t *ptab_make(struct domain *d, uint64_t gfn, unsigned level)
{
	struct p2m *p = &d->p2m;
	uint64_t *table = port_direct(p->root);

	for (unsigned l = PTAB_ROOT;; l--) {
		uint64_t *e = &table[(gfn >> (9 * l)) % PTAB_ENTRIES];

		if (l == level)
			return e;
		if (!ptab_is_table(*e)) {
			table = table_for(d, *e, l);
			if (!table)
				return NULL;
			ptab_set(e, table_entry(p->format, table));
		} else {
			table = ptab_table(*e);
		}
	}
}
