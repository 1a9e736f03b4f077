#!/bin/bash
# Builds the tiny guest: test/system/tiny/build.sh FILE
set -euo pipefail
cd "$(dirname "$0")"
${CC:-gcc} -m32 -std=gnu17 -Os -D__XEN_INTERFACE_VERSION__=__XEN_LATEST_INTERFACE_VERSION__ -Wall -Wextra -Werror \
	-ffreestanding -fno-pie -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none \
	-mno-sse -mno-mmx -c -o "$1.o" tiny.c
ld -m elf_i386 --no-warn-rwx-segments -T tiny.ld -o "$1" "$1.o"
rm "$1.o"
