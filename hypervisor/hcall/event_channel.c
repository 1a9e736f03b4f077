/*
 * hcall/event_channel.c: decodes EVENT_CHANNEL_OP; core/evtchn.c does the work. Source: xen/event_channel.h. The structures
 * are the same for 32-bit callers. Locks: none here.
 *
 * Where an op has a result, the room for it is checked before anything happens.
 */
#include "core/evtchn.h"
#include "core/guestmem.h"
#include "core/policy.h"
#include "hcall/compat.h"
#include "hcall/table.h"

COMPAT_SAME_SIZE(evtchn_init_control);
COMPAT_SAME_SIZE(evtchn_expand_array);

/* Reads an argument that comes back as a result. 0, -EFAULT. */
#define copy_inout(h, a, gva)                                                                                          \
	(hcall_copy_in(h, a, gva) || guestmem_check_write((h)->v, gva, sizeof(*(a))) ? -EFAULT : 0)

/* The domain an op acts on, with a reference. 0, -ESRCH, -EPERM. */
static int target(struct hcall *h, domid_t dom, struct domain **d)
{
	int rc;

	*d = domain_get_for(h->d, dom);
	if (!*d)
		return -ESRCH;
	rc = policy_may(h->d, ACTION_EVENTS, *d);
	if (rc)
		domain_put(*d);
	return rc;
}

static long alloc_unbound(struct hcall *h, gva_t arg)
{
	struct evtchn_alloc_unbound a;
	struct domain *d;
	int rc;

	if (copy_inout(h, &a, arg))
		return -EFAULT;
	rc = target(h, a.dom, &d);
	if (rc)
		return rc;
	rc = evtchn_alloc_unbound(d, a.remote_dom == DOMID_SELF ? h->d->id : a.remote_dom, &a.port);
	domain_put(d);
	return rc ? rc : hcall_copy_out(h, arg, &a);
}

static long bind_interdomain(struct hcall *h, gva_t arg)
{
	struct evtchn_bind_interdomain a;
	struct domain *remote;
	int rc;

	if (copy_inout(h, &a, arg))
		return -EFAULT;
	remote = domain_get_for(h->d, a.remote_dom);
	if (!remote)
		return -ESRCH;
	rc = evtchn_bind_interdomain(h->d, remote, a.remote_port, &a.local_port);
	domain_put(remote);
	return rc ? rc : hcall_copy_out(h, arg, &a);
}

/* Global VIRQs tell about the machine or other domains: who may know has the right. */
static int may_bind_virq(const struct domain *d, uint32_t virq)
{
	if (!evtchn_virq_is_global(virq) || virq == VIRQ_ARGO)
		return 0;
	if (virq == VIRQ_CONSOLE || virq == VIRQ_CON_RING)
		return policy_may(d, ACTION_CONSOLE, NULL);
	return policy_may(d, virq == VIRQ_DOM_EXC ? ACTION_DOMINFO : ACTION_SYSCTL, NULL);
}

static long bind_virq(struct hcall *h, gva_t arg)
{
	struct evtchn_bind_virq a;
	int rc;

	if (copy_inout(h, &a, arg))
		return -EFAULT;
	if (a.virq >= NR_VIRQS || (evtchn_virq_is_global(a.virq) && a.vcpu))
		return -EINVAL;
	rc = may_bind_virq(h->d, a.virq);
	if (!rc)
		rc = evtchn_bind_virq(h->d, a.virq, a.vcpu, &a.port);
	return rc ? rc : hcall_copy_out(h, arg, &a);
}

static long bind_ipi(struct hcall *h, gva_t arg)
{
	struct evtchn_bind_ipi a;
	int rc;

	if (copy_inout(h, &a, arg))
		return -EFAULT;
	rc = evtchn_bind_ipi(h->d, a.vcpu, &a.port);
	return rc ? rc : hcall_copy_out(h, arg, &a);
}

static void fill_status(struct evtchn_status *a, const struct evtchn_status_out *s)
{
	a->status = s->status;
	a->vcpu = s->vcpu;
	switch (s->status) {
	case EVTCHNSTAT_unbound:
		a->u.unbound.dom = (domid_t)s->a;
		break;
	case EVTCHNSTAT_interdomain:
		a->u.interdomain.dom = (domid_t)s->a;
		a->u.interdomain.port = s->b;
		break;
	case EVTCHNSTAT_virq:
		a->u.virq = s->a;
		break;
	}
}

static long status(struct hcall *h, gva_t arg)
{
	struct evtchn_status_out s;
	struct evtchn_status a;
	struct domain *d;
	int rc;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	rc = target(h, a.dom, &d);
	if (rc)
		return rc;
	rc = evtchn_status(d, a.port, &s);
	domain_put(d);
	if (rc)
		return rc;
	fill_status(&a, &s);
	return hcall_copy_out(h, arg, &a);
}

static long bind_vcpu(struct hcall *h, gva_t arg)
{
	struct evtchn_bind_vcpu a;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	return evtchn_bind_vcpu(h->d, a.port, a.vcpu);
}

static long reset(struct hcall *h, gva_t arg)
{
	struct evtchn_reset a;
	struct domain *d;
	int rc;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	rc = target(h, a.dom, &d);
	if (rc)
		return rc;
	/* Under another domain's feet only while the tool stack holds it still. */
	rc = d != h->d && !d->ctl_pause_count ? -EINVAL : evtchn_reset(d);
	domain_put(d);
	return rc;
}

static long init_control(struct hcall *h, gva_t arg)
{
	struct evtchn_init_control a;
	struct vcpu *v;
	int rc;

	if (copy_inout(h, &a, arg))
		return -EFAULT;
	v = domain_vcpu(h->d, a.vcpu);
	if (!v)
		return -ENOENT;
	rc = evtchn_init_control(v, a.control_gfn, a.offset);
	a.link_bits = EVTCHN_FIFO_LINK_BITS;
	return rc ? rc : hcall_copy_out(h, arg, &a);
}

static long expand_array(struct hcall *h, gva_t arg)
{
	struct evtchn_expand_array a;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	return evtchn_expand_array(h->d, a.array_gfn);
}

static long set_priority(struct hcall *h, gva_t arg)
{
	struct evtchn_set_priority a;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	return evtchn_set_priority(h->d, a.port, a.priority);
}

/* The ops whose argument is one port. */
static long by_port(struct hcall *h, uint32_t op, gva_t arg)
{
	evtchn_port_t port;

	if (hcall_copy_in(h, &port, arg))
		return -EFAULT;
	switch (op) {
	case EVTCHNOP_send:
		return evtchn_send(h->d, port);
	case EVTCHNOP_unmask:
		return evtchn_unmask(h->d, port);
	default:
		return evtchn_close(h->d, port);
	}
}

long hcall_event_channel_op(struct hcall *h)
{
	uint32_t op = (uint32_t)h->arg[0];
	gva_t arg = h->arg[1];

	switch (op) {
	case EVTCHNOP_send:
	case EVTCHNOP_unmask:
	case EVTCHNOP_close:
		return by_port(h, op, arg);
	case EVTCHNOP_alloc_unbound:
		return alloc_unbound(h, arg);
	case EVTCHNOP_bind_interdomain:
		return bind_interdomain(h, arg);
	case EVTCHNOP_bind_virq:
		return bind_virq(h, arg);
	case EVTCHNOP_bind_ipi:
		return bind_ipi(h, arg);
	case EVTCHNOP_bind_pirq: /* physical interrupts do not come as events here (no XENFEAT_hvm_pirqs) */
		return hcall_unimplemented("event_channel_op", op, EINVAL);
	case EVTCHNOP_status:
		return status(h, arg);
	case EVTCHNOP_bind_vcpu:
		return bind_vcpu(h, arg);
	case EVTCHNOP_reset:
		return reset(h, arg);
	case EVTCHNOP_init_control:
		return init_control(h, arg);
	case EVTCHNOP_expand_array:
		return expand_array(h, arg);
	case EVTCHNOP_set_priority:
		return set_priority(h, arg);
	default:
		return -ENOSYS;
	}
}
