/* sources: hvm/tsc.c core/time.c hvm/vlapic.c hvm/vlapic_timer.c */
/* A guest's TSC: native, emulated, of another frequency; pvclock records that never go back. The machine's runs at 1 GHz. */
#include "unit/hvm_fake.h"

#include "core/time.h"
#include "hvm/tsc.h"
#include "port/guest.h"

static struct vcpu_info info[FAKE_VCPUS];
static uint64_t offset[FAKE_VCPUS];
static bool trapped[FAKE_VCPUS];
static uint64_t rates[FAKE_VCPUS];

void svm_set_tsc_offset(struct vcpu *v, uint64_t to)
{
	offset[v->id] = to;
}

void svm_trap_tsc(struct vcpu *v, bool on)
{
	trapped[v->id] = on;
}

void svm_set_tsc_rate(struct vcpu *v, uint64_t rate)
{
	rates[v->id] = rate;
}

int guestmem_write_gpa(struct domain *d, gpa_t dst, const void *src, size_t len)
{
	return -EFAULT;
}

void sched_runstate_sums(struct vcpu *x, uint64_t time[4], uint64_t *entered, int *state)
{
}

void vioapic_eoi(struct domain *x, uint8_t vector)
{
}

struct domain *domain_next(domid_t from)
{
	return NULL;
}

static struct vcpu *const v = &fake_vcpu[0], *const w = &fake_vcpu[1];
static struct domain *d;

static int setup(void **state)
{
	fake_machine(2);
	d = v->domain;
	memset(info, 0, sizeof(info));
	v->info = &info[0];
	w->info = &info[1];
	trapped[0] = trapped[1] = false;
	d->hvm->tsc_rate = d->hvm->tsc_back = 0;
	d->hvm->tsc_emulated = false;
	host_tsc_unreliable = false;
	vendor_tsc_rate_max = 0;
	host_ns = 1000000000;
	return 0;
}

/* ns as the guest computes them from its record and its TSC now. */
static uint64_t guest_clock(struct vcpu *x)
{
	const struct vcpu_time_info *t = &x->info->time;
	uint64_t ticks = guest_tsc(x, port_tsc()) - t->tsc_timestamp;

	assert_int_equal(t->version & 1, 0);
	ticks = t->tsc_shift < 0 ? ticks >> -t->tsc_shift : ticks << t->tsc_shift;
	return t->system_time + lib_mul_shift32(ticks, t->tsc_to_system_mul);
}

static void modes(void **state)
{
	tsc_set_mode(d, TSC_MODE_DEFAULT, 0);
	assert_false(tsc_emulated(d));
	assert_int_equal(d->tsc_khz, 1000000);
	tsc_set_mode(d, TSC_MODE_DEFAULT, 1000000);
	assert_false(trapped[0]);
	tsc_set_mode(d, TSC_MODE_DEFAULT, 2500000); /* came from a faster machine */
	assert_true(trapped[0] && trapped[1]);
	assert_int_equal(d->tsc_khz, 2500000);
	tsc_set_mode(d, TSC_MODE_NATIVE, 2500000);
	assert_false(trapped[0] || trapped[1]);
	assert_int_equal(d->tsc_khz, 1000000);
	tsc_set_mode(d, TSC_MODE_EMULATE, 0);
	assert_true(trapped[0] && trapped[1]);
	assert_int_equal(d->tsc_khz, 1000000);
	host_tsc_unreliable = true;
	tsc_set_mode(d, TSC_MODE_DEFAULT, 0);
	assert_true(trapped[0]);
	tsc_set_mode(d, TSC_MODE_NATIVE, 0);
	assert_false(trapped[0]);
}

/* A CPU that can scale: RDTSC exits where that was asked for, or would take too much of a ratio. */
static void scaled_by_the_cpu(void **state)
{
	vendor_tsc_rate_max = 0xffull << 32;
	tsc_set_mode(d, TSC_MODE_DEFAULT, 2500000);
	assert_false(trapped[0] || trapped[1]);
	assert_true(rates[0] == 5ull << 31 && rates[1] == rates[0]);
	tsc_set(v, 1000, port_tsc());
	host_ns += 1000;
	assert_int_equal((host_ns * 5 >> 1) + offset[0], 3500); /* what the CPU shows */
	assert_int_equal(guest_tsc(v, port_tsc()), 3500);
	time_update_vcpu(v);
	assert_int_equal(info[0].time.flags, 0);
	tsc_set_mode(d, TSC_MODE_EMULATE, 2500000);
	assert_true(trapped[0] && !rates[0]);
	tsc_set_mode(d, TSC_MODE_DEFAULT, 256000000);
	assert_true(trapped[0] && trapped[1]);
	tsc_set_mode(d, TSC_MODE_NATIVE, 2500000);
	assert_true(!trapped[0] && !rates[0]);
	host_tsc_unreliable = true;
	tsc_set_mode(d, TSC_MODE_DEFAULT, 2500000);
	assert_true(trapped[0]);
}

static void written_and_read(void **state)
{
	tsc_set(v, 77, port_tsc());
	assert_int_equal(guest_tsc(v, port_tsc()), 77);
	assert_int_equal(offset[0], 77 - 1000000000ull);
	host_ns += 1000;
	assert_int_equal(guest_tsc(v, port_tsc()), 1077);
	assert_int_equal(tsc_host(v, 2077), host_ns + 1000);
	tsc_set_mode(d, TSC_MODE_EMULATE, 3000000);
	assert_int_equal(guest_tsc(v, port_tsc()), 1077); /* goes on from where it is */
	host_ns += 1000;
	assert_in_range(guest_tsc(v, port_tsc()), 4076, 4077);
	tsc_set(v, 0, port_tsc());
	host_ns += 5000;
	assert_in_range(guest_tsc(v, port_tsc()), 14999, 15000);
	assert_in_range(tsc_host(v, 30000), host_ns + 4995, host_ns + 5005);
	tsc_set_mode(d, TSC_MODE_NATIVE, 0);
	assert_in_range(guest_tsc(v, port_tsc()), 14999, 15000);
}

static void stable_bit(void **state)
{
	time_update_vcpu(v);
	assert_int_equal(info[0].time.flags, XEN_PVCLOCK_TSC_STABLE_BIT);
	tsc_set_mode(d, TSC_MODE_EMULATE, 0);
	time_update_vcpu(v);
	assert_int_equal(info[0].time.flags, XEN_PVCLOCK_TSC_STABLE_BIT);
	tsc_set_mode(d, TSC_MODE_EMULATE, 2000001);
	time_update_vcpu(v);
	assert_int_equal(info[0].time.flags, 0);
	tsc_set_mode(d, TSC_MODE_NATIVE, 0);
	host_tsc_unreliable = true;
	time_update_vcpu(v);
	assert_int_equal(info[0].time.flags, 0);
}

/* Two vCPUs whose records are written at different times and whose TSCs differ: one line of time, with the stable bit. */
static void one_clock(void **state)
{
	static const uint32_t khz[] = {0, 1000000, 3333333, 999, 4000000000u};
	uint64_t seed = 12345, last, slack;

	for (unsigned i = 0; i < ARRAY_SIZE(khz); i++) {
		tsc_set_mode(d, TSC_MODE_EMULATE, khz[i]);
		slack = d->hvm->tsc_rate ? 2 + 1000000 / MIN(d->tsc_khz, 1000000) : 0; /* a tick of the guest's, rounded */
		tsc_set(v, 5, port_tsc());
		tsc_set(w, 1ull << 40, port_tsc());
		time_update_vcpu(v);
		time_update_vcpu(w);
		last = 0;
		for (unsigned step = 0; step < 2000; step++) {
			uint64_t r = host_random(&seed), now;

			host_ns += r % 100000;
			if (r >> 20 & 1)
				time_update_vcpu(r >> 21 & 1 ? v : w);
			now = guest_clock(r >> 22 & 1 ? v : w);
			assert_true(now + slack >= last);
			assert_in_range(now + slack, host_ns, host_ns + 2 * slack);
			last = now;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(modes, setup),
		cmocka_unit_test_setup(scaled_by_the_cpu, setup),
		cmocka_unit_test_setup(written_and_read, setup),
		cmocka_unit_test_setup(stable_bit, setup),
		cmocka_unit_test_setup(one_clock, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
