/*
 * hvm/offer.h: the external interrupt that a vendor backend offers to the guest at one entry, and what became of it. The
 * local APIC model moves it from IRR to ISR only when the guest took it: a vector whose delivery faulted stays pending.
 */
#ifndef HVM_OFFER_H
#define HVM_OFFER_H

#include "core/domain.h"
#include "hvm/hvm.h"
#include "hvm/vendor.h"

#define NO_VECTOR (-1)

/* struct exit's interrupted */
#define EVENT_VALID	 BIT(31)
#define EVENT_HAS_ERROR	 BIT(11)
#define EVENT_TYPE_SHIFT 8

struct offer {
	int vector;  /* or NO_VECTOR */
	bool direct; /* the callback vector, which is not in the local APIC */
};

/* What the guest would take now if it could. */
static inline struct offer offer_find(struct vcpu *v)
{
	if (unlikely(v->domain->hvm->callback_vector) && v->info->evtchn_upcall_pending && !v->hvm->upcall_vector)
		return (struct offer){ v->domain->hvm->callback_vector, true };
	if (unlikely(vendor_apic_delivers)) /* the CPU looks by itself */
		return (struct offer){ NO_VECTOR, false };
	return (struct offer){ vlapic_pending(v), false };
}

static inline void offer_make(struct vcpu *v, const struct offer *o)
{
	if (o->vector != NO_VECTOR && !o->direct)
		vlapic_offer(v, (uint8_t)o->vector);
}

/* taken: the CPU began to deliver it; e: the exit, which may have interrupted just that: then it is offered anew. */
static inline void offer_settle(struct vcpu *v, const struct offer *o, bool taken, struct exit *e)
{
	bool again = (e->interrupted & EVENT_VALID) && !(e->interrupted >> EVENT_TYPE_SHIFT & 7);

	if (o->vector == NO_VECTOR)
		return;
	if (unlikely(again) && (uint8_t)e->interrupted == o->vector)
		e->interrupted = 0;
	if (o->direct)
		return;
	if (taken && !again)
		vlapic_ack(v, (uint8_t)o->vector);
	else
		vlapic_retract(v, (uint8_t)o->vector);
}

#endif
