/* sources: boot/multiboot.c boot/cmdline.c */
/* What the boot loader says: a Multiboot 2 block with an overlapping memory map; options, good and bad. */
#include "boot/boot.h"
#include "core/log.h"
#include "lib/lib.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#define MB2 0x36d76289u

static uint8_t block[4096] __attribute__((aligned(8)));
static size_t used;

static void tag(uint32_t type, const void *body, size_t n)
{
	uint32_t head[2] = { type, (uint32_t)(8 + n) };

	memcpy(block + used, head, 8);
	memcpy(block + used + 8, body, n);
	used += ALIGN_UP(8 + n, (size_t)8);
}

static void module(uint32_t start, uint32_t end, const char *args)
{
	uint8_t body[256];
	uint32_t w[2] = { start, end };

	memcpy(body, w, 8);
	memcpy(body + 8, args, strlen(args) + 1);
	tag(3, body, 9 + strlen(args));
}

static void test_multiboot2(void **state)
{
	struct {
		uint32_t size, version;
		uint64_t e[5][3];
	} map = { 24, 0, {
		{ 0x100000, 0x7f00000, 1 }, { 0x3000000, 0x1000, 2 }, { 0, 0x9fc00, 1 }, { 0x9fc00, 0x400, 2 },
		{ 0x8000000, 0x1000, 77 },
	} };

	used = 8;
	tag(1, "loglvl=all", 11);
	module(0x200000, 0x200800, "console=hvc0 quiet");
	module(0x300000, 0x300001, "");
	tag(6, &map, sizeof(map));
	tag(2, "GRUB 2.06", 10); /* after what depends on it */
	tag(0, "", 0);
	multiboot_parse(MB2, block);
	assert_string_equal(boot_info.loader, "GRUB 2.06");
	assert_string_equal(boot_info.cmdline, "loglvl=all");
	assert_int_equal(boot_info.nr_modules, 2);
	assert_string_equal(boot_info.module[0].args, "console=hvc0 quiet");
	assert_int_equal(boot_info.module[0].size, 0x800);
	assert_int_equal(boot_info.nr_ram, 6);
	for (unsigned i = 1; i < boot_info.nr_ram; i++)
		assert_true(boot_info.ram[i].start >= boot_info.ram[i - 1].end);
	assert_int_equal(boot_info.ram[2].end, 0x3000000); /* RAM up to the hole somebody reserved in it */
	assert_int_equal(boot_info.ram[3].type, 2);
	assert_int_equal(boot_info.ram[4].end, 0x8000000);
	assert_int_equal(boot_info.ram[5].type, 2); /* an unknown type is not RAM */
}

static void test_options(void **state)
{
	cmdline_parse("  console=com1 dom0_mem=1G,max:2G com1=57600,8n1,0x2f8 loglvl=warning/all dom0_max_vcpus=1-4 noreboot tsc=unstable "
		      "x");
	assert_int_equal(boot_options.dom0_mem, 1ull << 30);
	assert_int_equal(boot_options.dom0_mem_max, 2ull << 30);
	assert_int_equal(boot_options.com1_baud, 57600);
	assert_int_equal(boot_options.com1_port, 0x2f8);
	assert_int_equal(boot_options.loglvl, LOG_WARN);
	assert_int_equal(boot_options.dom0_max_vcpus, 4);
	assert_true(boot_options.noreboot);
	assert_true(boot_options.tsc_unstable);
}

static void test_bad_options(void **state)
{
	struct boot_options before = boot_options;

	cmdline_parse("dom0_mem=12q dom0_mem= com1=9601 loglvl=loud dom0_max_vcpus=0 dom0_max_vcpus=500 sched=rr tsc=slow =x = com1=");
	lib_strlcpy(boot_options.raw, before.raw, sizeof(before.raw));
	assert_int_equal(boot_options.dom0_mem, before.dom0_mem);
	assert_int_equal(boot_options.com1_baud, before.com1_baud);
	assert_int_equal(boot_options.loglvl, before.loglvl);
	assert_int_equal(boot_options.dom0_max_vcpus, before.dom0_max_vcpus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_multiboot2),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_bad_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
