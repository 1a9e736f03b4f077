/*
 * core/evtchn.c (ports, bindings, 2-level ABI) and core/evtchn_fifo.c (FIFO ABI). Source: xen/event_channel.h.
 * Locks: evtchn.lock of each domain; two domains: lower domid first. Port objects are never freed before the domain.
 */
#ifndef CORE_EVTCHN_H
#define CORE_EVTCHN_H

#include "lib/lock.h"
#include "lib/types.h"

struct domain;
struct vcpu;
struct evtchn; /* one port, 32 bytes or so; buckets of a heap page each */
struct evtchn_fifo;

#define EVTCHN_BUCKETS 1024 /* enough pages for EVTCHN_FIFO_NR_CHANNELS ports */

struct evtchn_domain { /* embedded in struct domain */
	spinlock_t lock;
	struct evtchn **buckets;  /* heap page(s) of pointers to heap pages of ports */
	uint32_t nr_ports;	  /* ports that have an object: [0, nr_ports) */
	uint32_t max_port;	  /* highest port allowed (createdomain max_evtchn_port) */
	uint32_t active;	  /* ports in use (state != closed) */
	uint32_t first_free;	  /* no closed port below this one */
	bool pollers;		  /* a vCPU has used SCHEDOP_poll; atomic, never cleared */
	struct evtchn_fifo *fifo; /* NULL: 2-level ABI */
};

int evtchn_domain_init(struct domain *d, uint32_t max_port);
int evtchn_relinquish(struct domain *d); /* closes all ports (domain is dying); 0, -ERESTART: call again */
void evtchn_domain_destroy(struct domain *d);
/* New vCPU or new vcpu_info place: FIFO/2-level state of v. On register_vcpu_info: everything pending is raised again. */
void evtchn_vcpu_moved_info(struct vcpu *v);

/* hypercall bodies; arguments as in xen/event_channel.h; return 0 or -errno. d is the caller unless said. */
int evtchn_alloc_unbound(struct domain *d, uint16_t remote, uint32_t *port);
int evtchn_bind_interdomain(struct domain *d, struct domain *remote, uint32_t remote_port, uint32_t *port);
int evtchn_bind_virq(struct domain *d, uint32_t virq, uint32_t vcpu, uint32_t *port); /* rights checked by caller */
bool evtchn_virq_is_global(uint32_t virq);
int evtchn_bind_ipi(struct domain *d, uint32_t vcpu, uint32_t *port);
int evtchn_close(struct domain *d, uint32_t port);
int evtchn_send(struct domain *d, uint32_t port);
int evtchn_unmask(struct domain *d, uint32_t port);
int evtchn_bind_vcpu(struct domain *d, uint32_t port, uint32_t vcpu);
struct evtchn_status_out {
	uint32_t status; /* EVTCHNSTAT_* */
	uint32_t vcpu;
	uint32_t a; /* unbound: remote domid; interdomain: remote domid; virq: virq; pirq: pirq */
	uint32_t b; /* interdomain: remote port */
};
int evtchn_status(struct domain *d, uint32_t port, struct evtchn_status_out *out);
int evtchn_reset(struct domain *d); /* -ERESTART: call again; -EBUSY: a port was bound meanwhile, the FIFO ABI stays */
int evtchn_init_control(struct vcpu *v_target, uint64_t gfn, uint32_t offset);
int evtchn_expand_array(struct domain *d, uint64_t gfn);
int evtchn_set_priority(struct domain *d, uint32_t port, uint32_t priority);

/* Raised by the hypervisor. Per-vCPU VIRQs (timer, debug) on v; global ones on the domain that bound them. */
void evtchn_vcpu_virq(struct vcpu *v, uint32_t virq);
void evtchn_domain_virq(struct domain *d, uint32_t virq);
/*
 * To the domain that XEN_DOMCTL_set_virq_handler named, else the first one that bound it and has its right (VIRQ_DOM_EXC:
 * xenstore or control, VIRQ_CONSOLE: console, others: control). Takes domain_list_lock: no lock may be held.
 */
void evtchn_global_virq(uint32_t virq);
int evtchn_set_global_virq_handler(struct domain *d, uint32_t virq); /* 0, or -EINVAL: not a global VIRQ */
/* SCHEDOP_poll: 1 the event of this port is pending (masked or not), 0 it is not, -EINVAL no such port. */
int evtchn_port_pending(struct domain *d, uint32_t port);
/* v, the caller, polls that port (0: several): from now on its events (0: all) wake v, masked or not. */
void evtchn_note_poller(struct vcpu *v, uint32_t port);
/* For `q` and leak tests. */
uint32_t evtchn_active(struct domain *d);
uint32_t evtchn_pages(struct domain *d); /* of port objects; they grow and stay */

#endif
