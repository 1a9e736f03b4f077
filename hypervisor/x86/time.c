/*
 * Clocks: the TSC as the time base of all CPUs, its calibration and that of the APIC timer, the CMOS clock.
 * Written once at start-up, then read-only. Source: SDM vol. 3, 18.7; 8254 data sheet.
 *
 * Time is ((tsc - base) << shift) * mul >> 32, the arithmetic that guests use on their pvclock records, here as one
 * multiplication: mul << (24 + shift), then >> 56.
 */
#include "lib/lib.h"
#include "x86/cpu.h"
#include "x86/x86.h"

#define PIT_HZ	     1193182ull
#define PIT_COUNT    5966u /* 5 ms */
#define PIT_ATTEMPTS 8
#define PIT_POLLS    100000000u

static uint64_t tsc_khz, tsc_base, ns_factor;
static uint32_t tsc_mul;
static int8_t tsc_shift;

uint64_t port_tsc(void)
{
	return x86_rdtsc();
}

uint64_t port_tsc_khz(void)
{
	return tsc_khz;
}

uint64_t port_tsc_to_ns(uint64_t tsc)
{
	uint64_t d = tsc - tsc_base;

	if (unlikely((int64_t)d < 0))
		return 0;
	return (uint64_t)(((unsigned __int128)d * ns_factor) >> 56);
}

uint64_t port_now(void)
{
	return (uint64_t)(((unsigned __int128)(x86_rdtsc() - tsc_base) * ns_factor) >> 56);
}

uint64_t port_ns_to_tsc(uint64_t ns)
{
	/* split: ns * khz needs more than 64 bits after a few months */
	return tsc_base + ns / 1000000 * tsc_khz + DIV_UP(ns % 1000000 * tsc_khz, 1000000);
}

void port_tsc_scale(uint32_t *mul, int8_t *shift)
{
	*mul = tsc_mul;
	*shift = tsc_shift;
}

static void time_set_tsc(uint64_t khz)
{
	lib_clock_scale(khz, &tsc_mul, &tsc_shift);
	tsc_khz = khz;
	ns_factor = (uint64_t)tsc_mul << (24 + tsc_shift);
}

struct measured {
	uint64_t tsc, apic; /* ticks while the PIT counted PIT_COUNT */
	uint64_t unsure;    /* TSC ticks that may be wrong: the CPU or its emulator was busy elsewhere */
};

/* False: the PIT does not count. */
static bool pit_measure(struct measured *m)
{
	uint64_t first, start, loaded, before, after;
	unsigned polls = 0;

	x86_out8(0x61, (x86_in8(0x61) & ~2u) | 1); /* gate on, speaker off */
	x86_out8(0x43, 0xb0);			   /* channel 2, both bytes, mode 0 */
	x86_out8(0x42, PIT_COUNT & 0xff);
	first = x86_rdtsc();
	apic_timer_start_count();
	start = x86_rdtsc();
	x86_out8(0x42, PIT_COUNT >> 8);
	after = loaded = x86_rdtsc();
	do {
		before = after;
		after = x86_rdtsc();
	} while (!(x86_in8(0x61) & 0x20) && ++polls < PIT_POLLS);
	m->apic = apic_timer_elapsed();
	m->tsc = after - start;
	m->unsure = (loaded - first) + (x86_rdtsc() - before);
	return polls < PIT_POLLS;
}

static bool about_equal(uint64_t a, uint64_t b)
{
	return (a > b ? a - b : b - a) <= a / 2000;
}

/* The first measurement that agrees with an earlier one, else the surest. */
static struct measured pit_agree(void)
{
	struct measured m[PIT_ATTEMPTS], *best = m;

	for (unsigned i = 0; i < PIT_ATTEMPTS; i++) {
		if (!pit_measure(&m[i]))
			x86_panic("the 8254 timer does not count: clocks cannot be calibrated");
		for (unsigned k = 0; k < i; k++)
			if (about_equal(m[i].tsc, m[k].tsc) && about_equal(m[i].apic, m[k].apic))
				return m[i].unsure < m[k].unsure ? m[i] : m[k];
		if (m[i].unsure < best->unsure)
			best = &m[i];
	}
	return *best;
}

static void time_calibrate_pit(bool want_tsc)
{
	struct measured m = pit_agree();

	if (want_tsc) {
		uint64_t khz = m.tsc * PIT_HZ / PIT_COUNT / 1000, mhz = (khz + 500) / 1000 * 1000;

		/* This measurement is good to about 0.01 %: nearer than that to whole MHz means those. */
		time_set_tsc(mhz && (khz > mhz ? khz - mhz : mhz - khz) <= khz / 10000 ? mhz : khz);
	}
	apic_timer_set_khz(m.apic * PIT_HZ / PIT_COUNT / 1000);
}

/* TSC frequency as the CPU or a hypervisor below us states it; 0: it does not. */
static uint64_t time_stated_khz(void)
{
	struct cpuid_regs r;

	if (x86_cpuid(1, 0).ecx & BIT(31)) {
		r = x86_cpuid(0x40000000, 0);
		if (r.eax >= 0x40000010 && r.eax < 0x40000100)
			return x86_cpuid(0x40000010, 0).eax;
	}
	if (x86_cpuid(0, 0).eax >= 0x15) {
		r = x86_cpuid(0x15, 0);
		if (r.eax && r.ebx && r.ecx)
			return (uint64_t)r.ecx * r.ebx / r.eax / 1000;
	}
	return 0;
}

void time_machine_init(void)
{
	uint64_t khz = time_stated_khz();

	if (khz)
		time_set_tsc(khz);
	if (!khz || apic_timer_needs_calibration())
		time_calibrate_pit(!khz);
	tsc_base = x86_rdtsc();
	x86_log("TSC %lu.%03lu MHz (%s), timer: %s", tsc_khz / 1000, tsc_khz % 1000,
		khz ? "as stated by the CPU" : "measured",
		apic_timer_needs_calibration() ? "local APIC" : "TSC deadline");
}

void time_delay_us(unsigned us)
{
	uint64_t end = x86_rdtsc() + us * tsc_khz / 1000;

	while ((int64_t)(x86_rdtsc() - end) < 0)
		x86_pause();
}

static uint8_t cmos_read(uint8_t reg)
{
	x86_out8(0x70, reg);
	return x86_in8(0x71);
}

static unsigned cmos_number(uint8_t v, bool bcd)
{
	return bcd ? (v >> 4) * 10u + (v & 15u) : v;
}

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar. */
static uint64_t days_from_date(uint64_t year, unsigned month, unsigned day)
{
	uint64_t y = month <= 2 ? year - 1 : year; /* years begin in March, so leap days come last */
	unsigned m = month <= 2 ? month + 9 : month - 3;

	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

uint64_t port_rtc_seconds(void)
{
	uint8_t a[6], b[6], status;
	static const uint8_t reg[6] = { 0, 2, 4, 7, 8, 9 };
	unsigned hour, year;
	bool bcd, pm;

	for (unsigned tries = 0; tries < 1000; tries++) { /* two equal readings: no update in between */
		for (unsigned i = 0; i < 6; i++)
			a[i] = cmos_read(reg[i]);
		for (unsigned i = 0; i < 6; i++)
			b[i] = cmos_read(reg[i]);
		if (!(cmos_read(0xa) & 0x80) && !memcmp(a, b, sizeof(a)))
			break;
	}
	status = cmos_read(0xb);
	bcd = !(status & 4);
	pm = !(status & 2) && a[2] & 0x80;
	hour = cmos_number(a[2] & 0x7f, bcd);
	if (!(status & 2))
		hour = hour % 12 + (pm ? 12 : 0);
	year = cmos_number(a[5], bcd);
	year += year < 70 ? 2000 : 1900;
	return ((days_from_date(year, cmos_number(a[4], bcd), cmos_number(a[3], bcd)) * 24 + hour) * 60 +
		cmos_number(a[1], bcd)) *
		       60 +
	       cmos_number(a[0], bcd);
}
