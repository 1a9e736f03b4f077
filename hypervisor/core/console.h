/*
 * core/console.c: the serial console: log ring, levels and rate limit, input switch (ctrl-a three times) between the
 * domain that owns the console and the hypervisor's debug keys.
 */
#ifndef CORE_CONSOLE_H
#define CORE_CONSOLE_H

#include "core/log.h"

#define CONSOLE_RING_SIZE 65536u /* bytes, power of two */

void console_set_levels(int loglvl, int guest_loglvl);
/*
 * Raw text of the console-owning domain. It goes to the wire only, as with Xen: a domain that prints the ring on this console
 * would feed it for ever.
 */
void console_write_guest(unsigned domid, const char *s, size_t n);
/* Takes up to n bytes of input meant for the owning domain (CONSOLEIO_read). Returns how many. */
size_t console_read(char *buf, size_t n);
/*
 * `xl dmesg` (XEN_SYSCTL_readconsole): copies from ring position *index (absolute count) at most n bytes, sets *index to
 * where it ended. Older than the ring: starts at its oldest byte. Returns the number of bytes.
 */
size_t console_ring_read(uint32_t *index, char *buf, size_t n);
void console_ring_clear(void);
/* Runs debug keys asked for by input or `xl debug-keys`; called from the run loop, no locks held. */
void console_debug_key(char key);
void console_work(void); /* deferred: runs pending keys, raises VIRQ_CONSOLE for new input */

#endif
