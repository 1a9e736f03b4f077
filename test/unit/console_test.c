/* sources: core/console.c */
/*
 * The serial console: what reaches the wire and the ring that `xl dmesg` reads, levels, the rate limit of lines about guests,
 * input and who it is for, debug keys.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/console.h"
#include "core/frame.h"
#include "core/heap.h"
#include "host/host.h"
#include "lib/lib.h"
#include "port/upcall.h"

#define wire  host_console
#define wired host_console_len

static unsigned virqs, dumps[256];

void evtchn_global_virq(uint32_t virq)
{
	virqs++;
}

void domain_dump(void)
{
	dumps['q']++;
}

void sched_dump(void)
{
	dumps['r']++;
}

void numa_dump(void)
{
	dumps['u']++;
}

void perfc_dump(void)
{
	dumps['p']++;
}

void perfc_reset(void)
{
	dumps['P']++;
}

uint64_t frame_total_count(void)
{
	return 4711;
}

uint64_t frame_free_count(void)
{
	return 0;
}

uint64_t frame_claimed(void)
{
	return 0;
}

uint64_t heap_total_frames(void)
{
	return 0;
}

uint64_t heap_free_frames(void)
{
	return 0;
}

uint64_t heap_overhead_frames(void)
{
	return 0;
}

uint64_t heap_small_objects(void)
{
	return 0;
}

static int setup(void **state)
{
	static uint64_t test;

	host_machine(16);
	console_set_levels(LOG_INFO, LOG_WARN);
	console_ring_clear();
	host_ns = ++test * 100000000000; /* past the last one's window */
	wired = 0;
	wire[0] = 0;
	virqs = 0;
	memset(dumps, 0, sizeof(dumps));
	return 0;
}

static unsigned count(const char *text)
{
	unsigned n = 0;

	for (const char *at = wire; (at = strstr(at, text)); at++)
		n++;
	return n;
}

static void type(const char *s)
{
	while (*s)
		upcall_console_rx(*s++);
	console_work();
}

static void test_levels(void **state)
{
	log_err("an error");
	log_info("a %s", "word");
	log_debug("not shown");
	assert_string_equal(wire, "(GSM) an error\r\n(GSM) a word\r\n");
	console_set_levels(-1, -1);
	log_err("nor this");
	log_guest(LOG_ERR, 1, "nor this");
	console_set_levels(LOG_DEBUG, LOG_DEBUG);
	log_debug("now shown");
	log_guest(LOG_DEBUG, 3, "and this");
	assert_string_equal(wire, "(GSM) an error\r\n(GSM) a word\r\n(GSM) now shown\r\n(GSM) d3: and this\r\n");
}

/* A domain's half line stays one, and what it says is not in the ring. */
static void test_guest_text(void **state)
{
	char got[256];
	uint32_t index = 0;
	size_t n;

	console_write_guest(0, "login: ", 7);
	log_info("line");
	console_write_guest(0, "a\r\nb\n", 5);
	assert_string_equal(wire, "login: \r\n(GSM) line\r\na\r\nb\r\n");
	n = console_ring_read(&index, got, sizeof(got));
	assert_int_equal(n, strlen("(GSM) line\n"));
	assert_memory_equal(got, "(GSM) line\n", n);
}

static void test_rate_limit(void **state)
{
	for (unsigned i = 0; i < 80; i++)
		log_guest(LOG_WARN, 7, "number %u", i);
	assert_int_equal(count("(GSM) d7: number"), 50);
	log_info("our own are not limited");
	assert_int_equal(count("our own"), 1);
	host_ns += 5000000001;
	log_guest(LOG_WARN, 7, "again");
	assert_int_equal(count("(GSM) 30 messages about guests were not shown\r\n(GSM) d7: again"), 1);
}

/* The ring has the last 64 KiB; a reader that fell behind goes on with the oldest. */
static void test_ring(void **state)
{
	static char all[2 * CONSOLE_RING_SIZE];
	uint32_t index = 0, again;
	size_t n;

	log_info("first");
	n = console_ring_read(&index, all, sizeof(all));
	assert_memory_equal(all, "(GSM) first\n", n);
	assert_int_equal(console_ring_read(&index, all, sizeof(all)), 0);
	log_info("second");
	n = console_ring_read(&index, all, 5);
	n += console_ring_read(&index, all + n, sizeof(all) - n);
	assert_memory_equal(all, "(GSM) second\n", n);
	for (unsigned i = 0; i < 5000; i++)
		log_info("line %u of many that fill it", i);
	n = console_ring_read(&index, all, sizeof(all));
	assert_int_equal(n, CONSOLE_RING_SIZE);
	assert_memory_equal(all + n - 34, "(GSM) line 4999 of many that fill it\n" + 3, 34);
	again = 0x12345678; /* no position at all */
	assert_int_equal(console_ring_read(&again, all, sizeof(all)), CONSOLE_RING_SIZE);
	assert_int_equal(again, index);
	console_ring_clear();
	again = 0;
	assert_int_equal(console_ring_read(&again, all, sizeof(all)), 0);
}

static void test_long_line(void **state)
{
	char text[1000];

	memset(text, 'x', sizeof(text));
	text[999] = 0;
	log_info("%s", text);
	assert_in_range(wired, 300, 322);
	assert_memory_equal(wire + wired - 3, "x\r\n", 3);
}

/* Three times ctrl-a in a row: the keys are the hypervisor's, and then the domain's again. */
static void test_input(void **state)
{
	char got[2048];

	type("ls\x01\x01q\n");
	assert_int_equal(virqs, 1);
	assert_int_equal(console_read(got, sizeof(got)), 6);
	assert_memory_equal(got, "ls\x01\x01q\n", 6);
	assert_int_equal(dumps['q'], 0);
	type("\x01\x01\x01");
	assert_int_equal(count("input goes to the hypervisor"), 1);
	console_read(got, sizeof(got));
	type("qrupPm");
	assert_true(dumps['q'] == 1 && dumps['r'] == 1 && dumps['u'] == 1 && dumps['p'] == 1 && dumps['P'] == 1);
	assert_int_equal(count("memory, in 4 KiB frames: 4711 in all"), 1);
	assert_int_equal(console_read(got, sizeof(got)), 0);
	type("h%");
	assert_int_equal(count("keys: h this list"), 1);
	assert_int_equal(count("key % does nothing; h lists the keys"), 1);
	type("\x01\x01\x01");
	assert_int_equal(count("input goes to the console's domain"), 1);
	console_read(got, sizeof(got));
	type("q");
	assert_int_equal(dumps['q'], 1);
	assert_int_equal(console_read(got, sizeof(got)), 1);
	/* More than there is room for: what came first stays. */
	for (unsigned i = 0; i < 2000; i++)
		upcall_console_rx((char)('a' + i % 26));
	assert_int_equal(console_read(got, sizeof(got)), 1024);
	assert_memory_equal(got, "abc", 3);
}

static void test_reboot_key(void **state)
{
	jmp_buf back;

	host_panic_jump = &back;
	if (!setjmp(back)) {
		console_debug_key('R'); /* the fake machine's restart goes back */
		fail();
	}
	host_panic_jump = NULL;
	assert_int_equal(count("reboot by debug key"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_levels, setup),    cmocka_unit_test_setup(test_guest_text, setup),
		cmocka_unit_test_setup(test_rate_limit, setup), cmocka_unit_test_setup(test_ring, setup),
		cmocka_unit_test_setup(test_long_line, setup), cmocka_unit_test_setup(test_input, setup),
		cmocka_unit_test_setup(test_reboot_key, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
