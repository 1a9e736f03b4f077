/*
 * hcall/domctl_misc.c: XEN_DOMCTL_* about memory (pool, page types, log-dirty), rights and hardware.
 * Source: xen/domctl.h. Locks: under domctl_lock.
 */
#include "core/guestmem.h"
#include "core/policy.h"
#include "hcall/domctl.h"
#include "lib/lib.h"
#include "port/guest.h"

/* --- memory --- */

/* The pool is a ceiling for page-table pages, given out on demand; it is reported back as it was set. */
long domctl_set_paging_mempool_size(struct domctl_call *c)
{
	uint64_t size = c->op.u.paging_mempool.size;

	if (size & ~PAGE_MASK)
		return -EINVAL;
	c->d->p2m.pool_frames = size >> PAGE_SHIFT;
	return 0;
}

long domctl_get_paging_mempool_size(struct domctl_call *c)
{
	c->op.u.paging_mempool.size = c->d->p2m.pool_frames << PAGE_SHIFT;
	return 0;
}

#define MIB_FRAMES 256u

/*
 * Log-dirty calls stop when something else waits; how far they came is kept in the target, as the caller's structure must
 * show nothing before the end. A call that is none of the restarts of that one begins anew.
 */
static void logdirty_resume(struct domctl_call *c)
{
	const struct xen_domctl_shadow_op *s = &c->op.u.shadow_op;
	uint64_t key[4] = { (uint64_t)c->h->d->id << 32 | s->op, c->h->arg[0], (uint64_t)s->dirty_bitmap.p, s->pages };

	if (c->d->p2m.logdirty_call.next && !memcmp(key, c->d->p2m.logdirty_call.key, sizeof(key)))
		return;
	memcpy(c->d->p2m.logdirty_call.key, key, sizeof(key));
	c->d->p2m.logdirty_call.next = 0;
	c->d->p2m.logdirty_call.dirty = 0;
}

static long logdirty_turn(struct domctl_call *c, bool on)
{
	struct p2m *p = &c->d->p2m;

	if (on == p->logdirty)
		return on ? -EINVAL : 0;
	logdirty_resume(c);
	while (!logdirty_switch(c->d, on, &p->logdirty_call.next))
		if (hcall_preempt())
			return -ERESTART;
	p->logdirty_call.next = 0;
	return 0;
}

/* One piece of the bitmap; checked before anything is made clean. 0, -EFAULT. */
static long logdirty_piece(struct domctl_call *c, uint64_t gfn, unsigned count)
{
	const struct xen_domctl_shadow_op *s = &c->op.u.shadow_op;
	gva_t to = s->dirty_bitmap.p ? (gva_t)s->dirty_bitmap.p + gfn / 8 : 0;
	unsigned flags = s->op == XEN_DOMCTL_SHADOW_OP_CLEAN ? LOGDIRTY_CLEAN : 0;
	uint8_t bits[LOGDIRTY_PIECE / 8];

	if (to && guestmem_check_write(c->h->v, to, DIV_UP(count, 8u)))
		return -EFAULT;
	if (s->mode & XEN_DOMCTL_SHADOW_LOGDIRTY_FINAL)
		flags |= LOGDIRTY_HELD;
	c->d->p2m.logdirty_call.dirty += logdirty_read(c->d, gfn, count, flags, bits);
	return to ? guestmem_write(c->h->v, to, bits, DIV_UP(count, 8u)) : 0;
}

static long logdirty_bitmap(struct domctl_call *c)
{
	struct xen_domctl_shadow_op *s = &c->op.u.shadow_op;
	struct p2m *p = &c->d->p2m;
	uint64_t pages;

	if (!p->logdirty || (s->mode & ~XEN_DOMCTL_SHADOW_LOGDIRTY_FINAL))
		return -EINVAL;
	logdirty_resume(c);
	if (logdirty_by_cpu(p)) { /* what CPUs have not handed over yet comes with an exit of each */
		guest_tlb_flush(c->d);
		guest_tlb_sync(c->d);
	}
	pages = MIN(s->pages, LOGDIRTY_MAX_PAGES);
	while (p->logdirty_call.next < pages) {
		unsigned count = (unsigned)MIN(pages - p->logdirty_call.next, (uint64_t)LOGDIRTY_PIECE);

		if (logdirty_piece(c, p->logdirty_call.next, count)) {
			p->logdirty_call.next = 0;
			return -EFAULT;
		}
		p->logdirty_call.next += count;
		if (p->logdirty_call.next < pages && hcall_preempt())
			return -ERESTART;
	}
	p->logdirty_call.next = 0;
	s->pages = pages;
	s->stats.dirty_count = p->logdirty_call.dirty;
	s->stats.fault_count = 0; /* Xen counts those of shadow paging only */
	return 0;
}

long domctl_shadow_op(struct domctl_call *c)
{
	struct xen_domctl_shadow_op *s = &c->op.u.shadow_op;
	long rc;

	if (c->d == c->h->d)
		return -EINVAL;
	if (domain_dying(c->d))
		return 0;
	switch (s->op) {
	case XEN_DOMCTL_SHADOW_OP_OFF:
		return logdirty_turn(c, false);
	case XEN_DOMCTL_SHADOW_OP_ENABLE:
	case XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY:
		if (s->op == XEN_DOMCTL_SHADOW_OP_ENABLE && s->mode != XEN_DOMCTL_SHADOW_ENABLE_LOG_DIRTY)
			return -EINVAL;
		rc = logdirty_turn(c, true);
		guest_tlb_sync(c->d);
		return rc;
	case XEN_DOMCTL_SHADOW_OP_CLEAN:
	case XEN_DOMCTL_SHADOW_OP_PEEK:
		rc = logdirty_bitmap(c);
		guest_tlb_sync(c->d); /* a write that nobody sees comes before the caller's copy of the page */
		return rc;
	case XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION:
		s->mb = (uint32_t)DIV_UP(c->d->p2m.pool_frames, MIB_FRAMES);
		return 0;
	case XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION:
		c->d->p2m.pool_frames = (uint64_t)s->mb * MIB_FRAMES;
		return 0;
	default:
		return -EINVAL;
	}
}

#define PFINFO_MAX   1024u
#define PFINFO_PIECE 32u

static uint64_t page_info(struct domain *d, uint64_t gfn)
{
	switch (p2m_lookup(d, GFN(gfn)).type) {
	case P2M_RAM_RW:
	case P2M_RAM_RO:
	case P2M_RAM_LOGDIRTY:
	case P2M_RAM_TRACKED:
	case P2M_POD:
		return XEN_DOMCTL_PFINFO_NOTAB;
	default:
		return XEN_DOMCTL_PFINFO_XTAB;
	}
}

/* Reads and writes whole array elements of the caller's word size in pieces. */
long domctl_getpageframeinfo3(struct domctl_call *c)
{
	uint64_t num = c->op.u.getpageframeinfo3.num;
	gva_t at = (gva_t)c->op.u.getpageframeinfo3.array.p;
	size_t word = c->h->compat ? 4 : 8;

	if (num > PFINFO_MAX)
		return -E2BIG;
	while (num) {
		size_t n = MIN(num, (uint64_t)PFINFO_PIECE);
		uint64_t wide[PFINFO_PIECE] = { 0 };
		uint32_t narrow[PFINFO_PIECE] = { 0 };
		void *buf = c->h->compat ? (void *)narrow : (void *)wide;

		if (guestmem_read(c->h->v, buf, at, n * word))
			return -EFAULT;
		for (size_t i = 0; i < n; i++) {
			wide[i] = page_info(c->d, c->h->compat ? narrow[i] : wide[i]);
			narrow[i] = (uint32_t)wide[i];
		}
		if (guestmem_write(c->h->v, at, buf, n * word))
			return -EFAULT;
		at += n * word;
		num -= n;
	}
	return 0;
}

/* --- rights and hardware --- */

/*
 * A domain with the hardware right has every port, frame and line already; to others single ones cannot be given, so
 * only taking them away succeeds. The caller gives what it must have itself.
 */
static long hardware_permission(struct domctl_call *c, bool allow)
{
	if (policy_may(c->h->d, ACTION_HARDWARE, NULL))
		return -EPERM;
	if (!allow || policy_may(c->d, ACTION_HARDWARE, NULL) == 0)
		return 0;
	return hcall_unimplemented("domctl permission", c->op.cmd, EOPNOTSUPP);
}

long domctl_irq_permission(struct domctl_call *c)
{
	return hardware_permission(c, c->op.u.irq_permission.allow_access);
}

long domctl_iomem_permission(struct domctl_call *c)
{
	const struct xen_domctl_iomem_permission *p = &c->op.u.iomem_permission;

	if (p->nr_mfns == 0 || p->first_mfn + p->nr_mfns - 1 < p->first_mfn)
		return -EINVAL;
	return hardware_permission(c, p->allow_access);
}

long domctl_ioport_permission(struct domctl_call *c)
{
	const struct xen_domctl_ioport_permission *p = &c->op.u.ioport_permission;

	if (p->first_port > 0xffff || p->nr_ports > 0x10000 || p->first_port + p->nr_ports > 0x10000)
		return -EINVAL;
	return hardware_permission(c, p->allow_access);
}

long domctl_set_virq_handler(struct domctl_call *c)
{
	return evtchn_set_global_virq_handler(c->d, c->op.u.set_virq_handler.virq);
}

long domctl_set_target(struct domctl_call *c)
{
	domid_t target = c->op.u.set_target.target;
	struct domain *t = domain_get(target);

	if (!t)
		return -ESRCH;
	domain_put(t);
	if (t == c->d)
		return -EINVAL;
	c->d->dm_target = target;
	return 0;
}
