/*
 * core/evtchn.c: see evtchn.h. Owns the ports of every domain, their bindings, and the 2-level ABI; core/evtchn_fifo.c has
 * the FIFO ABI. Source: xen/event_channel.h, xen/xen.h (VIRQ_*, shared_info, vcpu_info).
 *
 * Locks: evtchn.lock of a domain guards its ports and VIRQ tables. An interdomain binding is made and broken with both
 * locks held, so a sender needs only its own: the peer is there, and stays bound, while it holds it.
 * Invariants: port 0 is never used; ports below first_free are in use; active counts the ports in use; the shared bitmaps
 * are the guest's to scribble on: nothing here depends on what they say.
 */
#include "core/evtchn_private.h"

#include "core/heap.h"
#include "core/log.h"
#include "core/policy.h"
#include "core/trace.h"
#include "lib/lib.h"
#include "port/guest.h"

_Static_assert(sizeof(struct evtchn) == 32, "ports fill pages");
_Static_assert(EVTCHN_PER_BUCKET *EVTCHN_BUCKETS >= EVTCHN_FIFO_NR_CHANNELS, "enough buckets");

#define PIECE 1024u /* ports closed by one evtchn_reset() or evtchn_relinquish() */

static uint16_t virq_handler[NR_VIRQS]; /* domid + 1 that XEN_DOMCTL_set_virq_handler named, 0 = none; atomic */

/* --- the 2-level ABI --- */

#define COMPAT_WORDS 32u /* 32-bit guests: 32 words of 32 bits */

static uint32_t limit_2l(const struct domain *d)
{
	return d->compat_shinfo ? COMPAT_WORDS * 32 : (uint32_t)EVTCHN_2L_NR_CHANNELS;
}

static uint32_t *pending_2l(const struct domain *d)
{
	return (uint32_t *)d->shared_info->evtchn_pending;
}

static uint32_t *mask_2l(const struct domain *d)
{
	if (d->compat_shinfo)
		return pending_2l(d) + COMPAT_WORDS;
	return (uint32_t *)d->shared_info->evtchn_mask;
}

/* Sets the selector bit of port in v's vcpu_info; -> was it set. In the 32-bit layout the selector follows the flags. */
static bool select_2l(struct vcpu *v, uint32_t port)
{
	if (v->domain->compat_shinfo)
		return evtchn_bit_set((uint32_t *)v->info + 1, port / 32);
	return evtchn_bit_set((uint32_t *)&v->info->evtchn_pending_sel, port / 64);
}

void evtchn_notify(struct vcpu *v)
{
	if (__atomic_exchange_n(&v->info->evtchn_upcall_pending, 1, __ATOMIC_SEQ_CST))
		return;
	guest_event_pending(v);
}

/* A poller marks itself first, says so in pollers (evtchn_note_poller) second, and looks at its ports last. */
void evtchn_wake_pollers(struct domain *d, uint32_t port)
{
	struct vcpu *v;

	if (likely(!__atomic_load_n(&d->evtchn.pollers, __ATOMIC_SEQ_CST)))
		return;
	for_each_vcpu (d, v) {
		uint32_t polled;

		if (!__atomic_load_n(&v->sched.polling, __ATOMIC_SEQ_CST))
			continue;
		polled = __atomic_load_n(&v->poll_port, __ATOMIC_RELAXED);
		if (!polled || polled == port)
			sched_wake(v);
	}
}

void evtchn_note_poller(struct vcpu *v, uint32_t port)
{
	__atomic_store_n(&v->poll_port, port, __ATOMIC_RELAXED);
	__atomic_store_n(&v->sched.polling, true, __ATOMIC_SEQ_CST);
	__atomic_store_n(&v->domain->evtchn.pollers, true, __ATOMIC_SEQ_CST);
}

bool evtchn_2l_pending(const struct domain *d, uint32_t port)
{
	return port < limit_2l(d) && evtchn_bit_test(pending_2l(d), port);
}

static void raise_2l(struct domain *d, struct vcpu *v, struct evtchn *ch, uint32_t port)
{
	if (port >= limit_2l(d) || evtchn_bit_set(pending_2l(d), port))
		return;
	if (unlikely(__atomic_load_n(&d->evtchn.fifo, __ATOMIC_SEQ_CST))) { /* it changed over while we did that */
		evtchn_fifo_raise(d, v, ch, port);
		return;
	}
	if (v && !evtchn_bit_test(mask_2l(d), port) && !select_2l(v, port))
		evtchn_notify(v);
	evtchn_wake_pollers(d, port);
}

static void unmask_2l(struct domain *d, struct vcpu *v, uint32_t port)
{
	if (port >= limit_2l(d) || !evtchn_bit_clear(mask_2l(d), port))
		return;
	if (v && evtchn_bit_test(pending_2l(d), port) && !select_2l(v, port))
		evtchn_notify(v);
}

/* --- ports --- */

/* The event of a port that is in use. d's lock is held, or the other end's: the port may go to another vCPU meanwhile. */
static void raise(struct domain *d, struct evtchn *ch, uint32_t port)
{
	struct vcpu *v = d->vcpu[__atomic_load_n(&ch->vcpu, __ATOMIC_RELAXED)];

	if (__atomic_load_n(&d->evtchn.fifo, __ATOMIC_ACQUIRE))
		evtchn_fifo_raise(d, v, ch, port);
	else
		raise_2l(d, v, ch, port);
}

/* NULL: there is no such port. */
static struct evtchn *lookup(const struct domain *d, uint32_t port) REQUIRES(d->evtchn.lock)
{
	return likely(port < d->evtchn.nr_ports) ? evtchn_at(d, port) : NULL;
}

static bool in_use(const struct evtchn *ch)
{
	return ch && ch->state != EVTCHNSTAT_closed && ch->state != EVTCHN_RESERVED;
}

/* One more page of port objects. */
static int grow(struct domain *d) REQUIRES(d->evtchn.lock)
{
	struct evtchn *bucket = heap_alloc_pages(0);

	if (!bucket)
		return -ENOMEM;
	d->evtchn.buckets[d->evtchn.nr_ports / EVTCHN_PER_BUCKET] = bucket;
	d->evtchn.nr_ports += EVTCHN_PER_BUCKET;
	return 0;
}

/* Finds the lowest closed port; it stays closed until take(). 0, -ENOSPC, -ENOMEM, -EINVAL (dying). */
static int find_free(struct domain *d, uint32_t *port) REQUIRES(d->evtchn.lock)
{
	struct evtchn_domain *e = &d->evtchn;
	uint32_t limit = e->fifo ? EVTCHN_FIFO_NR_CHANNELS : limit_2l(d);
	uint32_t p = e->first_free;

	if (domain_dying(d))
		return -EINVAL;
	limit = MIN(limit, e->max_port + 1);
	while (p < limit && p < e->nr_ports &&
	       (evtchn_at(d, p)->state != EVTCHNSTAT_closed || (e->fifo && evtchn_fifo_busy(d, p)))) {
		if (p == e->first_free && evtchn_at(d, p)->state != EVTCHNSTAT_closed)
			e->first_free++;
		p++;
	}
	if (p >= limit)
		return -ENOSPC;
	*port = p;
	return p < e->nr_ports ? 0 : grow(d);
}

static struct evtchn *take(struct domain *d, uint32_t port, uint8_t state) REQUIRES(d->evtchn.lock)
{
	struct evtchn *ch = evtchn_at(d, port);

	ch->state = state;
	ch->vcpu = 0;
	ch->priority = EVTCHN_FIFO_PRIORITY_DEFAULT;
	ch->pending = false;
	d->evtchn.active++;
	return ch;
}

static void release(struct domain *d, struct evtchn *ch, uint32_t port) REQUIRES(d->evtchn.lock)
{
	if (d->evtchn.fifo)
		evtchn_fifo_clear(d, ch, port);
	else if (port < limit_2l(d))
		evtchn_bit_clear(pending_2l(d), port);
	ch->state = EVTCHNSTAT_closed;
	ch->vcpu = 0;
	d->evtchn.active--;
	if (port < d->evtchn.first_free)
		d->evtchn.first_free = port;
}

int evtchn_domain_init(struct domain *d, uint32_t max_port)
{
	struct evtchn_domain *e = &d->evtchn;
	int rc;

	spin_lock_init(&e->lock, LOCK_EVTCHN);
	e->max_port = MIN(max_port, EVTCHN_FIFO_NR_CHANNELS - 1u);
	e->buckets = heap_alloc(DIV_UP(e->max_port + 1ull, EVTCHN_PER_BUCKET) * sizeof(e->buckets[0]));
	if (!e->buckets)
		return -ENOMEM;
	spin_lock(&d->evtchn.lock);
	rc = grow(d);
	if (!rc) {
		evtchn_at(d, 0)->state = EVTCHN_RESERVED;
		e->first_free = 1;
	}
	spin_unlock(&d->evtchn.lock);
	return rc;
}

void evtchn_domain_destroy(struct domain *d)
{
	struct evtchn_domain *e = &d->evtchn;

	if (!e->buckets)
		return;
	ASSERT(!e->active && !e->fifo);
	for (uint32_t i = 0; i < e->nr_ports / EVTCHN_PER_BUCKET; i++)
		heap_free_pages(e->buckets[i], 0);
	heap_free(e->buckets, DIV_UP(e->max_port + 1ull, EVTCHN_PER_BUCKET) * sizeof(e->buckets[0]));
	e->buckets = NULL;
	e->nr_ports = 0;
}

/* Two domains, or twice the same. */
static void lock_pair(struct domain *a, struct domain *b) NO_LOCK_CHECK
{
	if (b->id < a->id) {
		struct domain *t = a;

		a = b;
		b = t;
	}
	spin_lock(&a->evtchn.lock);
	if (a != b)
		spin_lock(&b->evtchn.lock);
}

static void unlock_pair(struct domain *a, struct domain *b) NO_LOCK_CHECK
{
	if (a != b)
		spin_unlock(&b->evtchn.lock);
	spin_unlock(&a->evtchn.lock);
}

/* --- operations --- */

int evtchn_alloc_unbound(struct domain *d, uint16_t remote, uint32_t *port)
{
	int rc;

	spin_lock(&d->evtchn.lock);
	rc = find_free(d, port);
	if (!rc)
		take(d, *port, EVTCHNSTAT_unbound)->unbound = remote;
	spin_unlock(&d->evtchn.lock);
	return rc;
}

int evtchn_bind_interdomain(struct domain *d, struct domain *remote, uint32_t remote_port, uint32_t *port) NO_LOCK_CHECK
{
	struct evtchn *lch, *rch;
	int rc;

	lock_pair(d, remote);
	rc = find_free(d, port);
	if (rc)
		goto out;
	rch = lookup(remote, remote_port);
	rc = -EINVAL;
	if (!rch || rch->state != EVTCHNSTAT_unbound || rch->unbound != d->id)
		goto out;
	lch = take(d, *port, EVTCHNSTAT_interdomain);
	lch->peer.dom = remote;
	lch->peer.port = remote_port;
	rch->peer.dom = d;
	rch->peer.port = *port;
	rch->state = EVTCHNSTAT_interdomain;
	/* The other end may have sent before it was bound. */
	raise(d, lch, *port);
	rc = 0;
out:
	unlock_pair(d, remote);
	return rc;
}

bool evtchn_virq_is_global(uint32_t virq)
{
	return virq != VIRQ_TIMER && virq != VIRQ_DEBUG && virq != VIRQ_XENOPROF && virq != VIRQ_XENPMU;
}

int evtchn_bind_virq(struct domain *d, uint32_t virq, uint32_t vcpu, uint32_t *port)
{
	struct vcpu *v;
	struct evtchn *ch;
	uint32_t *slot;
	int rc;

	if (virq >= NR_VIRQS || (evtchn_virq_is_global(virq) && vcpu))
		return -EINVAL;
	v = domain_vcpu(d, vcpu);
	if (!v)
		return -ENOENT;
	slot = evtchn_virq_is_global(virq) ? &d->global_virq_port[virq] : &v->virq_port[virq];
	spin_lock(&d->evtchn.lock);
	rc = *slot ? -EEXIST : find_free(d, port);
	if (!rc) {
		ch = take(d, *port, EVTCHNSTAT_virq);
		ch->virq = virq;
		ch->vcpu = (uint16_t)vcpu;
		*slot = *port;
	}
	spin_unlock(&d->evtchn.lock);
	return rc;
}

int evtchn_bind_ipi(struct domain *d, uint32_t vcpu, uint32_t *port)
{
	int rc;

	if (!domain_vcpu(d, vcpu))
		return -ENOENT;
	spin_lock(&d->evtchn.lock);
	rc = find_free(d, port);
	if (!rc)
		take(d, *port, EVTCHNSTAT_ipi)->vcpu = (uint16_t)vcpu;
	spin_unlock(&d->evtchn.lock);
	return rc;
}

/* Closes a port that is in use; for an interdomain one the peer's lock is held too. */
static void close_locked(struct domain *d, struct evtchn *ch, uint32_t port) REQUIRES(d->evtchn.lock)
{
	if (ch->state == EVTCHNSTAT_interdomain) {
		struct evtchn *rch = evtchn_at(ch->peer.dom, ch->peer.port);

		rch->state = EVTCHNSTAT_unbound;
		rch->unbound = d->id;
	} else if (ch->state == EVTCHNSTAT_virq) {
		if (evtchn_virq_is_global(ch->virq))
			d->global_virq_port[ch->virq] = 0;
		else
			d->vcpu[ch->vcpu]->virq_port[ch->virq] = 0;
	}
	release(d, ch, port);
}

int evtchn_close(struct domain *d, uint32_t port) NO_LOCK_CHECK
{
	for (;;) {
		struct domain *peer;
		struct evtchn *ch;
		bool done;

		spin_lock(&d->evtchn.lock);
		ch = lookup(d, port);
		if (!in_use(ch)) {
			spin_unlock(&d->evtchn.lock);
			return -EINVAL;
		}
		peer = ch->state == EVTCHNSTAT_interdomain ? ch->peer.dom : d;
		if (peer->id >= d->id) {
			if (peer != d)
				spin_lock(&peer->evtchn.lock);
			close_locked(d, ch, port);
			unlock_pair(d, peer);
			return 0;
		}
		/* The peer's lock comes first: take both anew and see that nothing changed. */
		domain_hold(peer);
		spin_unlock(&d->evtchn.lock);
		lock_pair(d, peer);
		done = ch->state == EVTCHNSTAT_interdomain && ch->peer.dom == peer;
		if (done)
			close_locked(d, ch, port);
		unlock_pair(d, peer);
		domain_put(peer);
		if (done)
			return 0;
	}
}

int evtchn_send(struct domain *d, uint32_t port)
{
	struct evtchn *ch;
	int rc = 0;

	spin_lock(&d->evtchn.lock);
	ch = lookup(d, port);
	switch (ch ? ch->state : EVTCHNSTAT_closed) {
	case EVTCHNSTAT_interdomain:
		TRACE(TRACE_EVENT_SEND, d->id, port, ch->peer.dom->id, ch->peer.port);
		raise(ch->peer.dom, evtchn_at(ch->peer.dom, ch->peer.port), ch->peer.port);
		break;
	case EVTCHNSTAT_ipi:
		TRACE(TRACE_EVENT_SEND, d->id, port, d->id, port);
		raise(d, ch, port);
		break;
	case EVTCHNSTAT_unbound: /* nobody listens: lost */
		break;
	default:
		rc = -EINVAL;
	}
	spin_unlock(&d->evtchn.lock);
	return rc;
}

int evtchn_unmask(struct domain *d, uint32_t port)
{
	struct evtchn *ch;

	spin_lock(&d->evtchn.lock);
	ch = lookup(d, port);
	if (ch && d->evtchn.fifo)
		evtchn_fifo_unmask(d, d->vcpu[ch->vcpu], ch, port);
	else if (ch)
		unmask_2l(d, d->vcpu[ch->vcpu], port);
	spin_unlock(&d->evtchn.lock);
	return ch ? 0 : -EINVAL;
}

int evtchn_bind_vcpu(struct domain *d, uint32_t port, uint32_t vcpu)
{
	struct evtchn *ch;
	int rc = 0;

	if (!domain_vcpu(d, vcpu))
		return -ENOENT;
	spin_lock(&d->evtchn.lock);
	ch = lookup(d, port);
	if (ch && (ch->state == EVTCHNSTAT_unbound || ch->state == EVTCHNSTAT_interdomain ||
		   (ch->state == EVTCHNSTAT_virq && evtchn_virq_is_global(ch->virq))))
		__atomic_store_n(&ch->vcpu, (uint16_t)vcpu, __ATOMIC_RELAXED);
	else
		rc = -EINVAL;
	spin_unlock(&d->evtchn.lock);
	return rc;
}

int evtchn_status(struct domain *d, uint32_t port, struct evtchn_status_out *out)
{
	const struct evtchn *ch;

	*out = (struct evtchn_status_out){ .status = EVTCHNSTAT_closed };
	spin_lock(&d->evtchn.lock);
	ch = lookup(d, port);
	if (in_use(ch)) {
		out->status = ch->state;
		out->vcpu = ch->vcpu;
		if (ch->state == EVTCHNSTAT_unbound) {
			out->a = ch->unbound;
		} else if (ch->state == EVTCHNSTAT_virq) {
			out->a = ch->virq;
		} else if (ch->state == EVTCHNSTAT_interdomain) {
			out->a = ch->peer.dom->id;
			out->b = ch->peer.port;
		}
	}
	spin_unlock(&d->evtchn.lock);
	return ch ? 0 : -EINVAL;
}

/* Closes a piece of the ports in use; -ERESTART: there may be more. */
static int close_some(struct domain *d)
{
	unsigned closed = 0;

	for (uint32_t port = 1; port < __atomic_load_n(&d->evtchn.nr_ports, __ATOMIC_RELAXED); port++) {
		if (!in_use(evtchn_at(d, port)))
			continue;
		if (closed++ == PIECE)
			return -ERESTART;
		evtchn_close(d, port);
	}
	return 0;
}

int evtchn_reset(struct domain *d)
{
	struct evtchn_fifo *f = NULL;
	int rc = close_some(d);

	if (rc)
		return rc;
	spin_lock(&d->evtchn.lock);
	if (d->evtchn.active)
		rc = -EBUSY;
	else
		f = evtchn_fifo_detach(d);
	spin_unlock(&d->evtchn.lock);
	evtchn_fifo_free(f);
	return rc;
}

int evtchn_relinquish(struct domain *d)
{
	struct evtchn_fifo *f = NULL;
	int rc = 0;

	if (close_some(d))
		return -ERESTART;
	for (unsigned virq = 0; virq < NR_VIRQS; virq++) {
		uint16_t mine = (uint16_t)(d->id + 1);

		__atomic_compare_exchange_n(&virq_handler[virq], &mine, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	}
	spin_lock(&d->evtchn.lock);
	if (d->evtchn.active) /* opened by the tool stack's other CPU, which had not seen that d is dying */
		rc = -ERESTART;
	else
		f = evtchn_fifo_detach(d);
	spin_unlock(&d->evtchn.lock);
	evtchn_fifo_free(f);
	return rc;
}

void evtchn_vcpu_moved_info(struct vcpu *v)
{
	if (!v->info_vmap)
		return;
	/* Nothing may be lost in the move: the guest looks at everything once. */
	if (v->domain->compat_shinfo)
		__atomic_store_n((uint32_t *)v->info + 1, ~0u, __ATOMIC_SEQ_CST);
	else
		__atomic_store_n(&v->info->evtchn_pending_sel, ~0ul, __ATOMIC_SEQ_CST);
	__atomic_store_n(&v->info->evtchn_upcall_pending, 1, __ATOMIC_SEQ_CST);
	guest_event_pending(v);
}

/* --- raised by the hypervisor --- */

/* Through *slot, a VIRQ slot of d. */
static void raise_virq(struct domain *d, const uint32_t *slot)
{
	spin_lock(&d->evtchn.lock);
	if (*slot)
		raise(d, evtchn_at(d, *slot), *slot);
	spin_unlock(&d->evtchn.lock);
}

void evtchn_vcpu_virq(struct vcpu *v, uint32_t virq)
{
	raise_virq(v->domain, &v->virq_port[virq]);
}

void evtchn_domain_virq(struct domain *d, uint32_t virq)
{
	raise_virq(d, &d->global_virq_port[virq]);
}

/* Which action's right makes a domain the natural receiver of a global VIRQ. */
static enum action virq_action(uint32_t virq)
{
	if (virq == VIRQ_CONSOLE || virq == VIRQ_CON_RING)
		return ACTION_CONSOLE;
	return virq == VIRQ_DOM_EXC ? ACTION_DOMINFO : ACTION_SYSCTL;
}

void evtchn_global_virq(uint32_t virq)
{
	uint16_t handler = __atomic_load_n(&virq_handler[virq], __ATOMIC_RELAXED);
	struct domain *d = handler ? domain_get((domid_t)(handler - 1)) : NULL;

	for (uint32_t id = 0; !d && (d = domain_next((domid_t)id)) != NULL;) {
		if (d->global_virq_port[virq] && !policy_may(d, virq_action(virq), NULL))
			break;
		id = d->id + 1u;
		domain_put(d);
		d = NULL;
	}
	if (!d)
		return;
	evtchn_domain_virq(d, virq);
	domain_put(d);
}

int evtchn_set_global_virq_handler(struct domain *d, uint32_t virq)
{
	if (virq >= NR_VIRQS || !evtchn_virq_is_global(virq))
		return -EINVAL;
	__atomic_store_n(&virq_handler[virq], (uint16_t)(d->id + 1), __ATOMIC_RELAXED);
	return 0;
}

int evtchn_port_pending(struct domain *d, uint32_t port)
{
	int rc = -EINVAL;

	spin_lock(&d->evtchn.lock);
	if (lookup(d, port))
		rc = d->evtchn.fifo ? evtchn_fifo_pending(d, port) : evtchn_2l_pending(d, port);
	spin_unlock(&d->evtchn.lock);
	return rc;
}

uint32_t evtchn_active(struct domain *d)
{
	return __atomic_load_n(&d->evtchn.active, __ATOMIC_RELAXED);
}

uint32_t evtchn_pages(struct domain *d)
{
	return __atomic_load_n(&d->evtchn.nr_ports, __ATOMIC_RELAXED) / (uint32_t)EVTCHN_PER_BUCKET;
}
