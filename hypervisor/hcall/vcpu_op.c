/*
 * hcall/vcpu_op.c: a domain's hold on its vCPUs: start, stop, timers, and the areas they report through. Source:
 * xen/vcpu.h, xen/hvm/hvm_vcpu.h. Locks: domain.lock for a vCPU's start state.
 */
#include "core/guestmem.h"
#include "core/time.h"
#include "hcall/compat.h"
#include "hcall/table.h"
#include "hvm/hvm.h"
#include "lib/lib.h"
#include "port/guest.h"
#include "port/machine.h"

COMPAT_SAME_SIZE(vcpu_register_vcpu_info);
COMPAT_SAME_SIZE(vcpu_register_runstate_memory_area);
COMPAT_SAME_SIZE(vcpu_register_time_memory_area);
COMPAT_SAME_SIZE(vcpu_set_periodic_timer);
_Static_assert(COMPAT_vcpu_set_singleshot_timer_timeout_abs_ns ==
			       offsetof(struct vcpu_set_singleshot_timer, timeout_abs_ns) &&
		       COMPAT_vcpu_set_singleshot_timer_flags == offsetof(struct vcpu_set_singleshot_timer, flags),
	       "only the padding differs");

#define PERIOD_MIN_NS 1000000ull
#define PERIOD_MAX_NS (~0ull >> 2)

static long set_singleshot(struct hcall *h, struct vcpu *v, gva_t arg)
{
	struct vcpu_set_singleshot_timer a;

	if (v != h->v)
		return -EINVAL;
	if (guestmem_read(v, &a, arg, h->compat ? COMPAT_vcpu_set_singleshot_timer_SIZE : sizeof(a)))
		return -EFAULT;
	/* VCPU_SSHOTTMR_future may be ignored, and is by Xen: a time in the past fires at once. */
	timer_set(&v->singleshot, a.timeout_abs_ns);
	return 0;
}

static long stop_singleshot(struct hcall *h, struct vcpu *v)
{
	if (v != h->v)
		return -EINVAL;
	timer_stop(&v->singleshot);
	return 0;
}

static long set_periodic(struct hcall *h, struct vcpu *v, gva_t arg)
{
	struct vcpu_set_periodic_timer a;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	if (a.period_ns < PERIOD_MIN_NS || a.period_ns > PERIOD_MAX_NS)
		return -EINVAL;
	v->periodic_ns = a.period_ns;
	timer_set(&v->periodic, port_now() + a.period_ns);
	return 0;
}

static long stop_periodic(struct vcpu *v)
{
	v->periodic_ns = 0;
	timer_stop(&v->periodic);
	return 0;
}

static long get_runstate(struct hcall *h, struct vcpu *v, gva_t arg)
{
	struct vcpu_runstate_info a = { 0 };
	uint8_t raw[COMPAT_vcpu_runstate_info_SIZE];

	sched_runstate(v, a.time, &a.state_entry_time, &a.state);
	if (!h->compat)
		return hcall_copy_out(h, arg, &a);
	memcpy(raw + COMPAT_vcpu_runstate_info_state, &a.state, sizeof(a.state));
	memcpy(raw + COMPAT_vcpu_runstate_info_state_entry_time, &a.state_entry_time, sizeof(a.state_entry_time));
	memcpy(raw + COMPAT_vcpu_runstate_info_time, a.time, sizeof(a.time));
	return guestmem_write(h->v, arg, raw, sizeof(raw));
}

/* A handle: 8 bytes, or 4 in the same place for a 32-bit caller. */
static int read_handle(struct hcall *h, gva_t arg, gva_t *out)
{
	*out = 0;
	return guestmem_read(h->v, out, arg, h->compat ? sizeof(uint32_t) : sizeof(*out));
}

static int writable_gpa(struct hcall *h, gva_t at, gpa_t *gpa)
{
	struct guestmem_fault f;

	return guestmem_translate(h->v, at, GUESTMEM_WRITE, gpa, &f);
}

/* 0, -EFAULT: *area is as it was. The guest's null pointer: none from now on. */
static int read_area(struct hcall *h, gva_t arg, uint32_t size, struct guest_area *area)
{
	struct guest_area a = { 0 };

	if (read_handle(h, arg, &a.gva))
		return -EFAULT;
	if (a.gva && (guestmem_check_write(h->v, a.gva, size) || writable_gpa(h, a.gva, &a.gpa[0]) ||
		      writable_gpa(h, a.gva + size - 1, &a.gpa[1])))
		return -EFAULT;
	a.gpa[1] &= PAGE_MASK; /* of an area in one page nobody asks for it */
	*area = a;
	return 0;
}

static long register_runstate(struct hcall *h, struct vcpu *v, gva_t arg)
{
	uint32_t size = h->compat ? COMPAT_vcpu_runstate_info_SIZE : sizeof(struct vcpu_runstate_info);
	int rc = read_area(h, arg, size, &v->runstate_area);

	if (!rc) {
		v->runstate_compat = h->compat;
		time_update_runstate(v);
	}
	return rc;
}

static long register_time(struct hcall *h, struct vcpu *v, gva_t arg)
{
	int rc = read_area(h, arg, sizeof(struct vcpu_time_info), &v->time_area);

	if (!rc)
		time_update_vcpu(v);
	return rc;
}

static long register_info(struct hcall *h, struct vcpu *v, gva_t arg)
{
	struct vcpu_register_vcpu_info a;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	if (v != h->v && v->sched.up)
		return -EINVAL;
	return domain_register_vcpu_info(v, GFN(a.mfn), a.offset);
}

static long initialise(struct hcall *h, struct vcpu *v, gva_t arg)
{
	struct vcpu_hvm_context ctx;
	int rc = -EEXIST;

	if (v->info == v->spare_info)
		return -EINVAL;
	if (hcall_copy_in(h, &ctx, arg))
		return -EFAULT;
	spin_lock(&h->d->lock);
	if (!v->initialised) {
		/* INIT takes it down just now, or did, and its CPU is about to leave it. */
		if (v->sched.up || __atomic_load_n(&v->sched.on_cpu, __ATOMIC_ACQUIRE))
			rc = v == h->v ? -EINVAL : -ERESTART;
		else
			rc = hvm_vcpu_start_context(v, &ctx);
	}
	spin_unlock(&h->d->lock);
	return rc;
}

static long up(struct vcpu *v)
{
	if (!__atomic_load_n(&v->initialised, __ATOMIC_ACQUIRE))
		return -EINVAL;
	if (!v->sched.up)
		sched_up(v);
	return 0;
}

static long send_nmi(struct vcpu *v, gva_t arg)
{
	if (arg)
		return -EINVAL;
	__atomic_store_n(&v->hvm->nmi_pending, true, __ATOMIC_RELEASE);
	sched_wake(v);
	return 0;
}

long hcall_vcpu_op(struct hcall *h)
{
	struct vcpu *v = domain_vcpu(h->d, (uint32_t)h->arg[1]);
	gva_t arg = h->arg[2];

	if (!v)
		return -ENOENT;
	switch ((uint32_t)h->arg[0]) {
	case VCPUOP_set_singleshot_timer:
		return set_singleshot(h, v, arg);
	case VCPUOP_stop_singleshot_timer:
		return stop_singleshot(h, v);
	case VCPUOP_set_periodic_timer:
		return set_periodic(h, v, arg);
	case VCPUOP_stop_periodic_timer:
		return stop_periodic(v);
	case VCPUOP_get_runstate_info:
		return get_runstate(h, v, arg);
	case VCPUOP_register_runstate_memory_area:
		return register_runstate(h, v, arg);
	case VCPUOP_register_vcpu_time_memory_area:
		return register_time(h, v, arg);
	case VCPUOP_register_vcpu_info:
		return register_info(h, v, arg);
	case VCPUOP_initialise:
		return initialise(h, v, arg);
	case VCPUOP_up:
		return up(v);
	case VCPUOP_down:
		sched_down(v);
		return 0;
	case VCPUOP_is_up:
		return v->sched.up;
	case VCPUOP_send_nmi:
		return send_nmi(v, arg);
	case VCPUOP_get_physid: /* only for a vCPU pinned for good */
		return -EINVAL;
	default:
		return -ENOSYS;
	}
}
