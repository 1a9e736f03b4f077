// SPDX-License-Identifier: Apache-2.0
/*
 * Event channels (2-level), shared_info and system time of a guest test kernel.
 *
 * Owns: the shared_info page, the upcall handler. Locks: none, vCPU 0 only.
 * Invariants: after event_init() every unmasked pending event is counted in event_seen and cleared by the upcall.
 */
#include "guest.h"

struct shared_info *event_shared;
volatile unsigned int event_upcalls;
volatile unsigned int event_seen[EVENT_PORTS];

void event_map_shared(void)
{
	struct xen_add_to_physmap x = {
		.domid = DOMID_SELF,
		.space = XENMAPSPACE_shared_info,
	};

	/* Not in the image's 2 MiB: every walk to the code would get a level longer. */
	event_shared = guest_pages(1);
	x.gpfn = (unsigned long)event_shared / PAGE_SIZE;
	CHECK_EQ("map shared_info", hc_memory(XENMEM_add_to_physmap, &x), 0);
}

struct vcpu_info *event_vcpu(void)
{
	return &event_shared->vcpu_info[0];
}

#define BITS (8 * sizeof(xen_ulong_t))

static volatile xen_ulong_t *word(xen_ulong_t *array, evtchn_port_t port)
{
	return &array[port / BITS];
}

void event_set_mask(evtchn_port_t port, bool masked)
{
	volatile xen_ulong_t *w = word(event_shared->evtchn_mask, port);
	xen_ulong_t bit = (xen_ulong_t)1 << port % BITS;

	if (masked)
		__atomic_fetch_or(w, bit, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and(w, ~bit, __ATOMIC_SEQ_CST);
}

bool event_pending(evtchn_port_t port)
{
	return *word(event_shared->evtchn_pending, port) >> port % BITS & 1;
}

void event_clear(evtchn_port_t port)
{
	__atomic_fetch_and(word(event_shared->evtchn_pending, port), ~((xen_ulong_t)1 << port % BITS),
			   __ATOMIC_SEQ_CST);
}

bool event_take(evtchn_port_t port)
{
	xen_ulong_t bit = (xen_ulong_t)1 << port % BITS;

	return __atomic_fetch_and(word(event_shared->evtchn_pending, port), ~bit, __ATOMIC_SEQ_CST) & bit;
}

/* Public header xen.h, struct vcpu_info: clear upcall_pending before reading the selector. */
static void upcall(struct trap_regs *regs)
{
	struct vcpu_info *v = event_vcpu();
	xen_ulong_t sel;

	(void)regs;
	event_upcalls++;
	__atomic_store_n(&v->evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST);
	sel = __atomic_exchange_n(&v->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
	for (evtchn_port_t p = 0; p < EVENT_PORTS; p++) {
		if (!(sel >> p / BITS & 1) || !event_pending(p))
			continue;
		if (*word(event_shared->evtchn_mask, p) >> p % BITS & 1)
			continue;
		event_clear(p);
		event_seen[p]++;
	}
	apic_eoi();
}

void event_init(void)
{
	xen_hvm_evtchn_upcall_vector_t v = {.vcpu = 0, .vector = EVENT_VECTOR};

	event_map_shared();
	memset(event_shared->evtchn_mask, 0xff, sizeof(event_shared->evtchn_mask));
	apic_enable();
	trap_set(EVENT_VECTOR, upcall);
	CHECK_EQ("set upcall vector", hc_hvm(HVMOP_set_evtchn_upcall_vector, &v), 0);
	cpu_irq_window(); /* Xen asserts the vector once when it is set */
	event_upcalls = 0;
}

long event_alloc(domid_t dom, domid_t remote, evtchn_port_t *port)
{
	struct evtchn_alloc_unbound a = {.dom = dom, .remote_dom = remote};
	long rc = hc_event(EVTCHNOP_alloc_unbound, &a);

	*port = a.port;
	return rc;
}

long event_bind_virq(uint32_t virq, uint32_t vcpu, evtchn_port_t *port)
{
	struct evtchn_bind_virq b = {.virq = virq, .vcpu = vcpu};
	long rc = hc_event(EVTCHNOP_bind_virq, &b);

	*port = b.port;
	return rc;
}

long event_bind_ipi(uint32_t vcpu, evtchn_port_t *port)
{
	struct evtchn_bind_ipi b = {.vcpu = vcpu};
	long rc = hc_event(EVTCHNOP_bind_ipi, &b);

	*port = b.port;
	return rc;
}

long event_bind(domid_t remote, evtchn_port_t rport, evtchn_port_t *port)
{
	struct evtchn_bind_interdomain b = {.remote_dom = remote, .remote_port = rport};
	long rc = hc_event(EVTCHNOP_bind_interdomain, &b);

	*port = b.local_port;
	return rc;
}

long event_close(evtchn_port_t port)
{
	struct evtchn_close c = {.port = port};

	return hc_event(EVTCHNOP_close, &c);
}

long event_send(evtchn_port_t port)
{
	struct evtchn_send s = {.port = port};

	return hc_event(EVTCHNOP_send, &s);
}

long event_unmask(evtchn_port_t port)
{
	struct evtchn_unmask u = {.port = port};

	return hc_event(EVTCHNOP_unmask, &u);
}

/*
 * Public header xen.h, struct vcpu_time_info: ns = system_time + ((tsc - tsc_timestamp) << shift) * mul >> 32.
 * The product has 96 bits: two 64-bit ones, so that 32-bit kernels need no library.
 */
uint64_t event_time_by(volatile struct vcpu_time_info *t, uint64_t tsc)
{
	uint64_t delta, ns;
	uint32_t version;

	do {
		version = t->version;
		cpu_barrier();
		delta = tsc - t->tsc_timestamp;
		if (t->tsc_shift >= 0)
			delta <<= t->tsc_shift;
		else
			delta >>= -t->tsc_shift;
		ns = t->system_time + (delta >> 32) * t->tsc_to_system_mul +
		     (((delta & 0xffffffff) * t->tsc_to_system_mul) >> 32);
		cpu_barrier();
	} while (version & 1 || version != t->version);
	return ns;
}

uint64_t event_time_of(uint64_t tsc)
{
	return event_time_by(&event_vcpu()->time, tsc);
}

/* The TSC is read again when the record changed meanwhile: an old TSC under a new record would be in its past. */
uint64_t event_now_by(volatile struct vcpu_time_info *t)
{
	uint32_t before;
	uint64_t ns;

	do {
		before = t->version;
		ns = event_time_by(t, cpu_tsc());
	} while (before != t->version);
	return ns;
}

uint64_t event_now(void)
{
	return event_now_by(&event_vcpu()->time);
}

bool event_wait(volatile unsigned int *counter, unsigned int was, uint64_t ns)
{
	uint64_t end = event_now() + ns;

	while (*counter == was && event_now() < end)
		cpu_irq_window();
	return *counter != was;
}
