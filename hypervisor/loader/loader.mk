# The domain loader: build/loader/loader.bin, a flat position-independent binary that the dom0 builder carries as data.
# Works offline with liblzma-dev, libzstd-dev, zlib1g-dev and liblz4-dev installed. Included by the root Makefile.

LOADER_DIR := build/loader
LOADER_SRC := hypervisor/loader
LOADER_OBJS := $(addprefix $(LOADER_DIR)/, entry.o main.o unpack.o image.o place.o report.o libc.o)
LOADER_LIBS := $(foreach lib, lzma zstd z lz4, $(shell $(CC) -print-file-name=lib$(lib).a))
LOADER_CFLAGS := -std=gnu17 -O2 -g -Wall -Wextra -Werror -ffreestanding -fpie \
	-fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -U_FORTIFY_SOURCE \
	-Ihypervisor -MMD -MP -D__XEN_INTERFACE_VERSION__=__XEN_LATEST_INTERFACE_VERSION__

$(LOADER_DIR)/%.o: $(LOADER_SRC)/%.c $(LOADER_SRC)/loader.mk
	@mkdir -p $(@D)
	$(CC) $(LOADER_CFLAGS) -c -o $@ $<

$(LOADER_DIR)/%.o: $(LOADER_SRC)/%.S $(LOADER_SRC)/loader.mk
	@mkdir -p $(@D)
	$(CC) $(LOADER_CFLAGS) -c -o $@ $<

# The start-up code knows one kind of relocation only.
$(LOADER_DIR)/loader.elf: $(LOADER_OBJS) $(LOADER_SRC)/loader.lds
	$(LD) -pie --no-dynamic-linker -z noexecstack -z norelro --no-warn-rwx-segments --gc-sections \
		-Map $(LOADER_DIR)/loader.map -T $(LOADER_SRC)/loader.lds -o $@ $(LOADER_OBJS) $(LOADER_LIBS)
	@if readelf -rW $@ | grep R_X86_64_ | grep -v R_X86_64_RELATIVE; then \
		echo "$@: a relocation that entry.S cannot apply (above)"; rm -f $@; exit 1; fi

$(LOADER_DIR)/loader.bin: $(LOADER_DIR)/loader.elf
	objcopy -O binary $< $@

-include $(LOADER_OBJS:.o=.d)
