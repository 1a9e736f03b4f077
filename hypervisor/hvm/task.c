/*
 * hvm/task.c: a task switch of 32-bit protected mode, which VMX leaves to us whole (SDM vol. 3, 7.3 and 25.4.2); SVM's CPUs do
 * it by themselves. Locks: none. Order: what can fault in the old task is read and checked first, then that task is saved, and
 * from the loading of the registers on faults belong to the new one.
 */
#include "hvm/task.h"

#include "core/guestmem.h"
#include "hvm/exit.h"
#include "hvm/hvm.h"
#include "hvm/vendor.h"
#include "lib/lib.h"

#define FLAG_FIXED BIT(1)
#define FLAG_NT	   BIT(14)
#define FLAG_VM	   BIT(17)
#define FLAGS	   0x3f7fd5ull
#define CR0_TS	   BIT(3)
#define CR0_PG	   BIT(31)
#define DR6_BT	   BIT(15)
#define DR7_LOCAL  0x155ull

#define VECTOR_TS 10u
#define VECTOR_NP 11u
#define VECTOR_SS 12u
#define VECTOR_GP 13u

#define TYPE_LDT  2u
#define TYPE_FREE 9u /* of a 32-bit task state segment */
#define TYPE_BUSY 11u
#define BUSY	  2u
#define ATTR_S	  0x10u
#define ATTR_P	  0x80u
#define ATTR_V86  0xf3u

struct tss {
	uint32_t link;
	uint32_t stacks[6];
	uint32_t cr3;
	/* What the switch saves begins here, */
	uint32_t eip, eflags;
	uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi;
	uint32_t es, cs, ss, ds, fs, gs; /* low halves */
	/* and ends. */
	uint32_t ldt;
	uint16_t trap, io_map;
};
_Static_assert(sizeof(struct tss) == 104, "SDM figure 7-2");
#define SAVED	   offsetof(struct tss, eip)
#define SAVED_SIZE (offsetof(struct tss, ldt) - SAVED)

static bool read(struct vcpu *v, void *dst, gva_t src, size_t len)
{
	struct guestmem_fault f;

	if (!guestmem_access_read(v, dst, (uint32_t)src, len, 0, &f))
		return true;
	hvm_inject_pf(v, f.addr, f.code);
	return false;
}

static bool write(struct vcpu *v, gva_t dst, const void *src, size_t len)
{
	struct guestmem_fault f;

	if (!guestmem_access_write(v, (uint32_t)dst, src, len, 0, &f))
		return true;
	hvm_inject_pf(v, f.addr, f.code);
	return false;
}

static bool fault(struct vcpu *v, unsigned vector, uint16_t selector)
{
	hvm_inject_exception(v, vector, true, selector & ~3u);
	return false;
}

/* Where the selector's descriptor is. False: outside its table. */
static bool find(struct vcpu *v, uint16_t selector, gva_t *at)
{
	struct segment table;

	hvm_get_segment(v, selector & 4 ? SEG_LDTR : SEG_GDTR, &table);
	*at = table.base + (selector & ~7u);
	return (selector & ~7u) + 7 <= table.limit && (!(selector & 4) || table.attr & ATTR_P);
}

static struct segment unpack(uint16_t selector, uint64_t d)
{
	uint32_t limit = (uint32_t)((d & 0xffff) | (d >> 32 & 0xf0000));

	return (struct segment){
		.sel = selector,
		.attr = (uint16_t)((d >> 40 & 0xff) | (d >> 44 & 0xf00)),
		.limit = d >> 55 & 1 ? limit << 12 | 0xfff : limit,
		.base = (d >> 16 & 0xffffff) | (d >> 32 & 0xff000000u),
	};
}

/* The descriptor as a segment, and where its byte of type is. False: a fault was injected, vector for one that is not there. */
static bool get(struct vcpu *v, uint16_t selector, unsigned vector, struct segment *s, gva_t *type)
{
	uint64_t d;
	gva_t at;

	if (!(selector & ~3u) || !find(v, selector, &at))
		return fault(v, vector, selector);
	if (!read(v, &d, at, sizeof(d)))
		return false;
	*s = unpack(selector, d);
	*type = at + 5;
	return true;
}

static bool get_task(struct vcpu *v, const struct exit *e, struct segment *s, gva_t *type)
{
	bool back = e->task == TASK_IRET;
	unsigned vector = back ? VECTOR_TS : VECTOR_GP;

	if (e->selector & 4)
		return fault(v, vector, e->selector);
	if (!get(v, e->selector, vector, s, type))
		return false;
	if ((s->attr & (ATTR_S | 15u)) != (back ? TYPE_BUSY : TYPE_FREE))
		return fault(v, vector, e->selector);
	if (!(s->attr & ATTR_P))
		return fault(v, VECTOR_NP, e->selector);
	return s->limit >= sizeof(struct tss) - 1 || fault(v, VECTOR_TS, e->selector);
}

static bool set_busy(struct vcpu *v, gva_t at, bool on)
{
	uint8_t type;

	if (!read(v, &type, at, 1))
		return false;
	type = (uint8_t)(on ? type | BUSY : type & ~BUSY);
	return write(v, at, &type, 1);
}

static uint32_t selector_of(struct vcpu *v, enum seg g)
{
	struct segment s;

	hvm_get_segment(v, g, &s);
	return s.sel;
}

static bool save(struct vcpu *v, const struct exit *e, gva_t base)
{
	const struct regs *r = &v->regs;
	struct tss t = {
		.eip = (uint32_t)(r->rip + e->length),
		.eflags = (uint32_t)(e->task == TASK_IRET ? r->rflags & ~(uint64_t)FLAG_NT : r->rflags),
		.eax = (uint32_t)r->rax,
		.ecx = (uint32_t)r->rcx,
		.edx = (uint32_t)r->rdx,
		.ebx = (uint32_t)r->rbx,
		.esp = (uint32_t)r->rsp,
		.ebp = (uint32_t)r->rbp,
		.esi = (uint32_t)r->rsi,
		.edi = (uint32_t)r->rdi,
		.es = selector_of(v, SEG_ES),
		.cs = selector_of(v, SEG_CS),
		.ss = selector_of(v, SEG_SS),
		.ds = selector_of(v, SEG_DS),
		.fs = selector_of(v, SEG_FS),
		.gs = selector_of(v, SEG_GS),
	};

	return write(v, base + SAVED, (uint8_t *)&t + SAVED, SAVED_SIZE);
}

static void load_registers(struct vcpu *v, const struct exit *e, const struct tss *t)
{
	struct regs *r = &v->regs;
	uint64_t nt = e->task == TASK_CALL || e->task == TASK_GATE ? FLAG_NT : 0;

	if (hvm_get_cr(v, 0) & CR0_PG)
		hvm_set_cr(v, 3, t->cr3);
	hvm_set_cr(v, 0, hvm_get_cr(v, 0) | CR0_TS);
	vendor_set(v, REG_DR7, vendor_get(v, REG_DR7) & ~DR7_LOCAL);
	vendor_set(v, REG_SHADOW, 0);
	r->rip = t->eip;
	r->rflags = (t->eflags & FLAGS) | FLAG_FIXED | nt;
	r->rax = t->eax;
	r->rcx = t->ecx;
	r->rdx = t->edx;
	r->rbx = t->ebx;
	r->rsp = t->esp;
	r->rbp = t->ebp;
	r->rsi = t->esi;
	r->rdi = t->edi;
}

static bool load_ldt(struct vcpu *v, uint16_t selector)
{
	struct segment s = { .sel = selector };
	gva_t type;

	if (selector & ~3u) {
		if (selector & 4)
			return fault(v, VECTOR_TS, selector);
		if (!get(v, selector, VECTOR_TS, &s, &type))
			return false;
		if ((s.attr & (ATTR_S | 15u)) != TYPE_LDT || !(s.attr & ATTR_P))
			return fault(v, VECTOR_TS, selector);
	}
	hvm_set_segment(v, SEG_LDTR, &s);
	return true;
}

/* May a segment of those attributes be loaded into g, at that privilege? SDM vol. 3, table 7-1. */
static bool fits(enum seg g, const struct segment *s, unsigned cpl)
{
	unsigned dpl = s->attr >> 5 & 3, rpl = s->sel & 3, type = s->attr & 15;

	if (!(s->attr & ATTR_S))
		return false;
	if (g == SEG_CS)
		return type & 8 && (type & 4 ? dpl <= rpl : dpl == rpl);
	if (g == SEG_SS)
		return !(type & 8) && type & 2 && dpl == cpl && rpl == cpl;
	if (type & 8 && !(type & 2))
		return false;
	return (type & 12) == 12 || (dpl >= cpl && dpl >= rpl);
}

static bool load_segment(struct vcpu *v, enum seg g, uint16_t selector, unsigned cpl)
{
	struct segment s = { .sel = selector };
	gva_t type;

	if (v->regs.rflags & FLAG_VM) {
		s = (struct segment){ selector, ATTR_V86, 0xffff, (uint64_t)selector << 4 };
	} else if (selector & ~3u || g == SEG_CS || g == SEG_SS) {
		if (!get(v, selector, VECTOR_TS, &s, &type))
			return false;
		if (!fits(g, &s, cpl))
			return fault(v, VECTOR_TS, selector);
		if (!(s.attr & ATTR_P))
			return fault(v, g == SEG_SS ? VECTOR_SS : VECTOR_NP, selector);
		if (!(s.attr & 1)) {
			uint8_t accessed = (uint8_t)(s.attr |= 1);

			if (!write(v, type, &accessed, 1))
				return false;
		}
	}
	hvm_set_segment(v, g, &s);
	return true;
}

static bool load_segments(struct vcpu *v, const struct tss *t)
{
	unsigned cpl = v->regs.rflags & FLAG_VM ? 3 : t->cs & 3;

	return load_ldt(v, (uint16_t)t->ldt) && load_segment(v, SEG_CS, (uint16_t)t->cs, cpl) &&
	       load_segment(v, SEG_SS, (uint16_t)t->ss, cpl) && load_segment(v, SEG_DS, (uint16_t)t->ds, cpl) &&
	       load_segment(v, SEG_ES, (uint16_t)t->es, cpl) && load_segment(v, SEG_FS, (uint16_t)t->fs, cpl) &&
	       load_segment(v, SEG_GS, (uint16_t)t->gs, cpl);
}

static bool push_error(struct vcpu *v, uint32_t error)
{
	struct segment ss;

	hvm_get_segment(v, SEG_SS, &ss);
	v->regs.rsp = (uint32_t)(v->regs.rsp - 4);
	return write(v, ss.base + v->regs.rsp, &error, sizeof(error));
}

void task_switch(struct vcpu *v, const struct exit *e)
{
	bool nested = e->task == TASK_CALL || e->task == TASK_GATE;
	struct segment old, next;
	gva_t old_type, next_type;
	struct tss t;

	hvm_get_segment(v, SEG_TR, &old);
	if ((old.attr & 15) != TYPE_BUSY) {
		domain_crash(v->domain, "it switched from a task of 16 bits, which is not emulated");
		return;
	}
	if (!get_task(v, e, &next, &next_type) || !read(v, &t, next.base, sizeof(t)))
		return;
	if (!find(v, old.sel, &old_type)) {
		fault(v, VECTOR_TS, old.sel);
		return;
	}
	if (!save(v, e, old.base))
		return;
	if (!nested && !set_busy(v, old_type + 5, false))
		return;
	if (nested && !write(v, next.base, &old.sel, sizeof(old.sel)))
		return;
	if (e->task != TASK_IRET && !set_busy(v, next_type, true))
		return;
	next.attr |= BUSY;
	hvm_set_segment(v, SEG_TR, &next);
	load_registers(v, e, &t);
	if (!load_segments(v, &t))
		return;
	if (e->has_error && !push_error(v, e->error_code))
		return;
	if (t.trap & 1) {
		vendor_set(v, REG_DR6, vendor_get(v, REG_DR6) | DR6_BT);
		hvm_inject_db(v);
	}
}
