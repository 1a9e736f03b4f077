/* hcall/sysctl*.c: XEN_SYSCTL_*: one function per sub-op, named in hcall/ops.def. */
#ifndef HCALL_SYSCTL_H
#define HCALL_SYSCTL_H

#include "hcall/table.h"

struct sysctl_call {
	struct hcall *h;
	struct xen_sysctl op; /* our copy; goes back on success when the table says so */
	bool back_on_error;   /* a handler's wish: it goes back although the call fails */
};

/* Each returns 0 or -errno. */
#define SYSCTL(name, dir) long sysctl_##name(struct sysctl_call *c);
#include "hcall/ops.def"

#endif
