/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The measuring hand of the macro benchmark: one static program that runs in dom0 and in a guest.
 *
 * Owns: nothing but what it opens. Locks: none. Time is the TSC's, which the benchmark's QEMU runs at 1 GHz of virtual
 * time (one nanosecond an instruction); every result is a line "NAME NANOSECONDS" or "NAME BYTES NANOSECONDS".
 * As a process 1 it stops the machine at once, so that QEMU's clock shows when user space started.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <x86intrin.h>

#include "mark.h"

#define BUFFER	 (1u << 20)
#define PM1A_CNT 0x604 /* of QEMU's q35, ACPI 6 section 4.8.3.2; sleep type 0 is its S5 */
#define SLP_EN	 0x2000

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static void *buffer(void)
{
	void *p = aligned_alloc(4096, BUFFER);

	if (p == NULL)
		die("memory");
	memset(p, 0x5a, BUFFER);
	return p;
}

/* run NAME COMMAND...: how long the command takes. */
static int run(const char *name, char **command)
{
	unsigned long long start, end;
	int status;
	pid_t pid;

	mark_begin(mark_name(name));
	start = __rdtsc();
	pid = fork();
	if (pid == 0) {
		execvp(command[0], command);
		die(command[0]);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		die("fork");
	end = __rdtsc();
	mark_end(mark_name(name), end - start);
	if (status != 0)
		return 1;
	printf("ROW %s %llu\n", name, end - start);
	return 0;
}

/* until FILE TEXT: returns when the file has the text; looks every 5 ms, for a minute of instructions. */
static int until(const char *file, const char *text)
{
	struct timespec pause = { .tv_nsec = 5000000 };
	unsigned long long start = __rdtsc();
	char *b = buffer();

	while (__rdtsc() - start < 60000000000ull) {
		int fd = open(file, O_RDONLY);
		ssize_t n = fd < 0 ? 0 : read(fd, b, BUFFER);

		if (fd >= 0)
			close(fd);
		if (n > 0 && memmem(b, n, text, strlen(text)) != NULL)
			return 0;
		nanosleep(&pause, NULL);
	}
	return 1;
}

/* disk NAME r|w BLOCK TOTAL FILE: direct transfers of BLOCK bytes one after the other, the best of three passes. */
static int disk(const char *name, bool write_it, size_t block, size_t total, const char *file)
{
	unsigned long long best = ~0ull;
	int fd = open(file, O_RDWR | O_DIRECT);
	void *b = buffer();

	if (fd < 0 || block > BUFFER)
		die(file);
	for (int pass = 0; pass < 3; pass++) {
		unsigned long long start, took;

		mark_begin(mark_name(name));
		start = __rdtsc();
		for (size_t at = 0; at < total; at += block) {
			ssize_t n = write_it ? pwrite(fd, b, block, at) : pread(fd, b, block, at);

			if (n != (ssize_t)block)
				die(file);
		}
		took = __rdtsc() - start;
		mark_end(mark_name(name), took);
		if (took < best)
			best = took;
	}
	printf("ROW %s %zu %llu\n", name, total, best);
	return 0;
}

/* sink NAME PORT TIMES: takes connections one after the other; the best of them is the result. */
static int sink(const char *name, unsigned port, int times)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	unsigned long long best_bytes = 0, best = ~0ull;
	int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	char *b = buffer();

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(listener, 1) != 0)
		die("listen");
	while (times-- > 0) {
		unsigned long long bytes = 0, start, took;
		int s = accept(listener, NULL, NULL);
		ssize_t n;

		mark_begin(mark_name(name));
		start = __rdtsc();
		while ((n = read(s, b, BUFFER)) > 0)
			bytes += n;
		took = __rdtsc() - start;
		mark_end(mark_name(name), took);
		close(s);
		if (took < best) {
			best = took;
			best_bytes = bytes;
		}
	}
	printf("ROW %s %llu %llu\n", name, best_bytes, best);
	return 0;
}

/* send ADDRESS PORT BYTES TIMES: as many connections with as many bytes; waits for the sink to listen. */
static int send_all(const char *address, unsigned port, size_t bytes, int times)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	char *b = buffer(), end;

	inet_pton(AF_INET, address, &a.sin_addr);
	while (times-- > 0) {
		int s, tries = 0;

		while (s = socket(AF_INET, SOCK_STREAM, 0), connect(s, (struct sockaddr *)&a, sizeof(a)) != 0) {
			close(s);
			if (++tries == 300)
				die(address);
			usleep(100000);
		}
		for (size_t left = bytes; left != 0;) {
			ssize_t n = write(s, b, left < 65536 ? left : 65536);

			if (n <= 0)
				die("write");
			left -= n;
		}
		shutdown(s, SHUT_WR);
		(void)!read(s, &end, 1);
		close(s);
	}
	return 0;
}

static int machine_off(void)
{
	if (iopl(3) != 0)
		die("iopl");
	outw(SLP_EN, PM1A_CNT);
	pause();
	return 1;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (getpid() == 1)
		return machine_off();
	if (!strcmp(what, "run") && argc > 3)
		return run(argv[2], argv + 3);
	if (!strcmp(what, "until") && argc == 4)
		return until(argv[2], argv[3]);
	if (!strcmp(what, "disk") && argc == 7)
		return disk(argv[2], argv[3][0] == 'w', atol(argv[4]), atol(argv[5]), argv[6]);
	if (!strcmp(what, "sink") && argc == 5)
		return sink(argv[2], atoi(argv[3]), atoi(argv[4]));
	if (!strcmp(what, "send") && argc == 6)
		return send_all(argv[2], atoi(argv[3]), atol(argv[4]), atoi(argv[5]));
	return 2;
}
