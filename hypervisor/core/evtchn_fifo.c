/*
 * core/evtchn_fifo.c: the FIFO event channel ABI: event words in pages the guest registers, sixteen queues per vCPU linked
 * through them, and a control block with the queues' heads. Source: xen/event_channel.h (EVTCHN_FIFO_*).
 *
 * Locks: evtchn.lock of the domain for set-up and removal; evtchn_fifo.lock for the queues' tails and the last_* fields of ports.
 * Invariants: a word in [0, nr_words) is mapped as long as the ABI is on. Words, heads and ready bits belong to the guest
 * too: each is read once per decision, changed atomically, and a port number is never taken from them.
 */
#include "core/evtchn_private.h"

#include "core/frame.h"
#include "core/heap.h"
#include "lib/lib.h"
#include "port/machine.h"

#define PENDING (1u << EVTCHN_FIFO_PENDING)
#define MASKED	(1u << EVTCHN_FIFO_MASKED)
#define LINKED	(1u << EVTCHN_FIFO_LINKED)
#define BUSY	(1u << EVTCHN_FIFO_BUSY)

#define LINK_TRIES 4

static event_word_t *word_of(const struct evtchn_fifo *f, uint32_t port)
{
	if (unlikely(port >= __atomic_load_n(&f->nr_words, __ATOMIC_ACQUIRE)))
		return NULL;
	return &f->page[port / EVTCHN_WORDS_PAGE][port % EVTCHN_WORDS_PAGE];
}

static event_word_t word_read(const event_word_t *w)
{
	return __atomic_load_n(w, __ATOMIC_SEQ_CST);
}

/* Makes port the successor of the linked word w. False: w is not linked (any more), its queue is empty. */
static bool try_link(event_word_t *w, uint32_t port, bool *linked)
{
	event_word_t old = word_read(w);
	event_word_t new = (old & ~(BUSY | EVTCHN_FIFO_LINK_MASK)) | port;

	*linked = old & LINKED;
	return !*linked || __atomic_compare_exchange_n(w, &old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/*
 * The guest may clear LINKED or flip MASKED and PENDING while we link; BUSY asks it to hold still. One that does not
 * loses what was queued before.
 */
static bool link_after(event_word_t *w, uint32_t port)
{
	bool linked;

	for (int i = 0; i < LINK_TRIES; i++)
		if (try_link(w, port, &linked))
			return linked;
	__atomic_fetch_or(w, BUSY, __ATOMIC_SEQ_CST);
	for (int i = 0; i < LINK_TRIES; i++)
		if (try_link(w, port, &linked)) {
			if (!linked)
				__atomic_fetch_and(w, ~BUSY, __ATOMIC_SEQ_CST);
			return linked;
		}
	__atomic_fetch_and(w, ~BUSY, __ATOMIC_SEQ_CST);
	return false;
}

/* Puts a port whose word w was not linked on the queue of its priority on v, and notifies v when that was empty. */
static void enqueue(struct domain *d, struct vcpu *v, struct evtchn *ch, uint32_t port, event_word_t *w)
{
	struct evtchn_fifo *f = __atomic_load_n(&d->evtchn.fifo, __ATOMIC_ACQUIRE);
	struct evtchn_fifo_vcpu *q = __atomic_load_n(&v->fifo, __ATOMIC_SEQ_CST), *last;
	const struct vcpu *lv;
	uint8_t prio = __atomic_load_n(&ch->priority, __ATOMIC_RELAXED);
	uint32_t tail;
	bool first;

	if (!q)
		return; /* its control block comes later: evtchn_init_control() links then */
	spin_lock(&f->lock);
	if (__atomic_fetch_or(w, LINKED, __ATOMIC_SEQ_CST) & LINKED) {
		spin_unlock(&f->lock);
		return;
	}
	/* Being the tail of the queue it was on means that one is empty: the guest took it off. */
	lv = d->vcpu[ch->last_vcpu];
	last = lv ? __atomic_load_n(&lv->fifo, __ATOMIC_ACQUIRE) : NULL;
	if (last && last->tail[ch->last_priority] == port)
		last->tail[ch->last_priority] = 0;
	ch->last_vcpu = (uint16_t)v->id;
	ch->last_priority = prio;

	tail = q->tail[prio];
	first = !tail || !link_after(word_of(f, tail), port);
	if (first)
		__atomic_store_n(&q->control->head[prio], port, __ATOMIC_SEQ_CST);
	q->tail[prio] = port;
	spin_unlock(&f->lock);
	if (first && !evtchn_bit_set(&q->control->ready, prio))
		evtchn_notify(v);
}

void evtchn_fifo_raise(struct domain *d, struct vcpu *v, struct evtchn *ch, uint32_t port)
{
	struct evtchn_fifo *f = __atomic_load_n(&d->evtchn.fifo, __ATOMIC_ACQUIRE);
	event_word_t *w = word_of(f, port), old;

	if (unlikely(!w)) {
		spin_lock(&f->lock); /* against evtchn_expand_array() */
		w = word_of(f, port);
		if (!w)
			ch->pending = true;
		spin_unlock(&f->lock);
		if (!w)
			return;
	}
	old = __atomic_fetch_or(w, PENDING, __ATOMIC_SEQ_CST);
	if (v && !(old & (MASKED | LINKED)))
		enqueue(d, v, ch, port, w);
	if (!(old & PENDING))
		evtchn_wake_pollers(d, port);
}

void evtchn_fifo_unmask(struct domain *d, struct vcpu *v, struct evtchn *ch, uint32_t port)
{
	event_word_t *w = word_of(d->evtchn.fifo, port), old;

	if (!w)
		return;
	old = __atomic_fetch_and(w, ~MASKED, __ATOMIC_SEQ_CST);
	if (v && (old & (PENDING | LINKED)) == PENDING)
		enqueue(d, v, ch, port, w);
}

void evtchn_fifo_clear(struct domain *d, struct evtchn *ch, uint32_t port)
{
	event_word_t *w = word_of(d->evtchn.fifo, port);

	ch->pending = false;
	if (w)
		__atomic_fetch_and(w, ~PENDING, __ATOMIC_SEQ_CST);
}

bool evtchn_fifo_pending(const struct domain *d, uint32_t port)
{
	const event_word_t *w = word_of(d->evtchn.fifo, port);

	return w && (word_read(w) & PENDING);
}

bool evtchn_fifo_busy(const struct domain *d, uint32_t port)
{
	const event_word_t *w = word_of(d->evtchn.fifo, port);

	return w && (word_read(w) & LINKED);
}

/* --- set-up --- */

/* A long-lived mapping of the guest's frame. 0, -EINVAL, -ENOMEM. */
static int map_frame(struct domain *d, uint64_t gfn, void **page, mfn_t *m)
{
	int rc = gfn < P2M_MAX_GFN ? p2m_get_frame(d, GFN(gfn), true, m) : -EINVAL;

	if (rc)
		return rc;
	*page = port_vmap(*m);
	if (*page)
		return 0;
	frame_put(*m);
	return -ENOMEM;
}

static void unmap_frame(void *page, mfn_t m)
{
	port_vunmap(page);
	frame_put(m);
}

static void free_vcpu(struct evtchn_fifo_vcpu *q)
{
	if (q->page)
		unmap_frame(q->page, q->mfn);
	heap_free(q, sizeof(*q));
}

/*
 * The domain changes over: what is pending in the 2-level bitmap stays so, until its word has a page. The other ends of its
 * ports, which do not hold this lock, may send meanwhile: they set the bit and look at fifo, we set fifo and look at the bit.
 */
static void install(struct domain *d, struct evtchn_fifo *f) REQUIRES(d->evtchn.lock)
{
	for (uint32_t port = 1; port < d->evtchn.nr_ports; port++) {
		struct evtchn *ch = evtchn_at(d, port);

		ch->pending = false;
		ch->last_vcpu = 0;
		ch->last_priority = EVTCHN_FIFO_PRIORITY_DEFAULT;
	}
	__atomic_store_n(&d->evtchn.fifo, f, __ATOMIC_SEQ_CST);
	for (uint32_t port = 1; port < d->evtchn.nr_ports; port++) {
		struct evtchn *ch = evtchn_at(d, port);

		if (ch->state == EVTCHNSTAT_closed || !evtchn_2l_pending(d, port))
			continue;
		spin_lock(&f->lock);
		ch->pending = true;
		spin_unlock(&f->lock);
	}
}

/* v can be notified now: links what became pending for it before. Who raises sets PENDING and looks at v->fifo, we the reverse. */
static void catch_up(struct domain *d, struct vcpu *v) REQUIRES(d->evtchn.lock)
{
	uint32_t end = MIN(d->evtchn.nr_ports, d->evtchn.fifo->nr_words);

	for (uint32_t port = 1; port < end; port++) {
		struct evtchn *ch = evtchn_at(d, port);
		event_word_t *w = word_of(d->evtchn.fifo, port);

		if (ch->state != EVTCHNSTAT_closed && ch->vcpu == v->id &&
		    (word_read(w) & (PENDING | MASKED | LINKED)) == PENDING)
			enqueue(d, v, ch, port, w);
	}
}

static int commit_control(struct domain *d, struct vcpu *v, struct evtchn_fifo *f, struct evtchn_fifo_vcpu *q,
			  bool *f_used)
{
	int rc = 0;

	spin_lock(&d->evtchn.lock);
	if (domain_dying(d) || v->fifo) {
		rc = -EINVAL;
	} else {
		if (!d->evtchn.fifo) {
			install(d, f);
			*f_used = true;
		}
		q->next = d->evtchn.fifo->vcpus;
		d->evtchn.fifo->vcpus = q;
		__atomic_store_n(&v->fifo, q, __ATOMIC_SEQ_CST);
		catch_up(d, v);
	}
	spin_unlock(&d->evtchn.lock);
	return rc;
}

int evtchn_init_control(struct vcpu *v_target, uint64_t gfn, uint32_t offset)
{
	struct domain *d = v_target->domain;
	struct evtchn_fifo *f;
	struct evtchn_fifo_vcpu *q;
	bool f_used = false;
	int rc = -ENOMEM;

	if (offset > PAGE_SIZE - sizeof(*q->control) || offset % 8)
		return -EINVAL;
	f = heap_new(struct evtchn_fifo);
	q = heap_new(struct evtchn_fifo_vcpu);
	if (f && q) {
		spin_lock_init(&f->lock, LOCK_FIFO);
		rc = map_frame(d, gfn, &q->page, &q->mfn);
	}
	if (!rc) {
		q->control = (struct evtchn_fifo_control_block *)((char *)q->page + offset);
		rc = commit_control(d, v_target, f, q, &f_used);
	}
	if (!f_used)
		heap_free(f, sizeof(*f));
	if (rc && q)
		free_vcpu(q);
	return rc;
}

int evtchn_expand_array(struct domain *d, uint64_t gfn)
{
	struct evtchn_fifo *f;
	void *page;
	mfn_t m;
	uint32_t from = 0;
	int rc;

	if (!__atomic_load_n(&d->evtchn.fifo, __ATOMIC_RELAXED))
		return -EOPNOTSUPP;
	rc = map_frame(d, gfn, &page, &m);
	if (rc)
		return rc;
	spin_lock(&d->evtchn.lock);
	f = d->evtchn.fifo;
	if (!f || domain_dying(d)) {
		rc = -EOPNOTSUPP;
	} else if (f->nr_words == EVTCHN_FIFO_NR_CHANNELS) {
		rc = -ENOSPC;
	} else {
		spin_lock(&f->lock);
		from = f->nr_words;
		f->page[from / EVTCHN_WORDS_PAGE] = page;
		f->mfn[from / EVTCHN_WORDS_PAGE] = m;
		__atomic_store_n(&f->nr_words, from + (uint32_t)EVTCHN_WORDS_PAGE, __ATOMIC_RELEASE);
		spin_unlock(&f->lock);
	}
	for (uint32_t port = from; !rc && port < MIN(d->evtchn.nr_ports, from + EVTCHN_WORDS_PAGE); port++) {
		struct evtchn *ch = evtchn_at(d, port);

		if (ch->pending) {
			ch->pending = false;
			evtchn_fifo_raise(d, d->vcpu[ch->vcpu], ch, port);
		}
	}
	spin_unlock(&d->evtchn.lock);
	if (rc)
		unmap_frame(page, m);
	return rc;
}

int evtchn_set_priority(struct domain *d, uint32_t port, uint32_t priority)
{
	int rc = 0;

	spin_lock(&d->evtchn.lock);
	if (port >= d->evtchn.nr_ports)
		rc = -EINVAL;
	else if (!d->evtchn.fifo)
		rc = -ENOSYS;
	else if (priority > EVTCHN_FIFO_PRIORITY_MIN)
		rc = -EINVAL;
	else
		__atomic_store_n(&evtchn_at(d, port)->priority, (uint8_t)priority, __ATOMIC_RELAXED);
	spin_unlock(&d->evtchn.lock);
	return rc;
}

struct evtchn_fifo *evtchn_fifo_detach(struct domain *d)
{
	struct evtchn_fifo *f = d->evtchn.fifo;
	struct vcpu *v;

	if (!f)
		return NULL;
	for_each_vcpu (d, v)
		v->fifo = NULL;
	d->evtchn.fifo = NULL;
	return f;
}

void evtchn_fifo_free(struct evtchn_fifo *f)
{
	if (!f)
		return;
	while (f->vcpus) {
		struct evtchn_fifo_vcpu *q = f->vcpus;

		f->vcpus = q->next;
		free_vcpu(q);
	}
	for (uint32_t i = 0; i < f->nr_words / EVTCHN_WORDS_PAGE; i++)
		unmap_frame(f->page[i], f->mfn[i]);
	heap_free(f, sizeof(*f));
}
