/*
 * core/guestmem.c: owns each CPU's windows on guest frames, and with them every copy from and to a guest.
 *
 * Locks: none of its own; each CPU touches its own windows only. p2m.lock is taken by look-ups.
 *
 * Invariants: slots [0, NEAR) show frames of one domain, the CPU's owner, found by gfn; they go when the CPU turns to
 * another domain or leaves (guestmem_leave), or when that gfn's mapping changes: here at once, on other CPUs before their
 * next use (forgotten), while p2m.pending still holds the frame. Slots [NEAR, NEAR + FAR) show frames of any domain and
 * go with guestmem_end(), as does the remembered paging state: it must come between two entries of a guest. A remembered
 * translation is good until then, and afterwards once its path through the guest's tables was read again unchanged.
 * The last slot is core/frame.c's.
 */
#include "core/guestmem.h"

#include "core/domain.h"
#include "core/frame.h"
#include "core/ptab.h"
#include "lib/lib.h"
#include "port/guest.h"
#include "port/machine.h"

#define SETS	     8u
#define WAYS	     3u
#define NEAR	     (SETS * WAYS)
#define FAR	     7u
#define TRANSLATIONS 8u
#define NOTHING	     (~0ull)

_Static_assert(NEAR + FAR + 1 == PORT_WINDOWS, "every window slot has one user");

struct near_window {
	uint64_t gfn; /* NOTHING: unused */
	uint64_t mfn;
	uint8_t *view;
	bool writable;
};

struct far_window {
	uint64_t mfn;
	uint8_t *view;
};

#define LEVELS 4u

/* The entries a four-level walk read: while they still hold these values, the walk would end at the same place. */
struct path {
	unsigned levels; /* 0: not remembered */
	const uint64_t *entry[LEVELS];
	uint64_t value[LEVELS];
};

struct translation {
	uint64_t key; /* page address and access bits but GUESTMEM_WRITE */
	uint64_t epoch;
	uint64_t views; /* of the windows that view and path use */
	uint8_t *view;
	bool writable;
	struct path path;
	struct guest_paging paging; /* the state the path was walked in */
};

static struct cpu_windows {
	struct domain *owner;
	uint64_t seen;	/* value of forgotten up to which the near windows are good */
	uint64_t epoch; /* guestmem_end() and lost windows count up: older translations must be looked at again */
	uint64_t views; /* lost windows count up: translations that used them are void */
	struct vcpu *paging_of; /* whose state is in paging, NULL = nobody's */
	struct guest_paging paging;
	unsigned nr_far, next_far;
	uint32_t used; /* the near slots that show something; the others' gfn is NOTHING once ready */
	bool ready;
	uint8_t next_way[SETS];
	struct near_window near[NEAR];
	struct far_window far[FAR];
	struct translation translation[TRANSLATIONS];
} windows[NR_CPUS];

static uint64_t forgotten; /* atomic */

/* --- windows on the running domain's frames, by gfn --- */

static inline unsigned near_set(uint64_t gfn)
{
	return (unsigned)(gfn * 0x9e3779b97f4a7c15ull >> 61) * WAYS; /* first slot of its set */
}

static inline struct near_window *near_find(struct cpu_windows *c, uint64_t gfn)
{
	struct near_window *w = &c->near[near_set(gfn)];

	if (likely(w[0].gfn == gfn))
		return w;
	if (w[1].gfn == gfn)
		return w + 1;
	return w[2].gfn == gfn ? w + 2 : NULL;
}

static void lost_view(struct cpu_windows *c)
{
	c->views++;
	c->epoch++;
}

static void drop_one(struct cpu_windows *c, struct near_window *w)
{
	port_window_unmap((unsigned)(w - c->near));
	w->gfn = NOTHING;
	c->used &= ~(1u << (w - c->near));
	lost_view(c);
}

static void drop_near(struct cpu_windows *c)
{
	for (; c->used; c->used &= c->used - 1) {
		unsigned i = (unsigned)__builtin_ctz(c->used);

		port_window_unmap(i);
		c->near[i].gfn = NOTHING;
	}
	lost_view(c);
}

static void turn_to(struct cpu_windows *c, struct domain *d)
{
	for (unsigned i = 0; unlikely(!c->ready) && i < NEAR; i++)
		c->near[i].gfn = NOTHING;
	c->ready = true;
	drop_near(c);
	c->owner = d;
	c->seen = __atomic_load_n(&forgotten, __ATOMIC_ACQUIRE);
}

static inline struct cpu_windows *cpu_windows(struct domain *d)
{
	struct cpu_windows *c = &windows[port_cpu()];

	if (unlikely(c->owner != d || c->seen != __atomic_load_n(&forgotten, __ATOMIC_ACQUIRE)))
		turn_to(c, d);
	return c;
}

/* The slot for a new window of gfn: its old one, or the next of its set. */
static struct near_window *near_victim(struct cpu_windows *c, uint64_t gfn)
{
	struct near_window *w = near_find(c, gfn);
	uint8_t *next = &c->next_way[near_set(gfn) / WAYS];

	if (w)
		return w;
	*next = *next + 1u < WAYS ? *next + 1 : 0;
	return &c->near[near_set(gfn) + *next];
}

/* Looks gfn up and maps it. NULL: no memory there, or not for writing. */
static uint8_t *near_miss(struct cpu_windows *c, uint64_t gfn, bool write)
{
	struct p2m_entry e = p2m_lookup(c->owner, GFN(gfn));
	struct near_window *w;

	while (e.type == P2M_POD || (write && ptab_logged(e.type))) {
		if (!p2m_fault(c->owner, GFN(gfn), write, false))
			return NULL;
		/* It may have waited, and those who unmap did not wait for us then: what is shown may be another's by now. */
		if (c->seen != __atomic_load_n(&forgotten, __ATOMIC_ACQUIRE))
			turn_to(c, c->owner);
		e = p2m_lookup(c->owner, GFN(gfn));
	}
	if (e.type == P2M_NONE || e.type == P2M_MMIO || e.type == P2M_POD || (write && !ptab_writable(e.type)))
		return NULL;
	w = near_victim(c, gfn);
	w->view = port_window_map((unsigned)(w - c->near), e.mfn);
	w->gfn = gfn;
	c->used |= 1u << (w - c->near);
	w->mfn = e.mfn.n;
	w->writable = ptab_writable(e.type) && !ptab_logged(e.type);
	lost_view(c); /* a translation may have used the slot */
	return w->view;
}

static inline uint8_t *near_view(struct cpu_windows *c, uint64_t gfn, bool write)
{
	struct near_window *w = near_find(c, gfn);

	if (likely(w && (w->writable || !write)))
		return w->view;
	return near_miss(c, gfn, write);
}

/* --- page walks --- */

#define CR0_WP	 BIT(16)
#define CR0_PG	 BIT(31)
#define CR4_PSE	 BIT(4)
#define CR4_PAE	 BIT(5)
#define CR4_SMEP BIT(20)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)

#define PTE_P	 BIT(0)
#define PTE_W	 BIT(1)
#define PTE_U	 BIT(2)
#define PTE_PS	 BIT(7)
#define PTE_NX	 BIT(63)
#define PTE_ADDR 0x000ffffffffff000ull

#define PF_PRESENT 1u
#define PF_WRITE   2u
#define PF_USER	   4u
#define PF_FETCH   16u

/* Where a walk ends. */
struct place {
	gpa_t gpa;
	bool writable; /* the same access could write, too, as far as the guest's tables go */
	struct path path;
};

static int page_fault(const struct guest_paging *g, gva_t va, unsigned access, bool present, struct guestmem_fault *f)
{
	f->addr = va;
	f->code = present ? PF_PRESENT : 0;
	f->not_ram = false;
	if (access & GUESTMEM_WRITE)
		f->code |= PF_WRITE;
	if (access & GUESTMEM_USER)
		f->code |= PF_USER;
	if ((access & GUESTMEM_FETCH) && ((g->cr4 & CR4_SMEP) || ((g->efer & EFER_NXE) && (g->cr4 & CR4_PAE))))
		f->code |= PF_FETCH;
	return -EFAULT;
}

/* APM vol. 2, 5.6: do the rights collected on the way (and in all of PTE_W, PTE_U) allow this? */
static bool allowed(const struct guest_paging *g, unsigned access, uint64_t rights, bool nx)
{
	if ((access & GUESTMEM_USER) && !(rights & PTE_U))
		return false;
	if ((access & GUESTMEM_WRITE) && !(rights & PTE_W) && ((access & GUESTMEM_USER) || (g->cr0 & CR0_WP)))
		return false;
	if ((access & GUESTMEM_FETCH) && nx)
		return false;
	return !(access & GUESTMEM_FETCH) || (access & GUESTMEM_USER) || !(rights & PTE_U) || !(g->cr4 & CR4_SMEP);
}

/* Legacy two-level tables, 4-byte entries (APM vol. 2, 5.2.2); 4 MiB pages reach 40 bits. */
static int walk_legacy(struct cpu_windows *c, const struct guest_paging *g, gva_t va, unsigned access,
		       struct place *out, struct guestmem_fault *f)
{
	uint64_t rights = PTE_W | PTE_U;
	uint64_t table = g->cr3 & 0xfffff000;

	for (unsigned shift = 22;; shift -= 10) {
		uint8_t *view = near_view(c, table >> PAGE_SHIFT, false);
		uint32_t e;

		if (!view)
			return page_fault(g, va, access, false, f);
		e = __atomic_load_n((uint32_t *)(void *)view + ((va >> shift) & 1023), __ATOMIC_RELAXED);
		if (!(e & PTE_P))
			return page_fault(g, va, access, false, f);
		rights &= e;
		if (shift == 12 || ((e & PTE_PS) && (g->cr4 & CR4_PSE))) {
			if (!allowed(g, access, rights, false))
				return page_fault(g, va, access, true, f);
			out->writable = allowed(g, access | GUESTMEM_WRITE, rights, false);
			if (shift == 12)
				out->gpa = (e & 0xfffff000) | (va & 0xfff);
			else
				out->gpa = (e & 0xffc00000) | (uint64_t)(e >> 13 & 0xff) << 32 | (va & 0x3fffff);
			return 0;
		}
		table = e & 0xfffff000;
	}
}

/* What a walk through tables of 8-byte entries came to. */
struct walked {
	uint64_t last;	   /* the last entry read, 0 when its table is no memory */
	uint64_t all_of;   /* bits set in every entry */
	uint64_t any_of;   /* bits set in at least one */
	unsigned shift;	   /* the last entry covers 1 << shift bytes */
	struct path *path; /* filled when all of it was seen; NULL: not wanted */
};

/*
 * From the table whose entries cover 1 << shift bytes down (APM vol. 2, 5.2.3, 5.3); entries that cover 1 << huge or
 * less can be pages.
 */
static inline __attribute__((always_inline)) void descend(struct cpu_windows *c, gva_t va, uint64_t table,
							  unsigned shift, unsigned huge, struct walked *w)
{
	uint64_t all_of = PTE_W | PTE_U, any_of = 0, views = c->views, e;
	unsigned n = 0;

	for (;;) {
		uint8_t *view = near_view(c, table >> PAGE_SHIFT, false);
		const uint64_t *entry;

		e = 0;
		if (unlikely(!view))
			break;
		entry = (const uint64_t *)(void *)view + ((va >> shift) & 511);
		e = __atomic_load_n(entry, __ATOMIC_RELAXED);
		if (w->path) {
			w->path->entry[n] = entry;
			w->path->value[n++] = e;
		}
		if (unlikely(!(e & PTE_P)))
			break;
		all_of &= e;
		any_of |= e;
		if (shift == PAGE_SHIFT || unlikely((e & PTE_PS) && shift <= huge))
			break;
		table = e & PTE_ADDR;
		shift -= 9;
	}
	if (w->path)
		w->path->levels = views == c->views ? n : 0;
	w->last = e;
	w->all_of = all_of;
	w->any_of = any_of;
	w->shift = shift;
}

static int conclude(const struct guest_paging *g, gva_t va, unsigned access, const struct walked *w, struct place *out,
		    struct guestmem_fault *f)
{
	bool nx = (w->any_of & PTE_NX) && (g->efer & EFER_NXE);
	uint64_t in_page = (1ull << w->shift) - 1;

	if (unlikely(!(w->last & PTE_P)))
		return page_fault(g, va, access, false, f);
	if (unlikely(!allowed(g, access, w->all_of, nx)))
		return page_fault(g, va, access, true, f);
	out->gpa = (w->last & PTE_ADDR & ~in_page) | (va & in_page);
	out->writable = allowed(g, access | GUESTMEM_WRITE, w->all_of, nx);
	return 0;
}

/* PAE: the four top entries lie anywhere in a frame and carry no rights (APM vol. 2, 5.2.3). */
static int walk_pae(struct cpu_windows *c, const struct guest_paging *g, gva_t va, unsigned access, struct place *out,
		    struct guestmem_fault *f)
{
	uint8_t *view = near_view(c, (g->cr3 & 0xfffff000) >> PAGE_SHIFT, false);
	struct walked w = { 0 };
	uint64_t e = 0;

	if (view)
		e = __atomic_load_n((uint64_t *)(void *)(view + (g->cr3 & 0xfe0)) + (va >> 30), __ATOMIC_RELAXED);
	if (e & PTE_P)
		descend(c, va, e & PTE_ADDR, 21, 21, &w);
	return conclude(g, va, access, &w, out, f);
}

static inline const struct guest_paging *paging_of(struct cpu_windows *c, struct vcpu *v)
{
	if (unlikely(c->paging_of != v)) {
		guest_paging_state(v, &c->paging);
		c->paging_of = v;
	}
	return &c->paging;
}

static int walk(struct cpu_windows *c, struct vcpu *v, gva_t va, unsigned access, struct place *out,
		struct guestmem_fault *f)
{
	const struct guest_paging *g = paging_of(c, v);
	struct walked w = { .path = &out->path };

	f->not_ram = false;
	out->path.levels = 0;
	if (unlikely(!(g->cr0 & CR0_PG))) {
		out->gpa = va & 0xffffffff;
		out->writable = true;
		return 0;
	}
	if (likely(g->efer & EFER_LMA)) {
		if (unlikely((uint64_t)((int64_t)(va << 16) >> 16) != va))
			return page_fault(g, va, access, false, f);
		descend(c, va, g->cr3 & PTE_ADDR, 39, 30, &w);
		return conclude(g, va, access, &w, out, f);
	}
	va &= 0xffffffff;
	if (g->cr4 & CR4_PAE)
		return walk_pae(c, g, va, access, out, f);
	return walk_legacy(c, g, va, access, out, f);
}

/* Where byte va of the running vCPU's memory is seen; NULL with *f filled. */
static uint8_t *view_miss(struct cpu_windows *c, struct vcpu *v, gva_t va, unsigned access, struct guestmem_fault *f)
{
	struct translation *t = &c->translation[(va >> PAGE_SHIFT) % TRANSLATIONS];
	struct near_window *w;
	uint64_t views;
	struct place at;
	uint8_t *view;

	if (walk(c, v, va, access, &at, f))
		return NULL;
	views = c->views;
	view = near_view(c, at.gpa >> PAGE_SHIFT, access & GUESTMEM_WRITE);
	w = near_find(c, at.gpa >> PAGE_SHIFT);
	if (unlikely(!view || !w)) {
		f->not_ram = true;
		f->gpa = at.gpa;
		f->addr = va;
		return NULL;
	}
	t->key = (va & PAGE_MASK) | (access & ~GUESTMEM_WRITE);
	t->epoch = c->epoch;
	t->views = c->views;
	t->view = view;
	t->writable = at.writable && w->writable;
	t->path = at.path;
	if (views != c->views)
		t->path.levels = 0; /* the last window may have taken the place of one on the path */
	t->paging = c->paging;
	return view + (va & (PAGE_SIZE - 1));
}

/* Would the walk behind t, done before the guest ran again, still end where it did? */
static bool still_good(struct cpu_windows *c, struct vcpu *v, struct translation *t)
{
	const struct guest_paging *g;
	uint64_t changed;

	if (t->views != c->views || !t->path.levels)
		return false;
	g = paging_of(c, v);
	changed = (g->cr3 ^ t->paging.cr3) | (g->cr0 ^ t->paging.cr0) | (g->cr4 ^ t->paging.cr4) |
		  (g->efer ^ t->paging.efer);
	for (unsigned i = 0; i < t->path.levels; i++)
		changed |= __atomic_load_n(t->path.entry[i], __ATOMIC_RELAXED) ^ t->path.value[i];
	if (changed)
		return false;
	t->epoch = c->epoch;
	return true;
}

static inline uint8_t *view_of(struct cpu_windows *c, struct vcpu *v, gva_t va, unsigned access,
			       struct guestmem_fault *f)
{
	struct translation *t = &c->translation[(va >> PAGE_SHIFT) % TRANSLATIONS];

	if (likely(t->key == ((va & PAGE_MASK) | (access & ~GUESTMEM_WRITE)) &&
		   (t->writable || !(access & GUESTMEM_WRITE)) && (t->epoch == c->epoch || still_good(c, v, t))))
		return t->view + (va & (PAGE_SIZE - 1));
	return view_miss(c, v, va, access, f);
}

/* --- copies by linear address --- */

static inline size_t in_page(uint64_t address, size_t len)
{
	return MIN(len, PAGE_SIZE - (address & (PAGE_SIZE - 1)));
}

static inline void copy_bytes(void *dst, const void *src, size_t n)
{
	if (n == 8)
		__builtin_memcpy(dst, src, 8);
	else if (n == 4)
		__builtin_memcpy(dst, src, 4);
	else
		memcpy(dst, src, n);
}

static int copy_in(struct cpu_windows *c, struct vcpu *v, void *dst, gva_t src, size_t len, unsigned access,
		   struct guestmem_fault *f)
{
	uint8_t *to = dst;

	while (len) {
		size_t n = in_page(src, len);
		uint8_t *view = view_of(c, v, src, access, f);

		if (unlikely(!view))
			return -EFAULT;
		copy_bytes(to, view, n);
		to += n;
		src += n;
		len -= n;
	}
	return 0;
}

static int copy_out(struct cpu_windows *c, struct vcpu *v, gva_t dst, const void *src, size_t len, unsigned access,
		    struct guestmem_fault *f)
{
	const uint8_t *from = src;

	if (in_page(dst, len) < len) /* every page must be writable before the first byte goes out */
		for (size_t at = in_page(dst, len); at < len; at += in_page(dst + at, len - at))
			if (!view_of(c, v, dst + at, access, f))
				return -EFAULT;
	while (len) {
		size_t n = in_page(dst, len);
		uint8_t *view = view_of(c, v, dst, access, f);

		if (unlikely(!view))
			return -EFAULT;
		copy_bytes(view, from, n);
		from += n;
		dst += n;
		len -= n;
	}
	return 0;
}

static inline unsigned hypercall_access(struct cpu_windows *c, struct vcpu *v)
{
	return unlikely(paging_of(c, v)->cpl == 3) ? GUESTMEM_USER : 0;
}

static bool wraps(gva_t va, size_t len)
{
	return len && va + (len - 1) < va;
}

int guestmem_read(struct vcpu *v, void *dst, gva_t src, size_t len)
{
	struct cpu_windows *c = cpu_windows(v->domain);
	struct guestmem_fault f;

	if (wraps(src, len))
		return -EFAULT;
	return copy_in(c, v, dst, src, len, hypercall_access(c, v), &f);
}

int guestmem_write(struct vcpu *v, gva_t dst, const void *src, size_t len)
{
	struct cpu_windows *c = cpu_windows(v->domain);
	struct guestmem_fault f;

	if (wraps(dst, len))
		return -EFAULT;
	return copy_out(c, v, dst, src, len, hypercall_access(c, v) | GUESTMEM_WRITE, &f);
}

int guestmem_check_write(struct vcpu *v, gva_t dst, size_t len)
{
	struct cpu_windows *c = cpu_windows(v->domain);
	unsigned access = hypercall_access(c, v) | GUESTMEM_WRITE;
	struct guestmem_fault f;

	if (wraps(dst, len))
		return -EFAULT;
	for (size_t at = 0; at < len; at += in_page(dst + at, len - at))
		if (!view_of(c, v, dst + at, access, &f))
			return -EFAULT;
	return 0;
}

int guestmem_translate(struct vcpu *v, gva_t va, unsigned access, gpa_t *gpa, struct guestmem_fault *f)
{
	struct place at = { 0 };
	int ret = walk(cpu_windows(v->domain), v, va, access, &at, f);

	*gpa = at.gpa;
	return ret;
}

int guestmem_access_read(struct vcpu *v, void *dst, gva_t src, size_t len, unsigned access, struct guestmem_fault *f)
{
	return copy_in(cpu_windows(v->domain), v, dst, src, len, access & ~GUESTMEM_WRITE, f);
}

int guestmem_access_write(struct vcpu *v, gva_t dst, const void *src, size_t len, unsigned access,
			  struct guestmem_fault *f)
{
	return copy_out(cpu_windows(v->domain), v, dst, src, len, (access & ~GUESTMEM_FETCH) | GUESTMEM_WRITE, f);
}

/* --- copies by guest-physical address --- */

/* One piece within a page, of a domain that is not the one this CPU runs. to_guest: src -> guest, else guest -> dst. */
static int copy_far(struct domain *d, gpa_t gpa, void *buf, size_t n, bool to_guest)
{
	uint8_t *view;
	mfn_t m;

	if (p2m_get_frame(d, GFN(gpa >> PAGE_SHIFT), to_guest, &m))
		return -EFAULT;
	view = (uint8_t *)guestmem_window(m) + (gpa & (PAGE_SIZE - 1));
	if (to_guest)
		memcpy(view, buf, n);
	else
		memcpy(buf, view, n);
	frame_put(m);
	return 0;
}

static int copy_gpa(struct domain *d, gpa_t gpa, void *buf, size_t len, bool to_guest)
{
	bool is_near = windows[port_cpu()].owner == d;

	while (len) {
		size_t n = in_page(gpa, len);

		if (is_near) {
			uint8_t *view = near_view(cpu_windows(d), gpa >> PAGE_SHIFT, to_guest);

			if (!view)
				return -EFAULT;
			if (to_guest)
				copy_bytes(view + (gpa & (PAGE_SIZE - 1)), buf, n);
			else
				copy_bytes(buf, view + (gpa & (PAGE_SIZE - 1)), n);
		} else if (copy_far(d, gpa, buf, n, to_guest)) {
			return -EFAULT;
		}
		buf = (uint8_t *)buf + n;
		gpa += n;
		len -= n;
	}
	return 0;
}

int guestmem_read_gpa(struct domain *d, void *dst, gpa_t src, size_t len)
{
	return copy_gpa(d, src, dst, len, false);
}

int guestmem_write_gpa(struct domain *d, gpa_t dst, const void *src, size_t len)
{
	return copy_gpa(d, dst, (void *)(uintptr_t)src, len, true);
}

/* --- windows on any frame, and their end --- */

void *guestmem_window(mfn_t m)
{
	struct cpu_windows *c = &windows[port_cpu()];
	unsigned i;

	for (i = 0; i < c->nr_far; i++) {
		if (c->far[i].mfn != m.n)
			continue;
		if (i == c->next_far) /* the next new window must leave this one: grant_copy() uses two at once */
			c->next_far = (i + 1) % FAR;
		return c->far[i].view;
	}
	if (c->nr_far < FAR) {
		i = c->nr_far++;
	} else {
		i = c->next_far;
		c->next_far = (c->next_far + 1) % FAR;
	}
	c->far[i].mfn = m.n;
	c->far[i].view = port_window_map(NEAR + i, m);
	return c->far[i].view;
}

static void drop_far(struct cpu_windows *c)
{
	for (unsigned i = 0; i < c->nr_far; i++)
		port_window_unmap(NEAR + i);
	c->nr_far = c->next_far = 0;
}

void guestmem_end(void)
{
	struct cpu_windows *c = &windows[port_cpu()];

	c->epoch++;
	c->paging_of = NULL;
	if (unlikely(c->nr_far))
		drop_far(c);
}

void guestmem_enter(struct domain *d)
{
	cpu_windows(d);
}

void guestmem_leave(void)
{
	struct cpu_windows *c = &windows[port_cpu()];

	guestmem_end();
	turn_to(c, NULL);
}

/* Tells the other CPUs; this one has dropped what it had to. */
static void tell_others(struct cpu_windows *c)
{
	uint64_t now = __atomic_add_fetch(&forgotten, 1, __ATOMIC_ACQ_REL);

	if (c->seen == now - 1)
		c->seen = now;
}

void guestmem_forget(mfn_t m)
{
	struct cpu_windows *c = &windows[port_cpu()];

	for (unsigned i = 0; c->owner && i < NEAR; i++)
		if (c->near[i].gfn != NOTHING && c->near[i].mfn == m.n)
			drop_one(c, &c->near[i]);
	for (unsigned i = 0; i < c->nr_far; i++)
		if (c->far[i].mfn == m.n)
			c->far[i].mfn = NOTHING; /* found no more; unmapped at guestmem_end() */
	tell_others(c);
}

void guestmem_forget_gfns(struct domain *d, uint64_t gfn, uint64_t count)
{
	struct cpu_windows *c = &windows[port_cpu()];

	if (c->owner == d) {
		struct near_window *w = count == 1 ? near_find(c, gfn) : NULL;

		if (w)
			drop_one(c, w);
		for (unsigned i = 0; count > 1 && i < NEAR; i++)
			if (c->near[i].gfn != NOTHING && c->near[i].gfn - gfn < count)
				drop_one(c, &c->near[i]);
	}
	if (c->owner != d || d->max_vcpus > 1)
		tell_others(c);
}
