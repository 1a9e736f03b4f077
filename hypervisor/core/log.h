/* The console's log side: levels, the ring that `xl dmesg` reads, panic. Implemented in core/console.c. */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include "lib/types.h"

enum log_level { LOG_ERR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* One line, '\n' is added. Guest-caused messages go through log_guest (rate limited). Never blocks. */
void log_printf(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_guest(enum log_level level, unsigned domid, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#define log_err(...)   log_printf(LOG_ERR, __VA_ARGS__)
#define log_warn(...)  log_printf(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_printf(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_printf(LOG_DEBUG, __VA_ARGS__)

/* Our own mistake: prints message and symbolised trace, stops the machine. */
_Noreturn void panic(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define ASSERT(c)                                                                                                      \
	do {                                                                                                           \
		if (unlikely(!(c)))                                                                                    \
			panic("assertion failed: %s (%s:%d)", #c, __FILE__, __LINE__);                                 \
	} while (0)

#endif
