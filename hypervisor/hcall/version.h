/* hcall/version.c: what this hypervisor says it is. */
#ifndef HCALL_VERSION_H
#define HCALL_VERSION_H

#include "lib/types.h"

#define VERSION_MAJOR 4u /* the ABI's version, not ours */
#define VERSION_MINOR 17u
#define VERSION_EXTRA "-gossamer"

/* Boot only: the options as given, for XENVER_commandline (cut at 1023 characters). */
void version_set_cmdline(const char *s);

#endif
