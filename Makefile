# Builds the hypervisor: build/gossamer.elf (what a boot loader takes) and build/gossamer.syms.elf (the same with symbols).
# Works offline with gcc (12) or clang (14: `make CC=clang-14`), binutils, libxen-dev, and what the domain loader needs
# (hypervisor/loader/loader.mk).

ifeq ($(origin CC), default)
CC := gcc
endif
OBJDIR := build/hv
H := hypervisor

.PHONY: all clean
all: build/gossamer.elf

SRCS := $(filter-out %/compat_layout.c, $(wildcard $(foreach d, lib core hvm hcall boot x86, $H/$d/*.c)))
ASMS := $(wildcard $H/x86/*.S)
OBJS := $(SRCS:$H/%.c=$(OBJDIR)/%.o) $(ASMS:$H/%.S=$(OBJDIR)/%.S.o)

CFLAGS_HV := -std=gnu17 -O2 -g -ffreestanding -fno-stack-protector -mno-red-zone -mgeneral-regs-only -fno-jump-tables \
	-fno-pic -fno-pie -mcmodel=small -fno-strict-aliasing -fno-omit-frame-pointer -fno-common -fno-tree-vectorize \
	-fno-asynchronous-unwind-tables -fcf-protection=none -ffunction-sections -fdata-sections -U_FORTIFY_SOURCE \
	-Wall -Wextra -Werror -Wno-unused-parameter -I$H -Ibuild/gen
AFLAGS_HV := -I$H -I. -Wall -Werror
ifneq ($(findstring clang,$(CC)),)
CFLAGS_HV += -Wthread-safety
else
CFLAGS_HV += -fno-tree-loop-distribute-patterns
endif
ifdef LOCK_CHECK # each lock taken is checked against the order in lib/lock.h
CFLAGS_HV += -DLOCK_CHECK
endif
LDFLAGS_HV := -static -nostdlib --gc-sections -z noexecstack -z max-page-size=4096 --no-warn-rwx-segments --build-id=sha1

# A change of compiler or flags rebuilds everything.
$(shell mkdir -p $(OBJDIR); echo '$(CC) $(CFLAGS_HV)' | cmp -s - $(OBJDIR)/flags || echo '$(CC) $(CFLAGS_HV)' >$(OBJDIR)/flags)

$(OBJDIR)/%.o: $H/%.c $(OBJDIR)/flags
	@mkdir -p $(@D)
	@echo "CC $<"
	@$(CC) $(CFLAGS_HV) -MMD -MP -c -o $@ $<

$(OBJDIR)/%.S.o: $H/%.S $(OBJDIR)/flags
	@mkdir -p $(@D)
	@echo "AS $<"
	@$(CC) $(AFLAGS_HV) -MMD -MP -c -o $@ $<

$(OBJDIR)/x86/loader_blob.S.o: build/loader/loader.bin

# The symbol table is in the image: linked once without it, and text does not move when it comes in (x86/image.lds).
define SYMTABLE_AWK
BEGIN { print ".section .symtable, \"a\"\n.balign 8\n.globl symtable, symtable_end, symtable_names\nsymtable:" }
{ print ".long 0x" substr($$1, length($$1) - 7) ", " offset + 0; offset += length($$3) + 1; name[n++] = $$3 }
END {
	print "symtable_end:\nsymtable_names:"
	for (i = 0; i < n; i++)
		print ".asciz \"" name[i] "\""
	print ".section .note.GNU-stack, \"\", @progbits"
}
endef
export SYMTABLE_AWK

$(OBJDIR)/empty.s: Makefile
	@echo | awk "$$SYMTABLE_AWK" | sed '/^\.long/d; /asciz/d' >$@

$(OBJDIR)/%.table.o: $(OBJDIR)/%.s
	@$(CC) -c -o $@ $<

$(OBJDIR)/pass1.elf: $(OBJS) $(OBJDIR)/empty.table.o $H/x86/image.lds
	@$(LD) $(LDFLAGS_HV) -T $H/x86/image.lds -o $@ $(OBJS) $(OBJDIR)/empty.table.o

$(OBJDIR)/symbols.s: $(OBJDIR)/pass1.elf
	@nm -n $< | grep ' [tT] ' | grep -v ' \.' | awk "$$SYMTABLE_AWK" >$@

build/gossamer.syms.elf: $(OBJS) $(OBJDIR)/symbols.table.o $H/x86/image.lds
	@echo "LD $@"
	@$(LD) $(LDFLAGS_HV) -T $H/x86/image.lds -Map $(OBJDIR)/image.map -o $@.tmp $(OBJS) $(OBJDIR)/symbols.table.o
	@nm -n $(OBJDIR)/pass1.elf | grep ' [tT] ' >$(OBJDIR)/pass1.text; nm -n $@.tmp | grep ' [tT] ' | \
		cmp -s - $(OBJDIR)/pass1.text || { echo "$@: text moved between the two links"; exit 1; }
	@mv $@.tmp $@

build/gossamer.elf: build/gossamer.syms.elf
	@objcopy -S -O elf32-i386 $< $@
	@size $< | awk 'NR == 2 { printf "%s: text and read-only data %d, data %d, zeroed %d bytes; loaded from file: %d\n", \
		"$@", $$1, $$2, $$3, $$1 + $$2 }'

# The domain loader (build/loader/loader.bin); the layouts of 32-bit callers (a generated header).
GEN := build/gen
HYPERVISOR := $H
include $(wildcard hypervisor/*/*.mk)
$(OBJS): | $(COMPAT_LAYOUT)

clean:
	rm -rf build/hv build/gen build/loader build/gossamer.elf build/gossamer.syms.elf

-include $(OBJS:.o=.d)
