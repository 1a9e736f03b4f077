/* sources: hcall/version.c core/policy.c */
#include "unit/hcall.h"
#include "hcall/version.h"

static struct domain dom;
static struct vcpu vcpu;

static long version(uint32_t cmd, gva_t arg)
{
	struct hcall h = {.v = &vcpu, .d = &dom, .arg = {cmd, arg}};

	return hcall_xen_version(&h);
}

static int setup(void **state)
{
	caller_reset();
	memset(&dom, 0, sizeof(dom));
	vcpu.domain = &dom;
	return 0;
}

static void numbers(void **state)
{
	assert_int_equal(version(XENVER_version, 0), 4 << 16 | 17);
	assert_int_equal(version(XENVER_pagesize, 0), 4096);
	assert_int_equal(version(XENVER_pagesize, 8), -EINVAL);
	assert_int_equal(version(99, 0), -ENOSYS);
}

static void texts(void **state)
{
	memset(memory, 0xff, sizeof(memory));
	assert_int_equal(version(XENVER_extraversion, ADDRESS(0)), 0);
	assert_string_equal((char *)memory, "-gossamer");
	assert_int_equal(memory[15], 0);
	assert_int_equal(memory[16], 0xff);
	assert_int_equal(version(XENVER_capabilities, ADDRESS(0)), 0);
	assert_string_equal((char *)memory, "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ");
	assert_int_equal(version(XENVER_compile_info, ADDRESS(0)), 0);
	assert_int_equal(version(XENVER_changeset, ADDRESS(0)), 0);
	assert_int_equal(version(XENVER_extraversion, 0), -EFAULT);
	assert_int_equal(version(XENVER_extraversion, ADDRESS(CALLER_SIZE - 8)), -EFAULT);
}

static void command_line(void **state)
{
	version_set_cmdline("dom0_mem=1G noreboot");
	assert_int_equal(version(XENVER_commandline, ADDRESS(0)), 0);
	assert_string_equal((char *)memory, "<denied>");
	dom.rights = RIGHT_CONTROL;
	assert_int_equal(version(XENVER_commandline, ADDRESS(0)), 0);
	assert_string_equal((char *)memory, "dom0_mem=1G noreboot");
}

static uint32_t features(void)
{
	struct xen_feature_info *fi = CALLER(struct xen_feature_info, 0);

	fi->submap_idx = 0;
	assert_int_equal(version(XENVER_get_features, ADDRESS(0)), 0);
	return fi->submap;
}

static void feature_words(void **state)
{
	struct xen_feature_info *fi = CALLER(struct xen_feature_info, 0);
	uint32_t guest = BIT(XENFEAT_memory_op_vnode_supported) | BIT(XENFEAT_writable_page_tables) |
			 BIT(XENFEAT_auto_translated_physmap) | BIT(XENFEAT_hvm_callback_vector) |
			 BIT(XENFEAT_hvm_safe_pvclock) | BIT(XENFEAT_not_direct_mapped);

	assert_int_equal(features(), guest);
	dom.rights = RIGHT_HARDWARE;
	assert_int_equal(features(), guest | BIT(XENFEAT_dom0));
	dom.direct_mapped = true;
	assert_int_equal(features() >> XENFEAT_not_direct_mapped & 3, 2);
	fi->submap_idx = 1;
	assert_int_equal(version(XENVER_get_features, ADDRESS(0)), -EINVAL);
	assert_int_equal(version(XENVER_get_features, 0), -EFAULT);
	read_only_from = ADDRESS(0);
	fi->submap_idx = 0;
	assert_int_equal(version(XENVER_get_features, ADDRESS(0)), -EFAULT);
}

static void handle(void **state)
{
	memcpy(dom.uuid, "0123456789abcdef", 16);
	assert_int_equal(version(XENVER_guest_handle, ADDRESS(100)), 0);
	assert_memory_equal(memory + 100, dom.uuid, 16);
}

static void build_id(void **state)
{
	assert_int_equal(version(XENVER_build_id, 0), -EPERM);
	dom.rights = RIGHT_CONTROL;
	assert_int_equal(version(XENVER_build_id, 0), -ENODATA); /* a hosted program has no such symbols */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(numbers, setup),	     cmocka_unit_test_setup(texts, setup),
		cmocka_unit_test_setup(command_line, setup), cmocka_unit_test_setup(feature_words, setup),
		cmocka_unit_test_setup(handle, setup),	     cmocka_unit_test_setup(build_id, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
