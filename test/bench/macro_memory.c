/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the memory that dom0 has and the memory that is free, in KiB: xl knows both in MiB only. Runs in dom0. */
#include <stdio.h>
#include <xenctrl.h>

int main(void)
{
	xc_interface *xch = xc_interface_open(NULL, NULL, 0);
	xc_physinfo_t info = { 0 };
	xc_dominfo_t dom0;

	if (xch == NULL || xc_physinfo(xch, &info) != 0 || xc_domain_getinfo(xch, 0, 1, &dom0) != 1)
		return 1;
	printf("%llu %lu\n", (unsigned long long)(info.free_pages + info.scrub_pages) * 4, dom0.nr_pages * 4);
	return 0;
}
