/* hvm/vmx_check.c: see vmx_check.h. Pure: owns nothing, locks nothing. */
#include "hvm/vmx_check.h"

#include "hvm/offer.h"
#include "hvm/vmcs.h"

#define CR0_PE	    BIT(0)
#define CR0_NE	    BIT(5)
#define CR0_PG	    BIT(31)
#define CR4_PAE	    BIT(5)
#define CR4_VMXE    BIT(13)
#define CR4_PCIDE   BIT(17)
#define EFER_LME    BIT(8)
#define EFER_LMA    BIT(10)
#define EFER_KNOWN  0xd01ull
#define FLAG_FIXED  BIT(1)
#define FLAG_TF	    BIT(8)
#define FLAG_IF	    BIT(9)
#define FLAG_VM	    BIT(17)
#define FLAGS_KNOWN 0x3f7fd7ull

#define RIGHT_TYPE     0xfu
#define RIGHT_S	       BIT(4)
#define RIGHT_PRESENT  BIT(7)
#define RIGHT_L	       BIT(13)
#define RIGHT_DB       BIT(14)
#define RIGHT_G	       BIT(15)
#define RIGHTS_KNOWN   0x1f0ffu
#define BLOCKING_KNOWN 0x1fu
#define ACTIVITY_HLT   1u
#define ACTIVITY_LAST  3u
#define TYPE_NMI       2u

static bool canonical(uint64_t a)
{
	return (uint64_t)((int64_t)(a << 16) >> 16) == a;
}

static bool is_64bit(const struct vmx_state *s)
{
	return s->entry & ENTRYC_IA32E;
}

/* A row per check: wrong when bad holds; the first that does is named. */
#define FAIL_IF(bad, what, field)                                                                                      \
	do {                                                                                                           \
		if (bad) {                                                                                             \
			*value = (field);                                                                              \
			return what;                                                                                   \
		}                                                                                                      \
	} while (0)

static const char *check_words(const struct vmx_controls *c, uint64_t *value)
{
	static const char *const what[WORD_COUNT] = {
		[WORD_PIN] = "pin-based controls that the CPU lacks, or insists on",
		[WORD_PRIMARY] = "primary controls that the CPU lacks, or insists on",
		[WORD_SECONDARY] = "secondary controls that the CPU lacks, or insists on",
		[WORD_EXIT] = "exit controls that the CPU lacks, or insists on",
		[WORD_ENTRY] = "entry controls that the CPU lacks, or insists on",
	};

	for (unsigned i = 0; i < WORD_COUNT; i++) {
		uint32_t wrong =
			(c->word[i] & ~(uint32_t)(c->allowed[i] >> 32)) | (~c->word[i] & (uint32_t)c->allowed[i]);

		FAIL_IF(wrong, what[i], wrong);
	}
	return NULL;
}

/* Is that no address of something which is aligned to 2^bits bytes? */
static bool misplaced(const struct vmx_controls *c, uint64_t address, unsigned bits)
{
	return (address & (BIT(bits) - 1)) || address >> c->address_bits;
}

static const char *check_addresses(const struct vmx_controls *c, uint64_t *value)
{
	uint32_t primary = c->word[WORD_PRIMARY], secondary = c->word[WORD_SECONDARY];
	uint64_t eptp = c->eptp;

	for (unsigned i = 0; i < 2; i++)
		FAIL_IF(primary & PRIMARY_IO_BITMAPS && misplaced(c, c->io_bitmap[i], PAGE_SHIFT),
			"the I/O bitmap's address", c->io_bitmap[i]);
	FAIL_IF(primary & PRIMARY_MSR_BITMAPS && misplaced(c, c->msr_bitmap, PAGE_SHIFT), "the MSR bitmap's address",
		c->msr_bitmap);
	FAIL_IF(primary & PRIMARY_TPR_SHADOW && misplaced(c, c->virtual_apic, PAGE_SHIFT), "the virtual APIC's address",
		c->virtual_apic);
	FAIL_IF(c->word[WORD_PIN] & PIN_POSTED && misplaced(c, c->posted, 6), "the address of posted interrupts",
		c->posted);
	FAIL_IF(secondary & SECONDARY_LOG && misplaced(c, c->log, PAGE_SHIFT), "the page-modification log's address",
		c->log);
	if (!(secondary & SECONDARY_EPT))
		return NULL;
	FAIL_IF((eptp & 7) != EPTP_WB && (eptp & 7), "EPTP has a reserved memory type", eptp);
	FAIL_IF((eptp & 0x38) != EPTP_WALK4, "EPTP has no walk of four levels", eptp);
	FAIL_IF((eptp & EPTP_FLAGS) && !(c->ept_caps & EPT_CAP_FLAGS), "EPTP wants dirty flags that the CPU lacks",
		eptp);
	FAIL_IF((eptp & 0xf80) || eptp >> c->address_bits, "EPTP has reserved bits", eptp);
	return NULL;
}

static const char *check_combinations(const struct vmx_controls *c, uint64_t *value)
{
	const uint32_t of_apic = SECONDARY_X2APIC | SECONDARY_REGISTERS | SECONDARY_INTERRUPTS;
	uint32_t pin = c->word[WORD_PIN], primary = c->word[WORD_PRIMARY], secondary = c->word[WORD_SECONDARY];

	FAIL_IF(c->cr3_targets > 4, "more CR3 targets than there are", c->cr3_targets);
	FAIL_IF(!(pin & PIN_NMI) && pin & PIN_VIRTUAL_NMIS, "virtual NMIs without NMI exiting", pin);
	FAIL_IF(!(pin & PIN_VIRTUAL_NMIS) && primary & PRIMARY_NMI_WINDOW, "an NMI window without virtual NMIs",
		primary);
	FAIL_IF(!(primary & PRIMARY_TPR_SHADOW) && secondary & of_apic, "a virtual APIC without TPR shadow", secondary);
	FAIL_IF(primary & PRIMARY_TPR_SHADOW && !(secondary & SECONDARY_INTERRUPTS) && c->tpr_threshold >> 4,
		"the TPR threshold is beyond 15", c->tpr_threshold);
	FAIL_IF(secondary & SECONDARY_INTERRUPTS && !(pin & PIN_INTERRUPT),
		"virtual interrupts without external-interrupt exiting", pin);
	FAIL_IF(pin & PIN_POSTED && !(secondary & SECONDARY_INTERRUPTS), "posted interrupts without virtual interrupts",
		secondary);
	FAIL_IF(pin & PIN_POSTED && !(c->word[WORD_EXIT] & EXITC_ACK), "posted interrupts without acknowledge on exit",
		c->word[WORD_EXIT]);
	FAIL_IF(pin & PIN_POSTED && c->notify_vector >> 8, "the vector that tells of posted interrupts is beyond 255",
		c->notify_vector);
	FAIL_IF(secondary & SECONDARY_VPID && !c->vpid, "VPID 0", 0);
	FAIL_IF(!(secondary & SECONDARY_EPT) && secondary & (SECONDARY_UNRESTRICTED | SECONDARY_LOG),
		"unrestricted guest or a page-modification log without EPT", secondary);
	return NULL;
}

static const char *check_event(const struct vmx_controls *c, uint64_t *value)
{
	uint32_t vector = c->event & 0xff, type = c->event >> EVENT_TYPE_SHIFT & 7;

	if (!(c->event & EVENT_VALID))
		return NULL;
	FAIL_IF(type == 1 || c->event & 0x7ffff000, "the event to inject has reserved bits", c->event);
	FAIL_IF(type == TYPE_NMI && vector != 2, "an NMI of another vector than 2", c->event);
	FAIL_IF(type == 3 && vector > 31, "an exception beyond 31", c->event);
	FAIL_IF(c->event & EVENT_HAS_ERROR && type != 3, "an error code with what is no exception", c->event);
	return NULL;
}

const char *vmx_check_controls(const struct vmx_controls *c, uint64_t *value)
{
	const char *why = check_words(c, value);

	why = why ? why : check_combinations(c, value);
	why = why ? why : check_addresses(c, value);
	return why ? why : check_event(c, value);
}

static const char *check_control_registers(const struct vmx_state *s, uint64_t *value)
{
	bool unrestricted = s->secondary & SECONDARY_UNRESTRICTED;

	FAIL_IF(!(s->cr0 & CR0_NE), "CR0.NE is clear", s->cr0);
	FAIL_IF((s->cr0 & CR0_PG) && !(s->cr0 & CR0_PE), "CR0 has PG without PE", s->cr0);
	FAIL_IF(!unrestricted && !(s->cr0 & CR0_PG), "CR0.PG is clear without \"unrestricted guest\"", s->cr0);
	FAIL_IF(s->cr0 >> 32, "CR0 has bits above 31", s->cr0);
	FAIL_IF(!(s->cr4 & CR4_VMXE), "CR4.VMXE is clear", s->cr4);
	FAIL_IF(is_64bit(s) && !(s->cr0 & CR0_PG), "\"IA-32e mode guest\" without CR0.PG", s->cr0);
	FAIL_IF(is_64bit(s) && !(s->cr4 & CR4_PAE), "\"IA-32e mode guest\" without CR4.PAE", s->cr4);
	FAIL_IF(!is_64bit(s) && (s->cr4 & CR4_PCIDE), "CR4.PCIDE outside IA-32e mode", s->cr4);
	FAIL_IF(s->cr3 >> s->address_bits, "CR3 is beyond the CPU's physical addresses", s->cr3);
	FAIL_IF(s->efer & ~EFER_KNOWN, "EFER has reserved bits", s->efer);
	FAIL_IF(!(s->efer & EFER_LMA) != !is_64bit(s), "EFER.LMA and \"IA-32e mode guest\" differ", s->efer);
	FAIL_IF((s->cr0 & CR0_PG) && !(s->efer & EFER_LMA) != !(s->efer & EFER_LME),
		"EFER.LMA and EFER.LME differ while paging is on", s->efer);
	return NULL;
}

static const char *check_debug_and_msrs(const struct vmx_state *s, uint64_t *value)
{
	FAIL_IF(s->dr7 >> 32, "DR7 has bits above 31", s->dr7);
	FAIL_IF(s->debugctl & ~0xffc3ull, "DEBUGCTL has reserved bits", s->debugctl);
	FAIL_IF(!canonical(s->sysenter_esp), "SYSENTER_ESP is not canonical", s->sysenter_esp);
	FAIL_IF(!canonical(s->sysenter_eip), "SYSENTER_EIP is not canonical", s->sysenter_eip);
	for (unsigned i = 0; i < 8; i++) {
		uint8_t t = (uint8_t)(s->pat >> 8 * i);

		FAIL_IF(t > 7 || t == 2 || t == 3, "PAT has a reserved memory type", s->pat);
	}
	FAIL_IF(s->link != ~0ull, "the VMCS link pointer is not all ones", s->link);
	return NULL;
}

static const char *check_flags_and_rip(const struct vmx_state *s, uint64_t *value)
{
	FAIL_IF(!(s->rflags & FLAG_FIXED), "RFLAGS bit 1 is clear", s->rflags);
	FAIL_IF(s->rflags & ~FLAGS_KNOWN, "RFLAGS has reserved bits", s->rflags);
	FAIL_IF((s->rflags & FLAG_VM) && (is_64bit(s) || !(s->cr0 & CR0_PE)),
		"RFLAGS.VM in IA-32e mode or without CR0.PE", s->rflags);
	FAIL_IF(s->rip >> 32 && !(is_64bit(s) && (s->rights[SEG_CS] & RIGHT_L)),
		"RIP has bits above 31 outside 64-bit mode", s->rip);
	FAIL_IF(!canonical(s->rip), "RIP is not canonical", s->rip);
	return NULL;
}

static bool usable(const struct vmx_state *s, enum seg g)
{
	return !(s->rights[g] & VMCS_RIGHTS_UNUSABLE);
}

/* With G the limit's low 12 bits are ones, without it the high 12 are zeros. */
static bool limit_fits(const struct vmx_state *s, enum seg g)
{
	uint32_t limit = s->seg[g].limit;

	return s->rights[g] & RIGHT_G ? (limit & 0xfff) == 0xfff : !(limit >> 20);
}

static const char *check_code(const struct vmx_state *s, uint64_t *value)
{
	uint32_t r = s->rights[SEG_CS], type = r & RIGHT_TYPE;
	bool data = type == 3 && (s->secondary & SECONDARY_UNRESTRICTED);

	FAIL_IF(!usable(s, SEG_CS), "CS is unusable", r);
	FAIL_IF(!data && (type & 9) != 9, "CS is no accessed code segment", r);
	FAIL_IF(!(r & RIGHT_S) || !(r & RIGHT_PRESENT), "CS is a system segment or not present", r);
	FAIL_IF(is_64bit(s) && (r & RIGHT_L) && (r & RIGHT_DB), "CS has both L and D", r);
	FAIL_IF(!limit_fits(s, SEG_CS), "CS: limit and granularity disagree", s->seg[SEG_CS].limit);
	FAIL_IF(s->seg[SEG_CS].base >> 32, "CS: base above 4 GiB", s->seg[SEG_CS].base);
	return NULL;
}

static const char *check_data(const struct vmx_state *s, uint64_t *value)
{
	static const struct {
		enum seg seg;
		const char *type, *limit;
	} data[] = {
		{ SEG_SS, "SS is no accessed, writable data segment", "SS: limit and granularity disagree" },
		{ SEG_DS, "DS is no accessed, readable segment", "DS: limit and granularity disagree" },
		{ SEG_ES, "ES is no accessed, readable segment", "ES: limit and granularity disagree" },
		{ SEG_FS, "FS is no accessed, readable segment", "FS: limit and granularity disagree" },
		{ SEG_GS, "GS is no accessed, readable segment", "GS: limit and granularity disagree" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(data); i++) {
		enum seg g = data[i].seg;
		uint32_t r = s->rights[g], type = r & RIGHT_TYPE;
		bool readable = (type & 1) && (!(type & 8) || (type & 2));

		if (!usable(s, g))
			continue;
		FAIL_IF(!(r & RIGHT_S) || !(r & RIGHT_PRESENT) || (r & ~RIGHTS_KNOWN) ||
				!(g == SEG_SS ? type == 3 || type == 7 : readable),
			data[i].type, r);
		FAIL_IF(!limit_fits(s, g), data[i].limit, s->seg[g].limit);
	}
	return NULL;
}

static const char *check_system(const struct vmx_state *s, uint64_t *value)
{
	uint32_t tr = s->rights[SEG_TR], ldt = s->rights[SEG_LDTR], type = tr & RIGHT_TYPE;

	FAIL_IF(!usable(s, SEG_TR), "TR is unusable", tr);
	FAIL_IF(type != 11 && (type != 3 || is_64bit(s)), "TR is no busy task state segment", tr);
	FAIL_IF((tr & RIGHT_S) || !(tr & RIGHT_PRESENT), "TR is no present system segment", tr);
	FAIL_IF(!limit_fits(s, SEG_TR), "TR: limit and granularity disagree", s->seg[SEG_TR].limit);
	FAIL_IF(!canonical(s->seg[SEG_TR].base), "TR: base is not canonical", s->seg[SEG_TR].base);
	FAIL_IF(usable(s, SEG_LDTR) && ((ldt & RIGHT_TYPE) != 2 || (ldt & RIGHT_S) || !(ldt & RIGHT_PRESENT)),
		"LDTR is no present local descriptor table", ldt);
	FAIL_IF(!canonical(s->seg[SEG_GDTR].base), "GDTR: base is not canonical", s->seg[SEG_GDTR].base);
	FAIL_IF(!canonical(s->seg[SEG_IDTR].base), "IDTR: base is not canonical", s->seg[SEG_IDTR].base);
	FAIL_IF(s->seg[SEG_GDTR].limit >> 16, "GDTR: limit above 64 KiB", s->seg[SEG_GDTR].limit);
	FAIL_IF(s->seg[SEG_IDTR].limit >> 16, "IDTR: limit above 64 KiB", s->seg[SEG_IDTR].limit);
	FAIL_IF(!canonical(s->seg[SEG_FS].base), "FS: base is not canonical", s->seg[SEG_FS].base);
	FAIL_IF(!canonical(s->seg[SEG_GS].base), "GS: base is not canonical", s->seg[SEG_GS].base);
	return NULL;
}

static const char *check_blocking(const struct vmx_state *s, uint64_t *value)
{
	uint32_t shadow = s->blocking & (BLOCKING_STI | BLOCKING_MOVSS);
	uint32_t type = s->event >> EVENT_TYPE_SHIFT & 7;
	bool event = s->event & EVENT_VALID;

	FAIL_IF(s->activity > ACTIVITY_LAST, "the activity state is not known", s->activity);
	FAIL_IF(s->activity == ACTIVITY_HLT && shadow, "halted in an interrupt shadow", s->blocking);
	FAIL_IF(s->blocking & ~BLOCKING_KNOWN, "interruptibility has reserved bits", s->blocking);
	FAIL_IF(shadow == (BLOCKING_STI | BLOCKING_MOVSS), "blocking by STI and by MOV SS at once", s->blocking);
	FAIL_IF((s->blocking & BLOCKING_STI) && !(s->rflags & FLAG_IF), "blocking by STI with RFLAGS.IF clear",
		s->blocking);
	FAIL_IF(event && !type && !(s->rflags & FLAG_IF), "an external interrupt is injected with RFLAGS.IF clear",
		s->event);
	FAIL_IF(event && !type && shadow, "an external interrupt is injected in an interrupt shadow", s->event);
	FAIL_IF(event && type == TYPE_NMI && (s->blocking & (BLOCKING_MOVSS | BLOCKING_NMI)),
		"an NMI is injected while NMIs are blocked", s->event);
	FAIL_IF(event && (s->event & EVENT_HAS_ERROR) && !(s->cr0 & CR0_PE), "an error code is injected in real mode",
		s->event);
	FAIL_IF(shadow && (s->rflags & FLAG_TF) && !(s->pending_debug & BIT(14)),
		"a single step in an interrupt shadow is not pending", s->pending_debug);
	return NULL;
}

static const char *check_pdptes(const struct vmx_state *s, uint64_t *value)
{
	uint64_t reserved = 0x1e6ull | ~(BIT(s->address_bits) - 1);

	if (!(s->cr0 & CR0_PG) || !(s->cr4 & CR4_PAE) || is_64bit(s))
		return NULL;
	for (unsigned i = 0; i < ARRAY_SIZE(s->pdpte); i++)
		FAIL_IF((s->pdpte[i] & 1) && (s->pdpte[i] & reserved), "a PAE top entry has reserved bits",
			s->pdpte[i]);
	return NULL;
}

const char *vmx_check(const struct vmx_state *s, uint64_t *value)
{
	const char *why = check_control_registers(s, value);

	why = why ? why : check_debug_and_msrs(s, value);
	why = why ? why : check_flags_and_rip(s, value);
	why = why ? why : check_code(s, value);
	why = why ? why : check_data(s, value);
	why = why ? why : check_system(s, value);
	why = why ? why : check_blocking(s, value);
	return why ? why : check_pdptes(s, value);
}

const char *vmx_instruction_error(uint64_t number)
{
	switch (number) {
	case 4:
		return "VMLAUNCH with a VMCS that is not clear";
	case 5:
		return "VMRESUME with a VMCS that is not launched";
	case VMX_ERROR_CONTROLS:
		return "the control fields contradict each other or the CPU's capabilities";
	case 8:
		return "the host's state is not valid";
	case 26:
		return "blocking by MOV SS";
	default:
		return "see SDM volume 3, 30.4";
	}
}
