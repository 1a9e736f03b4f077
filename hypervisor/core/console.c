/*
 * The serial console: what the hypervisor says, what the console-owning domain says, the ring with the former that `xl dmesg`
 * reads, input and debug keys, panic.
 *
 * Locks: console_lock (innermost) guards everything here. Input arrives from interrupt context, which is entered only where
 * its CPU holds no lock, so taking it there is safe. A panic stops the other CPUs and goes on without the lock.
 * Invariant: ring_end counts all bytes ever written; the ring holds the last CONSOLE_RING_SIZE of them, from ring_start.
 */
#include "core/console.h"

#include "core/domain.h"
#include "core/evtchn.h"
#include "core/frame.h"
#include "core/heap.h"
#include "core/numa.h"
#include "core/perfc.h"
#include "core/sched.h"
#include "lib/lib.h"
#include "lib/lock.h"
#include "lib/xen.h"
#include "port/machine.h"
#include "port/upcall.h"

#define LINE_SIZE	 320
#define INPUT_SIZE	 1024u /* power of two */
#define KEYS_SIZE	 16u
#define SWITCH_CHAR	 1 /* ctrl-a */
#define SWITCH_COUNT	 3
#define GUEST_WINDOW_NS	 5000000000ull
#define GUEST_WINDOW_MAX 50

static spinlock_t console_lock = SPINLOCK_INIT(LOCK_CONSOLE);

static char ring[CONSOLE_RING_SIZE] GUARDED_BY(&console_lock);
static uint32_t ring_start GUARDED_BY(&console_lock), ring_end GUARDED_BY(&console_lock);
static char last_char GUARDED_BY(&console_lock) = '\n'; /* on the wire */

static char input[INPUT_SIZE] GUARDED_BY(&console_lock);
static uint32_t input_start GUARDED_BY(&console_lock), input_end GUARDED_BY(&console_lock);
static char keys[KEYS_SIZE] GUARDED_BY(&console_lock);
static uint32_t nr_keys GUARDED_BY(&console_lock), switch_seen GUARDED_BY(&console_lock);
static bool input_to_keys GUARDED_BY(&console_lock);
static bool work_waits; /* atomic: keys or new input since the last console_work() */

static int level_shown = LOG_INFO, guest_level_shown = LOG_WARN;
static uint64_t window_start GUARDED_BY(&console_lock);
static uint32_t window_lines GUARDED_BY(&console_lock), window_lost GUARDED_BY(&console_lock);
static int panic_cpu = -1; /* atomic: the CPU that panics */

static void console_enter(void) ACQUIRE(&console_lock) NO_LOCK_CHECK
{
	int who = __atomic_load_n(&panic_cpu, __ATOMIC_RELAXED);

	if (likely(who < 0))
		spin_lock(&console_lock);
	else if (who != (int)port_cpu())
		for (;;) /* until port_halt() stops this CPU */
			__builtin_ia32_pause();
}

static void console_leave(void) RELEASE(&console_lock) NO_LOCK_CHECK
{
	if (likely(__atomic_load_n(&panic_cpu, __ATOMIC_RELAXED) < 0))
		spin_unlock(&console_lock);
}

void console_set_levels(int loglvl, int guest_loglvl)
{
	level_shown = loglvl;
	guest_level_shown = guest_loglvl;
}

static void ring_put(const char *s, size_t n) REQUIRES(&console_lock)
{
	for (size_t i = 0; i < n; i++)
		ring[ring_end++ % CONSOLE_RING_SIZE] = s[i];
	if (ring_end - ring_start > CONSOLE_RING_SIZE)
		ring_start = ring_end - CONSOLE_RING_SIZE;
}

/* To the wire, with a carriage return before each line feed that lacks one. */
static void wire_put(const char *s, size_t n) REQUIRES(&console_lock)
{
	size_t from = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\n' && last_char != '\r') {
			port_console_write(s + from, i - from);
			port_console_write("\r", 1);
			from = i;
		}
		last_char = s[i];
	}
	port_console_write(s + from, n - from);
}

static void put_line(const char *prefix, const char *fmt, va_list ap) REQUIRES(&console_lock)
{
	char line[LINE_SIZE];
	size_t n = lib_strlcpy(line, prefix, sizeof(line));
	int len = lib_vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);

	n = MIN(n + (size_t)len, sizeof(line) - 2);
	line[n++] = '\n';
	if (last_char != '\n')
		wire_put("\n", 1);
	ring_put(line, n);
	wire_put(line, n);
}

static void log_line(const char *prefix, const char *fmt, ...) __attribute__((format(printf, 2, 3)))
REQUIRES(&console_lock);
static void log_line(const char *prefix, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put_line(prefix, fmt, ap);
	va_end(ap);
}

void log_printf(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if ((int)level > level_shown)
		return;
	va_start(ap, fmt);
	console_enter();
	put_line("(GSM) ", fmt, ap);
	console_leave();
	va_end(ap);
}

void upcall_log(const char *line)
{
	log_printf(LOG_INFO, "%s", line);
}

/* May one more guest-caused line be shown in this window? Says how many were lost when a new one begins. */
static bool guest_line_allowed(void) REQUIRES(&console_lock)
{
	uint64_t now = port_now();

	if (now - window_start > GUEST_WINDOW_NS) {
		if (window_lost)
			log_line("(GSM) ", "%u messages about guests were not shown", window_lost);
		window_start = now;
		window_lines = 0;
		window_lost = 0;
	}
	if (window_lines >= GUEST_WINDOW_MAX) {
		window_lost++;
		return false;
	}
	window_lines++;
	return true;
}

void log_guest(enum log_level level, unsigned domid, const char *fmt, ...)
{
	char prefix[24];
	va_list ap;

	if ((int)level > guest_level_shown)
		return;
	lib_snprintf(prefix, sizeof(prefix), "(GSM) d%u: ", domid);
	va_start(ap, fmt);
	console_enter();
	if (guest_line_allowed())
		put_line(prefix, fmt, ap);
	console_leave();
	va_end(ap);
}

void console_write_guest(unsigned domid, const char *s, size_t n)
{
	console_enter();
	wire_put(s, n);
	console_leave();
}

size_t console_ring_read(uint32_t *index, char *buf, size_t n)
{
	size_t got = 0;
	uint32_t at;

	console_enter();
	at = *index;
	if (at - ring_start > ring_end - ring_start) /* older than the ring, or not a position at all */
		at = ring_start;
	while (got < n && at != ring_end)
		buf[got++] = ring[at++ % CONSOLE_RING_SIZE];
	*index = at;
	console_leave();
	return got;
}

void console_ring_clear(void)
{
	console_enter();
	ring_start = ring_end;
	console_leave();
}

/* --- input --- */

size_t console_read(char *buf, size_t n)
{
	size_t got = 0;

	console_enter();
	while (got < n && input_start != input_end)
		buf[got++] = input[input_start++ % INPUT_SIZE];
	console_leave();
	return got;
}

void upcall_console_rx(char c)
{
	console_enter();
	switch_seen = c == SWITCH_CHAR ? switch_seen + 1 : 0;
	if (switch_seen == SWITCH_COUNT) {
		switch_seen = 0;
		input_to_keys = !input_to_keys;
		log_line("(GSM) ", "input goes to %s (ctrl-a three times switches)",
			 input_to_keys ? "the hypervisor, key h lists its keys" : "the console's domain");
	} else if (input_to_keys) {
		if (nr_keys < KEYS_SIZE)
			keys[nr_keys++] = c;
	} else if (input_end - input_start < INPUT_SIZE) {
		input[input_end++ % INPUT_SIZE] = c;
	}
	console_leave();
	__atomic_store_n(&work_waits, true, __ATOMIC_RELEASE);
}

static void key_memory(void)
{
	log_info("memory, in 4 KiB frames: %lu in all, %lu free, %lu claimed", frame_total_count(), frame_free_count(),
		 frame_claimed());
	log_info("heap: %lu frames, %lu of them unused, %lu overhead; %lu small objects", heap_total_frames(),
		 heap_free_frames(), heap_overhead_frames(), heap_small_objects());
}

void console_debug_key(char key)
{
	log_info("'%c' pressed", key);
	switch (key) {
	case 'h':
		log_info("keys: h this list, m memory, q domains, u NUMA nodes, r run queues, p counters (P resets), R "
			 "reboot");
		break;
	case 'm':
		key_memory();
		break;
	case 'p':
		perfc_dump();
		break;
	case 'P':
		perfc_reset();
		break;
	case 'q':
		domain_dump();
		break;
	case 'r':
		sched_dump();
		break;
	case 'u':
		numa_dump();
		break;
	case 'R':
		log_info("reboot by debug key");
		port_reboot();
	default:
		if (key > ' ' && key < 127)
			log_info("key %c does nothing; h lists the keys", key);
		break;
	}
}

void console_work(void)
{
	char run[KEYS_SIZE];
	unsigned n;
	bool input_waits;

	if (likely(!__atomic_load_n(&work_waits, __ATOMIC_RELAXED)))
		return;
	__atomic_store_n(&work_waits, false, __ATOMIC_SEQ_CST);
	console_enter();
	n = nr_keys;
	memcpy(run, keys, n);
	nr_keys = 0;
	input_waits = input_start != input_end;
	console_leave();
	if (input_waits)
		evtchn_global_virq(VIRQ_CONSOLE);
	for (unsigned i = 0; i < n; i++)
		console_debug_key(run[i]);
}

/* --- the end --- */

void panic(const char *fmt, ...) NO_LOCK_CHECK
{
	int none = -1;
	va_list ap;

	if (!__atomic_compare_exchange_n(&panic_cpu, &none, (int)port_cpu(), false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED)) {
		if (none == (int)port_cpu())
			port_halt(); /* a panic within a panic */
		for (;;)
			__builtin_ia32_pause();
	}
	va_start(ap, fmt);
	put_line("(GSM) PANIC: ", fmt, ap);
	va_end(ap);
	port_backtrace();
	log_line("(GSM) ", "the machine has stopped");
	port_halt();
}

void upcall_fatal(const char *why)
{
	panic("%s", why);
}
