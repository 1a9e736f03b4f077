/* sources: hvm/vioapic.c hvm/irq.c hvm/vlapic.c hvm/vlapic_timer.c */
/* The virtual I/O APIC and the physical interrupts behind it: binding, level lines, end of interrupt, messages. */
#include "unit/hvm_fake.h"

#include "port/upcall.h"

static struct vcpu *const v = &fake_vcpu[0];
static unsigned binds, unbinds, masks, unmasks, frees;
static bool bound_level, bound_low;

unsigned port_gsi_count(void)
{
	return 24;
}

int port_gsi_bind(unsigned gsi, bool level, bool active_low, unsigned cpu)
{
	binds++;
	bound_level = level;
	bound_low = active_low;
	return (int)(0x50 + gsi);
}

void port_gsi_unbind(unsigned gsi)
{
	unbinds++;
}

void port_gsi_mask(unsigned gsi)
{
	masks++;
}

void port_gsi_unmask(unsigned gsi)
{
	unmasks++;
}

int port_vector_alloc(void)
{
	return 0xa0;
}

void port_vector_free(unsigned vector)
{
	frees++;
}

static int setup(void **state)
{
	fake_machine(2);
	fake_domain.rights = RIGHT_ALL;
	vioapic_init(&fake_domain, 24);
	for (unsigned i = 0; i < 2; i++)
		vlapic_mmio_write(&fake_vcpu[i], 0xf0, 0x1ff);
	binds = unbinds = masks = unmasks = frees = 0;
	return 0;
}

static int teardown(void **state)
{
	irq_domain_release(&fake_domain);
	return 0;
}

static void wr(uint32_t index, uint32_t value)
{
	vioapic_mmio_write(&fake_domain, 0, index);
	vioapic_mmio_write(&fake_domain, 0x10, value);
}

static uint32_t rd(uint32_t index)
{
	vioapic_mmio_write(&fake_domain, 0, index);
	return vioapic_mmio_read(&fake_domain, 0x10);
}

static void registers(void **state)
{
	assert_int_equal(rd(1), 0x170011);
	assert_int_equal(rd(0x10), 0x10000);
	wr(0, 0xff000000);
	assert_int_equal(rd(0), 0x0f000000);
	wr(0x10 + 5 * 2, 0xffffffff);
	assert_int_equal(rd(0x10 + 5 * 2), 0x1afff); /* delivery status and remote IRR are not writable */
	wr(0x11 + 5 * 2, 0xffffffff);
	assert_int_equal(rd(0x11 + 5 * 2), 0xff000000);
	assert_int_equal(rd(0x10 + 24 * 2), 0xffffffff);
	wr(0x10 + 24 * 2, 0);
	assert_int_equal(binds, 0);
	vioapic_init(&fake_domain, 200);
	assert_int_equal(fake_hvm.ioapic.nr_pins, VIOAPIC_PINS);
}

static void edge(void **state)
{
	wr(0x10 + 4 * 2, 0x34);
	assert_int_equal(binds, 1);
	assert_false(bound_level);
	assert_int_equal(fake_hvm.irq.bound[0], 1u << 4);
	upcall_irq(0x54);
	assert_int_equal(vlapic_pending(v), 0x34);
	fake_taken(v, 0x34);
	vlapic_eoi(v);
	assert_int_equal(unmasks, 0);
	wr(0x10 + 4 * 2, 0x10034);
	assert_int_equal(masks, 1);
	upcall_irq(0x54); /* in flight: lost, as an edge at a masked pin is */
	assert_int_equal(vlapic_pending(v), -1);
	wr(0x10 + 4 * 2, 0x34);
	assert_int_equal(unmasks, 1);
	upcall_irq(0x99); /* nobody's */
}

static void level(void **state)
{
	wr(0x11 + 10 * 2, 2u << 24); /* vCPU 1 */
	wr(0x10 + 10 * 2, 0xa045);
	assert_true(bound_level && bound_low);
	upcall_irq(0x5a);
	assert_int_equal(vlapic_pending(&fake_vcpu[1]), 0x45);
	assert_int_equal(rd(0x10 + 10 * 2), 0xe045);
	fake_taken(&fake_vcpu[1], 0x45);
	upcall_irq(0x5a); /* in service: not again */
	vlapic_eoi(&fake_vcpu[1]);
	assert_int_equal(vlapic_pending(&fake_vcpu[1]), -1);
	assert_int_equal(unmasks, 1);
	assert_int_equal(rd(0x10 + 10 * 2), 0xa045);
}

/* Kernels mask while in service, and finish with the trick of switching to edge. */
static void level_masked(void **state)
{
	wr(0x10 + 10 * 2, 0xa045);
	upcall_irq(0x5a);
	fake_taken(v, 0x45);
	wr(0x10 + 10 * 2, 0x1a045);
	vlapic_eoi(v);
	assert_int_equal(unmasks, 0);
	wr(0x10 + 10 * 2, 0xa045);
	assert_int_equal(unmasks, 1);
	upcall_irq(0x5a);
	fake_taken(v, 0x45);
	wr(0x10 + 10 * 2, 0x1a045); /* mask and unmask before the EOI */
	wr(0x10 + 10 * 2, 0xa045);
	assert_int_equal(unmasks, 1);
	vlapic_eoi(v);
	assert_int_equal(unmasks, 2);
	upcall_irq(0x5a);
	wr(0x10 + 10 * 2, 0x12045); /* edge, masked */
	wr(0x10 + 10 * 2, 0xa045);
	assert_int_equal(unmasks, 3);
	assert_int_equal(rd(0x10 + 10 * 2), 0xa045);
	wr(0x10 + 10 * 2, 0x8045); /* polarity changes: bound anew */
	assert_int_equal(unbinds, 1);
	assert_int_equal(binds, 2);
}

static void messages(void **state)
{
	int h = irq_msi_bind(&fake_domain, 0xfee02000, 0x4051);
	uint64_t address;
	uint32_t data;

	assert_int_equal(h, 0xa0);
	irq_msi_host(h, &address, &data);
	assert_int_equal(data, 0xa0);
	upcall_irq(0xa0);
	assert_int_equal(vlapic_pending(&fake_vcpu[1]), 0x51);
	irq_msi_update(h, 0xfee00000, 0x52);
	upcall_irq(0xa0);
	assert_int_equal(vlapic_pending(v), 0x52);
	irq_domain_release(&fake_domain);
	assert_int_equal(frees, 1);
	upcall_irq(0xa0);
	h = irq_msi_bind(&fake_domain, 0, 0);
	irq_msi_unbind(h);
	assert_int_equal(frees, 2);
}

static void no_right(void **state)
{
	fake_domain.rights = 0;
	wr(0x10 + 4 * 2, 0x34);
	assert_int_equal(binds, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(registers, setup, teardown),
		cmocka_unit_test_setup_teardown(edge, setup, teardown),
		cmocka_unit_test_setup_teardown(level, setup, teardown),
		cmocka_unit_test_setup_teardown(level_masked, setup, teardown),
		cmocka_unit_test_setup_teardown(messages, setup, teardown),
		cmocka_unit_test_setup_teardown(no_right, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
