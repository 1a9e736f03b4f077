/*
 * hcall/table.c: the Xen ABI surface. One table (hcall/ops.def) of number, name, arguments; one small function per op in the
 * file of its subject. The dispatcher is a switch made from the table.
 */
#ifndef HCALL_TABLE_H
#define HCALL_TABLE_H

#include "core/domain.h"

/*
 * Arguments are the caller's registers (rdi, rsi, rdx, r10, r8 in 64-bit mode; ebx, ecx, edx, esi, edi in 32-bit mode),
 * already widened. A handler that must be called again returns -ERESTART after it saved its progress in args (registers)
 * or in the guest's argument structure; the dispatcher writes args back and leaves RIP.
 */
struct hcall {
	struct vcpu *v;
	struct domain *d; /* v->domain */
	bool compat;	  /* 32-bit caller */
	uint64_t arg[6];
	uint32_t nr; /* a handler may change it for the restart (arch_1) */
};

/* EXIT_HYPERCALL: advances RIP (length as reported, 0 = decode) unless the call restarts. */
void hcall_exit(struct vcpu *v, unsigned length);
/* Runs one call (from hcall_exit and multicall), which may not be a multicall. Returns the value for RAX. */
long hcall_dispatch(struct hcall *h);
/* True when a long-running op should stop and restart (interrupt or scheduling work waits). */
bool hcall_preempt(void);
/* Logs once per (op, sub-op), as a guest's message, that it is not offered; returns err (-ENOSYS, -EOPNOTSUPP). */
long hcall_unimplemented(const char *op, unsigned sub, int err);

/* Copy helpers for structures at a guest address: 0 or -EFAULT. */
#define hcall_copy_in(h, dst, gva)  guestmem_read((h)->v, (dst), (gva), sizeof(*(dst)))
#define hcall_copy_out(h, gva, src) guestmem_write((h)->v, (gva), (src), sizeof(*(src)))

/* One handler per hypercall number, in the file of its name: hcall/memory.c etc. */
long hcall_memory_op(struct hcall *h);
long hcall_event_channel_op(struct hcall *h);
long hcall_grant_table_op(struct hcall *h);
long hcall_sched_op(struct hcall *h);
long hcall_vcpu_op(struct hcall *h);
long hcall_xen_version(struct hcall *h);
long hcall_console_io(struct hcall *h);
long hcall_hvm_op(struct hcall *h);
long hcall_physdev_op(struct hcall *h);
long hcall_platform_op(struct hcall *h);
long hcall_sysctl(struct hcall *h);
long hcall_domctl(struct hcall *h);
long hcall_multicall(struct hcall *h);
long hcall_vm_assist(struct hcall *h);
long hcall_xsm_op(struct hcall *h);
long hcall_set_timer_op(struct hcall *h);
long hcall_hypfs_op(struct hcall *h);
long hcall_mca(struct hcall *h);
long hcall_kexec_op(struct hcall *h);
long hcall_argo_op(struct hcall *h);
long hcall_dm_op(struct hcall *h);
long hcall_nmi_op(struct hcall *h);
long hcall_callback_op(struct hcall *h);

#endif
