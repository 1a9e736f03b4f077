/*
 * core/domain.c: domains and vCPUs: their life, their list, their reference counts, pausing and dying.
 *
 * Life: domain_create() -> paused, listed -> running -> (shutdown) -> dying: domain_kill() frees everything in bounded
 * pieces -> unlisted and freed when the last reference is gone. While a domain owns frames, those hold one reference
 * together (frame.c), so a dead domain whose frames others still map stays listed as dying.
 * Locks: domain_list_lock guards the list; domain.lock the fields said so.
 */
#ifndef CORE_DOMAIN_H
#define CORE_DOMAIN_H

#include "core/evtchn.h"
#include "core/grant.h"
#include "core/p2m.h"
#include "core/sched.h"
#include "core/timer.h"
#include "lib/lock.h"
#include "lib/types.h"
#include "lib/xen.h"

#define DOMAIN_MAX_VCPUS  128
#define DOMAIN_MAX_PARAMS HVM_NR_PARAMS

struct hvm_domain; /* hvm/ */
struct hvm_vcpu;

/* General registers of a vCPU while it is not in the guest; filled by the vendor's decode after each exit. */
struct regs {
	uint64_t rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags;
};

/* A record that the hypervisor writes for a vCPU in memory of its guest: less than a page, but in two pages perhaps. */
struct guest_area {
	gva_t gva;    /* as the guest gave it; 0: none */
	gpa_t gpa[2]; /* where it starts, and its second page, translated at registration */
};

struct vcpu {
	struct regs regs; /* first: svm_enter.S relies on it */
	struct domain *domain;
	uint32_t id;
	struct sched_vcpu sched;
	struct hvm_vcpu *hvm;

	/* The ABI's per-vCPU page, always mapped: in shared_info (vCPUs < 32), registered, or a dummy. */
	struct vcpu_info *info;
	struct vcpu_info *spare_info; /* used while there is no other place */
	void *info_vmap;	      /* page mapping to undo, when registered */
	mfn_t info_mfn;		      /* referenced frame, when registered */

	struct timer singleshot, periodic, poll;
	uint64_t periodic_ns;
	bool initialised; /* has a start state (VCPUOP_initialise, INIT-SIPI, domctl) */

	struct guest_area runstate_area, time_area;
	uint64_t runstate_stamp; /* state_entered of what was written last */
	bool runstate_compat;	 /* registered by a 32-bit caller */

	uint32_t poll_port;	       /* single-port poll: which, 0 = several; atomic */
	uint32_t virq_port[24];	       /* NR_VIRQS: port each per-vCPU VIRQ is bound to, 0 = none; evtchn.lock */
	struct evtchn_fifo_vcpu *fifo; /* FIFO control block state, core/evtchn_fifo.c; NULL */

	bool pinned;		 /* by SCHEDOP_pin_override; domctl_lock (hcall/domctl.c) */
	struct cpumask unpinned; /* the hard affinity it goes back to then */
};

/* Why a domain stopped; SHUTDOWN_* of xen/sched.h. */
#define DOMAIN_NOT_SHUT 0xff

struct domain {
	domid_t id;
	spinlock_t lock;
	struct domain *next; /* list by domid; domain_list_lock */
	uint32_t refs;	     /* atomic; the list holds one until the domain is unlisted */
	uint32_t rights;     /* RIGHT_* */
	uint8_t uuid[16];
	uint32_t options;   /* XEN_DOMCTL_CDF_* it was created with */
	uint32_t emulation; /* XEN_X86_EMU_* */
	bool direct_mapped; /* RAM is 1:1 (no IOMMU): frames come back only at their own gfn */

	bool is_dying;	   /* domain_kill() began; lock */
	bool is_shut_down; /* lock */
	uint8_t shutdown_code;
	uint8_t refusals_said;	  /* lines logged about what it asked for in vain; hcall/table.c */
	bool created_paused;	  /* the tool stack's initial pause; cleared by the first unpause */
	uint32_t pause_count;	  /* atomic: sched_domain_pause() */
	uint32_t ctl_pause_count; /* XEN_DOMCTL_pausedomain nesting; lock */
	unsigned kill_step;	  /* where domain_kill() goes on */

	uint32_t max_vcpus;
	struct vcpu **vcpu; /* max_vcpus pointers; NULL until made */

	uint64_t frames;     /* frames owned; atomic, written under the frame lock */
	uint64_t max_frames; /* XEN_DOMCTL_max_mem; ~0 = no limit */
	uint64_t claimed;    /* outstanding claim; frame lock */
	uint64_t
		node_affinity; /* NUMA nodes its memory comes from, a bit each; 0 = any; one atomic word, see core/numa.c */
	struct vnuma *vnuma;	/* core/numa.c; NULL: none */
	uint64_t node_wanted;	/* as the tool stack set it; 0 = follows the CPUs that its vCPUs may use; domctl_lock */
	uint8_t last_node;	/* where its last frames came from; frame lock */
	uint32_t foreign_maps;	/* P2M_FOREIGN entries in this domain's p2m */
	uint32_t shared_frames; /* FRAME_SHARED pages of it; frame lock */

	struct shared_info *shared_info; /* heap page, FRAME_SHARED */
	uint64_t shared_info_gfn;	 /* where the guest has it, ~0 = nowhere */
	bool compat_shinfo;		 /* the guest reads shared_info and vcpu_info in their 32-bit layout */
	struct p2m p2m;
	struct evtchn_domain evtchn;
	struct grant_table grant;
	struct hvm_domain *hvm;
	struct cpuid_policy *cpuid; /* hvm/cpuid.h */

	uint64_t params[64];	/* HVM_PARAM_* (DOMAIN_MAX_PARAMS <= 64); lock */
	struct e820entry *e820; /* XENMEM_set_memory_map; heap_alloc(e820_nr * sizeof) */
	uint32_t e820_nr;
	uint32_t vm_assist;
	uint32_t global_virq_port[24]; /* global VIRQs it bound, 0 = none; evtchn.lock */

	struct sched_domain sched;
	uint16_t sched_weight, sched_cap; /* cap: percent of one CPU, 0 = none; d->sched.lock */
	uint32_t tsc_mode, tsc_khz, tsc_incarnation;
	int64_t time_offset_seconds;
	struct timer watchdog[2]; /* SCHEDOP_watchdog */
	uint8_t watchdogs;	  /* bit per watchdog that the guest holds */
	uint64_t cpu_time_dead;	  /* ns its freed vCPUs ran */
	uint32_t ssidref;
	domid_t dm_target; /* the domain it is device model for, DOMID_INVALID */
};

extern spinlock_t domain_list_lock;

struct domain_config {
	domid_t id; /* 0..DOMID_FIRST_RESERVED-1; DOMID_INVALID = choose */
	uint32_t max_vcpus;
	uint32_t pool; /* id of a core/cpupool.h pool */
	uint32_t max_evtchn_port;
	int max_grant_frames, max_maptrack_frames;
	uint32_t grant_opts;
	uint32_t options;
	uint32_t emulation;
	uint32_t rights;
	uint8_t uuid[16];
	bool direct_mapped;
};

extern bool domain_no_reboot; /* boot option: the machine halts instead of rebooting when the hardware domain ends */

void domain_init(void);
/* Paused, without memory. 0, -EEXIST, -ENOMEM, -EINVAL. *out holds no extra reference (the list's keeps it). */
int domain_create(const struct domain_config *c, struct domain **out);
struct domain *domain_get(domid_t id); /* a reference, or NULL; DOMID_SELF is not understood here */
/* DOMID_SELF or a number, as hypercalls give it. */
struct domain *domain_get_for(struct domain *caller, domid_t id);
void domain_hold(struct domain *d);			/* one more reference */
static inline bool domain_dying(const struct domain *d) /* domain_kill() began; d->lock holds it still */
{
	return __atomic_load_n(&d->is_dying, __ATOMIC_RELAXED);
}
void domain_put(struct domain *d); /* the last one delists it; its memory goes at the next domain_reap() */
/* Frees domains whose last reference went. Run loop only: no lock held, no pointer to such a domain in use. */
void domain_reap(void);
/* Without taking a reference: for code that knows one is held (frame.c: a frame's owner lives while it owns frames). */
struct domain *domain_find(domid_t id);
struct domain *domain_next(domid_t from); /* first listed domain with id >= from, with a reference; NULL at the end */

/* Destroys in bounded pieces: 0 done (dead for good), -ERESTART call again, -EINVAL for the caller's own domain. */
int domain_kill(struct domain *d);
/* The guest or a fault ends it: vCPUs stop, VIRQ_DOM_EXC is raised. code: SHUTDOWN_* */
void domain_shutdown(struct domain *d, uint8_t code);
void domain_resume(struct domain *d); /* XEN_DOMCTL_resumedomain */
/* A guest's fault we cannot emulate, or a broken invariant of its making: prints why and the vCPU's state, once. */
void domain_crash(struct domain *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct vcpu *domain_vcpu(struct domain *d, uint32_t id); /* NULL when it does not exist */
int domain_vcpu_create(struct domain *d,
		       uint32_t id); /* down, with info in shared_info or dummy; 0, -EINVAL, -ENOMEM */
/* The guest told what width its kernel has (hypercall page, callback): shared_info is laid out for it from now on. */
void domain_latch_layout(struct domain *d, bool is_32bit);
/* VCPUOP_register_vcpu_info: 0, -EINVAL, -EBUSY, -ENOMEM. */
int domain_register_vcpu_info(struct vcpu *v, gfn_t g, uint32_t offset);
void domain_dump(void); /* debug key q */

#define for_each_vcpu(d, v)                                                                                            \
	for (uint32_t i_ = 0; i_ < (d)->max_vcpus; i_++)                                                               \
		if (((v) = (d)->vcpu[i_]) != NULL)

#endif
