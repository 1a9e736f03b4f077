/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a measured operation begins and ends, for the profiler (profile.sh): it stops at these two functions and knows the
 * row by their first argument. They do nothing and are called outside the measured time.
 */
#pragma once

/* profile_window.py computes the same. */
static inline unsigned long mark_name(const char *name)
{
	unsigned long n = 0;

	while (*name != '\0')
		n = n * 31 + (unsigned char)*name++;
	return n;
}

__attribute__((noinline, used)) static void mark_begin(unsigned long name)
{
	__asm__ volatile("" : : "r"(name));
}

/* took: the TSC's ticks since the beginning, instructions and idle time. */
__attribute__((noinline, used)) static void mark_end(unsigned long name, unsigned long took)
{
	__asm__ volatile("" : : "r"(name), "r"(took));
}
