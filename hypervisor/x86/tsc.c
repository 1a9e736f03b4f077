/*
 * Do all CPUs see the same TSC? Each CPU that starts takes turns with the boot CPU: every reading must be at least the one
 * that the other took before it. Source: SDM vol. 3, 18.17. Start-up only, one pair of CPUs at a time: check.cpu says which CPU
 * takes part and check.turn whose turn it is (even: the boot CPU's); what they hand over is ordered by turn. No locks.
 *
 * A TSC that is not the same everywhere is used all the same, there is no other clock as fine; but then guests are not told
 * that it is stable (each makes its own clock from never going back), and by default they do not read it directly.
 */
#include "lib/lib.h"
#include "port/boot.h"
#include "x86/cpu.h"
#include "x86/x86.h"

#define TURNS 64u

static struct {
	unsigned cpu; /* 0: nobody */
	unsigned turn;
	struct tsc_check seen;
} check;
static bool reliable = true;

bool port_tsc_reliable(void)
{
	return reliable;
}

void port_boot_distrust_tsc(void)
{
	reliable = false;
	x86_log("TSC: not to be trusted, as the options say: guests' clocks go without the stable bit");
}

void tsc_check_turn(struct tsc_check *c, uint64_t now)
{
	if (now < c->last)
		c->behind = MAX(c->behind, c->last - now);
	c->last = now;
}

/* parity: 0 for the boot CPU, 1 for the other. */
static void take_turns(unsigned parity)
{
	for (unsigned t = parity; t < TURNS; t += 2) {
		while (__atomic_load_n(&check.turn, __ATOMIC_ACQUIRE) != t)
			x86_pause();
		tsc_check_turn(&check.seen, x86_rdtsc_ordered());
		__atomic_store_n(&check.turn, t + 1, __ATOMIC_RELEASE);
	}
}

void tsc_check_join(unsigned cpu, const bool *given_up)
{
	while (__atomic_load_n(&check.cpu, __ATOMIC_ACQUIRE) != cpu) {
		if (__atomic_load_n(given_up, __ATOMIC_ACQUIRE))
			return;
		x86_pause();
	}
	take_turns(1);
}

void tsc_check_with(unsigned cpu)
{
	check.seen = (struct tsc_check){ 0 };
	check.turn = 0;
	__atomic_store_n(&check.cpu, cpu, __ATOMIC_RELEASE);
	take_turns(0);
	while (__atomic_load_n(&check.turn, __ATOMIC_ACQUIRE) != TURNS)
		x86_pause();
	check.cpu = 0;
	if (!check.seen.behind)
		return;
	x86_log("TSC: CPU %u and the boot CPU differ by %lu ticks: not stable; guests' clocks go without the stable "
		"bit",
		cpu, check.seen.behind);
	reliable = false;
}
