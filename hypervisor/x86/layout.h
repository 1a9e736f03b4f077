/* Addresses, selectors and register bits that C and assembly share. Source: APM vol. 2. Owns nothing. */
#ifndef X86_LAYOUT_H
#define X86_LAYOUT_H

/*
 * Virtual addresses: the image below 2 GiB where it was loaded (virtual = physical), and above:
 */
#define DIRECT_BASE   0xffff800000000000 /* + machine address; only what port_direct_map() mapped */
#define VMAP_BASE     0xffff900000000000 /* port_vmap() slots */
#define WINDOW_BASE   0xffffa00000000000 /* PORT_WINDOWS pages per CPU */
#define MMIO_BASE     0xffffb00000000000 /* device registers and firmware tables */
#define CPU_AREA      0xffffc00000000000 /* one block of 64 KiB per CPU */
#define CPU_AREA_PML4 384

/* The block of a CPU: its struct cpu, then stacks with an unmapped page below each. */
#define CPU_BLOCK_SHIFT	  16
#define CPU_STACK_TOP	  0x6000
#define CPU_NMI_STACK_TOP 0x8000
#define CPU_DF_STACK_TOP  0xa000
#define CPU_MC_STACK_TOP  0xc000
#define CPU_BLOCK_PAGES	  16
#define CPU_BLOCK_MAP	  0xabd /* bit n: page n of the block is there */
#define CPU_FRAMES	  8	/* how many are */

/* Offsets in struct cpu that assembly uses; checked in cpu.c. */
#define CPU_HOST_VMCB 8

/* What the entry code does against speculation: PORT_GUARD_* of port/cpu.h; checked in cpu.c. */
#define GUARD_RSB  1
#define GUARD_IBPB 2
#define GUARD_VERW 4

#define SEL_CODE   0x08
#define SEL_DATA   0x10
#define SEL_TSS	   0x18
#define GDT_CODE64 0x00af9b000000ffff
#define GDT_DATA   0x00cf93000000ffff

#define CR0_HOST 0x80010033 /* PG WP NE ET MP PE */
#define CR4_PAE	 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100
#define EFER_NXE 0x800

/* Vectors: exceptions below 0x20, devices in the middle. */
#define VECTOR_DEVICE_FIRST 0x30
#define VECTOR_DEVICE_LAST  0xef
#define VECTOR_TIMER	    0xf0
#define VECTOR_KICK	    0xf1
#define VECTOR_NOTIFY	    0xf2 /* posted interrupts; a guest's CPU takes it itself */
#define VECTOR_APIC_ERROR   0xfe
#define VECTOR_SPURIOUS	    0xff

/* The page that starts secondary CPUs: its data is at the end. */
#define TRAMPOLINE_CR3	 0xfe0
#define TRAMPOLINE_STACK 0xfe8

#endif
