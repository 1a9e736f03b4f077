#!/bin/bash
# Prints what a schedule decision costs, in instructions, for 8 to 512 runnable vCPUs. Usage: test/bench/sched_cost.sh
set -eu
cd "$(dirname "$0")/../.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT
${CC:-gcc} -std=gnu17 -O2 -fno-strict-aliasing -mgeneral-regs-only -Wall -Wextra -Wno-unused-parameter -Ihypervisor -o "$out" \
	test/bench/sched_cost.c hypervisor/core/sched*.c hypervisor/core/cpupool.c hypervisor/core/timer.c hypervisor/lib/tree.c
"$out"
