/*
 * hcall/hvm_op.c: HVM parameters and what a guest asks of its virtual machine. Source: xen/hvm/hvm_op.h,
 * xen/hvm/params.h. Locks: domain.lock for params.
 */
#include "core/guestmem.h"
#include "core/policy.h"
#include "hcall/table.h"
#include "hvm/hvm.h"
#include "lib/lib.h"
#include "port/guest.h"
#include "port/machine.h"

_Static_assert(HVM_NR_PARAMS <= ARRAY_SIZE(((struct domain *)0)->params), "params[] holds every parameter");

/* Who may set or read a parameter, and how often it changes. */
enum param_rule {
	PARAM_NONE = 0,	     /* hole, obsolete, or written by the hypervisor only */
	PARAM_TOOLS = 1,     /* set and read by the tool stack */
	PARAM_GUEST_GET = 2, /* read by the domain itself */
	PARAM_GUEST_SET = 4, /* set by the domain itself */
	PARAM_ONCE = 8,	     /* cannot be changed once it is not 0 */
};

static unsigned param_rule(uint32_t index)
{
	switch (index) {
	case HVM_PARAM_CALLBACK_IRQ:
	case HVM_PARAM_VM86_TSS:
	case HVM_PARAM_VM86_TSS_SIZED:
	case HVM_PARAM_ACPI_IOPORTS_LOCATION:
	case HVM_PARAM_VM_GENERATION_ID_ADDR:
	case HVM_PARAM_STORE_EVTCHN:
	case HVM_PARAM_CONSOLE_EVTCHN:
	case HVM_PARAM_X87_FIP_WIDTH:
		return PARAM_TOOLS | PARAM_GUEST_GET | PARAM_GUEST_SET;
	case HVM_PARAM_STORE_PFN:
	case HVM_PARAM_CONSOLE_PFN:
		return PARAM_TOOLS | PARAM_GUEST_GET;
	case HVM_PARAM_ALTP2M:
		return PARAM_TOOLS | PARAM_GUEST_GET | PARAM_ONCE;
	case HVM_PARAM_VIRIDIAN:
	case HVM_PARAM_IOREQ_SERVER_PFN:
	case HVM_PARAM_NR_IOREQ_SERVER_PAGES:
	case HVM_PARAM_MCA_CAP:
		return PARAM_TOOLS | PARAM_ONCE;
	case HVM_PARAM_IOREQ_PFN:
	case HVM_PARAM_BUFIOREQ_PFN:
	case HVM_PARAM_TIMER_MODE:
	case HVM_PARAM_HPET_ENABLED:
	case HVM_PARAM_IDENT_PT:
	case HVM_PARAM_DM_DOMAIN:
	case HVM_PARAM_ACPI_S_STATE:
	case HVM_PARAM_VPT_ALIGN:
	case HVM_PARAM_PAE_ENABLED:
	case HVM_PARAM_NESTEDHVM:
	case HVM_PARAM_PAGING_RING_PFN:
	case HVM_PARAM_MONITOR_RING_PFN:
	case HVM_PARAM_SHARING_RING_PFN:
	case HVM_PARAM_TRIPLE_FAULT_REASON:
		return PARAM_TOOLS;
	default:
		return PARAM_NONE;
	}
}

/* The value's own rules; nothing is written. */
static int param_check(uint32_t index, uint64_t value)
{
	switch (index) {
	case HVM_PARAM_TIMER_MODE:
		return value <= HVMPTM_one_missed_tick_pending ? 0 : -EINVAL;
	case HVM_PARAM_TRIPLE_FAULT_REASON:
		return value <= SHUTDOWN_MAX ? 0 : -EINVAL;
	case HVM_PARAM_X87_FIP_WIDTH:
		return value == 0 || value == 4 || value == 8 ? 0 : -EINVAL;
	case HVM_PARAM_ACPI_IOPORTS_LOCATION:
		return value <= 1 ? 0 : -EINVAL;
	case HVM_PARAM_ACPI_S_STATE:
		return value == 0 ? 0 : -EINVAL; /* S3 needs a device model's help */
	case HVM_PARAM_ALTP2M:
	case HVM_PARAM_NESTEDHVM:
	case HVM_PARAM_VIRIDIAN:
		return value == 0 ? 0 : (int)hcall_unimplemented("hvm_op set_param", index, EOPNOTSUPP);
	case HVM_PARAM_MCA_CAP:
		return value == 0 ? 0 : -EINVAL;
	default:
		return 0;
	}
}

/* HVM_PARAM_CALLBACK_IRQ: an interrupt line, a PCI pin's line, or a vector on every vCPU. */
static void set_callback(struct domain *d, uint64_t value)
{
	struct vcpu *v = domain_vcpu(d, 0);
	uint32_t gsi = 0;
	uint8_t vector = 0;

	switch (value >> 56) {
	case HVM_PARAM_CALLBACK_TYPE_GSI:
		gsi = (uint8_t)value;
		break;
	case HVM_PARAM_CALLBACK_TYPE_PCI_INTX: {
		/* The fixed swizzle of the virtual chipset: 32 lines above the 16 ISA ones. */
		uint32_t dev = (uint32_t)(value >> 11) & 31, pin = (uint32_t)value & 3;

		gsi = ((dev << 2) + (dev >> 3) + pin) % 32 + 16;
		break;
	}
	case HVM_PARAM_CALLBACK_TYPE_VECTOR:
		vector = (uint8_t)value;
		break;
	}
	d->hvm->callback_gsi = gsi;
	d->hvm->callback_vector = vector;
	spin_lock(&d->lock); /* v->info goes when d is dying */
	if (v && !domain_dying(d) && v->info->evtchn_upcall_pending)
		guest_event_pending(v);
	spin_unlock(&d->lock);
}

static long do_set_param(struct hcall *h, struct domain *d, uint32_t index, uint64_t value)
{
	unsigned rule = param_rule(index);
	int ret = policy_may(h->d, ACTION_PARAMS, d);

	if (ret)
		return ret;
	if (rule == PARAM_NONE)
		return -EINVAL;
	if (d == h->d && !(rule & PARAM_GUEST_SET))
		return -EPERM;
	ret = param_check(index, value);
	if (ret)
		return ret;

	spin_lock(&d->lock);
	if ((rule & PARAM_ONCE) && d->params[index] && d->params[index] != value)
		ret = -EEXIST;
	else
		d->params[index] = value;
	spin_unlock(&d->lock);
	if (!ret && index == HVM_PARAM_CALLBACK_IRQ) {
		set_callback(d, value);
		if (d == h->d)
			domain_latch_layout(d, h->compat);
	}
	return ret;
}

static long set_param(struct hcall *h, gva_t arg)
{
	struct xen_hvm_param a;
	struct domain *d;
	long ret;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	if (a.index >= HVM_NR_PARAMS)
		return -EINVAL;
	d = domain_get_for(h->d, a.domid);
	if (!d)
		return -ESRCH;
	ret = do_set_param(h, d, a.index, a.value);
	domain_put(d);
	return ret;
}

static long do_get_param(struct hcall *h, struct domain *d, uint32_t index, uint64_t *value)
{
	unsigned rule = param_rule(index);
	int ret = policy_may(h->d, ACTION_PARAMS, d);

	if (ret)
		return ret;
	if (rule == PARAM_NONE)
		return -EINVAL;
	if (d == h->d && !(rule & PARAM_GUEST_GET))
		return -EPERM;
	spin_lock(&d->lock);
	*value = d->params[index];
	if (index == HVM_PARAM_VM86_TSS)
		*value = (uint32_t)d->params[HVM_PARAM_VM86_TSS_SIZED];
	spin_unlock(&d->lock);
	return 0;
}

static long get_param(struct hcall *h, gva_t arg)
{
	struct xen_hvm_param a;
	struct domain *d;
	long ret;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	if (a.index >= HVM_NR_PARAMS)
		return -EINVAL;
	d = domain_get_for(h->d, a.domid);
	if (!d)
		return -ESRCH;
	ret = do_get_param(h, d, a.index, &a.value);
	domain_put(d);
	return ret ? ret : hcall_copy_out(h, arg, &a);
}

static long set_upcall_vector(struct hcall *h, gva_t arg)
{
	struct xen_hvm_evtchn_upcall_vector a;
	struct vcpu *v;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	if (a.vector < 16)
		return -EINVAL;
	v = domain_vcpu(h->d, a.vcpu);
	if (!v)
		return -ENOENT;
	v->hvm->upcall_vector = a.vector;
	if (v->info && v->info->evtchn_upcall_pending)
		guest_event_pending(v);
	return 0;
}

static uint16_t mem_type(enum p2m_type t)
{
	switch (t) {
	case P2M_RAM_RW:
	case P2M_RAM_LOGDIRTY:
	case P2M_RAM_TRACKED:
	case P2M_POD:
	case P2M_SHARED:
	case P2M_FOREIGN:
	case P2M_GRANT_RW:
		return HVMMEM_ram_rw;
	case P2M_RAM_RO:
	case P2M_GRANT_RO:
	case P2M_FOREIGN_RO:
		return HVMMEM_ram_ro;
	default:
		return HVMMEM_mmio_dm;
	}
}

static long get_mem_type(struct hcall *h, gva_t arg)
{
	struct xen_hvm_get_mem_type a;
	struct domain *d;
	int ret;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	d = domain_get_for(h->d, a.domid);
	if (!d)
		return -ESRCH;
	ret = policy_may(h->d, ACTION_PARAMS, d);
	if (!ret)
		a.mem_type = mem_type(p2m_lookup(d, GFN(a.pfn)).type);
	domain_put(d);
	return ret ? ret : hcall_copy_out(h, arg, &a);
}

/* A hint for shadow paging, which nobody here has: checked as far as Xen checks it, then refused the same way. */
static long pagetable_dying(struct hcall *h, gva_t arg)
{
	struct xen_hvm_pagetable_dying a;
	struct domain *d;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	d = domain_get_for(h->d, a.domid);
	if (!d)
		return -ESRCH;
	domain_put(d);
	return -EINVAL;
}

static long get_time(struct hcall *h, gva_t arg)
{
	struct xen_hvm_get_time a = { .now = port_now() };

	return hcall_copy_out(h, arg, &a);
}

/* A record for a trace buffer that is never on: checked and dropped. */
static long xentrace(struct hcall *h, gva_t arg)
{
	struct xen_hvm_xentrace a;

	if (hcall_copy_in(h, &a, arg))
		return -EFAULT;
	return a.extra_bytes <= sizeof(a.extra) ? 0 : -EINVAL;
}

long hcall_hvm_op(struct hcall *h)
{
	uint32_t op = (uint32_t)h->arg[0];
	gva_t arg = h->arg[1];

	switch (op) {
	case HVMOP_set_param:
		return set_param(h, arg);
	case HVMOP_get_param:
		return get_param(h, arg);
	case HVMOP_flush_tlbs:
		if (arg)
			return -EINVAL;
		guest_tlb_flush(h->d);
		return 0;
	case HVMOP_pagetable_dying:
		return pagetable_dying(h, arg);
	case HVMOP_get_time:
		return get_time(h, arg);
	case HVMOP_xentrace:
		return xentrace(h, arg);
	case HVMOP_get_mem_type:
		return get_mem_type(h, arg);
	case HVMOP_set_evtchn_upcall_vector:
		return set_upcall_vector(h, arg);
	case HVMOP_guest_request_vm_event: /* nobody listens */
		return arg ? -EINVAL : 0;
	case HVMOP_altp2m:
		return hcall_unimplemented("hvm_op", op, EOPNOTSUPP);
	default:
		return -ENOSYS;
	}
}
