/*
 * hcall/misc.c: the hypercalls of one line: vm_assist, set_timer_op, and those that a stock system probes and we answer
 * as a Xen built without them. Locks: none.
 */
#include "core/domain.h"
#include "hcall/table.h"
#include "port/machine.h"

/* xen/vcpu.h; the only assist an HVM or PVH guest may set. */
#define VM_ASSIST_VALID BIT(VMASST_TYPE_runstate_update_flag)

long hcall_vm_assist(struct hcall *h)
{
	uint32_t cmd = (uint32_t)h->arg[0], type = (uint32_t)h->arg[1];

	if (type >= 32 || !(VM_ASSIST_VALID & BIT(type)))
		return -EINVAL;
	switch (cmd) {
	case VMASST_CMD_enable:
		__atomic_fetch_or(&h->d->vm_assist, (uint32_t)BIT(type), __ATOMIC_RELAXED);
		return 0;
	case VMASST_CMD_disable:
		__atomic_fetch_and(&h->d->vm_assist, ~(uint32_t)BIT(type), __ATOMIC_RELAXED);
		return 0;
	default:
		return -ENOSYS;
	}
}

#define FAR_FUTURE_NS (1ull << 50) /* about 13 days */
#define FAR_RETRY_NS  100000000ull

/* Absolute system time in ns, 0 stops the timer; a 32-bit caller gives it in two words. */
long hcall_set_timer_op(struct hcall *h)
{
	uint64_t when = h->compat ? h->arg[0] | h->arg[1] << 32 : h->arg[0];
	uint64_t now = port_now();

	if (when == 0) {
		timer_stop(&h->v->singleshot);
		return 0;
	}
	/* A time that went negative or days away is a guest's overflow: it gets a tick soon and asks again. */
	if ((int64_t)when < 0 || (when > now && when - now > FAR_FUTURE_NS))
		when = now + FAR_RETRY_NS;
	timer_set(&h->v->singleshot, when);
	return 0;
}

long hcall_xsm_op(struct hcall *h)
{
	return -ENOSYS;
}

long hcall_hypfs_op(struct hcall *h)
{
	return hcall_unimplemented("hypfs_op", (uint32_t)h->arg[0], ENOSYS);
}

long hcall_mca(struct hcall *h)
{
	return -ENOSYS;
}

long hcall_kexec_op(struct hcall *h)
{
	return -ENOSYS;
}

long hcall_argo_op(struct hcall *h)
{
	return -ENOSYS;
}

long hcall_dm_op(struct hcall *h)
{
	return hcall_unimplemented("dm_op", 0, EOPNOTSUPP);
}

long hcall_nmi_op(struct hcall *h)
{
	return -ENOSYS;
}

long hcall_callback_op(struct hcall *h)
{
	return -ENOSYS;
}
