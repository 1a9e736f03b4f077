/* hvm/svm_decode.c: what a VMCB says of a #VMEXIT -> struct exit. Pure. Source: APM vol. 2, 15.7 to 15.14 and appendix C. */
#include "hvm/offer.h"
#include "hvm/vendor.h"

static void decode_io(const struct vmcb *c, struct exit *e)
{
	uint64_t i = c->exit_info1;

	e->kind = EXIT_IO;
	e->in = i & 1;
	e->string = i & BIT(2);
	e->rep = i & BIT(3);
	e->size = (uint8_t)(i >> 4 & 7);
	e->addr_size = (uint8_t)((i >> 7 & 7) * 2); /* bits 7, 8, 9: 16, 32, 64 bits -> 2, 4, 8 bytes */
	e->seg = svm_features.decode_assists && e->string ? (uint8_t)(i >> 10 & 7) : 0xff;
	e->port = (uint16_t)(i >> 16);
	e->next_rip = c->exit_info2;
}

static enum exit_kind simple_kind(uint64_t code)
{
	if (code == VMEXIT_INTR || code == VMEXIT_NMI || code == VMEXIT_SMI)
		return EXIT_INTERRUPT;
	if (code == VMEXIT_CPUID)
		return EXIT_CPUID;
	if (code == VMEXIT_HLT)
		return EXIT_HLT;
	if (code == VMEXIT_VINTR || code == VMEXIT_IRET)
		return EXIT_WINDOW;
	if (code == VMEXIT_INIT)
		return EXIT_INIT;
	if (code == VMEXIT_RDTSC || code == VMEXIT_RDTSCP)
		return EXIT_RDTSC;
	if (code == VMEXIT_PAUSE)
		return EXIT_PAUSE;
	if (code == VMEXIT_INVD || code == VMEXIT_WBINVD)
		return EXIT_WBINVD;
	if (code == VMEXIT_SHUTDOWN)
		return EXIT_SHUTDOWN;
	if (code == VMEXIT_XSETBV)
		return EXIT_XSETBV;
	if (code >= VMEXIT_MONITOR && code <= VMEXIT_MWAIT_COND)
		return EXIT_MONITOR;
	if (code == VMEXIT_RDPMC)
		return EXIT_RDPMC;
	if (code == VMEXIT_INVLPGA || code == VMEXIT_VMRUN || (code >= VMEXIT_VMLOAD && code <= VMEXIT_SKINIT))
		return EXIT_UD;
	if (code >= VMEXIT_DR_READ0 && code <= VMEXIT_DR_WRITE15)
		return EXIT_DR;
	if ((uint32_t)code == VMEXIT_INVALID) /* QEMU writes 32 bits of it */
		return EXIT_INVALID;
	return EXIT_UNKNOWN;
}

void svm_decode(const void *vmcb, struct exit *e)
{
	const struct vmcb *c = vmcb;
	uint64_t code = c->exit_code;

	e->reason = code;
	e->interrupted = c->exit_int_info;
	e->length = 0;
	if (svm_features.nrips && c->next_rip)
		e->length = (uint8_t)(c->next_rip - c->rip);
	if (code == VMEXIT_MSR) {
		e->kind = c->exit_info1 & 1 ? EXIT_WRMSR : EXIT_RDMSR;
	} else if (code == VMEXIT_VMMCALL) {
		e->kind = EXIT_HYPERCALL;
	} else if (code == VMEXIT_IO) {
		decode_io(c, e);
	} else if (code == VMEXIT_NPF) {
		e->kind = EXIT_NPF;
		e->gpa = c->exit_info2;
		e->present = c->exit_info1 & BIT(0);
		e->write = c->exit_info1 & BIT(1);
		e->exec = c->exit_info1 & BIT(4);
		e->walk = c->exit_info1 & BIT(33);
		e->length = 0;
	} else if (code >= VMEXIT_CR_WRITE0 && code < VMEXIT_DR_READ0) {
		e->kind = EXIT_CR_WRITE;
		e->cr = (uint8_t)(code - VMEXIT_CR_WRITE0);
		e->gpr =
			svm_features.decode_assists && (c->exit_info1 & BIT(63)) ? (uint8_t)(c->exit_info1 & 15) : 0xff;
	} else if (code >= VMEXIT_EXCEPTION0 && code < VMEXIT_INTR) {
		e->kind = EXIT_EXCEPTION;
		e->vector = (uint8_t)(code - VMEXIT_EXCEPTION0);
		e->error_code = (uint32_t)c->exit_info1;
		e->addr = c->exit_info2;
	} else {
		e->kind = simple_kind(code);
		e->aux = code == VMEXIT_RDTSCP;
	}
}
