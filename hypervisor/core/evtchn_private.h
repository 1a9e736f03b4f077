/*
 * core/evtchn_private.h: what core/evtchn.c and core/evtchn_fifo.c share. Nobody else includes it.
 */
#ifndef CORE_EVTCHN_PRIVATE_H
#define CORE_EVTCHN_PRIVATE_H

#include "core/domain.h"

#define EVTCHN_PER_BUCKET (PAGE_SIZE / sizeof(struct evtchn))
#define EVTCHN_RESERVED	  6 /* port 0: like EVTCHNSTAT_* but never handed out */
#define EVTCHN_WORDS_PAGE (PAGE_SIZE / sizeof(event_word_t))
#define EVTCHN_FIFO_PAGES (EVTCHN_FIFO_NR_CHANNELS / EVTCHN_WORDS_PAGE)

/*
 * One port. All fields change under the evtchn.lock of the port's domain; the peer of an interdomain port only under the
 * locks of both domains, so that holding either keeps the binding. last_* and pending belong to the FIFO ABI.
 */
struct evtchn {
	uint8_t state; /* EVTCHNSTAT_* or EVTCHN_RESERVED */
	uint8_t priority;
	uint8_t last_priority; /* queue the port was linked on last; fifo lock */
	bool pending;	       /* raised while its word has no page yet */
	uint16_t vcpu;	       /* notified */
	uint16_t last_vcpu;    /* fifo lock */
	union {
		domid_t unbound; /* who may bind */
		struct {
			struct domain *dom;
			uint32_t port;
		} peer;
		uint32_t virq;
	};
} __attribute__((aligned(32)));

/*
 * The FIFO ABI of one domain. lock guards the queues (tails, last_*) against other CPUs; the event words are shared with
 * the guest and change by atomic operations only. Pages are added at the end and go only when no port is left.
 */
struct evtchn_fifo {
	spinlock_t lock;
	uint32_t nr_words; /* ports whose word is mapped: [0, nr_words) */
	event_word_t *page[EVTCHN_FIFO_PAGES];
	mfn_t mfn[EVTCHN_FIFO_PAGES];
	struct evtchn_fifo_vcpu *vcpus; /* all of them */
};

struct evtchn_fifo_vcpu {
	struct evtchn_fifo_control_block *control; /* inside page */
	void *page;
	mfn_t mfn;
	struct evtchn_fifo_vcpu *next;
	uint32_t tail[EVTCHN_FIFO_MAX_QUEUES]; /* last port linked, 0 = none; fifo lock */
};

/* The object of a port below nr_ports. Objects never move and never go before the domain. */
static inline struct evtchn *evtchn_at(const struct domain *d, uint32_t port)
{
	return &d->evtchn.buckets[port / EVTCHN_PER_BUCKET][port % EVTCHN_PER_BUCKET];
}

/* Bit operations on what the guest shares: 32-bit words, whatever its own word size (little endian: the same bits). */
static inline bool evtchn_bit_set(uint32_t *map, uint32_t bit) /* -> was it set */
{
	uint32_t m = 1u << (bit % 32);

	return __atomic_fetch_or(&map[bit / 32], m, __ATOMIC_SEQ_CST) & m;
}

static inline bool evtchn_bit_clear(uint32_t *map, uint32_t bit) /* -> was it set */
{
	uint32_t m = 1u << (bit % 32);

	return __atomic_fetch_and(&map[bit / 32], ~m, __ATOMIC_SEQ_CST) & m;
}

static inline bool evtchn_bit_test(const uint32_t *map, uint32_t bit)
{
	return __atomic_load_n(&map[bit / 32], __ATOMIC_SEQ_CST) >> (bit % 32) & 1;
}

/* evtchn.c: v has something to look at: its upcall is raised. / Pollers of port wake up. */
void evtchn_notify(struct vcpu *v);
void evtchn_wake_pollers(struct domain *d, uint32_t port);
/* evtchn.c: the pending bit of the 2-level ABI. */
bool evtchn_2l_pending(const struct domain *d, uint32_t port);

/* evtchn_fifo.c; all with d's evtchn.lock or a binding that keeps d->evtchn.fifo. v may be NULL: nobody to notify. */
void evtchn_fifo_raise(struct domain *d, struct vcpu *v, struct evtchn *ch, uint32_t port);
void evtchn_fifo_unmask(struct domain *d, struct vcpu *v, struct evtchn *ch, uint32_t port);
void evtchn_fifo_clear(struct domain *d, struct evtchn *ch, uint32_t port); /* a port closes: no longer pending */
bool evtchn_fifo_pending(const struct domain *d, uint32_t port);
bool evtchn_fifo_busy(const struct domain *d, uint32_t port); /* still linked on some queue */
/* Back to the 2-level ABI, when no port is in use. What detach gives is freed without the lock; NULL is fine. */
struct evtchn_fifo *evtchn_fifo_detach(struct domain *d);
void evtchn_fifo_free(struct evtchn_fifo *f);

#endif
