/*
 * hvm/tsc.c: see tsc.h. Owns hvm_vcpu.tsc_offset, hvm_domain.tsc_* and domain.tsc_mode, tsc_khz.
 * Invariant: a guest's TSC is the machine's times tsc_rate / 2^32 plus the vCPU's offset; rate 0 stands for 2^32, and is, where
 * the CPU cannot scale, the only one while RDTSC does not exit. The CPU scales to the same tick as scaled() does.
 */
#include "hvm/tsc.h"

#include "hvm/hvm.h"
#include "hvm/vendor.h"
#include "lib/lib.h"
#include "port/guest.h"
#include "port/machine.h"

static uint64_t scaled(uint64_t tsc, uint64_t rate)
{
	return likely(!rate) ? tsc : (uint64_t)(((unsigned __int128)tsc * rate) >> 32);
}

uint64_t guest_tsc(struct vcpu *v, uint64_t host_tsc)
{
	return scaled(host_tsc, v->domain->hvm->tsc_rate) + v->hvm->tsc_offset;
}

uint64_t tsc_host(struct vcpu *v, uint64_t guest)
{
	return scaled(guest - v->hvm->tsc_offset, v->domain->hvm->tsc_back);
}

void tsc_set(struct vcpu *v, uint64_t value, uint64_t host_tsc)
{
	v->hvm->tsc_offset = value - scaled(host_tsc, v->domain->hvm->tsc_rate);
	vendor_set_tsc_offset(v, v->hvm->tsc_offset);
}

bool guest_tsc_scale(struct vcpu *v, uint32_t *mul, int8_t *shift)
{
	if (likely(!v->domain->hvm->tsc_rate)) {
		port_tsc_scale(mul, shift);
		return port_tsc_reliable();
	}
	lib_clock_scale(v->domain->tsc_khz, mul, shift);
	return false; /* rounding: two records of different age differ by a nanosecond or so */
}

bool tsc_emulated(const struct domain *d)
{
	return d->hvm->tsc_emulated;
}

void tsc_set_mode(struct domain *d, uint32_t mode, uint32_t khz)
{
	uint64_t host = port_tsc_khz(), now = port_tsc(), rate = 0, back = 0;
	bool other = khz && khz != host && mode != TSC_MODE_NATIVE;
	struct vcpu *v;

	if (other) {
		rate = ((uint64_t)khz << 32) / host;
		back = (host << 32) / khz;
	}
	for_each_vcpu (d, v)
		v->hvm->tsc_offset = guest_tsc(v, now) - scaled(now, rate);
	d->hvm->tsc_rate = rate;
	d->hvm->tsc_back = back;
	d->hvm->tsc_emulated =
		mode == TSC_MODE_EMULATE ||
		(mode == TSC_MODE_DEFAULT && ((other && rate > vendor_tsc_rate_max) || !port_tsc_reliable()));
	d->tsc_mode = mode;
	d->tsc_khz = other ? khz : (uint32_t)host;
	for_each_vcpu (d, v) {
		vendor_set_tsc_offset(v, v->hvm->tsc_offset);
		vendor_set_tsc_rate(v, d->hvm->tsc_emulated ? 0 : rate);
		vendor_trap_tsc(v, d->hvm->tsc_emulated);
	}
}
