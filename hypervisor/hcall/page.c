/* hcall/page.c: the contents of the hypercall page. Locks: none. The same code runs in 32-bit and 64-bit mode. */
#include "core/domain.h"
#include "core/frame.h"
#include "core/guestmem.h"
#include "hcall/page.h"
#include "lib/lib.h"
#include "port/guest.h"
#include "port/upcall.h"

#define OPCODE_MOV_EAX_IMM32 0xb8
#define OPCODE_RET	     0xc3
#define OPCODE_INT3	     0xcc

void hcall_page_fill(uint8_t page[PAGE_SIZE], bool vmcall)
{
	memset(page, OPCODE_INT3, PAGE_SIZE);
	for (uint32_t nr = 0; nr < PAGE_SIZE / HCALL_PAGE_ENTRY; nr++) {
		uint8_t *p = page + nr * HCALL_PAGE_ENTRY;

		if (nr == __HYPERVISOR_iret) { /* PV only: UD2 */
			p[0] = 0x0f;
			p[1] = 0x0b;
			continue;
		}
		*p++ = OPCODE_MOV_EAX_IMM32;
		memcpy(p, &nr, sizeof(nr));
		p += sizeof(nr);
		*p++ = 0x0f;
		*p++ = 0x01;
		*p++ = vmcall ? 0xc1 : 0xd9;
		*p = OPCODE_RET;
	}
}

int hcall_page_install(struct domain *d, gfn_t g)
{
	mfn_t m;
	int ret = p2m_get_frame(d, g, true, &m);

	if (ret)
		return ret;
	hcall_page_fill(guestmem_window(m), guest_uses_ept());
	frame_put(m);
	return 0;
}

int upcall_hypercall_page(struct domain *d, gfn_t g)
{
	return hcall_page_install(d, g);
}
