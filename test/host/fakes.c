/*
 * test/host/fakes.c: weak stand-ins for functions above and inside core/ that a test does not link. A real definition
 * replaces each of them.
 */
#include "host/host.h"

#include "core/evtchn.h"
#include "core/log.h"
#include "core/numa.h"
#include "core/perfc.h"
#include "core/policy.h"
#include "core/ptab.h"
#include "core/trace.h"
#include "core/guestmem.h"
#include "hvm/tsc.h"
#include "hvm/vendor.h"
#include "port/machine.h"
#include "port/upcall.h"

#include <stdio.h>
#include <stdlib.h>

#define WEAK __attribute__((weak))

bool host_quiet = true;
struct guest_paging host_paging;
struct vcpu *host_current;
unsigned host_tlb_flushes, host_events_pending;
bool host_preempt_wanted;
jmp_buf *host_panic_jump;

/* --- core/log.h --- */

static void say(const char *fmt, va_list ap)
{
	if (host_quiet)
		return;
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

WEAK void log_printf(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

WEAK void log_guest(enum log_level level, unsigned domid, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

WEAK _Noreturn void panic(const char *fmt, ...)
{
	va_list ap;

	if (host_panic_jump)
		longjmp(*host_panic_jump, 1);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

/* --- lib/lock.h: CPUs are switched nowhere --- */

#ifdef LOCK_TEST
WEAK void lock_point(void)
{
}

WEAK void lock_wait(void)
{
	__builtin_ia32_pause();
}
#endif

/* --- core/domain.h: a list of what the test made --- */

static struct domain *domains[16];

void host_domain_add(struct domain *d, domid_t id)
{
	d->id = id;
	d->refs = 1;
	d->max_frames = ~0ull;
	d->shutdown_code = DOMAIN_NOT_SHUT;
	spin_lock_init(&d->lock, LOCK_DOMAIN);
	for (unsigned i = 0; i < ARRAY_SIZE(domains); i++) {
		if (domains[i])
			continue;
		domains[i] = d;
		return;
	}
	abort();
}

void host_domain_reset(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(domains); i++)
		domains[i] = NULL;
}

WEAK struct domain *domain_find(domid_t id)
{
	for (unsigned i = 0; i < ARRAY_SIZE(domains); i++)
		if (domains[i] && domains[i]->id == id)
			return domains[i];
	return NULL;
}

WEAK void domain_hold(struct domain *d)
{
	d->refs++;
}

WEAK void domain_latch_layout(struct domain *d, bool is_32bit)
{
	d->compat_shinfo = is_32bit;
}

WEAK void domain_put(struct domain *d)
{
	if (!d->refs--)
		abort();
}

WEAK struct domain *domain_get(domid_t id)
{
	struct domain *d = domain_find(id);

	if (d)
		domain_hold(d);
	return d;
}

WEAK struct domain *domain_get_for(struct domain *caller, domid_t id)
{
	return domain_get(id == DOMID_SELF ? caller->id : id);
}

WEAK struct vcpu *domain_vcpu(struct domain *d, uint32_t id)
{
	return id < d->max_vcpus ? d->vcpu[id] : NULL;
}

WEAK void domain_crash(struct domain *d, const char *fmt, ...)
{
	d->is_shut_down = true;
	d->shutdown_code = SHUTDOWN_crash;
}

WEAK void domain_shutdown(struct domain *d, uint8_t code)
{
	d->is_shut_down = true;
	d->shutdown_code = code;
}

WEAK int policy_may(const struct domain *caller, enum action a, const struct domain *target)
{
	return caller == target || caller->rights == RIGHT_ALL ? 0 : -EPERM;
}

/* --- core/heap.h: the C library's --- */

WEAK void *heap_alloc(size_t size)
{
	return calloc(1, size);
}

WEAK void heap_free(void *p, size_t size)
{
	free(p);
}

WEAK void *heap_alloc_pages(unsigned order)
{
	void *p = aligned_alloc(PAGE_SIZE << order, PAGE_SIZE << order);

	return p ? __builtin_memset(p, 0, PAGE_SIZE << order) : NULL;
}

WEAK void heap_free_pages(void *p, unsigned order)
{
	free(p);
}

WEAK uint64_t heap_free_frames(void)
{
	return 0;
}

WEAK uint64_t heap_total_frames(void)
{
	return 0;
}

/* --- core/frame.h, core/p2m.h, core/guestmem.h: just enough to link --- */

WEAK void frame_share(struct domain *d, void *page)
{
	d->shared_frames++;
}

WEAK int frame_unshare(struct domain *d, void *page)
{
	d->shared_frames--;
	return 0;
}

WEAK void guestmem_forget_gfns(struct domain *d, uint64_t gfn, uint64_t count)
{
}

WEAK void *guestmem_window(mfn_t m)
{
	return port_window_map(0, m);
}

/* --- core/sched.h --- */

WEAK struct vcpu *sched_current(void)
{
	return host_current;
}

WEAK bool sched_needed(void)
{
	return host_preempt_wanted;
}

WEAK bool timer_due(void)
{
	return false;
}

/* --- port/guest.h --- */

WEAK int guest_domain_init(struct domain *d)
{
	return 0;
}

WEAK void guest_domain_destroy(struct domain *d)
{
}

WEAK int guest_vcpu_init(struct vcpu *v)
{
	return 0;
}

WEAK void guest_vcpu_destroy(struct vcpu *v)
{
}

WEAK void guest_paging_state(struct vcpu *v, struct guest_paging *out)
{
	*out = host_paging;
}

WEAK void sched_wake(struct vcpu *v)
{
}

WEAK void guest_event_pending(struct vcpu *v)
{
	host_events_pending++;
	sched_wake(v);
}

WEAK bool guest_interrupt_pending(struct vcpu *v)
{
	return false;
}

WEAK void guest_timer(struct vcpu *v, unsigned kind)
{
}

WEAK void guest_tlb_flush(struct domain *d)
{
	host_tlb_flushes++;
}

/* --- core/numa.h --- */

WEAK void numa_follow_vcpus(struct domain *d)
{
}

WEAK void numa_set_vnuma(struct domain *d, struct vnuma *t)
{
}

/* --- port/guest.h, continued --- */

WEAK void guest_tlb_sync(struct domain *d)
{
}

WEAK void guest_waits(bool on)
{
}

WEAK bool guest_tlb_settled(struct domain *d)
{
	return true;
}

WEAK void guest_switch_out(struct vcpu *v)
{
}

WEAK void guest_switch_in(struct vcpu *v)
{
}

WEAK uint64_t guest_tsc(struct vcpu *v, uint64_t host_tsc)
{
	return host_tsc;
}

WEAK bool guest_tsc_scale(struct vcpu *v, uint32_t *mul, int8_t *shift)
{
	port_tsc_scale(mul, shift);
	return port_tsc_reliable();
}

WEAK uint64_t tsc_host(struct vcpu *v, uint64_t guest)
{
	return guest;
}

WEAK void guest_dump(struct vcpu *v)
{
}

WEAK void guest_release_irqs(struct domain *d)
{
}

/* --- core/trace.h, core/perfc.h: off, and counted for nobody --- */

WEAK uint32_t trace_events;
WEAK struct perfc_cpu perfc_cpu[NR_CPUS];

WEAK void trace_record(uint32_t event, unsigned n, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
}

WEAK void trace_vcpu(uint32_t event, const struct vcpu *v)
{
}

WEAK void trace_runstate(const struct vcpu *v, unsigned to)
{
}

WEAK void trace_switch(const struct vcpu *prev, const struct vcpu *next, uint64_t ran, uint64_t waited)
{
}

WEAK struct domain *trace_owner(void)
{
	static struct domain owner = { .id = DOMID_XEN, .refs = 1 };

	return &owner;
}

WEAK int trace_get_frame(mfn_t m, bool *writable)
{
	return -EINVAL;
}

/* --- hvm/vendor.h: AMD's backend unless a test says otherwise, and it does nothing --- */

WEAK bool vendor_vmx;

#define FAKE_VENDOR(x)                                                                    \
	WEAK int x##_init(void)                                                           \
	{                                                                                 \
		return 0;                                                                 \
	}                                                                                 \
	WEAK int x##_cpu_init(unsigned cpu)                                               \
	{                                                                                 \
		return 0;                                                                 \
	}                                                                                 \
	WEAK int x##_vcpu_init(struct vcpu *v)                                            \
	{                                                                                 \
		return 0;                                                                 \
	}                                                                                 \
	WEAK void x##_vcpu_destroy(struct vcpu *v)                                        \
	{                                                                                 \
	}                                                                                 \
	WEAK void x##_flush_linear(struct vcpu *v)                                        \
	{                                                                                 \
	}                                                                                 \
	WEAK void x##_flush_nested(struct vcpu *v)                                        \
	{                                                                                 \
	}                                                                                 \
	WEAK void x##_run(struct vcpu *v, struct exit *e)                                 \
	{                                                                                 \
		abort();                                                                  \
	}                                                                                 \
	WEAK void x##_dump(struct vcpu *v)                                                \
	{                                                                                 \
	}                                                                                 \
	WEAK void x##_get_segment(struct vcpu *v, enum seg s, struct segment *out)        \
	{                                                                                 \
		abort();                                                                  \
	}                                                                                 \
	WEAK void x##_set_segment(struct vcpu *v, enum seg s, const struct segment *in)   \
	{                                                                                 \
		abort();                                                                  \
	}                                                                                 \
	WEAK unsigned x##_cpl(struct vcpu *v)                                             \
	{                                                                                 \
		abort();                                                                  \
	}                                                                                 \
	WEAK void x##_set_tsc_offset(struct vcpu *v, uint64_t offset)                     \
	{                                                                                 \
	}                                                                                 \
	WEAK void x##_set_tsc_rate(struct vcpu *v, uint64_t rate)                         \
	{                                                                                 \
	}                                                                                 \
	WEAK void x##_trap_tsc(struct vcpu *v, bool on)                                   \
	{                                                                                 \
	}                                                                                 \
	WEAK void x##_allow_debug_registers(struct vcpu *v)                               \
	{                                                                                 \
	}                                                                                 \
	WEAK void x##_window(struct vcpu *v)                                              \
	{                                                                                 \
	}                                                                                 \
	WEAK void x##_msr_pass(uint8_t *bitmap, uint32_t msr, bool writes)                \
	{                                                                                 \
	}

FAKE_VENDOR(svm)
FAKE_VENDOR(vmx)

WEAK bool vendor_may_use(const char *feature)
{
	return true;
}

WEAK int vendor_init(const char *off)
{
	return 0;
}

WEAK uint64_t vmx_get(struct vcpu *v, enum hvm_reg r)
{
	abort();
}

WEAK void vmx_set(struct vcpu *v, enum hvm_reg r, uint64_t value)
{
	abort();
}

WEAK void svm_switch_in(struct vcpu *v)
{
}

WEAK uint64_t vendor_tsc_rate_max;
WEAK bool vendor_xsaves, vendor_dirty_flags, vendor_logs_writes, vendor_x2apic_free, vendor_apic_delivers, vendor_apic_posted;

WEAK void vmx_switch_in(struct vcpu *v, bool held)
{
}

WEAK void vmx_switch_out(struct vcpu *v)
{
}

WEAK void hvm_redeliver(struct vcpu *v, uint64_t interrupted)
{
}

WEAK bool guest_uses_ept(void)
{
	return false;
}

bool host_logs_writes;

WEAK bool guest_logs_writes(void)
{
	return host_logs_writes;
}

WEAK bool guest_dirty_flags(void)
{
	return true;
}
