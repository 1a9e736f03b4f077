/* sources: hvm/vmx.c hvm/vmx_decode.c hvm/vmx_check.c hvm/vmx_caps.c hvm/tlb.c hvm/spec.c hvm/hvm.c hvm/cr.c hvm/msr.c hvm/insn.c hvm/decode.c hvm/tsc.c hvm/vlapic.c hvm/vlapic_timer.c core/heap.c core/frame.c */
/*
 * Intel's backend on a CPU that is an array of fields per VMCS: negotiation, injection, windows, what the CPU leaves to the
 * hypervisor, VMCSs that are loaded on one CPU at a time; and the explanations of refused entries, given bad states.
 */
#include "unit/hvm_fake.h"

#include "core/heap.h"
#include "core/time.h"
#include "hvm/io.h"
#include "hvm/msr.h"
#include "hvm/offer.h"
#include "hvm/run.h"
#include "hvm/vendor.h"
#include "hvm/vmcs.h"
#include "hvm/vmx_check.h"
#include "hvm/vmx_caps.h"
#include "hvm/vpci.h"
#include "port/cpu.h"
#include "port/upcall.h"

#define EVENT(vector, type) ((vector) | (uint64_t)(type) << 8 | BIT(31))
#define REGIONS		    8u

static struct vcpu *const v = &fake_vcpu[0];
static struct vcpu *const w = &fake_vcpu[1];
static struct vcpu_info info[FAKE_VCPUS];

/* --- the CPU --- */

static struct {
	uint64_t pa;
	uint64_t field[0x7000];
	unsigned active_on; /* CPU + 1 */
} region[REGIONS];
static unsigned current[NR_CPUS]; /* region + 1 */
static uint64_t missing[0x1000], kernel_gs[NR_CPUS], cr2[NR_CPUS];
static unsigned invepts, nmis;
static uint64_t injected, leaves_flags;
static struct vmx_report leaves;

static unsigned region_of(uint64_t pa)
{
	unsigned i = 0;

	while (i < REGIONS && region[i].pa && region[i].pa != pa)
		i++;
	assert_true(i < REGIONS);
	region[i].pa = pa;
	return i;
}

void port_vmclear(uint64_t pa)
{
	unsigned i = region_of(pa);

	assert_true(!region[i].active_on || region[i].active_on == host_cpu + 1);
	region[i].active_on = 0;
	if (current[host_cpu] == i + 1)
		current[host_cpu] = 0;
}

void port_vmptrld(uint64_t pa)
{
	unsigned i = region_of(pa);

	assert_true(!region[i].active_on || region[i].active_on == host_cpu + 1);
	region[i].active_on = host_cpu + 1;
	current[host_cpu] = i + 1;
}

static uint64_t *field(uint32_t f)
{
	assert_true(current[host_cpu]);
	assert_true(f < 0x7000);
	return &region[current[host_cpu] - 1].field[f];
}

uint64_t port_vmread(uint32_t f)
{
	return *field(f);
}

void port_vmwrite(uint32_t f, uint64_t value)
{
	*field(f) = value;
}

bool port_vmx_on(uint64_t pa)
{
	return true;
}

void port_vmx_host_state(void)
{
	port_vmwrite(VMCS_HOST_RIP, 1 + host_cpu);
}

void port_invept(uint64_t type, uint64_t eptp)
{
	invepts++;
}

void port_invvpid(uint64_t type, uint16_t vpid)
{
}

void port_nmi(void)
{
	nmis++;
}

static unsigned acknowledged;

void port_vmx_interrupt(unsigned vector)
{
	acknowledged = vector;
}

unsigned port_vmx_notify_vector(void)
{
	return 0xf2;
}

uint64_t port_cr2_get(void)
{
	return cr2[host_cpu];
}

void port_cr2_set(uint64_t value)
{
	cr2[host_cpu] = value;
}

uint64_t port_dr6_get(void)
{
	return 0xffff0ff0;
}

void port_dr6_set(uint64_t value)
{
}

static unsigned cpu_writes, logged; /* pages that the guest writes in its next stay; those that were reported */
static uint64_t logged_sum;

void logdirty_logged(struct domain *d, const uint64_t *gpas, unsigned n)
{
	assert_ptr_equal(d, &fake_domain);
	for (unsigned i = 0; i < n; i++)
		logged_sum += gpas[i] >> PAGE_SHIFT;
	logged += n;
}

/* Logs what it can of that (SDM vol. 3, 29.3.6). */
static void log_writes(void)
{
	uint64_t *log = port_direct(MFN(port_vmread(VMCS_LOG) >> PAGE_SHIFT)), index = port_vmread(VMCS_LOG_INDEX);

	for (; cpu_writes && index < 512; cpu_writes--, index = (index - 1) & 0xffff)
		log[index] = (uint64_t)cpu_writes << PAGE_SHIFT;
	port_vmwrite(VMCS_LOG_INDEX, index);
}

bool port_vmx_enter(uint64_t *regs, bool launched)
{
	assert_int_equal(port_vmread(VMCS_HOST_RIP), 1 + host_cpu);
	injected = port_vmread(VMCS_ENTRY_EVENT);
	if (port_vmread(VMCS_PIN) == 0) {
		port_vmwrite(VMCS_INSTRUCTION_ERROR, 7);
		return false;
	}
	if (port_vmread(VMCS_SECONDARY) & SECONDARY_LOG)
		log_writes();
	port_vmwrite(VMCS_ENTRY_EVENT, injected & ~BIT(31));
	port_vmwrite(VMCS_REASON, leaves.reason);
	port_vmwrite(VMCS_QUALIFICATION, leaves.qualification);
	port_vmwrite(VMCS_EXIT_EVENT, leaves.event);
	port_vmwrite(VMCS_EXIT_ERROR, leaves.error);
	port_vmwrite(VMCS_IDT_EVENT, leaves.idt_event);
	port_vmwrite(VMCS_IDT_ERROR, leaves.idt_error);
	port_vmwrite(VMCS_LENGTH, leaves.length);
	port_vmwrite(VMCS_GPA, leaves.gpa);
	port_vmwrite(VMCS_GUEST_RFLAGS, leaves_flags);
	return true;
}

bool port_rdmsr(uint32_t msr, uint64_t *value)
{
	if (msr == 0xc0000102) {
		*value = kernel_gs[host_cpu];
		return true;
	}
	if (msr < 0x480 || msr > 0x490)
		return false;
	if (msr == MSR_VMX_MISC) {
		*value = 5;
		return true;
	}
	*value = msr == MSR_VMX_BASIC ? 0x12 | BIT(55) : msr == MSR_VMX_EPT_VPID ? ~missing[msr] : ~missing[msr] << 32;
	return true;
}

bool port_wrmsr(uint32_t msr, uint64_t value)
{
	if (msr == 0xc0000102)
		kernel_gs[host_cpu] = value;
	return true;
}

/* --- what is not linked --- */

static unsigned crashes;

void domain_crash(struct domain *d, const char *fmt, ...)
{
	crashes++;
}

int cpuid_domain_init(struct domain *d)
{
	return 0;
}

void guestmem_enter(struct domain *d)
{
}

void guestmem_leave(void)
{
}

static const uint64_t pdptes[4] = { 0x1001, 0x2001, 0x3001, 0x4001 };

int guestmem_read_gpa(struct domain *d, void *dst, gpa_t src, size_t len)
{
	memcpy(dst, pdptes, len);
	return src == 0x5000 ? 0 : -EFAULT;
}

int io_domain_init(struct domain *d)
{
	return 0;
}

void io_domain_destroy(struct domain *d)
{
}

void irq_domain_release(struct domain *d)
{
}

void run_left(void)
{
}

bool run_entered(struct vcpu *c)
{
	return false;
}

void timer_kill(struct timer *t)
{
}

void time_update_vcpu(struct vcpu *c)
{
}

int upcall_hypercall_page(struct domain *d, gfn_t gfn)
{
	return 0;
}

void vioapic_eoi(struct domain *d, uint8_t vector)
{
}

void vioapic_init(struct domain *d, uint32_t nr_pins)
{
}

void vioapic_pulse(struct domain *d, uint32_t pin)
{
}

void vpci_destroy(struct domain *d)
{
}

void vpit_init(struct domain *d)
{
}

void vpit_timer(struct vcpu *c)
{
}

void domain_shutdown(struct domain *d, uint8_t code)
{
}

/* --- the tests --- */

static uint8_t *x2_msrs; /* made once */

/* apic: the CPU delivers interrupts by itself. */
static int begin(bool apic)
{
	vendor_vmx = true;
	memset(region, 0, sizeof(region));
	memset(current, 0, sizeof(current));
	memset(missing, 0, sizeof(missing));
	missing[MSR_VMX_SECONDARY] = apic ? 0 : SECONDARY_INTERRUPTS;
	vendor_apic_delivers = false;
	fake_machine(2);
	host_boot(4096);
	host_cpu = 0;
	host_cpus = 2;
	fake_hvm.io_bitmap = fake_hvm.msr_bitmap = heap_alloc_pages(2);
	assert_int_equal(vmx_init(), 0);
	assert_int_equal(msr_init(), 0);
	for (unsigned c = 0; c < 2; c++)
		assert_int_equal(vmx_cpu_init(c), 0);
	for (unsigned i = 0; i < 2; i++) {
		fake_vcpu[i].info = &info[i];
		fake_hvcpu[i].fpu = heap_alloc_pages(0);
		fake_hvcpu[i].lapic.page = heap_alloc_pages(0);
		assert_int_equal(vmx_vcpu_init(&fake_vcpu[i]), 0);
		hvm_reset(&fake_vcpu[i]);
		vlapic_init(&fake_vcpu[i]);
	}
	vlapic_mmio_write(v, 0xf0, 0x1ff);
	injected = crashes = nmis = 0;
	leaves = (struct vmx_report){ .reason = VMX_INTERRUPT };
	leaves_flags = 2;
	vmx_switch_in(v, false);
	return 0;
}

static int setup(void **state)
{
	return begin(false);
}

static int setup_apic(void **state)
{
	return begin(true);
}

static int teardown(void **state)
{
	if (current[0])
		vmx_switch_out(v);
	host_cpu = 0;
	return 0;
}

static struct exit enter(void)
{
	struct exit e = { 0 };

	vmx_run(v, &e);
	return e;
}

static uint64_t primary(void)
{
	return port_vmread(VMCS_PRIMARY);
}

static void test_a_missing_control_is_refused(void **state)
{
	missing[MSR_VMX_SECONDARY] = SECONDARY_UNRESTRICTED;
	assert_int_equal(vmx_init(), -ENODEV);
	missing[MSR_VMX_SECONDARY] = SECONDARY_VPID | SECONDARY_RDTSCP; /* these are only used when there */
	assert_int_equal(vmx_init(), 0);
	missing[MSR_VMX_TRUE_PIN] = PIN_VIRTUAL_NMIS;
	assert_int_equal(vmx_init(), -ENODEV);
	missing[MSR_VMX_TRUE_PIN] = 0;
	missing[MSR_VMX_EPT_VPID] = EPT_CAP_WB;
	assert_int_equal(vmx_init(), -ENODEV);
	missing[MSR_VMX_EPT_VPID] = 0;
	assert_int_equal(vmx_init(), 0);
}

/* While the domain wants it the CPU logs, and each exit hands over what it logged, in order or not. */
static void test_log(void **state)
{
	static uint8_t regions[8];
	struct exit e;

	assert_true(vendor_logs_writes);
	logged = 0;
	cpu_writes = 5;
	vmx_run(v, &e);
	assert_false(port_vmread(VMCS_SECONDARY) & SECONDARY_LOG);
	assert_int_equal(logged, 0);
	fake_domain.p2m.regions = regions;
	for (unsigned n = 0; n <= 512; n += n < 3 ? 1 : 509 / 3) {
		logged = 0;
		logged_sum = 0;
		cpu_writes = n;
		vmx_run(v, &e);
		assert_true(port_vmread(VMCS_SECONDARY) & SECONDARY_LOG);
		assert_int_equal(logged, n);
		assert_int_equal(logged_sum, n * (n + 1) / 2);
	}
	cpu_writes = 600; /* full: an exit that asks for nothing but that */
	logged = 0;
	leaves = (struct vmx_report){ .reason = VMX_LOG_FULL, .qualification = BIT(12) };
	port_vmwrite(VMCS_BLOCKING, 0);
	vmx_run(v, &e);
	assert_int_equal(e.kind, EXIT_NONE);
	assert_int_equal(logged, 512);
	assert_int_equal(port_vmread(VMCS_BLOCKING), BLOCKING_NMI); /* its IRET had unblocked NMIs, and runs again */
	vmx_run(v, &e);
	assert_int_equal(logged, 600);
	fake_domain.p2m.regions = NULL;
	vmx_run(v, &e);
	assert_false(port_vmread(VMCS_SECONDARY) & SECONDARY_LOG);
	missing[MSR_VMX_EPT_VPID] = EPT_CAP_FLAGS;
	assert_int_equal(vmx_init(), 0);
	assert_false(vendor_logs_writes || vmx_caps.secondary & SECONDARY_LOG);
}

/* A stay lasts until the CPU's timer is due, not less, and at most one step of the preemption timer longer. */
static void test_timer(void **state)
{
	struct exit e;

	assert_true(host_timer_deferred && vmx_caps.pin & PIN_TIMER);
	for (uint64_t left = 0; left < 200; left += 7) {
		host_timer_deadline = host_ns + left;
		vmx_run(v, &e);
		assert_true((port_vmread(VMCS_TIMER) << 5) >= left);
		assert_true((port_vmread(VMCS_TIMER) << 5) <= left + 32);
		assert_true(left || !port_vmread(VMCS_TIMER));
	}
	host_timer_deadline = host_ns++;
	vmx_run(v, &e);
	assert_int_equal(port_vmread(VMCS_TIMER), 0);
	host_timer_deadline = host_ns + BIT(40);
	vmx_run(v, &e);
	assert_int_equal(port_vmread(VMCS_TIMER), 0xffffffff);
	host_timer_deadline = ~0ull;
	for (vmx_caps.timer_shift = 0; vmx_caps.timer_shift < 32; vmx_caps.timer_shift++) {
		vmx_run(v, &e);
		assert_int_equal(port_vmread(VMCS_TIMER), 0xffffffff);
	}
	leaves = (struct vmx_report){ .reason = VMX_TIMER };
	vmx_run(v, &e);
	assert_int_equal(e.kind, EXIT_INTERRUPT);
	missing[MSR_VMX_TRUE_PIN] = PIN_TIMER;
	assert_int_equal(vmx_init(), 0);
	port_vmwrite(VMCS_TIMER, 77);
	vmx_run(v, &e);
	assert_int_equal(port_vmread(VMCS_TIMER), 77);
}

static void test_optional_controls(void **state)
{
	assert_true(vmx_caps.secondary & SECONDARY_XSAVES);
	assert_true(vendor_xsaves && vendor_dirty_flags && vendor_tsc_rate_max >= 0xffull << 32);
	assert_int_equal(port_vmread(VMCS_TSC_MULTIPLIER), 1ull << 48);
	assert_int_equal(port_vmread(VMCS_XSS_EXITING), 0);
	vmx_set_tsc_rate(v, 5ull << 31);
	assert_int_equal(port_vmread(VMCS_TSC_MULTIPLIER), 5ull << 47);
	vmx_set_tsc_rate(v, 0);
	assert_int_equal(port_vmread(VMCS_TSC_MULTIPLIER), 1ull << 48);
	/* Nothing of what is there but not used was switched on. */
	assert_int_equal(vmx_caps.secondary & (BIT(13) | BIT(14) | BIT(18) | BIT(22)), 0);
	missing[MSR_VMX_SECONDARY] = SECONDARY_XSAVES | SECONDARY_TSC_SCALING;
	assert_int_equal(vmx_init(), 0);
	assert_true(!vendor_xsaves && !vendor_tsc_rate_max);
	vmx_set_tsc_rate(v, 5ull << 31);
	assert_int_equal(port_vmread(VMCS_TSC_MULTIPLIER), 1ull << 48);
}

static void test_interrupts_wait_for_the_window(void **state)
{
	vlapic_set_irq(v, 0x50, false);
	v->regs.rflags = 2;
	enter();
	assert_false(injected & BIT(31));
	assert_true(primary() & PRIMARY_INTERRUPT_WINDOW);
	v->regs.rflags = 2 | BIT(9);
	port_vmwrite(VMCS_BLOCKING, BLOCKING_STI);
	enter();
	assert_false(injected & BIT(31));
	v->regs.rflags = 2 | BIT(9);
	port_vmwrite(VMCS_BLOCKING, 0);
	enter();
	assert_int_equal(injected, EVENT(0x50, 0));
	assert_false(primary() & PRIMARY_INTERRUPT_WINDOW);
	assert_int_equal(vlapic_pending(v), -1); /* in service */
}

static void test_an_interrupted_interrupt_is_offered_anew(void **state)
{
	struct exit e;

	vlapic_set_irq(v, 0x50, false);
	v->regs.rflags = 2 | BIT(9);
	leaves = (struct vmx_report){ .reason = VMX_EPT_VIOLATION, .idt_event = EVENT(0x50, 0), .gpa = 0x1000 };
	e = enter();
	assert_int_equal(e.kind, EXIT_NPF);
	assert_int_equal(e.interrupted, 0);
	assert_int_equal(vlapic_pending(v), 0x50);
}

/* Interrupts go into the page and the status field, not into the entry; the callback vector goes with the entry as ever. */
static void test_virtual_interrupts(void **state)
{
	uint64_t page = port_direct_mfn(v->hvm->lapic.page).n << PAGE_SHIFT, own = port_vmread(VMCS_MSR_BITMAP);
	struct exit e;

	assert_true(vendor_apic_delivers && vendor_apic_posted && vendor_x2apic_free);
	assert_true(primary() & PRIMARY_TPR_SHADOW);
	assert_false(primary() & (PRIMARY_CR8_LOAD | PRIMARY_CR8_STORE));
	assert_true(port_vmread(VMCS_PIN) & PIN_POSTED);
	assert_true(port_vmread(VMCS_EXIT) & EXITC_ACK);
	assert_int_equal(port_vmread(VMCS_VIRTUAL_APIC), page);
	assert_int_equal(port_vmread(VMCS_POSTED), page + VLAPIC_POSTED);
	assert_int_equal(port_vmread(VMCS_POSTED) & 63, 0);
	assert_int_equal(port_vmread(VMCS_NOTIFY_VECTOR), 0xf2);
	vlapic_set_irq(v, 0x50, false);
	v->regs.rflags = 2;
	enter();
	assert_false(injected & BIT(31));
	assert_false(primary() & PRIMARY_INTERRUPT_WINDOW);
	assert_int_equal(port_vmread(VMCS_INTERRUPT_STATUS), 0x50);
	assert_int_equal(v->hvm->lapic.page[4 * 0x22], 1u << 16);
	vlapic_set_irq(v, 0xa1, true);
	enter();
	assert_int_equal(port_vmread(VMCS_INTERRUPT_STATUS), 0xa1);
	assert_int_equal(port_vmread(VMCS_EOI_EXITS + 4), BIT(0x21));
	assert_int_equal(port_vmread(VMCS_EOI_EXITS) | port_vmread(VMCS_EOI_EXITS + 6), 0);
	/* One whose delivery faulted is in service already: it comes by the entry. */
	leaves = (struct vmx_report){ .reason = VMX_EPT_VIOLATION, .idt_event = EVENT(0x50, 0), .gpa = 0x1000 };
	e = enter();
	hvm_redeliver(v, e.interrupted);
	leaves = (struct vmx_report){ .reason = VMX_INTERRUPT, .event = EVENT(0xf1, 0) };
	acknowledged = 0;
	enter();
	assert_int_equal(injected, EVENT(0x50, 0));
	assert_int_equal(acknowledged, 0xf1);
	fake_hvm.callback_vector = 0x40;
	v->info->evtchn_upcall_pending = 1;
	enter();
	assert_true(primary() & PRIMARY_INTERRUPT_WINDOW);
	v->regs.rflags = 2 | BIT(9);
	enter();
	assert_int_equal(injected, EVENT(0x40, 0));
	leaves = (struct vmx_report){ .reason = VMX_EOI, .qualification = 0xa1 };
	e = enter();
	assert_int_equal(e.kind, EXIT_EOI);
	assert_int_equal(e.vector, 0xa1);
	leaves = (struct vmx_report){ .reason = VMX_APIC_WRITE, .qualification = 0x3f0 };
	e = enter();
	assert_int_equal(e.kind, EXIT_APIC_WRITE);
	assert_int_equal(e.gpa, 0x3f0);
	/* x2APIC mode: its MSRs do not exit, while it is on. */
	assert_false(port_vmread(VMCS_SECONDARY) & SECONDARY_X2APIC);
	assert_int_equal(own, port_direct_mfn(fake_hvm.msr_bitmap).n << PAGE_SHIFT);
	assert_true(vlapic_msr_write(v, 0x1b, APIC_DEFAULT_BASE | BIT(11) | BIT(10) | BIT(8)));
	enter();
	assert_true(port_vmread(VMCS_SECONDARY) & SECONDARY_X2APIC);
	assert_int_not_equal(port_vmread(VMCS_MSR_BITMAP), own);
	x2_msrs = port_direct(MFN(port_vmread(VMCS_MSR_BITMAP) >> PAGE_SHIFT));
	for (unsigned reg = 0; reg < 0x100; reg++) {
		bool read = !(x2_msrs[(0x800 + reg) / 8] >> reg % 8 & 1);
		bool write = !(x2_msrs[2048 + (0x800 + reg) / 8] >> reg % 8 & 1);

		assert_int_equal(write, reg == 0x08 || reg == 0x0b || reg == 0x3f);
		/* What is read without an exit is what an exit would give. */
		if (read) {
			uint64_t value;

			assert_true(vlapic_msr_read(v, 0x800 + reg, &value));
			assert_true(reg == 0x0a || value == v->hvm->lapic.page[4 * reg]);
		}
		assert_int_equal(read, reg == 2 || reg == 3 || reg == 8 || reg == 10 || reg == 13 ||
					       (reg >= 15 && reg <= 0x28) || (reg >= 0x32 && reg <= 0x37));
	}
	assert_true(vlapic_msr_write(v, 0x1b, APIC_DEFAULT_BASE | BIT(8)));
	enter();
	assert_false(port_vmread(VMCS_SECONDARY) & SECONDARY_X2APIC);
	assert_int_equal(port_vmread(VMCS_MSR_BITMAP), own);
	/* What one needs the other for is left out together. */
	missing[MSR_VMX_SECONDARY] = SECONDARY_INTERRUPTS;
	assert_int_equal(vmx_init(), 0);
	assert_false(vendor_apic_delivers || vendor_apic_posted || vmx_caps.pin & PIN_POSTED ||
		     vmx_caps.exit & EXITC_ACK);
	assert_false(vmx_caps.secondary & (SECONDARY_REGISTERS | SECONDARY_X2APIC) || vendor_x2apic_free);
	assert_true(vmx_caps.primary & PRIMARY_CR8_LOAD && !(vmx_caps.primary & PRIMARY_TPR_SHADOW));
	missing[MSR_VMX_SECONDARY] = 0;
	missing[MSR_VMX_TRUE_PIN + 2] = EXITC_ACK;
	assert_int_equal(vmx_init(), 0);
	assert_true(vendor_apic_delivers && !vendor_apic_posted && !(vmx_caps.pin & PIN_POSTED));
}

static void test_events(void **state)
{
	struct exit e;

	hvm_set_cr(v, 0, BIT(0));
	hvm_inject_pf(v, 0x1234, 2);
	enter();
	assert_int_equal(injected, EVENT(14, 3) | BIT(11));
	assert_int_equal(port_vmread(VMCS_ENTRY_ERROR), 2);
	assert_int_equal(cr2[0], 0x1234);
	hvm_set_cr(v, 0, 0); /* real mode pushes no error code */
	hvm_inject_gp(v);
	enter();
	assert_int_equal(injected, EVENT(13, 3));
	v->hvm->nmi_pending = true;
	port_vmwrite(VMCS_BLOCKING, BLOCKING_NMI);
	enter();
	assert_false(injected & BIT(31));
	assert_true(primary() & PRIMARY_NMI_WINDOW);
	port_vmwrite(VMCS_BLOCKING, 0);
	enter();
	assert_int_equal(injected, EVENT(2, 2));
	assert_false(v->hvm->nmi_pending);
	/* An exception comes again; INT n, INT3 and INTO run again. */
	leaves =
		(struct vmx_report){ .reason = VMX_EPT_VIOLATION, .idt_event = EVENT(14, 3) | BIT(11), .idt_error = 6 };
	e = enter();
	assert_int_equal(e.interrupted, EVENT(14, 3) | BIT(11) | 6ull << 32);
	leaves.idt_event = EVENT(0x80, 4);
	e = enter();
	hvm_redeliver(v, e.interrupted);
	assert_int_equal(v->hvm->inject.vector, EVENT_NONE);
	leaves.idt_event = EVENT(3, 6);
	e = enter();
	hvm_redeliver(v, e.interrupted);
	assert_int_equal(v->hvm->inject.vector, EVENT_NONE);
}

/* NMIs of the machine, the cause of #DB, NMIs that a faulting IRET unblocked. */
static void test_what_the_cpu_leaves_to_us(void **state)
{
	struct exit e;

	leaves = (struct vmx_report){ .reason = VMX_EXCEPTION, .event = EVENT(2, 2) };
	e = enter();
	assert_int_equal(e.kind, EXIT_INTERRUPT);
	assert_int_equal(nmis, 1);
	leaves = (struct vmx_report){ .reason = VMX_EXCEPTION, .event = EVENT(1, 3), .qualification = 0x4001 };
	e = enter();
	assert_int_equal(e.kind, EXIT_EXCEPTION);
	assert_int_equal(vmx_get(v, REG_DR6), 0xffff4ff1);
	leaves = (struct vmx_report){ .reason = VMX_EPT_VIOLATION, .qualification = BIT(12) };
	enter();
	assert_true(port_vmread(VMCS_BLOCKING) & BLOCKING_NMI);
	leaves = (struct vmx_report){ .reason = VMX_EPT_VIOLATION, .idt_event = EVENT(2, 2) };
	enter();
	assert_false(port_vmread(VMCS_BLOCKING) & BLOCKING_NMI);
}

/* A task switch is the whole of the event that it is part of. */
static void test_tasks(void **state)
{
	struct exit e;

	leaves = (struct vmx_report){ .reason = VMX_TASK,
				      .qualification = 0x38 | 3ull << 30,
				      .idt_event = EVENT(13, 3) | BIT(11),
				      .idt_error = 0x1238,
				      .length = 2 };
	e = enter();
	assert_int_equal(e.kind, EXIT_TASK);
	assert_int_equal(e.selector, 0x38);
	assert_int_equal(e.task, TASK_GATE);
	assert_true(e.has_error);
	assert_int_equal(e.error_code, 0x1238);
	assert_int_equal(e.length, 0);
	assert_int_equal(e.interrupted, 0);
	leaves.idt_event = EVENT(0x90, 4);
	e = enter();
	assert_int_equal(e.length, 2);
	assert_false(e.has_error);
	leaves.idt_event = 0;
	leaves.qualification = 0x38 | 2ull << 30;
	leaves.length = 7;
	e = enter();
	assert_int_equal(e.task, TASK_JMP);
	assert_int_equal(e.length, 7);
	/* An NMI's task ends with its IRET, not before. */
	leaves.idt_event = EVENT(2, 2);
	port_vmwrite(VMCS_BLOCKING, BLOCKING_NMI);
	enter();
	assert_int_equal(port_vmread(VMCS_BLOCKING), BLOCKING_NMI);
}

static void test_control_registers(void **state)
{
	hvm_set_cr(v, 0, BIT(31) | BIT(30) | BIT(29) | 1);
	assert_int_equal(port_vmread(VMCS_GUEST_CR0) & (BIT(30) | BIT(29) | BIT(5)), BIT(5));
	assert_int_equal(hvm_get_cr(v, 0), 0xe0000011);
	port_vmwrite(VMCS_GUEST_CR0, port_vmread(VMCS_GUEST_CR0) | BIT(3)); /* the guest sets TS: no exit */
	assert_int_equal(hvm_get_cr(v, 0), 0xe0000019);
	hvm_set_cr(v, 4, 0x20);
	assert_int_equal(hvm_get_cr(v, 4), 0x20);
	assert_true(port_vmread(VMCS_GUEST_CR4) & BIT(13));
	hvm_set_efer(v, 0x500);
	assert_true(port_vmread(VMCS_ENTRY) & ENTRYC_IA32E);
	assert_int_equal(hvm_get_efer(v), 0x500);
	hvm_set_efer(v, 0);
	assert_false(port_vmread(VMCS_ENTRY) & ENTRYC_IA32E);
	hvm_set_cr(v, 3, 0x5000);
	enter(); /* PAE paging: the top entries are loaded */
	assert_int_equal(port_vmread(VMCS_GUEST_PDPTE + 6), 0x4001);
}

static void test_segments(void **state)
{
	struct segment s = { 0x10, 0xcf3, ~0u, 0x1000 }, got;

	hvm_set_segment(v, SEG_SS, &s);
	hvm_get_segment(v, SEG_SS, &got);
	assert_memory_equal(&s, &got, sizeof(s));
	assert_int_equal(port_vmread(VMCS_GUEST_RIGHTS + 2 * VSEG_SS), 0xc0f3);
	assert_int_equal(hvm_cpl(v), 3);
	s.attr = 0x60; /* not there, but the DPL is the CPL */
	hvm_set_segment(v, SEG_SS, &s);
	assert_int_equal(port_vmread(VMCS_GUEST_RIGHTS + 2 * VSEG_SS), VMCS_RIGHTS_UNUSABLE | 0x60);
	assert_int_equal(hvm_cpl(v), 3);
	hvm_get_segment(v, SEG_SS, &got);
	assert_int_equal(got.attr, 0x60);
	s = (struct segment){ 0, 0, 0x57, 0x8000 };
	hvm_set_segment(v, SEG_IDTR, &s);
	hvm_get_segment(v, SEG_IDTR, &got);
	assert_memory_equal(&s, &got, sizeof(s));
}

/* The model asserts that a VMCS is active on one CPU at a time and that what is accessed is loaded. */
static void test_moves_and_foreign_access(void **state)
{
	unsigned flushes;

	hvm_set_cr(w, 3, 0x7000); /* w does not run; v stays loaded */
	assert_int_equal(hvm_get_cr(w, 3), 0x7000);
	enter();
	kernel_gs[0] = 0xabc; /* SWAPGS does not exit */
	cr2[0] = 0x77;
	vmx_switch_out(v);
	assert_int_equal(vmx_get(v, REG_KERNEL_GS_BASE), 0xabc);
	assert_int_equal(vmx_get(v, REG_CR2), 0x77);
	vmx_set(v, REG_LSTAR, 0x1111);
	host_cpu = 1;
	flushes = invepts;
	vmx_switch_in(v, false);
	assert_int_equal(kernel_gs[1], 0xabc);
	assert_int_equal(cr2[1], 0x77);
	assert_int_equal(vmx_get(v, REG_LSTAR), 0x1111);
	enter(); /* checks that the host's state is CPU 1's */
	assert_int_equal(invepts, flushes + 1);
	enter();
	assert_int_equal(invepts, flushes + 1);
	vmx_flush_nested(v);
	enter();
	assert_int_equal(invepts, flushes + 2);
	vmx_switch_out(v);
	host_cpu = 0;
	current[0] = 0;
}

static void test_a_refused_vmcs(void **state)
{
	struct exit e;

	vlapic_set_irq(v, 0x50, false);
	v->regs.rflags = 2 | BIT(9);
	port_vmwrite(VMCS_PIN, 0);
	e = enter();
	assert_int_equal(e.kind, EXIT_INVALID);
	assert_int_equal(e.reason, 7);
	assert_int_equal(vlapic_pending(v), 0x50);
	assert_non_null(strstr(vmx_instruction_error(7), "control"));
}

static void test_bitmap(void **state)
{
	static uint8_t map[4096];

	memset(map, 0xff, sizeof(map));
	vmx_msr_pass(map, 0x174, true);
	vmx_msr_pass(map, 0xc0000082, false);
	assert_int_equal(map[0x174 / 8], 0xff & ~BIT(4));
	assert_int_equal(map[2048 + 0x174 / 8], 0xff & ~BIT(4));
	assert_int_equal(map[1024 + 0x82 / 8], 0xff & ~BIT(2));
	assert_int_equal(map[3072 + 0x82 / 8], 0xff);
}

/* --- refused entries --- */

static struct vmx_state good(void)
{
	struct vmx_state s = { .cr0 = 0x80000031,
			       .cr3 = 0x1000,
			       .cr4 = 0x2020,
			       .efer = 0x500,
			       .rflags = 2,
			       .rip = 0xffffffff81000000,
			       .dr7 = 0x400,
			       .pat = 0x0007040600070406,
			       .link = ~0ull,
			       .entry = ENTRYC_IA32E,
			       .secondary = SECONDARY_UNRESTRICTED,
			       .address_bits = 40 };

	for (enum seg g = SEG_ES; g < SEG_COUNT; g++) {
		s.rights[g] = VMCS_RIGHTS_UNUSABLE;
		s.seg[g].limit = 0xffff;
	}
	s.rights[SEG_CS] = 0xa09b;
	s.rights[SEG_SS] = 0xc093;
	s.rights[SEG_TR] = 0x8b;
	s.seg[SEG_CS].limit = s.seg[SEG_SS].limit = ~0u;
	s.seg[SEG_TR].limit = 0x67;
	return s;
}

static void refused(struct vmx_state s, const char *word, uint64_t field_value)
{
	uint64_t value = ~0ull;
	const char *why = vmx_check(&s, &value);

	assert_non_null(why);
	if (!strstr(why, word))
		fail_msg("'%s' says nothing of '%s'", why, word);
	assert_int_equal(value, field_value);
}

#define REFUSED(change, word, value)                                                                                   \
	do {                                                                                                           \
		struct vmx_state s = good();                                                                           \
		change;                                                                                                \
		refused(s, word, value);                                                                               \
	} while (0)

/* What the VMCS of a vCPU has, on a CPU that has everything and insists on NMI exiting. */
static struct vmx_controls programmed(void)
{
	struct vmx_controls c = {
		.word = { (uint32_t)port_vmread(VMCS_PIN), (uint32_t)port_vmread(VMCS_PRIMARY),
			  (uint32_t)port_vmread(VMCS_SECONDARY), (uint32_t)port_vmread(VMCS_EXIT),
			  (uint32_t)port_vmread(VMCS_ENTRY) },
		.io_bitmap = { port_vmread(VMCS_IO_BITMAP_A), port_vmread(VMCS_IO_BITMAP_B) },
		.msr_bitmap = port_vmread(VMCS_MSR_BITMAP),
		.virtual_apic = port_vmread(VMCS_VIRTUAL_APIC),
		.posted = port_vmread(VMCS_POSTED),
		.log = port_vmread(VMCS_LOG),
		.eptp = port_vmread(VMCS_EPTP),
		.ept_caps = vmx_caps.ept,
		.vpid = (uint32_t)port_vmread(VMCS_VPID),
		.notify_vector = (uint32_t)port_vmread(VMCS_NOTIFY_VECTOR),
		.tpr_threshold = (uint32_t)port_vmread(VMCS_TPR_THRESHOLD),
		.cr3_targets = (uint32_t)port_vmread(VMCS_CR3_TARGETS),
		.address_bits = 40,
	};

	for (unsigned i = 0; i < WORD_COUNT; i++)
		c.allowed[i] = ~0ull << 32;
	c.allowed[WORD_PIN] |= PIN_NMI;
	return c;
}

#define REFUSED_CONTROLS(change, word_, field_value)                                                                   \
	do {                                                                                                           \
		struct vmx_controls c = fine;                                                                          \
		uint64_t value = 0;                                                                                    \
		const char *why;                                                                                       \
                                                                                                                       \
		change;                                                                                                \
		why = vmx_check_controls(&c, &value);                                                                  \
		assert_non_null(why);                                                                                  \
		if (!strstr(why, word_))                                                                               \
			fail_msg("said '%s', not '%s'", why, word_);                                                   \
		assert_int_equal(value, field_value);                                                                  \
	} while (0)

static void test_bad_controls_are_named(void **state)
{
	struct vmx_controls fine;
	uint64_t value;
	uint32_t second;

	enter();
	fine = programmed();
	second = fine.word[WORD_SECONDARY];
	assert_null(vmx_check_controls(&fine, &value));
	REFUSED_CONTROLS(c.allowed[WORD_SECONDARY] &= ~((uint64_t)SECONDARY_EPT << 32), "secondary controls",
			 SECONDARY_EPT);
	REFUSED_CONTROLS(c.allowed[WORD_EXIT] |= BIT(30), "exit controls", BIT(30));
	REFUSED_CONTROLS(c.word[WORD_PIN] = 0, "pin-based controls", PIN_NMI);
	REFUSED_CONTROLS(c.cr3_targets = 5, "CR3 targets", 5);
	REFUSED_CONTROLS(c.word[WORD_PIN] = PIN_NMI | PIN_INTERRUPT; c.word[WORD_PRIMARY] |= PRIMARY_NMI_WINDOW,
								     "NMI window",
								     fine.word[WORD_PRIMARY] | PRIMARY_NMI_WINDOW);
	REFUSED_CONTROLS(c.word[WORD_PRIMARY] &= ~(uint32_t)PRIMARY_TPR_SHADOW, "without TPR shadow", second);
	REFUSED_CONTROLS(c.word[WORD_SECONDARY] &= ~(uint32_t)SECONDARY_INTERRUPTS, "posted interrupts without virtual",
			 second & ~(uint32_t)SECONDARY_INTERRUPTS);
	REFUSED_CONTROLS(c.word[WORD_SECONDARY] &= ~(uint32_t)SECONDARY_INTERRUPTS;
			 c.tpr_threshold = 0x20, "TPR threshold", 0x20);
	REFUSED_CONTROLS(c.word[WORD_PIN] &= ~(uint32_t)PIN_INTERRUPT, "external-interrupt exiting",
			 fine.word[WORD_PIN] & ~(uint32_t)PIN_INTERRUPT);
	REFUSED_CONTROLS(c.word[WORD_EXIT] &= ~(uint32_t)EXITC_ACK, "acknowledge",
			 fine.word[WORD_EXIT] & ~(uint32_t)EXITC_ACK);
	REFUSED_CONTROLS(c.notify_vector = 256, "255", 256);
	REFUSED_CONTROLS(c.vpid = 0, "VPID", 0);
	REFUSED_CONTROLS(c.word[WORD_SECONDARY] &= ~(uint32_t)SECONDARY_EPT, "without EPT",
			 second & ~(uint32_t)SECONDARY_EPT);
	REFUSED_CONTROLS(c.io_bitmap[1]++, "I/O bitmap", fine.io_bitmap[1] + 1);
	REFUSED_CONTROLS(c.msr_bitmap |= 1ull << 41, "MSR bitmap", fine.msr_bitmap | 1ull << 41);
	REFUSED_CONTROLS(c.virtual_apic += 64, "virtual APIC's address", fine.virtual_apic + 64);
	REFUSED_CONTROLS(c.posted += 32, "address of posted", fine.posted + 32);
	REFUSED_CONTROLS(c.word[WORD_SECONDARY] |= SECONDARY_LOG; c.log += 8, "log's address", fine.log + 8);
	REFUSED_CONTROLS(c.eptp ^= 4, "memory type", fine.eptp ^ 4);
	REFUSED_CONTROLS(c.eptp ^= 8, "four levels", fine.eptp ^ 8);
	REFUSED_CONTROLS(c.ept_caps &= ~(uint64_t)EPT_CAP_FLAGS, "dirty flags", fine.eptp);
	REFUSED_CONTROLS(c.eptp |= BIT(9), "EPTP has reserved", fine.eptp | BIT(9));
	REFUSED_CONTROLS(c.event = EVENT(3, 1), "reserved", EVENT(3, 1));
	REFUSED_CONTROLS(c.event = EVENT(3, 2), "NMI of another", EVENT(3, 2));
	REFUSED_CONTROLS(c.event = EVENT(32, 3), "beyond 31", EVENT(32, 3));
	REFUSED_CONTROLS(c.event = EVENT(32, 0) | BIT(11), "error code", EVENT(32, 0) | BIT(11));
}

static void test_bad_states_are_named(void **state)
{
	struct vmx_state fine = good();
	uint64_t value;

	assert_null(vmx_check(&fine, &value));
	REFUSED(s.cr0 = 0x80000011, "CR0.NE", 0x80000011);
	REFUSED(s.cr0 = 0x80000030, "PG without PE", 0x80000030);
	REFUSED(s.cr4 = 0x20, "CR4.VMXE", 0x20);
	REFUSED(s.cr4 = 0x2000, "CR4.PAE", 0x2000);
	REFUSED(s.cr3 = 1ull << 40, "CR3", 1ull << 40);
	REFUSED(s.efer = 0x1500, "reserved", 0x1500);
	REFUSED(s.efer = 0x100, "EFER.LMA", 0x100);
	REFUSED(s.efer = 0x400, "EFER.LME", 0x400);
	REFUSED(s.entry = 0, "IA-32e", 0x500);
	REFUSED(s.dr7 = 1ull << 33, "DR7", 1ull << 33);
	REFUSED(s.pat = 2, "PAT", 2);
	REFUSED(s.link = 0, "link pointer", 0);
	REFUSED(s.sysenter_eip = 1ull << 60, "SYSENTER_EIP", 1ull << 60);
	REFUSED(s.rflags = 0, "bit 1", 0);
	REFUSED(s.rflags = 2 | 8, "reserved", 10);
	REFUSED(s.rflags = 2 | BIT(17), "RFLAGS.VM", 2 | BIT(17));
	REFUSED(s.rip = 1ull << 50, "RIP is not canonical", 1ull << 50);
	REFUSED(s.rights[SEG_CS] = 0x1a09b, "CS is unusable", 0x1a09b);
	REFUSED(s.rights[SEG_CS] = 0xa093; s.secondary = 0, "code segment", 0xa093);
	REFUSED(s.rights[SEG_CS] = 0xe09b, "both L and D", 0xe09b);
	REFUSED(s.seg[SEG_CS].limit = 0x1000, "CS: limit", 0x1000);
	REFUSED(s.rights[SEG_SS] = 0xc091, "SS", 0xc091);
	REFUSED(s.rights[SEG_DS] = 0xc092, "DS", 0xc092);
	REFUSED(s.rights[SEG_TR] = 0x89, "TR is no busy", 0x89);
	REFUSED(s.rights[SEG_TR] = 0x1008b, "TR is unusable", 0x1008b);
	REFUSED(s.rights[SEG_LDTR] = 0x83, "LDTR", 0x83);
	REFUSED(s.seg[SEG_GDTR].limit = 0x10000, "GDTR", 0x10000);
	REFUSED(s.seg[SEG_IDTR].base = 1ull << 55, "IDTR", 1ull << 55);
	REFUSED(s.seg[SEG_GS].base = 1ull << 55, "GS: base", 1ull << 55);
	REFUSED(s.activity = 7, "activity", 7);
	REFUSED(s.blocking = 3; s.rflags = 0x202, "at once", 3);
	REFUSED(s.blocking = 1, "IF clear", 1);
	REFUSED(s.event = EVENT(0x50, 0), "external interrupt", EVENT(0x50, 0));
	REFUSED(s.event = EVENT(2, 2); s.blocking = BLOCKING_NMI, "NMI", EVENT(2, 2));
	REFUSED(s.cr0 = 0x80000031; s.cr4 = 0x2020; s.entry = 0; s.efer = 0; s.rip = 0; s.pdpte[2] = 3, "PAE top", 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_missing_control_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_log, setup, teardown),
		cmocka_unit_test_setup_teardown(test_optional_controls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupts_wait_for_the_window, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_interrupted_interrupt_is_offered_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(test_virtual_interrupts, setup_apic, teardown),
		cmocka_unit_test_setup_teardown(test_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_the_cpu_leaves_to_us, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tasks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_control_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_segments, setup, teardown),
		cmocka_unit_test_setup_teardown(test_moves_and_foreign_access, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_refused_vmcs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bitmap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_controls_are_named, setup_apic, teardown),
		cmocka_unit_test(test_bad_states_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
