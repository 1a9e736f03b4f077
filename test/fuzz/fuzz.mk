# Fuzzers: libFuzzer programs of clang-14 under ASan and UBSan on the fake machine. `make -f test/fuzz/fuzz.mk fuzz`
# builds them; test/fuzz/run.sh SECONDS runs each for that long on the saved corpus.

include hypervisor/hcall/compat.mk

FUZZ_BUILD ?= build/fuzz
FUZZ_CC ?= clang-14
FUZZ_CFLAGS := -std=gnu17 -O1 -g -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all \
	-fno-omit-frame-pointer -fno-strict-aliasing -Wall -Wextra -Wno-unused-parameter -Ihypervisor -Itest -I$(GEN) -MMD -MP

FUZZ_SOURCES := $(filter-out %/compat_layout.c hypervisor/lib/string.c, \
	$(wildcard hypervisor/lib/*.c hypervisor/core/*.c hypervisor/hcall/*.c hypervisor/hvm/*.c)) \
	test/host/host.c test/host/fakes.c
FUZZ_OBJECTS := $(FUZZ_SOURCES:%.c=$(FUZZ_BUILD)/%.o)

.PHONY: fuzz
fuzz: $(FUZZ_BUILD)/hcall_fuzz

$(FUZZ_BUILD)/hcall_fuzz: $(FUZZ_BUILD)/test/fuzz/hcall_fuzz.o $(FUZZ_OBJECTS)
	$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -Wl,--wrap=panic -o $@ $^

$(FUZZ_BUILD)/%.o: %.c | $(COMPAT_LAYOUT)
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_CFLAGS) -c -o $@ $<

-include $(wildcard $(FUZZ_BUILD)/*/*/*.d)
