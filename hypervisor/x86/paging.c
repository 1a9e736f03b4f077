/*
 * The hypervisor's page tables: image (W^X), sparse direct map, second mappings, per-CPU windows, device registers.
 *
 * Locks: paging_lock, held alone. Table frames come from a pool that boot gave; they are never freed. A removed mapping
 * may live on in other CPUs' TLBs: paging_gen counts removals, every CPU flushes in port_poll() and port_idle() when it
 * has changed. The direct map's addresses never change their meaning, so a late flush there is harmless; a port_vmap()
 * slot is used again only after every CPU has flushed since it was freed.
 * Source: APM vol. 2, 5.3 and 5.4.
 */
#include "lib/lib.h"
#include "lib/lock.h"
#include "port/boot.h"
#include "x86/cpu.h"
#include "x86/x86.h"

#define PTE_P	 BIT(0)
#define PTE_W	 BIT(1)
#define PTE_UC	 (BIT(3) | BIT(4)) /* PCD, PWT: PAT entry 3, uncached */
#define PTE_A	 BIT(5)
#define PTE_D	 BIT(6)
#define PTE_PS	 BIT(7)
#define PTE_NX	 BIT(63)
#define PTE_ADDR 0x000ffffffffff000ull

#define PTE_TABLE (PTE_P | PTE_W | PTE_A)
#define PTE_RW	  (PTE_P | PTE_W | PTE_A | PTE_D | PTE_NX)
#define PTE_RO	  (PTE_P | PTE_A | PTE_NX)
#define PTE_RX	  (PTE_P | PTE_A)

#define VMAP_SLOTS     65536u
#define VMAP_DIRTY_MAX 256u
#define MMIO_SIZE      BIT(39)

extern const char image_start[], image_text_end[], image_rodata_end[], image_end[];
extern const uint64_t boot_cpu_pt[];

static spinlock_t paging_lock = SPINLOCK_INIT(LOCK_MACHINE);
static struct {
	paddr_t next, end;
} pool[2]; /* paging_lock, or start-up */
static paddr_t pml4_pa;
static uint64_t table_base; /* where table frames are seen: 0 at first, then DIRECT_BASE */
static uint64_t mmio_next = MMIO_BASE;
static uint64_t paging_gen = 1; /* atomic */

/* Free slots, linked through their page-table entries (not present; slot + 1 in the address bits). paging_lock */
static struct {
	uint32_t head, tail; /* slot + 1, 0 = empty */
} vmap_clean, vmap_dirty, vmap_waiting;
static uint32_t vmap_top, vmap_dirty_count;
static uint64_t vmap_waiting_gen;

static paddr_t paging_pool_take(void)
{
	unsigned i = pool[0].next == pool[0].end;
	paddr_t pa = pool[i].next;

	if (pa == pool[i].end)
		return 0;
	pool[i].next += PAGE_SIZE;
	memset((void *)(pa + table_base), 0, PAGE_SIZE);
	return pa;
}

paddr_t paging_frame(void)
{
	paddr_t pa = paging_pool_take();

	if (!pa)
		x86_panic("no page-table frame left");
	return pa;
}

/*
 * The entry for va in the table of the given level (0: 4 KiB pages, 1: 2 MiB pages). Makes the tables above it.
 * NULL: out of frames. Panics when a large page is in the way.
 */
static uint64_t *paging_entry(uint64_t va, unsigned level)
{
	paddr_t pa = pml4_pa;

	for (unsigned l = 3;; l--) {
		uint64_t *e = (uint64_t *)(pa + table_base) + (va >> (12 + 9 * l) & 511);

		if (l == level)
			return e;
		if (!(*e & PTE_P)) {
			paddr_t t = paging_pool_take();

			if (!t)
				return NULL;
			*e = t | PTE_TABLE;
		} else if (*e & PTE_PS) {
			x86_panic("%lx is mapped by a large page", va);
		}
		pa = *e & PTE_ADDR;
	}
}

static void paging_map(uint64_t va, paddr_t pa, uint64_t flags)
{
	uint64_t *e = paging_entry(va, 0);

	if (!e)
		x86_panic("no page-table frame left");
	*e = pa | flags;
}

/* --- start-up --- */

void port_boot_image(paddr_t *start, paddr_t *end)
{
	*start = (paddr_t)image_start;
	*end = (paddr_t)image_end;
}

size_t port_boot_table_frames(const paddr_t *start, const paddr_t *end, unsigned n)
{
	uint64_t gigs = 0, next = 0, top = 0;

	for (unsigned i = 0; i < n; i++) { /* ranges are sorted */
		uint64_t a = MAX(start[i] >> 30, next), b = DIV_UP(end[i], 1ull << 30);

		if (b > a) {
			gigs += b - a;
			next = b;
			top = b;
		}
	}
	/*
	 * The direct map's directories; 8 tables (16 MiB) of second mappings per GiB; and once: roots and directories of
	 * the areas, the image, 4 KiB pieces of the direct map, device registers, this CPU's VMCB.
	 */
	return gigs + DIV_UP(top, 512) + MIN(gigs * 8, VMAP_SLOTS / 512) + 48;
}

static void paging_map_image(void)
{
	for (uint64_t a = (uint64_t)image_start; a < (uint64_t)image_end; a += PAGE_SIZE) {
		uint64_t flags = a < (uint64_t)image_text_end	  ? PTE_RX
				 : a < (uint64_t)image_rodata_end ? PTE_RO
								  : PTE_RW;

		paging_map(a, a, flags);
	}
}

void port_boot_paging(paddr_t frame, size_t frames)
{
	pool[0].next = frame;
	pool[0].end = frame + frames * PAGE_SIZE;
	pml4_pa = paging_frame();
	paging_map_image();
	for (unsigned i = 0; i < CPU_BLOCK_PAGES; i++)
		if (boot_cpu_pt[i] & PTE_P)
			paging_map(CPU_AREA + i * PAGE_SIZE, boot_cpu_pt[i] & PTE_ADDR, PTE_RW);
	for (paddr_t a = frame; a < pool[0].end; a += PAGE_SIZE)
		paging_map(DIRECT_BASE + a, a, PTE_RW);
	x86_write_cr3(pml4_pa);
	table_base = DIRECT_BASE;
	cpu_this()->tlb_seen = paging_gen;
	paging_windows_init(0);
}

void port_boot_add_frames(paddr_t frame, size_t frames)
{
	for (size_t i = 0; i < frames; i++)
		paging_map(DIRECT_BASE + frame + i * PAGE_SIZE, frame + i * PAGE_SIZE, PTE_RW);
	pool[1].next = frame;
	pool[1].end = frame + frames * PAGE_SIZE;
}

void paging_cpu_map(unsigned cpu)
{
	uint64_t block = (uint64_t)cpu_block(cpu);

	for (unsigned i = 0; i < CPU_BLOCK_PAGES; i++)
		if (CPU_BLOCK_MAP & BIT(i))
			paging_map(block + i * PAGE_SIZE, paging_frame(), PTE_RW);
	paging_windows_init(cpu);
}

void paging_windows_init(unsigned cpu)
{
	uint64_t *e = paging_entry(WINDOW_BASE + cpu * PORT_WINDOWS * PAGE_SIZE, 0);

	if (!e)
		x86_panic("no page-table frame left");
	cpu_block(cpu)->window = e;
}

void paging_low_map(paddr_t pa, bool on)
{
	paging_map(pa, pa, on ? PTE_RX : 0);
	x86_invlpg(pa);
	if (on)
		paging_map(DIRECT_BASE + pa, pa, PTE_RW);
	else
		paging_map(DIRECT_BASE + pa, 0, 0);
	x86_invlpg(DIRECT_BASE + pa);
}

/* --- stale translations --- */

void paging_flush_check(void)
{
	struct cpu *c = cpu_this();
	uint64_t gen = __atomic_load_n(&paging_gen, __ATOMIC_ACQUIRE);

	if (likely(c->tlb_seen == gen))
		return;
	__atomic_store_n(&c->tlb_seen, gen, __ATOMIC_SEQ_CST);
	x86_flush_tlb();
}

/* An idle CPU flushes when it wakes up, so nobody needs to wait for it. */
void paging_idle_enter(void)
{
	__atomic_store_n(&cpu_this()->tlb_seen, ~0ull, __ATOMIC_RELEASE);
}

static bool paging_all_flushed(uint64_t gen)
{
	for (unsigned i = 0; i < port_cpu_count(); i++)
		if (__atomic_load_n(&cpu_block(i)->tlb_seen, __ATOMIC_SEQ_CST) < gen)
			return false;
	return true;
}

/* --- direct map --- */

void *port_direct(mfn_t m)
{
	return (void *)(DIRECT_BASE + (m.n << PAGE_SHIFT));
}

mfn_t port_direct_mfn(const void *p)
{
	uint64_t a = (uint64_t)p;

	return MFN((a >= DIRECT_BASE ? a - DIRECT_BASE : a) >> PAGE_SHIFT);
}

bool port_direct_map(mfn_t m, unsigned order)
{
	uint64_t *e;

	spin_lock(&paging_lock);
	e = paging_entry((uint64_t)port_direct(m), order == ORDER_2M);
	if (e && *e & PTE_P)
		x86_panic("frame %lx (order %u) is mapped already", m.n, order);
	if (e)
		*e = m.n << PAGE_SHIFT | PTE_RW | (order == ORDER_2M ? PTE_PS : 0);
	spin_unlock(&paging_lock);
	return e;
}

void port_direct_unmap(mfn_t m, unsigned order)
{
	uint64_t *e;

	spin_lock(&paging_lock);
	e = paging_entry((uint64_t)port_direct(m), order == ORDER_2M);
	if (!e || !(*e & PTE_P) || (order == ORDER_2M && !(*e & PTE_PS)))
		x86_panic("frame %lx (order %u) is not mapped", m.n, order);
	*e = 0;
	__atomic_add_fetch(&paging_gen, 1, __ATOMIC_SEQ_CST);
	spin_unlock(&paging_lock);
	x86_invlpg((uint64_t)port_direct(m));
}

/* --- second mappings --- */

static uint64_t *vmap_entry(uint32_t slot)
{
	return paging_entry(VMAP_BASE + slot * PAGE_SIZE, 0);
}

/* The dirty slots become usable once all CPUs have flushed. */
static void vmap_recycle(void)
{
	if (vmap_waiting.head && paging_all_flushed(vmap_waiting_gen)) {
		*vmap_entry(vmap_waiting.tail - 1) = (uint64_t)vmap_clean.head << PAGE_SHIFT;
		vmap_clean.head = vmap_waiting.head;
		vmap_waiting.head = 0;
	}
	if (!vmap_waiting.head && (vmap_dirty_count >= VMAP_DIRTY_MAX || vmap_top == VMAP_SLOTS)) {
		vmap_waiting = vmap_dirty;
		vmap_dirty.head = 0;
		vmap_dirty_count = 0;
		vmap_waiting_gen = __atomic_add_fetch(&paging_gen, 1, __ATOMIC_SEQ_CST);
	}
}

void *port_vmap(mfn_t m)
{
	uint32_t slot;
	uint64_t *e;

	spin_lock(&paging_lock);
	vmap_recycle();
	if (vmap_clean.head) {
		slot = vmap_clean.head - 1;
		e = vmap_entry(slot);
		vmap_clean.head = (uint32_t)(*e >> PAGE_SHIFT);
	} else {
		slot = vmap_top;
		e = slot < VMAP_SLOTS ? vmap_entry(slot) : NULL;
		if (e)
			vmap_top++;
	}
	if (e)
		*e = m.n << PAGE_SHIFT | PTE_RW;
	spin_unlock(&paging_lock);
	return e ? (void *)(VMAP_BASE + slot * PAGE_SIZE) : NULL;
}

void port_vunmap(void *p)
{
	uint64_t va = (uint64_t)p & PAGE_MASK;
	uint32_t slot = (uint32_t)((va - VMAP_BASE) >> PAGE_SHIFT);
	uint64_t *e;

	spin_lock(&paging_lock);
	e = va - VMAP_BASE < VMAP_SLOTS * PAGE_SIZE ? vmap_entry(slot) : NULL;
	if (!e || !(*e & PTE_P))
		x86_panic("%p is not a second mapping", p);
	*e = (uint64_t)vmap_dirty.head << PAGE_SHIFT;
	if (!vmap_dirty.head)
		vmap_dirty.tail = slot + 1;
	vmap_dirty.head = slot + 1;
	vmap_dirty_count++;
	vmap_recycle();
	spin_unlock(&paging_lock);
	x86_invlpg(va);
}

/* --- device registers, firmware tables --- */

static void *paging_map_range(paddr_t pa, size_t size, uint64_t flags)
{
	uint64_t offset = pa & ~PAGE_MASK, len = ALIGN_UP(offset + size, PAGE_SIZE), va;

	spin_lock(&paging_lock);
	pa &= PAGE_MASK;
	va = mmio_next;
	if (len >= BIT(21)) /* so that large pages fit */
		va = ALIGN_UP(va, BIT(21)) + (pa & (BIT(21) - 1));
	if (va + len > MMIO_BASE + MMIO_SIZE) {
		spin_unlock(&paging_lock);
		return NULL;
	}
	for (uint64_t a = 0; a < len;) {
		bool large = !((va + a) & (BIT(21) - 1)) && !((pa + a) & (BIT(21) - 1)) && len - a >= BIT(21);
		uint64_t *e = paging_entry(va + a, large);

		if (!e) {
			spin_unlock(&paging_lock);
			return NULL;
		}
		*e = (pa + a) | flags | (large ? PTE_PS : 0);
		a += large ? BIT(21) : PAGE_SIZE;
	}
	mmio_next = va + len;
	spin_unlock(&paging_lock);
	return (void *)(va + offset);
}

void *port_mmio_map(paddr_t pa, size_t size)
{
	return paging_map_range(pa, size, PTE_RW | PTE_UC);
}

void *paging_firmware_map(paddr_t pa, size_t size)
{
	return paging_map_range(pa, size, PTE_RO);
}

/* --- windows --- */

void *port_window_map(unsigned slot, mfn_t m)
{
	struct cpu *c = cpu_this();
	uint64_t va = WINDOW_BASE + (c->id * PORT_WINDOWS + slot) * PAGE_SIZE;
	uint64_t old = c->window[slot];

	*(volatile uint64_t *)&c->window[slot] = m.n << PAGE_SHIFT | PTE_RW;
	if (old)
		x86_invlpg(va);
	return (void *)va;
}

void port_window_unmap(unsigned slot)
{
	struct cpu *c = cpu_this();

	*(volatile uint64_t *)&c->window[slot] = 0;
	x86_invlpg(WINDOW_BASE + (c->id * PORT_WINDOWS + slot) * PAGE_SIZE);
}
