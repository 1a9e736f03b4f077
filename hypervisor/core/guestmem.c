/*
 * core/guestmem.c: owns each CPU's windows on guest frames, and with them every copy from and to a guest.
 *
 * Locks: none of its own; each CPU touches its own windows only. p2m.lock is taken by look-ups.
 *
 * Invariants: slots [0, NEAR) show frames of one domain, the CPU's owner, found by gfn; they go when the CPU turns to
 * another domain or leaves (guestmem_leave), or when that gfn's mapping changes: here at once, on other CPUs before their
 * next use (forgotten), while p2m.pending still holds the frame. Slots [NEAR, NEAR + FAR) show frames of any domain and
 * go with guestmem_end(), as do the remembered translations. The last slot is core/frame.c's.
 */
#include "core/guestmem.h"

#include "core/domain.h"
#include "core/frame.h"
#include "core/ptab.h"
#include "lib/lib.h"
#include "port/guest.h"
#include "port/machine.h"

#define NEAR	     16u
#define FAR	     15u
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

struct translation {
	uint64_t key; /* page address and access bits */
	uint64_t epoch;
	uint8_t *view;
};

static struct cpu_windows {
	struct domain *owner;
	uint64_t seen;	  /* value of forgotten up to which the near windows are good */
	uint64_t epoch;	  /* guestmem_end() counts up: older translations are void */
	unsigned nr_far, next_far;
	struct near_window near[NEAR];
	struct far_window far[FAR];
	struct translation translation[TRANSLATIONS];
} windows[NR_CPUS];

static uint64_t forgotten; /* atomic */

/* --- windows on the running domain's frames, by gfn --- */

static inline unsigned near_slot(uint64_t gfn)
{
	return (unsigned)(gfn ^ gfn >> 4 ^ gfn >> 9) % NEAR;
}

static void drop_near(struct cpu_windows *c)
{
	if (c->owner)
		for (unsigned i = 0; i < NEAR; i++)
			if (c->near[i].gfn != NOTHING)
				port_window_unmap(i);
	for (unsigned i = 0; i < NEAR; i++)
		c->near[i].gfn = NOTHING;
	c->epoch++;
}

static void turn_to(struct cpu_windows *c, struct domain *d)
{
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

/* Looks gfn up and maps it. NULL: no memory there, or not for writing. */
static uint8_t *near_miss(struct cpu_windows *c, uint64_t gfn, bool write)
{
	struct near_window *w = &c->near[near_slot(gfn)];
	struct p2m_entry e = p2m_lookup(c->owner, GFN(gfn));

	if (e.type == P2M_POD || (e.type == P2M_RAM_LOGDIRTY && write)) {
		if (!p2m_fault(c->owner, GFN(gfn), write, false))
			return NULL;
		e = p2m_lookup(c->owner, GFN(gfn));
	}
	if (e.type == P2M_NONE || e.type == P2M_MMIO || e.type == P2M_POD || (write && !ptab_writable(e.type)))
		return NULL;
	w->view = port_window_map(near_slot(gfn), e.mfn);
	w->gfn = gfn;
	w->mfn = e.mfn.n;
	w->writable = ptab_writable(e.type);
	c->epoch++; /* a translation may have used the slot */
	return w->view;
}

static inline uint8_t *near_view(struct cpu_windows *c, uint64_t gfn, bool write)
{
	struct near_window *w = &c->near[near_slot(gfn)];

	if (likely(w->gfn == gfn && (w->writable || !write)))
		return w->view;
	return near_miss(c, gfn, write);
}

/* --- page walks --- */

#define CR0_WP	  BIT(16)
#define CR0_PG	  BIT(31)
#define CR4_PSE	  BIT(4)
#define CR4_PAE	  BIT(5)
#define CR4_SMEP  BIT(20)
#define EFER_LMA  BIT(10)
#define EFER_NXE  BIT(11)

#define PTE_P	  BIT(0)
#define PTE_W	  BIT(1)
#define PTE_U	  BIT(2)
#define PTE_PS	  BIT(7)
#define PTE_NX	  BIT(63)
#define PTE_ADDR  0x000ffffffffff000ull

#define PF_PRESENT 1u
#define PF_WRITE   2u
#define PF_USER	   4u
#define PF_FETCH   16u

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
static int walk_legacy(struct cpu_windows *c, const struct guest_paging *g, gva_t va, unsigned access, gpa_t *gpa,
		       struct guestmem_fault *f)
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
			if (shift == 12)
				*gpa = (e & 0xfffff000) | (va & 0xfff);
			else
				*gpa = (e & 0xffc00000) | (uint64_t)(e >> 13 & 0xff) << 32 | (va & 0x3fffff);
			return 0;
		}
		table = e & 0xfffff000;
	}
}

/* Tables of 8-byte entries: PAE with three levels, long mode with four (APM vol. 2, 5.2.3, 5.3). */
static int walk_wide(struct cpu_windows *c, const struct guest_paging *g, gva_t va, unsigned access, gpa_t *gpa,
		     struct guestmem_fault *f)
{
	bool lma = g->efer & EFER_LMA, nx = false;
	uint64_t rights = PTE_W | PTE_U;
	uint64_t table = lma ? g->cr3 & PTE_ADDR : g->cr3 & 0xffffffe0;

	for (unsigned shift = lma ? 39 : 30;; shift -= 9) {
		uint8_t *view = near_view(c, table >> PAGE_SHIFT, false);
		uint64_t e;

		if (!view)
			return page_fault(g, va, access, false, f);
		view += (table & 0xfe0) + ((va >> shift) & (lma || shift < 30 ? 511 : 3)) * 8;
		e = __atomic_load_n((uint64_t *)(void *)view, __ATOMIC_RELAXED);
		if (!(e & PTE_P))
			return page_fault(g, va, access, false, f);
		if (lma || shift < 30) { /* PAE's top entries carry no rights */
			rights &= e;
			nx |= (e & PTE_NX) && (g->efer & EFER_NXE);
		}
		if (shift == 12 || ((e & PTE_PS) && shift <= (lma ? 30 : 21))) {
			uint64_t in_page = (1ull << shift) - 1;

			if (!allowed(g, access, rights, nx))
				return page_fault(g, va, access, true, f);
			*gpa = (e & PTE_ADDR & ~in_page) | (va & in_page);
			return 0;
		}
		table = e & PTE_ADDR;
	}
}

static int walk(struct cpu_windows *c, struct vcpu *v, gva_t va, unsigned access, gpa_t *gpa, struct guestmem_fault *f)
{
	struct guest_paging g;

	guest_paging_state(v, &g);
	f->not_ram = false;
	if (!(g.cr0 & CR0_PG)) {
		*gpa = va & 0xffffffff;
		return 0;
	}
	if (g.efer & EFER_LMA) {
		if ((uint64_t)((int64_t)(va << 16) >> 16) != va)
			return page_fault(&g, va, access, false, f);
		return walk_wide(c, &g, va, access, gpa, f);
	}
	va &= 0xffffffff;
	if (g.cr4 & CR4_PAE)
		return walk_wide(c, &g, va, access, gpa, f);
	return walk_legacy(c, &g, va, access, gpa, f);
}

/* Where byte va of the running vCPU's memory is seen; NULL with *f filled. */
static uint8_t *view_miss(struct cpu_windows *c, struct vcpu *v, gva_t va, unsigned access, struct guestmem_fault *f)
{
	struct translation *t = &c->translation[(va >> PAGE_SHIFT) % TRANSLATIONS];
	uint8_t *view;
	gpa_t gpa;

	if (walk(c, v, va, access, &gpa, f))
		return NULL;
	view = near_view(c, gpa >> PAGE_SHIFT, access & GUESTMEM_WRITE);
	if (!view) {
		f->not_ram = true;
		f->gpa = gpa;
		f->addr = va;
		return NULL;
	}
	t->key = (va & PAGE_MASK) | access;
	t->epoch = c->epoch;
	t->view = view;
	return view + (va & (PAGE_SIZE - 1));
}

static inline uint8_t *view_of(struct cpu_windows *c, struct vcpu *v, gva_t va, unsigned access,
			       struct guestmem_fault *f)
{
	struct translation *t = &c->translation[(va >> PAGE_SHIFT) % TRANSLATIONS];

	if (likely(t->key == ((va & PAGE_MASK) | access) && t->epoch == c->epoch))
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

static int copy_in(struct vcpu *v, void *dst, gva_t src, size_t len, unsigned access, struct guestmem_fault *f)
{
	struct cpu_windows *c = cpu_windows(v->domain);
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

static int copy_out(struct vcpu *v, gva_t dst, const void *src, size_t len, unsigned access, struct guestmem_fault *f)
{
	struct cpu_windows *c = cpu_windows(v->domain);
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

static unsigned hypercall_access(struct vcpu *v)
{
	struct guest_paging g;

	guest_paging_state(v, &g);
	return g.cpl == 3 ? GUESTMEM_USER : 0;
}

static bool wraps(gva_t va, size_t len)
{
	return len && va + (len - 1) < va;
}

int guestmem_read(struct vcpu *v, void *dst, gva_t src, size_t len)
{
	struct guestmem_fault f;

	if (wraps(src, len))
		return -EFAULT;
	return copy_in(v, dst, src, len, hypercall_access(v), &f);
}

int guestmem_write(struct vcpu *v, gva_t dst, const void *src, size_t len)
{
	struct guestmem_fault f;

	if (wraps(dst, len))
		return -EFAULT;
	return copy_out(v, dst, src, len, hypercall_access(v) | GUESTMEM_WRITE, &f);
}

int guestmem_check_write(struct vcpu *v, gva_t dst, size_t len)
{
	struct cpu_windows *c = cpu_windows(v->domain);
	unsigned access = hypercall_access(v) | GUESTMEM_WRITE;
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
	return walk(cpu_windows(v->domain), v, va, access, gpa, f);
}

int guestmem_access_read(struct vcpu *v, void *dst, gva_t src, size_t len, unsigned access, struct guestmem_fault *f)
{
	return copy_in(v, dst, src, len, access & ~GUESTMEM_WRITE, f);
}

int guestmem_access_write(struct vcpu *v, gva_t dst, const void *src, size_t len, unsigned access,
			  struct guestmem_fault *f)
{
	return copy_out(v, dst, src, len, (access & ~GUESTMEM_FETCH) | GUESTMEM_WRITE, f);
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

	for (i = 0; i < c->nr_far; i++)
		if (c->far[i].mfn == m.n)
			return c->far[i].view;
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
	if (c->nr_far)
		drop_far(c);
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

static void drop_one(struct cpu_windows *c, unsigned slot)
{
	port_window_unmap(slot);
	c->near[slot].gfn = NOTHING;
	c->epoch++;
}

void guestmem_forget(mfn_t m)
{
	struct cpu_windows *c = &windows[port_cpu()];

	for (unsigned i = 0; c->owner && i < NEAR; i++)
		if (c->near[i].gfn != NOTHING && c->near[i].mfn == m.n)
			drop_one(c, i);
	for (unsigned i = 0; i < c->nr_far; i++)
		if (c->far[i].mfn == m.n)
			c->far[i].mfn = NOTHING; /* found no more; unmapped at guestmem_end() */
	tell_others(c);
}

void guestmem_forget_gfns(struct domain *d, uint64_t gfn, uint64_t count)
{
	struct cpu_windows *c = &windows[port_cpu()];

	if (c->owner == d) {
		if (count == 1 && c->near[near_slot(gfn)].gfn == gfn)
			drop_one(c, near_slot(gfn));
		for (unsigned i = 0; count > 1 && i < NEAR; i++)
			if (c->near[i].gfn != NOTHING && c->near[i].gfn - gfn < count)
				drop_one(c, i);
	}
	if (d->max_vcpus > 1)
		tell_others(c);
}
