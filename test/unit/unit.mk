# Host tests: every test/unit/*_test.c and test/scenario/*_test.c becomes one program, linked with the hypervisor sources
# that its first comment names (/* sources: core/frame.c core/heap.c */), the fake machine of test/host and the helpers of
# lib, under ASan and UBSan.
# `make unit` builds and runs them all and ends with "N passed, N failed".

include hypervisor/hcall/compat.mk # generated header of 32-bit layouts

UNIT_BUILD ?= build/unit
UNIT_CC ?= gcc
UNIT_SANITIZE ?= address,undefined
UNIT_CFLAGS := -std=gnu17 -O1 -g -fsanitize=$(UNIT_SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer \
	-fno-strict-aliasing -Wall -Wextra -Werror -Wno-unused-parameter -Ihypervisor -Itest -I$(GEN) -MMD -MP -DLOCK_CHECK -DLOCK_TEST

UNIT_TESTS := $(wildcard test/unit/*_test.c test/scenario/*_test.c)
# The C library brings memcpy and the like.
UNIT_LIB := $(patsubst hypervisor/%.c,%.c,$(filter-out hypervisor/lib/mem.c hypervisor/lib/string.c,$(wildcard hypervisor/lib/*.c)))
UNIT_COMMON := $(UNIT_BUILD)/test/host/host.o $(UNIT_BUILD)/test/host/fakes.o $(UNIT_BUILD)/hypervisor/core/lockcheck.o \
	$(patsubst %.c,$(UNIT_BUILD)/hypervisor/%.o,$(UNIT_LIB))
UNIT_PROGRAMS := $(foreach t,$(UNIT_TESTS),$(UNIT_BUILD)/$(notdir $(t:.c=)))

unit_sources = $(filter %.c,$(shell sed '/\*\//q' $(1)))

define unit_program
$(UNIT_BUILD)/$(notdir $(1:.c=)): $(UNIT_BUILD)/$(1:.c=.o) $(UNIT_COMMON) \
		$(patsubst %.c,$(UNIT_BUILD)/hypervisor/%.o,$(call unit_sources,$(1)))
	$(UNIT_CC) $(UNIT_CFLAGS) -o $$@ $$(filter %.o,$$^) -lcmocka
endef
$(foreach t,$(UNIT_TESTS),$(eval $(call unit_program,$(t))))

$(UNIT_BUILD)/%.o: %.c | $(COMPAT_LAYOUT)
	@mkdir -p $(@D)
	$(UNIT_CC) $(UNIT_CFLAGS) -c -o $@ $<

.PHONY: unit unit-programs
unit-programs: $(UNIT_PROGRAMS)
unit: $(UNIT_PROGRAMS)
	test/unit/run.sh $(UNIT_PROGRAMS)

-include $(wildcard $(UNIT_BUILD)/*/*/*.d $(UNIT_BUILD)/*/*/*/*.d)
