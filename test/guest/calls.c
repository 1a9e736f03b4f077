// SPDX-License-Identifier: Apache-2.0
/*
 * sched_op, vcpu_op, hvm_op, vm_assist, multicall, console_io, and the hypercalls that are not there.
 *
 * Sources: public headers sched.h, vcpu.h, hvm/hvm_op.h, hvm/params.h, xen.h.
 */
#include "lib/guest.h"

const char guest_name[] = "calls";

#define BAD ((void *)0x7f0000000000UL)
#define MS  1000000UL

static void blocking(void)
{
	struct vcpu_set_singleshot_timer t = {.flags = 0};
	evtchn_port_t port;
	unsigned int was;

	event_bind_virq(VIRQ_TIMER, 0, &port);
	was = event_seen[port];
	event_set_mask(port, false);
	t.timeout_abs_ns = event_now() + 30 * MS; /* it must not come before the call */
	hc_vcpu(VCPUOP_set_singleshot_timer, 0, &t);
	cpu_irq_on();
	CHECK_EQ("block", hc_sched(SCHEDOP_block, 0), 0);
	cpu_irq_off();
	CHECK_EQ("until the timer's event", event_seen[port], was + 1);
	event_close(port);
}

static void scheduling(void)
{
	evtchn_port_t port, list[1];
	struct sched_poll p = {.nr_ports = 0};
	struct sched_watchdog w = {.id = 0, .timeout = 30};
	struct sched_remote_shutdown r = {.domain_id = 1234, .reason = 0};
	uint64_t t;
	long id;

	CHECK_EQ("yield", hc_sched(SCHEDOP_yield, 0), 0);
	t = event_now();
	p.timeout = t + 3 * MS;
	CHECK_EQ("poll nothing for 3 ms", hc_sched(SCHEDOP_poll, &p), 0);
	CHECK("it took that long", event_now() >= t + 3 * MS - 100000 && event_now() < t + 500 * MS);
	event_bind_ipi(0, &port);
	event_set_mask(port, true);
	list[0] = port;
	set_xen_guest_handle(p.ports, list);
	p.nr_ports = 1;
	t = event_now();
	p.timeout = t + 2 * MS;
	CHECK_EQ("poll a quiet port", hc_sched(SCHEDOP_poll, &p), 0);
	CHECK("until the timeout", event_now() >= t + 2 * MS - 100000);
	event_send(port);
	p.timeout = 0;
	CHECK_EQ("poll a pending port", hc_sched(SCHEDOP_poll, &p), 0);
	event_clear(port);
	list[0] = 0x7fffffff;
	CHECK_EQ("poll no port", hc_sched(SCHEDOP_poll, &p), -XEN_EINVAL);
	p.nr_ports = 1000000;
	CHECK_EQ("poll too many", hc_sched(SCHEDOP_poll, &p), -XEN_EINVAL);
	p.nr_ports = 1;
	set_xen_guest_handle(p.ports, (evtchn_port_t *)BAD);
	CHECK_EQ("poll, bad list", hc_sched(SCHEDOP_poll, &p), -XEN_EFAULT);
	CHECK_EQ("poll, bad pointer", hc_sched(SCHEDOP_poll, BAD), -XEN_EFAULT);
	event_close(port);
	blocking();

	id = hc_sched(SCHEDOP_watchdog, &w);
	CHECK("watchdog", id > 0 && id < 10);
	w.id = (uint32_t)id;
	CHECK_EQ("watchdog again", hc_sched(SCHEDOP_watchdog, &w), 0);
	w.timeout = 0;
	CHECK_EQ("watchdog off", hc_sched(SCHEDOP_watchdog, &w), 0);
	w.id = 99;
	CHECK_EQ("no such watchdog", hc_sched(SCHEDOP_watchdog, &w), -XEN_EINVAL);
	CHECK_EQ("remote shutdown of nobody", hc_sched(SCHEDOP_remote_shutdown, &r), -XEN_ESRCH);
	CHECK_EQ("shutdown, bad pointer", hc_sched(SCHEDOP_shutdown, BAD), -XEN_EFAULT);
	CHECK_EQ("unknown sched_op", hc_sched(99, 0), -XEN_ENOSYS);
}

static void vcpus(void)
{
	static PAGE char info_page[PAGE_SIZE];
	struct vcpu_register_vcpu_info info = {.mfn = (unsigned long)info_page / PAGE_SIZE};
	struct vcpu_info *v = (struct vcpu_info *)(info_page + 64);
	evtchn_port_t port;

	CHECK_EQ("is_up of me", hc_vcpu(VCPUOP_is_up, 0, 0), 1);
	CHECK_EQ("is_up of nobody", hc_vcpu(VCPUOP_is_up, 4000, 0), -XEN_ENOENT);
	CHECK_EQ("up of me", hc_vcpu(VCPUOP_up, 0, 0), 0);
	CHECK_EQ("initialise me", hc_vcpu(VCPUOP_initialise, 0, info_page), -XEN_EEXIST);
	CHECK_EQ("unknown vcpu_op", hc_vcpu(99, 0, 0), -XEN_ENOSYS);
	info.offset = PAGE_SIZE - 8;
	CHECK_EQ("vcpu_info over the page's end", hc_vcpu(VCPUOP_register_vcpu_info, 0, &info), -XEN_ENXIO);
	info.offset = 64;
	info.mfn = 0xfffffffffUL;
	CHECK_EQ("vcpu_info nowhere", hc_vcpu(VCPUOP_register_vcpu_info, 0, &info), -XEN_EINVAL);
	info.mfn = (unsigned long)info_page / PAGE_SIZE;
	CHECK_EQ("vcpu_info, bad pointer", hc_vcpu(VCPUOP_register_vcpu_info, 0, BAD), -XEN_EFAULT);
	CHECK_EQ("vcpu_info", hc_vcpu(VCPUOP_register_vcpu_info, 0, &info), 0);
	CHECK_EQ("vcpu_info twice", hc_vcpu(VCPUOP_register_vcpu_info, 0, &info), -XEN_EINVAL);
	CHECK("the time record moved", v->time.tsc_to_system_mul != 0 && !(v->time.version & 1));
	v->evtchn_upcall_pending = 0;
	v->evtchn_pending_sel = 0;
	event_bind_ipi(0, &port);
	event_set_mask(port, false);
	event_send(port);
	CHECK("events are flagged there", v->evtchn_upcall_pending == 1 && v->evtchn_pending_sel == 1);
	v->evtchn_upcall_pending = 0;
	v->evtchn_pending_sel = 0;
	event_clear(port);
	event_close(port);
}

static long param(unsigned int op, uint32_t index, uint64_t *value, domid_t dom)
{
	struct xen_hvm_param p = {.domid = dom, .index = index, .value = *value};
	long rc = hc_hvm(op, &p);

	*value = p.value;
	return rc;
}

static void params(void)
{
	struct xen_hvm_get_time now = {0};
	struct xen_hvm_get_mem_type type = {.domid = DOMID_SELF, .pfn = (unsigned long)&now / PAGE_SIZE};
	struct xen_hvm_pagetable_dying dying = {.domid = DOMID_SELF};
	uint64_t v = 0;

	CHECK_EQ("get CALLBACK_IRQ", param(HVMOP_get_param, HVM_PARAM_CALLBACK_IRQ, &v, DOMID_SELF), 0);
	CHECK_EQ("get STORE_EVTCHN", param(HVMOP_get_param, HVM_PARAM_STORE_EVTCHN, &v, DOMID_SELF), 0);
	CHECK_EQ("get CONSOLE_PFN", param(HVMOP_get_param, HVM_PARAM_CONSOLE_PFN, &v, DOMID_SELF), 0);
	CHECK_EQ("get no param", param(HVMOP_get_param, HVM_NR_PARAMS, &v, DOMID_SELF), -XEN_EINVAL);
	CHECK_EQ("set no param", param(HVMOP_set_param, HVM_NR_PARAMS, &v, DOMID_SELF), -XEN_EINVAL);
	CHECK_EQ("get param of nobody", param(HVMOP_get_param, HVM_PARAM_CALLBACK_IRQ, &v, 1234), -XEN_ESRCH);
	v = (uint64_t)HVM_PARAM_CALLBACK_TYPE_VECTOR << 56 | 0xf3;
	CHECK_EQ("set CALLBACK_IRQ", param(HVMOP_set_param, HVM_PARAM_CALLBACK_IRQ, &v, DOMID_SELF), 0);
	v = 0;
	CHECK_EQ("get it back", param(HVMOP_get_param, HVM_PARAM_CALLBACK_IRQ, &v, DOMID_SELF), 0);
	CHECK_EQ("the same", v, (uint64_t)HVM_PARAM_CALLBACK_TYPE_VECTOR << 56 | 0xf3);
	CHECK_EQ("params, bad pointer", hc_hvm(HVMOP_get_param, BAD), -XEN_EFAULT);
	CHECK_EQ("get_time", hc_hvm(HVMOP_get_time, &now), 0);
	CHECK("and the clock agree", now.now <= event_now() + MS && event_now() < now.now + 500 * MS);
	CHECK_EQ("get_mem_type", hc_hvm(HVMOP_get_mem_type, &type), 0);
	CHECK_EQ("RAM", type.mem_type, HVMMEM_ram_rw);
	CHECK_EQ("flush_tlbs", hc_hvm(HVMOP_flush_tlbs, 0), 0);
	CHECK_EQ("flush_tlbs with an argument", hc_hvm(HVMOP_flush_tlbs, 8), -XEN_EINVAL);
	CHECK_EQ("pagetable_dying", hc_hvm(HVMOP_pagetable_dying, &dying), -XEN_EINVAL);
	CHECK_EQ("unknown hvm_op", hc_hvm(99, 0), -XEN_ENOSYS);
	CHECK_EQ("vm_assist runstate flag",
		 HC(__HYPERVISOR_vm_assist, VMASST_CMD_enable, VMASST_TYPE_runstate_update_flag), 0);
	CHECK_EQ("vm_assist off", HC(__HYPERVISOR_vm_assist, VMASST_CMD_disable, VMASST_TYPE_runstate_update_flag), 0);
	CHECK_EQ("no such assist", HC(__HYPERVISOR_vm_assist, VMASST_CMD_enable, 60), -XEN_EINVAL);
	CHECK_EQ("no such command", HC(__HYPERVISOR_vm_assist, 9, VMASST_TYPE_runstate_update_flag), -XEN_ENOSYS);
}

static void multicalls(void)
{
	static struct multicall_entry m[40];

	for (unsigned int i = 0; i < ARRAY_SIZE(m); i++) {
		m[i].op = i % 3 == 2 ? 55 : __HYPERVISOR_xen_version;
		m[i].args[0] = i % 3 == 1 ? XENVER_pagesize : XENVER_version;
	}
	CHECK_EQ("multicall", HC(__HYPERVISOR_multicall, m, ARRAY_SIZE(m)), 0);
	CHECK_EQ("first result", m[0].result, 4 << 16 | 17);
	CHECK_EQ("second result", m[1].result, 4096);
	CHECK_EQ("third result", (long)m[2].result, -XEN_ENOSYS);
	CHECK_EQ("last result", m[39].result, 4 << 16 | 17);
	m[0].op = __HYPERVISOR_multicall;
	CHECK_EQ("multicall in a multicall", HC(__HYPERVISOR_multicall, m, 1), 0);
	CHECK("is refused", (long)m[0].result < 0);
	print("nested multicall: %ld\n", (long)m[0].result);
	CHECK_EQ("multicall of none", HC(__HYPERVISOR_multicall, m, 0), 0);
	CHECK_EQ("multicall, bad pointer", HC(__HYPERVISOR_multicall, BAD, 1), -XEN_EFAULT);
}

/* Public header arch-x86/cpuid.h, leaf 2: the page is written by an MSR; 32 bytes a call. */
static void hypercall_page(void)
{
	static PAGE char page[PAGE_SIZE];
	unsigned long ret, arg = XENVER_version;

	cpu_wrmsr(0x40000000, (unsigned long)page);
	CHECK_EQ("hypercall page", trap_seen.vector, TRAP_NONE);
	__asm__ volatile("call *%[at]"
			 : "=a"(ret), "+D"(arg)
			 : [at] "r"(page + 32 * __HYPERVISOR_xen_version), "0"(-1UL)
			 : "memory", "rcx", "r11");
	CHECK_EQ("a call through it", ret, 4 << 16 | 17);
	cpu_wrmsr(0x40000000, 0xfffffffffff000UL);
	CHECK_EQ("hypercall page nowhere", trap_seen.vector, TRAP_GP);
}

static void consoles(void)
{
	char buf[8];

	CHECK_EQ("console write of nothing", hc_console(CONSOLEIO_write, 0, buf), guest_dom0 ? 0 : -XEN_EPERM);
	CHECK_EQ("console read", hc_console(CONSOLEIO_read, sizeof(buf), buf), guest_dom0 ? 0 : -XEN_EPERM);
	if (!guest_dom0)
		return;
	CHECK_EQ("console, bad pointer", hc_console(CONSOLEIO_write, 8, BAD), -XEN_EFAULT);
	CHECK_EQ("console, no such command", hc_console(99, 8, buf), -XEN_ENOSYS);
}

/* What a hardware container cannot call: the PV page-table and trap interface, and numbers nobody has. */
static void absent(void)
{
	static const unsigned int none[] = {
		__HYPERVISOR_set_trap_table,
		__HYPERVISOR_mmu_update,
		__HYPERVISOR_set_gdt,
		__HYPERVISOR_stack_switch,
		__HYPERVISOR_set_callbacks,
		__HYPERVISOR_fpu_taskswitch,
		__HYPERVISOR_set_debugreg,
		__HYPERVISOR_get_debugreg,
		__HYPERVISOR_update_descriptor,
		11,
		__HYPERVISOR_update_va_mapping,
		__HYPERVISOR_update_va_mapping_otherdomain,
		__HYPERVISOR_iret,
		__HYPERVISOR_set_segment_base,
		__HYPERVISOR_nmi_op,
		__HYPERVISOR_callback_op,
		__HYPERVISOR_tmem_op,
		43,
		47,
		__HYPERVISOR_arch_2,
		__HYPERVISOR_arch_7,
		56,
		63,
		64,
		255,
		4096,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(none); i++)
		if (!CHECK_EQ("a hypercall that is not there", HC(none[i], 0), -XEN_ENOSYS))
			print("number %u\n", none[i]);
	CHECK_EQ("a number of 32 bits", HC(0x80000000UL, 0), -XEN_ENOSYS);
	CHECK_EQ("all ones", HC(-1UL, 0), -XEN_ENOSYS);
	CHECK_EQ("xsm_op", HC(__HYPERVISOR_xsm_op, BAD), -XEN_ENOSYS);
	CHECK_EQ("mca", HC(__HYPERVISOR_arch_0, BAD), -XEN_ENOSYS);
}

void guest_main(void)
{
	event_init();
	scheduling();
	params();
	multicalls();
	hypercall_page();
	consoles();
	absent();
	vcpus();
}
