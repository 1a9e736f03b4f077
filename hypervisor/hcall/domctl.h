/* hcall/domctl*.c: XEN_DOMCTL_*: one function per sub-op, named in hcall/ops.def. */
#ifndef HCALL_DOMCTL_H
#define HCALL_DOMCTL_H

#include "hcall/table.h"

struct domctl_call {
	struct hcall *h;
	struct domain *d;     /* the target, referenced; NULL for createdomain */
	struct xen_domctl op; /* our copy; goes back on success when the table says so */
	bool back_on_error;   /* a handler's wish: it goes back although the call fails */
};

/* Each returns 0 or a positive result, -errno, or -ERESTART (progress is kept in the target or the caller's arguments).
 */
#define DOMCTL(name, target, dir) long domctl_##name(struct domctl_call *c);
#include "hcall/ops.def"

/* What changes domains or pools goes one at a time. False: it is taken; the caller restarts. */
bool domctl_trylock(void);
void domctl_unlock(void);
/* Also for XEN_SYSCTL_getdomaininfolist. */
void domctl_fill_info(struct domain *d, struct xen_domctl_getdomaininfo *info);

#endif
