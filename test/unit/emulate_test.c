/* sources: hvm/emulate.c hvm/insn.c hvm/decode.c hvm/vlapic.c hvm/vlapic_timer.c hvm/io.c */
/*
 * Instructions on device addresses, instruction lengths, and IN/OUT/INS/OUTS. The device is the MSI-X
 * window of a fake vpci: one page at 0xfe000000 that remembers what is written.
 */
#include "unit/hvm_fake.h"

#include "core/log.h"
#include "hvm/insn.h"
#include "hvm/io.h"
#include "hvm/vpci.h"

#define DEVICE 0xfe000000ull

static struct vcpu *const v = &fake_vcpu[0];
static uint8_t device[4096];
static unsigned last_size, reads, writes;
static uint16_t last_port;
static uint32_t port_value;
static char line[256];

bool vpci_mmio_owns(struct domain *d, uint64_t gpa)
{
	return (gpa & ~0xfffull) == DEVICE;
}

uint64_t vpci_mmio_read(struct vcpu *c, uint64_t gpa, unsigned size)
{
	uint64_t x = 0;

	reads++;
	last_size = size;
	memcpy(&x, device + (gpa & 0xfff), size);
	return x;
}

void vpci_mmio_write(struct vcpu *c, uint64_t gpa, unsigned size, uint64_t value)
{
	writes++;
	last_size = size;
	memcpy(device + (gpa & 0xfff), &value, size);
}

uint32_t vpci_port_read(struct vcpu *c, uint16_t port, unsigned size)
{
	last_port = port;
	last_size = size;
	return port_value++;
}

void vpci_port_write(struct vcpu *c, uint16_t port, unsigned size, uint32_t value)
{
	last_port = port;
	last_size = size;
	port_value = value;
	writes++;
}

uint32_t vpit_read(struct vcpu *c, uint16_t port, unsigned size)
{
	return 0x77;
}

void vpit_write(struct vcpu *c, uint16_t port, unsigned size, uint32_t value)
{
	port_value = value;
}

uint32_t vioapic_mmio_read(struct domain *d, uint32_t offset)
{
	return 0;
}

void vioapic_mmio_write(struct domain *d, uint32_t offset, uint32_t value)
{
}

void vioapic_eoi(struct domain *d, uint8_t vector)
{
}

static uint16_t out_port;
static uint32_t out_value;

void port_io_write(uint16_t port, unsigned size, uint32_t value)
{
	out_port = port;
	out_value = value;
}

void log_guest(enum log_level level, unsigned domid, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	lib_vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
}

static int setup(void **state)
{
	fake_machine(1);
	fake_hvm.vpci = (void *)device;
	memset(device, 0, sizeof(device));
	reads = writes = last_size = 0;
	v->regs.rip = 0x1000;
	v->regs.rdx = DEVICE + 0x10;
	return 0;
}

static bool run(const char *bytes, size_t n, gpa_t gpa, bool write)
{
	bool ok;

	memcpy(fake_ram + 0x1000, bytes, n);
	v->regs.rip = 0x1000;
	ok = emulate_mmio(v, gpa, write);
	if (ok && !fake_faults)
		assert_int_equal(v->regs.rip, 0x1000 + n);
	return ok;
}

#define RUN(s, write)	      assert_true(run(s, sizeof(s) - 1, DEVICE + 0x10, write))
#define RUN_AT(s, at, write)  assert_true(run(s, sizeof(s) - 1, DEVICE + (at), write))
#define REFUSED(s, at, write) assert_false(run(s, sizeof(s) - 1, DEVICE + (at), write))

static uint32_t dev32(void)
{
	uint32_t x;

	memcpy(&x, device + 0x10, 4);
	return x;
}

static void set_dev(uint64_t x)
{
	memcpy(device + 0x10, &x, 8);
}

static void moves(void **state)
{
	v->regs.rax = 0x1122334455667788;
	RUN("\x89\x02", true); /* mov %eax,(%rdx) */
	assert_int_equal(dev32(), 0x55667788);
	assert_int_equal(last_size, 4);
	RUN("\x48\x89\x02", true);
	assert_memory_equal(device + 0x10, &v->regs.rax, 8);
	RUN("\x88\x22", true); /* mov %ah,(%rdx) */
	assert_int_equal(device[0x10], 0x77);
	assert_int_equal(last_size, 1);
	RUN("\x66\xc7\x02\x34\x12", true);
	assert_int_equal(device[0x10] | device[0x11] << 8, 0x1234);
	RUN("\xc7\x02\xff\xff\xff\xff", true);
	assert_int_equal(dev32(), 0xffffffff);
	RUN("\x48\xc7\x02\xff\xff\xff\xff", true);
	assert_int_equal(device[0x17], 0xff);
	set_dev(0x8182838485868788);
	RUN("\x8b\x1a", false); /* mov (%rdx),%ebx: upper half cleared */
	assert_int_equal(v->regs.rbx, 0x85868788);
	v->regs.rbx = ~0ull;
	RUN("\x8a\x3a", false); /* %bh */
	assert_int_equal(v->regs.rbx, 0xffffffffffff88ff);
	RUN("\x44\x0f\xb6\x3a", false);
	assert_int_equal(v->regs.r15, 0x88);
	RUN("\x48\x0f\xbe\x02", false);
	assert_int_equal(v->regs.rax, 0xffffffffffffff88);
	RUN("\x0f\xbf\x02", false);
	assert_int_equal(v->regs.rax, 0xffff8788);
	RUN("\x48\x63\x02", false);
	assert_int_equal(v->regs.rax, 0xffffffff85868788);
	RUN("\x48\xa1\x10\x00\x00\xfe\0\0\0\0", false);
	assert_int_equal(v->regs.rax, 0x8182838485868788);
	v->regs.rcx = 5;
	RUN("\x87\x0a", true); /* xchg */
	assert_int_equal(v->regs.rcx, 0x85868788);
	assert_int_equal(dev32(), 5);
}

static void arithmetic(void **state)
{
	set_dev(0xffffffff);
	v->regs.rax = 1;
	v->regs.rflags = 0;
	RUN("\x01\x02", true); /* add %eax,(%rdx) */
	assert_int_equal(dev32(), 0);
	assert_int_equal(v->regs.rflags, 0x55); /* CF PF AF ZF */
	RUN("\x11\x02", true); /* adc: 0 + 1 + 1 */
	assert_int_equal(dev32(), 2);
	RUN("\x83\x2a\x03", true); /* subl $3 */
	assert_int_equal(dev32(), 0xffffffff);
	assert_int_equal(v->regs.rflags, 0x95); /* CF PF AF SF */
	RUN("\x81\x22\xf0\x00\x00\x00", true);
	assert_int_equal(dev32(), 0xf0);
	RUN("\x83\x0a\x0f", true);
	assert_int_equal(dev32(), 0xff);
	RUN("\x83\x32\xff", true);
	assert_int_equal(dev32(), 0xffffff00);
	writes = 0;
	RUN("\x83\x3a\xff", false); /* cmp writes nothing */
	RUN("\xf7\x02\x00\x00\x00\x80", false); /* test */
	RUN("\x85\x02", false);
	assert_int_equal(writes, 0);
	assert_int_equal(v->regs.rflags & 0x40, 0x40);
	v->regs.rbx = 0x100;
	RUN("\x03\x1a", false); /* add (%rdx),%ebx */
	assert_int_equal(v->regs.rbx, 0);
	RUN("\xf7\x12", true);
	assert_int_equal(dev32(), 0xff);
	RUN("\xf7\x1a", true);
	assert_int_equal(dev32(), 0xffffff01);
	v->regs.rflags = 1;
	RUN("\xff\x02", true); /* inc keeps CF */
	assert_int_equal(v->regs.rflags & 1, 1);
	RUN("\xf0\x0f\xba\x2a\x1f", true);
	assert_int_equal(dev32(), 0xffffff02);
	assert_int_equal(v->regs.rflags & 1, 1);
	v->regs.rcx = 36; /* bit 4 of the next dword */
	v->regs.rdx = DEVICE + 0xc;
	RUN("\x0f\xab\x0a", true);
	assert_int_equal(dev32(), 0xffffff12);
	v->regs.rdx = DEVICE + 0x10;
	v->regs.rax = 0xffffff12;
	v->regs.rcx = 77;
	RUN("\xf0\x0f\xb1\x0a", true);
	assert_int_equal(dev32(), 77);
	RUN("\xf0\x0f\xb1\x0a", true);
	assert_int_equal(v->regs.rax, 77);
	RUN("\x0f\xc1\x0a", true);
	assert_int_equal(dev32(), 154);
	assert_int_equal(v->regs.rcx, 77);
}

static void strings(void **state)
{
	v->regs.rdi = DEVICE + 0x10;
	v->regs.rax = 0xabababab;
	v->regs.rcx = 3;
	RUN("\xf3\xab", true);
	assert_int_equal(v->regs.rcx, 0);
	assert_int_equal(v->regs.rdi, DEVICE + 0x1c);
	assert_int_equal(device[0x1b], 0xab);
	/* up to the end of the page only; RIP stays */
	v->regs.rdi = DEVICE + 0xff8;
	v->regs.rcx = 10;
	memcpy(fake_ram + 0x1000, "\xf3\xab", 2);
	v->regs.rip = 0x1000;
	assert_true(emulate_mmio(v, DEVICE + 0xff8, true));
	assert_int_equal(v->regs.rcx, 8);
	assert_int_equal(v->regs.rip, 0x1000);
	/* movs from memory and back, backwards */
	memcpy(fake_ram + 0x2000, "abcdefgh", 8);
	v->regs.rsi = 0x2000;
	v->regs.rdi = DEVICE + 0x10;
	v->regs.rcx = 2;
	RUN("\xf3\xa5", true);
	assert_memory_equal(device + 0x10, "abcdefgh", 8);
	v->regs.rflags = 0x400;
	v->regs.rsi = DEVICE + 0x14;
	v->regs.rdi = 0x3004;
	v->regs.rcx = 2;
	RUN_AT("\xf3\xa5", 0x14, false);
	assert_memory_equal(fake_ram + 0x3000, "abcdefgh", 8);
	assert_int_equal(v->regs.rsi, DEVICE + 0xc);
	v->regs.rflags = 0;
	v->regs.rsi = DEVICE + 0x10;
	RUN("\xac", false);
	assert_int_equal(v->regs.rax & 0xff, 'a');
	/* the memory side faults: #PF, nothing moved */
	v->regs.rsi = DEVICE + 0x10;
	v->regs.rdi = 0x20000;
	memcpy(fake_ram + 0x1000, "\xa5", 1);
	v->regs.rip = 0x1000;
	reads = 0;
	assert_true(emulate_mmio(v, DEVICE + 0x10, false));
	assert_int_equal(fake_fault_vector, 14);
	assert_int_equal(fake_fault_addr, 0x20000);
	assert_int_equal(reads, 0);
	assert_int_equal(v->regs.rsi, DEVICE + 0x10);
}

static void refusals(void **state)
{
	REFUSED("\x89\x02", 0x14, true); /* the address does not agree */
	REFUSED("\xff\x12", 0x10, false); /* call (%rdx) */
	REFUSED("\xc5\xf8\x28\x02", 0x10, false); /* VEX */
	REFUSED("\xff\xff", 0x10, true);
	v->regs.rdx = DEVICE + 0xffe;
	REFUSED("\x89\x02", 0xffe, true); /* crosses the page */
	assert_int_equal(writes, 0);
	v->regs.rip = 0x30000; /* no code there */
	assert_true(emulate_mmio(v, DEVICE, false));
	assert_int_equal(fake_fault_vector, 14);
}

static void segments(void **state)
{
	v->regs.rdx = 0x10;
	fake_vmcb[0].seg[SEG_GS].base = DEVICE;
	set_dev(0x12345678);
	RUN("\x65\x8b\x02", false);
	assert_int_equal(v->regs.rax, 0x12345678);
	fake_mode = MODE_32;
	fake_vmcb[0].seg[SEG_DS].base = DEVICE;
	RUN("\x8b\x0a", false);
	assert_int_equal(v->regs.rcx, 0x12345678);
	fake_vmcb[0].seg[SEG_CS].base = 0x800;
	memcpy(fake_ram + 0x1800, "\x8b\x1a", 2);
	v->regs.rip = 0x1000;
	assert_true(emulate_mmio(v, DEVICE + 0x10, false));
	assert_int_equal(v->regs.rbx, 0x12345678);
}

static void lapic_page(void **state)
{
	const gpa_t base = 0xfee00000;

	assert_int_equal(io_mmio_read(v, base + 0x30, 4), 0x50014);
	assert_int_equal(io_mmio_read(v, base + 0x32, 2), 5);
	assert_int_equal(io_mmio_read(v, base + 0x34, 4), ~0ull);
	assert_int_equal(io_mmio_read(v, base + 0x30, 8), ~0ull);
	io_mmio_write(v, base + 0xf1, 1, 1);
	assert_int_equal(io_mmio_read(v, base + 0xf0, 4), 0x1ff);
	v->hvm->lapic.base_msr |= 0x400;
	assert_int_equal(io_mmio_read(v, base + 0x30, 4), ~0ull);
	assert_int_equal(io_mmio_read(v, 0xd0000000, 4), ~0ull);
	assert_true(io_mmio_owns(&fake_domain, base + 0x300));
	assert_false(io_mmio_owns(&fake_domain, 0xfec00000)); /* no vIO-APIC here */
}

static unsigned length_at(enum insn_expect e, gva_t at, const char *bytes, size_t n)
{
	fake_faults = 0;
	memset(fake_ram + at, 0x90, 16);
	memcpy(fake_ram + at, bytes, n);
	v->regs.rip = at;
	return insn_length(v, e);
}

#define LENGTH(e, s) length_at(e, 0x1000, s, sizeof(s) - 1)

static void lengths(void **state)
{
	assert_int_equal(LENGTH(INSN_CPUID, "\x0f\xa2"), 2);
	assert_int_equal(LENGTH(INSN_CPUID, "\x66\xf3\x48\x0f\xa2"), 5);
	assert_int_equal(LENGTH(INSN_RDMSR, "\x0f\x32"), 2);
	assert_int_equal(LENGTH(INSN_WRMSR, "\x2e\x0f\x30"), 3);
	assert_int_equal(LENGTH(INSN_VMMCALL, "\x0f\x01\xd9"), 3);
	assert_int_equal(LENGTH(INSN_VMMCALL, "\x67\x0f\x01\xd9"), 4);
	assert_int_equal(LENGTH(INSN_VMMCALL, "\x0f\x01\xc1"), 3);
	assert_int_equal(LENGTH(INSN_HLT, "\xf4"), 1);
	assert_int_equal(LENGTH(INSN_PAUSE, "\xf3\x90"), 2);
	assert_int_equal(LENGTH(INSN_WBINVD, "\x0f\x09"), 2);
	assert_int_equal(LENGTH(INSN_WBINVD, "\x0f\x08"), 2);
	assert_int_equal(LENGTH(INSN_XSETBV, "\x0f\x01\xd1"), 3);
	assert_int_equal(LENGTH(INSN_RDTSC, "\x0f\x31"), 2);
	assert_int_equal(LENGTH(INSN_RDTSC, "\x0f\x01\xf9"), 3);
	assert_int_equal(LENGTH(INSN_ANY, "\x67\x66\x8b\x04\x24"), 5);
	assert_int_equal(fake_faults, 0);
	assert_int_equal(LENGTH(INSN_CPUID, "\x0f\xa3\x00"), 0); /* it changed under us: #UD */
	assert_int_equal(fake_fault_vector, 6);
	assert_int_equal(LENGTH(INSN_VMMCALL, "\x0f\x01\x50\xd9"), 0);
	/* at the end of memory: the last bytes count, the missing page does not matter */
	assert_int_equal(length_at(INSN_CPUID, 0xfff0, "\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x0f\xa2",
				   16), 0);
	v->regs.rip = 0xfffe;
	assert_int_equal(insn_length(v, INSN_CPUID), 2);
	fake_ram[0xffff] = 0x0f;
	v->regs.rip = 0xffff;
	assert_int_equal(insn_length(v, INSN_CPUID), 0);
	assert_int_equal(fake_fault_vector, 14);
	assert_int_equal(fake_fault_addr, 0x10000);
}

static void in_out(void **state)
{
	struct exit e = { .kind = EXIT_IO, .size = 1, .port = 0x40, .in = true, .next_rip = 0x1002 };

	v->regs.rax = 0xaaaaaaaaaaaaaaaa;
	io_exit(v, &e);
	assert_int_equal(v->regs.rip, 0x1002);
	assert_int_equal(v->regs.rax, 0xaaaaaaaaaaaaaa77);
	e = (struct exit){ .kind = EXIT_IO, .size = 2, .port = 0x9999, .in = true, .next_rip = 0x1004 };
	io_exit(v, &e);
	assert_int_equal(v->regs.rax, 0xaaaaaaaaaaaaffff);
	port_value = 0x12345678;
	e = (struct exit){ .kind = EXIT_IO, .size = 4, .port = 0xcfc, .in = true };
	memcpy(fake_ram + 0x1004, "\xed", 1);
	io_exit(v, &e); /* length decoded */
	assert_int_equal(v->regs.rip, 0x1005);
	assert_int_equal(v->regs.rax, 0x12345678);
	e = (struct exit){ .kind = EXIT_IO, .size = 1, .port = 0xcfc, .next_rip = 0x1006 };
	v->regs.rax = 0x1ff;
	io_exit(v, &e);
	assert_int_equal(port_value, 0xff);
	/* the machine's power switch */
	fake_hvm.pm1_port = 0x604;
	fake_hvm.pm1_s5 = 1;
	io_port_write(v, 0x604, 2, 0x2400); /* sleep type 1 */
	assert_int_equal(out_port, 0);
	io_port_write(v, 0x604, 2, 0x2000);
	assert_int_equal(out_port, 0x604);
}

static void string_io(void **state)
{
	struct exit e = { .kind = EXIT_IO, .size = 2, .port = 0xcfc, .in = true, .string = true, .rep = true, .seg = 0xff };

	memcpy(fake_ram + 0x1000, "\xf3\x66\x6d", 3);
	v->regs.rdi = 0x4000;
	v->regs.rcx = 200;
	port_value = 1;
	io_exit(v, &e); /* a bounded piece, then the rest */
	assert_int_equal(v->regs.rip, 0x1000);
	assert_int_equal(v->regs.rcx, 72);
	io_exit(v, &e);
	assert_int_equal(v->regs.rip, 0x1003);
	assert_int_equal(v->regs.rdi, 0x4000 + 400);
	assert_int_equal(fake_ram[0x4000], 1);
	assert_int_equal(fake_ram[0x4000 + 398], 200);
	v->regs.rip = 0x1000;
	v->regs.rdi = 0x10000; /* not mapped: #PF before the port is read */
	v->regs.rcx = 1;
	port_value = 5;
	io_exit(v, &e);
	assert_int_equal(fake_fault_vector, 14);
	assert_int_equal(port_value, 5);
	assert_int_equal(v->regs.rip, 0x1000);
	assert_int_equal(v->regs.rcx, 1);
	e = (struct exit){ .kind = EXIT_IO, .size = 1, .port = 0xe9, .string = true, .rep = true, .seg = 0xff };
	memcpy(fake_ram + 0x1000, "\xf3\x6e", 2);
	memcpy(fake_ram + 0x5000, "hello \x01world\n", 13);
	v->regs.rsi = 0x5000;
	v->regs.rcx = 13;
	io_exit(v, &e);
	assert_string_equal(line, "hello world");
	assert_int_equal(v->regs.rip, 0x1002);
}

static void bitmaps(void **state)
{
	fake_domain.rights = 0;
	assert_int_equal(io_domain_init(&fake_domain), 0);
	for (unsigned i = 0; i < 0x2000; i++)
		assert_int_equal(fake_hvm.io_bitmap[i], 0xff);
	io_domain_destroy(&fake_domain);
	fake_domain.rights = RIGHT_ALL;
	assert_int_equal(io_domain_init(&fake_domain), 0);
	assert_int_equal(fake_hvm.io_bitmap[0x40 / 8], 0x0f);
	assert_int_equal(fake_hvm.io_bitmap[0x3f8 / 8], 0);
	assert_int_equal(fake_hvm.io_bitmap[0xcf8 / 8], 0xff);
	assert_int_equal(fake_hvm.io_bitmap[0x2000], 0xff);
	io_trap_port_range(&fake_domain, 0x3f8, 0x3ff);
	assert_int_equal(fake_hvm.io_bitmap[0x3f8 / 8], 0xff);
	io_domain_destroy(&fake_domain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(moves, setup),	   cmocka_unit_test_setup(arithmetic, setup),
		cmocka_unit_test_setup(strings, setup),	   cmocka_unit_test_setup(refusals, setup),
		cmocka_unit_test_setup(segments, setup),   cmocka_unit_test_setup(lapic_page, setup),
		cmocka_unit_test_setup(lengths, setup),	   cmocka_unit_test_setup(in_out, setup),
		cmocka_unit_test_setup(string_io, setup),  cmocka_unit_test_setup(bitmaps, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
