// SPDX-License-Identifier: Apache-2.0
// launch: tsc-khz=2500000
/*
 * The TSC of a domain that came from a machine of another frequency: it counts as CPUID and the time record say, whether the
 * CPU scales it or each RDTSC exits. As the first domain: the machine's own.
 *
 * Sources: public headers arch-x86/cpuid.h (leaf 3), domctl.h (xen_domctl_tsc_info), xen.h (vcpu_time_info).
 */
#include "lib/guest.h"

const char guest_name[] = "scaled";

#define MS	     1000000UL
#define XEN_TSC_LEAF 0x40000003
#define LAUNCHED_KHZ 2500000UL

/* Ticks in one second by two pairs of readings, 20 ms apart. */
static uint64_t measured_khz(void)
{
	uint64_t ns = event_now(), tsc = cpu_tsc(), end = ns + 20 * MS;

	while (event_now() < end)
		;
	ns = event_now() - ns;
	return (cpu_tsc() - tsc) * MS / ns;
}

void guest_main(void)
{
	uint32_t r[4], host[4];
	uint64_t khz, last = 0, now;
	unsigned int back = 0;

	event_init();
	cpu_cpuid(XEN_TSC_LEAF, 0, r);
	cpu_cpuid(XEN_TSC_LEAF, 2, host);
	khz = measured_khz();
	print("says %u kHz, counts %lu kHz, %s; the machine's %u kHz\n", r[2], khz,
	      r[0] & 1 ? "RDTSC exits" : "no exits", host[0]);
	if (!guest_dom0)
		CHECK_EQ("as it was launched", r[2], LAUNCHED_KHZ);
	CHECK("counts as it says", khz > r[2] / 100UL * 99 && khz < r[2] / 100UL * 101);
	for (unsigned int i = 0; i < 10000; i++) {
		now = cpu_tsc();
		back += now < last;
		last = now;
	}
	CHECK_EQ("never back", back, 0);
	/* The record's frequency, which the tests of clock.c take for granted. */
	now = event_time_of(last + khz * 10) - event_time_of(last);
	CHECK("the record counts the same", now > 9900000 && now < 10100000);
}
