/*
 * The domain loader: unpacks the kernel that the builder left in memory and puts it where it belongs. entry.S calls
 * this in long mode and enters the kernel with what it returns. One CPU, interrupts off, no state.
 */
#include "loader/image.h"
#include "loader/loader.h"
#include "loader/place.h"
#include "loader/unpack.h"

/* info: from EBX; head: where the loader runs. Returns the kernel's 32-bit entry point. */
uint32_t loader_main(const struct hvm_start_info *info, const struct loader_header *head);

uint32_t loader_main(const struct hvm_start_info *info, const struct loader_header *head)
{
	const struct loader_params *params;
	struct unpack_result kernel;

	place_init(info, head);
	params = place_params();
	kernel = unpack_kernel((const uint8_t *)params->payload_paddr, params->payload_size,
			       (uint8_t *)params->scratch_paddr, params->scratch_size);
	return image_load(kernel.data, kernel.size);
}
