/*
 * hvm/context.c: a domain's machine state as save records (xen/hvm/save.h): XEN_DOMCTL_gethvmcontext,
 * sethvmcontext and gethvmcontext_partial. The domain is paused by the caller. sethvmcontext decodes and
 * checks everything, then commits.
 */
#ifndef HVM_CONTEXT_H
#define HVM_CONTEXT_H

#include "lib/types.h"

struct domain;

size_t context_size(struct domain *d);				  /* bytes context_save() needs */
int context_save(struct domain *d, void *buf, size_t size);	  /* -> bytes written, or -ENOSPC */
int context_load(struct domain *d, const void *buf, size_t size); /* 0, -EINVAL with a log line naming the record */
/* One record: type, instance; buf NULL gives the size. -> bytes, -ENOENT, -EINVAL, -ENOSPC. */
int context_save_one(struct domain *d, unsigned type, unsigned instance, void *buf, size_t size);

#endif
