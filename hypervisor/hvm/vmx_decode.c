/*
 * hvm/vmx_decode.c: what the CPU reports of a VM exit -> struct exit. Pure. Source: SDM vol. 3, 27.2 and appendix C.
 */
#include "hvm/hvm.h"
#include "hvm/offer.h"
#include "hvm/vmcs.h"

#define TYPE_NMI	2u
#define TYPE_SOFTWARE	4u
#define TYPE_PRIVILEGED 5u
#define TYPE_INT3	6u

/* IDT-vectoring information and EXITINTINFO differ in the types of software's own events. */
static uint64_t interrupted(const struct vmx_report *r)
{
	uint32_t type = r->idt_event >> EVENT_TYPE_SHIFT & 7, common = type;

	if (!(r->idt_event & EVENT_VALID))
		return 0;
	if (type == TYPE_PRIVILEGED || type == TYPE_INT3)
		common = TYPE_SOFTWARE; /* the instruction runs again */
	return (r->idt_event & 0x8ffu) | common << EVENT_TYPE_SHIFT | EVENT_VALID | (uint64_t)r->idt_error << 32;
}

static void decode_event(const struct vmx_report *r, struct exit *e)
{
	if ((r->event >> EVENT_TYPE_SHIFT & 7) == TYPE_NMI) {
		e->kind = EXIT_INTERRUPT;
		return;
	}
	e->kind = EXIT_EXCEPTION;
	e->vector = (uint8_t)r->event;
	e->error_code = r->error;
	e->addr = r->qualification;
}

/* Qualification: size - 1, direction, string, REP, port. The instruction's details: address size, segment of OUTS. */
static void decode_io(const struct vmx_report *r, struct exit *e)
{
	static const uint8_t bytes[] = { 2, 4, 8, 0 };
	uint64_t q = r->qualification;

	e->kind = EXIT_IO;
	e->size = (uint8_t)((q & 7) + 1);
	e->in = q & BIT(3);
	e->string = q & BIT(4);
	e->rep = q & BIT(5);
	e->port = (uint16_t)(q >> 16);
	e->seg = 0xff;
	e->next_rip = r->rip + r->length;
	if (e->string) {
		e->addr_size = bytes[r->instruction >> 7 & 3];
		e->seg = e->in ? (uint8_t)SEG_ES : (uint8_t)(r->instruction >> 15 & 7);
	}
}

static void decode_violation(const struct vmx_report *r, struct exit *e)
{
	uint64_t q = r->qualification;

	e->kind = EXIT_NPF;
	e->gpa = r->gpa;
	e->write = q & BIT(1);
	e->exec = q & BIT(2);
	e->present = q & (7u << 3);
	e->walk = (q & BIT(7)) && !(q & BIT(8));
	e->addr = r->linear;
	e->length = 0; /* undefined */
}

/* The event that it is the delivery of is over with it: nobody offers it anew. An instruction that asked for it is past. */
static void decode_task(const struct vmx_report *r, struct exit *e)
{
	bool event = r->idt_event & EVENT_VALID;

	e->kind = EXIT_TASK;
	e->selector = (uint16_t)r->qualification;
	e->task = r->qualification >> 30 & 3;
	e->has_error = event && r->idt_event & EVENT_HAS_ERROR;
	e->error_code = e->has_error ? r->idt_error : 0;
	if (event && (r->idt_event >> EVENT_TYPE_SHIFT & 7) < TYPE_SOFTWARE)
		e->length = 0;
	e->interrupted = 0;
}

/* Access type: 0 MOV to CR, 1 MOV from CR, 2 CLTS, 3 LMSW. */
static void decode_cr(const struct vmx_report *r, struct exit *e)
{
	e->kind = (r->qualification >> 4 & 3) == 1 ? EXIT_CR_READ : EXIT_CR_WRITE;
	e->cr = r->qualification & 15;
	e->gpr = r->qualification >> 8 & 15;
}

static enum exit_kind simple_kind(uint32_t reason)
{
	if (reason >= VMX_VMCLEAR && reason <= VMX_VMXON)
		return EXIT_UD;
	switch (reason) {
	case VMX_INTERRUPT:
	case VMX_TIMER: /* port_poll() sees that it is due */
		return EXIT_INTERRUPT;
	case VMX_LOG_FULL: /* it is emptied at each exit */
		return EXIT_NONE;
	case VMX_TRIPLE_FAULT:
		return EXIT_SHUTDOWN;
	case VMX_INIT:
		return EXIT_INIT;
	case VMX_INTERRUPT_WINDOW:
	case VMX_NMI_WINDOW:
		return EXIT_WINDOW;
	case VMX_CPUID:
		return EXIT_CPUID;
	case VMX_HLT:
		return EXIT_HLT;
	case VMX_INVD:
	case VMX_WBINVD:
		return EXIT_WBINVD;
	case VMX_RDPMC:
		return EXIT_RDPMC;
	case VMX_RDTSC:
	case VMX_RDTSCP:
		return EXIT_RDTSC;
	case VMX_VMCALL:
		return EXIT_HYPERCALL;
	case VMX_DR:
		return EXIT_DR;
	case VMX_RDMSR:
		return EXIT_RDMSR;
	case VMX_WRMSR:
		return EXIT_WRMSR;
	case VMX_MWAIT:
	case VMX_MONITOR:
		return EXIT_MONITOR;
	case VMX_PAUSE:
		return EXIT_PAUSE;
	case VMX_INVEPT:
	case VMX_INVVPID:
		return EXIT_UD;
	case VMX_XSETBV:
		return EXIT_XSETBV;
	default:
		return EXIT_UNKNOWN;
	}
}

void vmx_decode(const struct vmx_report *r, struct exit *e)
{
	e->reason = r->reason;
	e->interrupted = interrupted(r);
	e->length = (uint8_t)r->length;
	e->aux = r->reason == VMX_RDTSCP;
	if (r->reason & VMX_ENTRY_FAILED) {
		e->kind = EXIT_INVALID;
		e->interrupted = 0;
		return;
	}
	switch (r->reason) {
	case VMX_EXCEPTION:
		decode_event(r, e);
		break;
	case VMX_IO:
		decode_io(r, e);
		break;
	case VMX_EPT_VIOLATION:
		decode_violation(r, e);
		break;
	case VMX_EOI:
		e->kind = EXIT_EOI;
		e->vector = (uint8_t)r->qualification;
		break;
	case VMX_APIC_WRITE:
		e->kind = EXIT_APIC_WRITE;
		e->gpa = r->qualification & 0xfff;
		break;
	case VMX_TASK:
		decode_task(r, e);
		break;
	case VMX_CR:
		decode_cr(r, e);
		break;
	default:
		e->kind = simple_kind(r->reason);
		break;
	}
}
