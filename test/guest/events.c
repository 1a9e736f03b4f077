// SPDX-License-Identifier: Apache-2.0
/*
 * Event channels in the 2-level ABI: binding, sending, masks, upcalls, status, error codes.
 *
 * Source: public headers event_channel.h, xen.h (struct vcpu_info), hvm/params.h (callback via).
 */
#include "lib/guest.h"

const char guest_name[] = "events";

#define BAD_PORT	4000U	    /* in range of the ABI, never allocated here */
#define NO_PORT		0x7fffffffU /* beyond every ABI */
#define CALLBACK_VECTOR 0xf4

static long status_of(evtchn_port_t port, struct evtchn_status *s)
{
	*s = (struct evtchn_status){.dom = DOMID_SELF, .port = port};
	return hc_event(EVTCHNOP_status, s);
}

static void binding(void)
{
	evtchn_port_t unbound, unbound2, local, ipi, virq, again;
	struct evtchn_bind_vcpu bv;
	struct evtchn_status st;

	CHECK_EQ("alloc_unbound to self", event_alloc(DOMID_SELF, DOMID_SELF, &unbound), 0);
	CHECK("port 0 is never given", unbound != 0);
	CHECK_EQ("status of unbound", status_of(unbound, &st), 0);
	CHECK_EQ("status says unbound", st.status, EVTCHNSTAT_unbound);
	CHECK_EQ("bind_interdomain to self", event_bind(DOMID_SELF, unbound, &local), 0);
	CHECK("another port", local != unbound);
	CHECK_EQ("status of interdomain", status_of(local, &st), 0);
	CHECK_EQ("status says interdomain", st.status, EVTCHNSTAT_interdomain);
	CHECK_EQ("status shows the peer", st.u.interdomain.port, unbound);
	CHECK_EQ("a bound port cannot be bound", event_bind(DOMID_SELF, unbound, &again), -XEN_EINVAL);
	CHECK_EQ("bind to a free port", event_bind(DOMID_SELF, BAD_PORT, &again), -XEN_EINVAL);
	CHECK_EQ("bind to a port out of range", event_bind(DOMID_SELF, NO_PORT, &again), -XEN_EINVAL);
	CHECK_EQ("bind to no domain", event_bind(1234, 1, &again), -XEN_ESRCH);
	CHECK_EQ("alloc for no domain", event_alloc(1234, DOMID_SELF, &again), -XEN_ESRCH);

	CHECK_EQ("bind_ipi", event_bind_ipi(0, &ipi), 0);
	CHECK_EQ("status of ipi", status_of(ipi, &st), 0);
	CHECK_EQ("status says ipi", st.status, EVTCHNSTAT_ipi);
	CHECK_EQ("bind_ipi to no vCPU", event_bind_ipi(200, &again), -XEN_ENOENT);
	CHECK_EQ("bind_virq timer", event_bind_virq(VIRQ_TIMER, 0, &virq), 0);
	CHECK_EQ("status of virq", status_of(virq, &st), 0);
	CHECK_EQ("status says virq", st.status, EVTCHNSTAT_virq);
	CHECK_EQ("status names the virq", st.u.virq, VIRQ_TIMER);
	CHECK_EQ("a virq twice", event_bind_virq(VIRQ_TIMER, 0, &again), -XEN_EEXIST);
	CHECK_EQ("no such virq", event_bind_virq(NR_VIRQS, 0, &again), -XEN_EINVAL);
	CHECK_EQ("virq of no vCPU", event_bind_virq(VIRQ_DEBUG, 200, &again), -XEN_ENOENT);

	bv = (struct evtchn_bind_vcpu){.port = local, .vcpu = 0};
	CHECK_EQ("bind_vcpu of interdomain", hc_event(EVTCHNOP_bind_vcpu, &bv), 0);
	bv.vcpu = 200;
	CHECK_EQ("bind_vcpu to no vCPU", hc_event(EVTCHNOP_bind_vcpu, &bv), -XEN_ENOENT);
	bv = (struct evtchn_bind_vcpu){.port = ipi, .vcpu = 0};
	CHECK_EQ("bind_vcpu of an ipi", hc_event(EVTCHNOP_bind_vcpu, &bv), -XEN_EINVAL);
	bv.port = virq;
	CHECK_EQ("bind_vcpu of a vCPU's virq", hc_event(EVTCHNOP_bind_vcpu, &bv), -XEN_EINVAL);
	bv.port = BAD_PORT;
	CHECK_EQ("bind_vcpu of a free port", hc_event(EVTCHNOP_bind_vcpu, &bv), -XEN_EINVAL);

	CHECK_EQ("close interdomain", event_close(local), 0);
	CHECK_EQ("status of the peer then", status_of(unbound, &st), 0);
	CHECK_EQ("the peer is unbound again", st.status, EVTCHNSTAT_unbound);
	CHECK_EQ("close the peer", event_close(unbound), 0);
	CHECK_EQ("status of closed", status_of(unbound, &st), 0);
	CHECK_EQ("closed says closed", st.status, EVTCHNSTAT_closed);
	CHECK_EQ("close twice", event_close(unbound), -XEN_EINVAL);
	CHECK_EQ("close out of range", event_close(NO_PORT), -XEN_EINVAL);
	CHECK_EQ("a closed port is given again", event_alloc(DOMID_SELF, DOMID_SELF, &unbound2), 0);
	CHECK("the lowest free one", unbound2 <= unbound);
	CHECK_EQ("close that", event_close(unbound2), 0);
	CHECK_EQ("close ipi", event_close(ipi), 0);
	CHECK_EQ("close virq", event_close(virq), 0);
}

static void sending(void)
{
	evtchn_port_t a, b, ipi;
	unsigned int seen;

	event_alloc(DOMID_SELF, DOMID_SELF, &a);
	CHECK_EQ("send to unbound goes nowhere", event_send(a), 0);
	event_bind(DOMID_SELF, a, &b);
	event_bind_ipi(0, &ipi);
	event_clear(a);
	event_clear(b);
	event_set_mask(a, true);
	CHECK_EQ("send masked", event_send(b), 0);
	CHECK("masked is pending", event_pending(a));
	CHECK("the sender is not", !event_pending(b));
	cpu_irq_window();
	CHECK("no upcall while masked", event_pending(a));
	seen = event_seen[a];
	CHECK_EQ("unmask", event_unmask(a), 0);
	CHECK("upcall_pending is set", event_vcpu()->evtchn_upcall_pending);
	cpu_irq_window();
	CHECK_EQ("one upcall on unmask", event_seen[a], seen + 1);
	CHECK("pending is gone", !event_pending(a));
	CHECK("upcall_pending is gone", !event_vcpu()->evtchn_upcall_pending);

	seen = event_seen[a];
	CHECK_EQ("send", event_send(b), 0);
	CHECK_EQ("send again", event_send(b), 0);
	cpu_irq_window();
	CHECK_EQ("two sends before the upcall are one event", event_seen[a], seen + 1);

	event_set_mask(ipi, false);
	seen = event_seen[ipi];
	cpu_irq_on();
	CHECK_EQ("send ipi", event_send(ipi), 0);
	__asm__ volatile("nop; nop");
	cpu_irq_off();
	CHECK_EQ("ipi arrived at once", event_seen[ipi], seen + 1);
	CHECK_EQ("send to a free port", event_send(BAD_PORT), -XEN_EINVAL);
	CHECK_EQ("send out of range", event_send(NO_PORT), -XEN_EINVAL);
	CHECK_EQ("send to port 0", event_send(0), -XEN_EINVAL);
	CHECK_EQ("unmask out of range", event_unmask(NO_PORT), -XEN_EINVAL);
	event_send(b);
	CHECK_EQ("close with a pending event", event_close(a), 0);
	event_clear(a);
	event_close(b);
	event_close(ipi);
}

static void callback(struct trap_regs *regs)
{
	(void)regs;
	event_vcpu()->evtchn_upcall_pending = 0;
	event_vcpu()->evtchn_pending_sel = 0;
}

/* HVM_PARAM_CALLBACK_IRQ with a vector: delivered without the local APIC, so no EOI is owed. */
static void callback_via(void)
{
	xen_hvm_evtchn_upcall_vector_t v = {.vcpu = 0, .vector = 0};
	struct xen_hvm_param p = {
		.domid = DOMID_SELF,
		.index = HVM_PARAM_CALLBACK_IRQ,
		.value = (uint64_t)HVM_PARAM_CALLBACK_TYPE_VECTOR << 56 | CALLBACK_VECTOR,
	};
	evtchn_port_t ipi;

	trap_set(CALLBACK_VECTOR, callback);
	v.vcpu = 200;
	v.vector = EVENT_VECTOR;
	CHECK_EQ("upcall vector of no vCPU", hc_hvm(HVMOP_set_evtchn_upcall_vector, &v), -XEN_ENOENT);
	v = (xen_hvm_evtchn_upcall_vector_t){.vcpu = 0, .vector = 3};
	CHECK_EQ("upcall vector below 16", hc_hvm(HVMOP_set_evtchn_upcall_vector, &v), -XEN_EINVAL);
	v.vector = 0;
	CHECK_EQ("upcall vector 0", hc_hvm(HVMOP_set_evtchn_upcall_vector, &v), -XEN_EINVAL);
	CHECK_EQ("set callback via vector", hc_hvm(HVMOP_set_param, &p), 0);
	event_bind_ipi(0, &ipi);
	event_set_mask(ipi, false);
	event_send(ipi);
	cpu_irq_window();
	print("after both are set: upcall vector %u, callback via %u\n", trap_count[EVENT_VECTOR],
	      trap_count[CALLBACK_VECTOR]);
	event_close(ipi);
}

static void bad_calls(void)
{
	CHECK_EQ("unknown sub-op", hc_event(99, 0), -XEN_ENOSYS);
	CHECK_EQ("bad pointer, send", hc_event(EVTCHNOP_send, 0x7f0000000000UL), -XEN_EFAULT);
	/* Xen drops the top bits and reads page 0. */
	CHECK("non-canonical pointer, alloc", hc_event(EVTCHNOP_alloc_unbound, 0x8000000000000000UL) < 0);
	CHECK_EQ("bad pointer, status", hc_event(EVTCHNOP_status, -8UL), -XEN_EFAULT);
}

void guest_main(void)
{
	event_init();
	binding();
	sending();
	bad_calls();
	callback_via();
}
