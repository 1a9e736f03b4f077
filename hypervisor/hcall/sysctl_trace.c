/*
 * hcall/sysctl_trace.c: XEN_SYSCTL_tbuf_op (core/trace.c) and XEN_SYSCTL_perfc_op (core/perfc.c). Source: xen/sysctl.h.
 * Locks: none.
 */
#include "core/guestmem.h"
#include "core/perfc.h"
#include "core/trace.h"
#include "hcall/bitmap.h"
#include "hcall/sysctl.h"
#include "lib/lib.h"

static long set_cpus(struct sysctl_call *c)
{
	struct cpumask cpus;

	if (bitmap_copy_in(c->h, &cpus, &c->op.u.tbuf_op.cpu_mask))
		return -EFAULT;
	trace_set_cpus(cpus.word);
	return 0;
}

long sysctl_tbuf_op(struct sysctl_call *c)
{
	struct xen_sysctl_tbuf_op *t = &c->op.u.tbuf_op;

	switch (t->cmd) {
	case XEN_SYSCTL_TBUFOP_get_info:
		t->evt_mask = trace_get_events();
		t->buffer_mfn = trace_info(&t->size);
		return 0;
	case XEN_SYSCTL_TBUFOP_set_cpu_mask:
		return set_cpus(c);
	case XEN_SYSCTL_TBUFOP_set_evt_mask:
		trace_set_events(t->evt_mask);
		return 0;
	case XEN_SYSCTL_TBUFOP_set_size:
		return trace_make_rings(t->size);
	case XEN_SYSCTL_TBUFOP_enable:
		return trace_enable();
	case XEN_SYSCTL_TBUFOP_disable:
		trace_disable();
		return 0;
	default:
		return -EINVAL;
	}
}

static long copy_counter(struct hcall *h, unsigned i, gva_t desc, gva_t val)
{
	struct xen_sysctl_perfc_desc d = { .nr_vals = 0 };
	unsigned first, values;
	const char *name = perfc_name(i, &first, &values);

	lib_strlcpy(d.name, name, sizeof(d.name));
	d.nr_vals = values;
	if (desc && hcall_copy_out(h, desc + i * sizeof(d), &d))
		return -EFAULT;
	for (unsigned k = first; val && k < first + values; k++) {
		xen_sysctl_perfc_val_t v = perfc_sum(k);

		if (hcall_copy_out(h, val + k * sizeof(v), &v))
			return -EFAULT;
	}
	return 0;
}

/* The counters as they are, also before a reset. Each handle may be NULL; the caller asked for the numbers before. */
long sysctl_perfc_op(struct sysctl_call *c)
{
	struct xen_sysctl_perfc_op *p = &c->op.u.perfc_op;
	gva_t desc = (gva_t)p->desc.p, val = (gva_t)p->val.p;
	size_t desc_bytes = perfc_counters() * sizeof(struct xen_sysctl_perfc_desc);

	if (p->cmd != XEN_SYSCTL_PERFCOP_query && p->cmd != XEN_SYSCTL_PERFCOP_reset)
		return -EINVAL;
	if ((desc && guestmem_check_write(c->h->v, desc, desc_bytes)) ||
	    (val && guestmem_check_write(c->h->v, val, PERFC_VALUES * sizeof(xen_sysctl_perfc_val_t))))
		return -EFAULT;
	for (unsigned i = 0; i < perfc_counters(); i++)
		if (copy_counter(c->h, i, desc, val))
			return -EFAULT;
	if (p->cmd == XEN_SYSCTL_PERFCOP_reset)
		perfc_reset();
	p->nr_counters = perfc_counters();
	p->nr_vals = PERFC_VALUES;
	return 0;
}
