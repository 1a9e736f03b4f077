/* sources: hvm/vpit.c */
/* The virtual 8254: counting, latches, gate and output, and the calibration loops kernels run on it. */
#include "unit/hvm_fake.h"

static struct vcpu *const v = &fake_vcpu[0];
static unsigned pulses;

void vlapic_init(struct vcpu *c)
{
}

void vioapic_pulse(struct domain *d, uint32_t pin)
{
	assert_int_equal(pin, 2);
	pulses++;
}

static int setup(void **state)
{
	fake_machine(1);
	fake_domain.rights = RIGHT_ALL;
	vpit_init(&fake_domain);
	pulses = 0;
	return 0;
}

static void out(uint16_t port, uint8_t value)
{
	vpit_write(v, port, 1, value);
}

static uint8_t in(uint16_t port)
{
	return (uint8_t)vpit_read(v, port, 1);
}

static void start2(uint8_t control, uint16_t n)
{
	out(0x61, (in(0x61) & ~2) | 1);
	out(0x43, control);
	out(0x42, (uint8_t)n);
	out(0x42, (uint8_t)(n >> 8));
}

static void absent(void **state)
{
	fake_domain.rights = 0;
	vpit_init(&fake_domain);
	out(0x43, 0xb0);
	assert_int_equal(vpit_read(v, 0x42, 1), 0xffffffff);
	assert_int_equal(vpit_read(v, 0x61, 1), 0xffffffff);
	fake_domain.emulation = XEN_X86_EMU_PIT;
	vpit_init(&fake_domain);
	assert_int_not_equal(vpit_read(v, 0x61, 1), 0xffffffff);
	assert_int_equal(vpit_read(v, 0x42, 2), 0xffffffff);
}

/* Linux' quick_pit_calibrate: the high byte of channel 2 goes down by one every 256 ticks. */
static void quick_calibration(void **state)
{
	unsigned steps = 0, last = 0xff, high;

	start2(0xb0, 0xffff);
	for (unsigned n = 0; n < 20000; n++) {
		host_ns += 500;
		in(0x42);
		high = in(0x42);
		assert_true(high == last || high == last - 1);
		steps += high != last;
		last = high;
	}
	/* 10 ms are 11932 ticks: 46.6 times 256 */
	assert_in_range(steps, 46, 47);
}

/* The slow one waits for the output in port 0x61. */
static void output(void **state)
{
	start2(0xb0, 11932);
	host_ns += 9990000;
	assert_int_equal(in(0x61) & 0x20, 0);
	host_ns += 20000;
	assert_int_equal(in(0x61) & 0x20, 0x20);
	assert_int_equal(in(0x61) & 3, 1);
}

static void gate(void **state)
{
	start2(0xb0, 10000);
	host_ns += 1000000;
	out(0x61, 0); /* stops */
	host_ns += 50000000;
	assert_int_equal(in(0x61) & 0x20, 0);
	out(0x61, 1); /* goes on */
	host_ns += 7000000;
	assert_int_equal(in(0x61) & 0x20, 0);
	host_ns += 400000;
	assert_int_equal(in(0x61) & 0x20, 0x20);
}

static void latches(void **state)
{
	uint16_t first;

	out(0x43, 0x34); /* channel 0, mode 2 */
	out(0x40, 0);
	out(0x40, 0); /* 65536 */
	host_ns += 10000000;
	out(0x43, 0x00);
	first = in(0x40);
	host_ns += 10000000;
	first |= (uint16_t)(in(0x40) << 8); /* both bytes of one moment */
	assert_in_range(first, 65536 - 11932 - 2, 65536 - 11932 + 2);
	out(0x43, 0xe2); /* read back the status of channel 0 */
	assert_int_equal(in(0x40), 0x80 | 0x34);
	out(0x43, 0xd2); /* and its count */
	first = in(0x40);
	first |= (uint16_t)(in(0x40) << 8);
	assert_in_range(first, 65536 - 23863 - 2, 65536 - 23863 + 2);
	out(0x43, 0x36);
	out(0x43, 0xe2);
	assert_int_equal(in(0x40) & 0x40, 0x40); /* null count */
}

static void interrupt(void **state)
{
	struct timer *t = &fake_hvm.pit.timer;
	uint64_t start = host_ns;

	out(0x43, 0x34);
	out(0x40, 0x9c);
	out(0x40, 0x2e); /* 11932: 100 Hz */
	assert_true(timer_active(t));
	assert_ptr_equal(t->vcpu, v);
	assert_in_range(t->deadline - start, 9999000, 10001000);
	host_ns = t->deadline + 50;
	vpit_timer(v);
	assert_int_equal(pulses, 1);
	assert_in_range(t->deadline - start, 19999000, 20001000);
	out(0x43, 0x30); /* mode 0: stops until loaded, then fires once */
	assert_false(timer_active(t));
	out(0x40, 0xff);
	out(0x40, 0);
	assert_true(timer_active(t));
	t->slot = -1;
	vpit_timer(v);
	assert_int_equal(pulses, 2);
	assert_false(timer_active(t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(absent, setup),	 cmocka_unit_test_setup(quick_calibration, setup),
		cmocka_unit_test_setup(output, setup),	 cmocka_unit_test_setup(gate, setup),
		cmocka_unit_test_setup(latches, setup), cmocka_unit_test_setup(interrupt, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
