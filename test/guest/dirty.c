// SPDX-License-Identifier: Apache-2.0
// launch: copy=300
/*
 * Writes to its pages in no order while the kernel that launched it keeps a copy of them by what log-dirty reports: launch.c
 * compares the two at the end.
 *
 * Sources: public header domctl.h (XEN_DOMCTL_shadow_op).
 */
#include "lib/guest.h"

const char guest_name[] = "dirty";

#define MS	  1000000UL
#define COPY_PAGE 0x2800UL /* as in launch.c */
#define PAGES	  300UL	   /* more than one half of a 2 MiB page, and a part of another */

static uint64_t seed = 88172645463325252UL;

static uint64_t random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

void guest_main(void)
{
	volatile uint64_t *memory = (void *)(COPY_PAGE * PAGE_SIZE);
	uint64_t end, writes = 0, kept = 0;

	event_init();
	end = event_now() + 300 * MS;
	while (event_now() < end) {
		/* Now all over the place, now only a few pages. */
		uint64_t r = random(), reach = r >> 60 ? PAGES : 8;

		for (unsigned int i = 0; i < 50; i++, writes++) {
			uint64_t at = (random() >> 8) % (reach * PAGE_SIZE / 8);

			memory[at] = writes;
			kept += memory[at] == writes;
		}
		smp_sleep_until(event_now() + (r & 0xffff));
	}
	print("%lu writes\n", writes);
	CHECK_EQ("each is there", kept, writes);
}
