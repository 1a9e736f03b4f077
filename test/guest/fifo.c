// SPDX-License-Identifier: Apache-2.0
/*
 * Event channels in the FIFO ABI: control block, event array, links, priorities, masks.
 *
 * Source: public header event_channel.h, struct evtchn_fifo_control_block and EVTCHN_FIFO_*.
 */
#include "lib/guest.h"

const char guest_name[] = "fifo";

#define BAD   0x7f0000000000UL
#define WORDS (PAGE_SIZE / sizeof(event_word_t))

static volatile event_word_t *array;
static struct evtchn_fifo_control_block *control;
static volatile unsigned int upcalls;

static bool bit(evtchn_port_t port, unsigned int b)
{
	return array[port] >> b & 1;
}

static void set_bit(evtchn_port_t port, unsigned int b, bool on)
{
	if (on)
		__atomic_fetch_or(&array[port], 1U << b, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and(&array[port], ~(1U << b), __ATOMIC_SEQ_CST);
}

static void upcall(struct trap_regs *regs)
{
	(void)regs;
	upcalls++;
	event_vcpu()->evtchn_upcall_pending = 0;
	apic_eoi();
}

static long init_control(unsigned long gfn, uint32_t offset, uint32_t vcpu)
{
	struct evtchn_init_control c = {.control_gfn = gfn, .offset = offset, .vcpu = vcpu};
	long rc = hc_event(EVTCHNOP_init_control, &c);

	if (rc == 0)
		CHECK_EQ("link bits", c.link_bits, EVTCHN_FIFO_LINK_BITS);
	return rc;
}

static long expand(unsigned long gfn)
{
	struct evtchn_expand_array e = {.array_gfn = gfn};

	return hc_event(EVTCHNOP_expand_array, &e);
}

static long priority(evtchn_port_t port, uint32_t p)
{
	struct evtchn_set_priority s = {.port = port, .priority = p};

	return hc_event(EVTCHNOP_set_priority, &s);
}

/* Takes the head of queue q as the ABI asks: clear LINKED and the link, clear PENDING. 0 when empty. */
static evtchn_port_t take(unsigned int q)
{
	evtchn_port_t port = control->head[q];
	event_word_t word;

	if (!port)
		return 0;
	word = array[port];
	__atomic_fetch_and(&array[port], ~(1U << EVTCHN_FIFO_LINKED | EVTCHN_FIFO_LINK_MASK), __ATOMIC_SEQ_CST);
	control->head[q] = word & EVTCHN_FIFO_LINK_MASK;
	if (!control->head[q])
		__atomic_fetch_and(&control->ready, ~(1U << q), __ATOMIC_SEQ_CST);
	set_bit(port, EVTCHN_FIFO_PENDING, false);
	return port;
}

static void setting_up(void)
{
	unsigned long control_gfn, array_gfn;
	char *pages = guest_pages(3);
	evtchn_port_t early;

	memset(pages, 0, 3 * PAGE_SIZE);
	control = (struct evtchn_fifo_control_block *)pages;
	array = (event_word_t *)(pages + PAGE_SIZE);
	control_gfn = (unsigned long)pages / PAGE_SIZE;
	array_gfn = control_gfn + 1;

	CHECK_EQ("expand before init", expand(array_gfn), -XEN_EOPNOTSUPP);
	CHECK_EQ("priority before init", priority(1, 3), -XEN_ENOSYS);
	event_bind_ipi(0, &early);
	event_set_mask(early, true);
	event_send(early);
	CHECK_EQ("no such vCPU", init_control(control_gfn, 0, 200), -XEN_ENOENT);
	CHECK_EQ("offset not aligned", init_control(control_gfn, 4, 0), -XEN_EINVAL);
	CHECK_EQ("offset over the end", init_control(control_gfn, PAGE_SIZE - 8, 0), -XEN_EINVAL);
	CHECK_EQ("no such frame", init_control(0xfffffffffUL, 0, 0), -XEN_EINVAL);
	CHECK_EQ("init_control", init_control(control_gfn, 0, 0), 0);
	CHECK_EQ("init_control twice", init_control(control_gfn, 0, 0), -XEN_EINVAL);
	CHECK_EQ("array at no frame", expand(0xfffffffffUL), -XEN_EINVAL);
	CHECK_EQ("expand_array", expand(array_gfn), 0);
	CHECK_EQ("bad pointer, init", hc_event(EVTCHNOP_init_control, BAD), -XEN_EFAULT);
	CHECK_EQ("bad pointer, expand", hc_event(EVTCHNOP_expand_array, BAD), -XEN_EFAULT);
	CHECK_EQ("bad pointer, priority", hc_event(EVTCHNOP_set_priority, BAD), -XEN_EFAULT);
	CHECK("an event sent before is carried over", bit(early, EVTCHN_FIFO_PENDING));
	CHECK_EQ("at the usual priority", take(EVTCHN_FIFO_PRIORITY_DEFAULT), early);
	cpu_irq_window();
	set_bit(early, EVTCHN_FIFO_MASKED, true);
	CHECK_EQ("close the early port", event_close(early), 0);
}

static void one_event(void)
{
	evtchn_port_t port;
	unsigned int was;

	CHECK_EQ("bind", event_bind_ipi(0, &port), 0);
	CHECK_EQ("priority", priority(port, 3), 0);
	CHECK_EQ("priority beyond the lowest", priority(port, EVTCHN_FIFO_MAX_QUEUES), -XEN_EINVAL);
	CHECK_EQ("priority of no port", priority(0x7fffffff, 3), -XEN_EINVAL);
	set_bit(port, EVTCHN_FIFO_MASKED, true);
	CHECK_EQ("send masked", event_send(port), 0);
	CHECK("pending", bit(port, EVTCHN_FIFO_PENDING));
	CHECK("not linked", !bit(port, EVTCHN_FIFO_LINKED));
	CHECK_EQ("nothing ready", control->ready, 0);
	was = upcalls;
	set_bit(port, EVTCHN_FIFO_MASKED, false);
	CHECK_EQ("unmask", event_unmask(port), 0);
	CHECK("linked now", bit(port, EVTCHN_FIFO_LINKED));
	CHECK_EQ("queue 3 is ready", control->ready, 1U << 3);
	CHECK_EQ("its head", control->head[3], port);
	cpu_irq_window();
	CHECK_EQ("an upcall", upcalls, was + 1);
	CHECK_EQ("take it", take(3), port);
	CHECK_EQ("the word is empty", array[port], 0);

	CHECK_EQ("send", event_send(port), 0);
	CHECK_EQ("send again", event_send(port), 0);
	CHECK("pending and linked", bit(port, EVTCHN_FIFO_PENDING) && bit(port, EVTCHN_FIFO_LINKED));
	cpu_irq_window();
	CHECK_EQ("one more upcall", upcalls, was + 2);
	CHECK_EQ("take that", take(3), port);
	CHECK_EQ("queue is empty", take(3), 0);
	set_bit(port, EVTCHN_FIFO_MASKED, true);
	event_close(port);
}

static void queues(void)
{
	evtchn_port_t p[6];

	for (unsigned int i = 0; i < 6; i++) {
		CHECK_EQ("bind one of six", event_bind_ipi(0, &p[i]), 0);
		priority(p[i], i < 4 ? 7 : 1);
		array[p[i]] = 0;
	}
	for (unsigned int i = 0; i < 6; i++)
		event_send(p[i]);
	CHECK_EQ("two queues are ready", control->ready, 1U << 7 | 1U << 1);
	cpu_irq_window();
	CHECK_EQ("first of the high queue", take(1), p[4]);
	CHECK_EQ("second of the high queue", take(1), p[5]);
	for (unsigned int i = 0; i < 4; i++)
		CHECK_EQ("low queue in order", take(7), p[i]);
	CHECK_EQ("nothing ready any more", control->ready, 0);
	event_send(p[2]);
	event_send(p[0]);
	CHECK_EQ("oldest first", take(7), p[2]);
	event_send(p[2]);
	CHECK_EQ("then the next", take(7), p[0]);
	CHECK_EQ("then the first again", take(7), p[2]);
	cpu_irq_window();
	for (unsigned int i = 0; i < 6; i++) {
		set_bit(p[i], EVTCHN_FIFO_MASKED, true);
		CHECK_EQ("close one of six", event_close(p[i]), 0);
	}
	CHECK_EQ("unmask a closed port", event_unmask(p[0]), 0);
}

/* More array pages: only as many as the limit of ports allows. */
static void growing(void)
{
	unsigned long gfn = (unsigned long)guest_pages(200) / PAGE_SIZE;
	unsigned int n = 1;
	long rc = 0;

	while (n < 200 && rc == 0)
		rc = expand(gfn + n++);
	CHECK_EQ("the array ends at the domain's last port", rc, -XEN_ENOSPC);
	print("array pages: %u of %lu ports\n", n - 1, WORDS);
}

void guest_main(void)
{
	event_init();
	trap_set(EVENT_VECTOR, upcall);
	setting_up();
	one_event();
	queues();
	growing();
}
