#!/bin/bash
# test/scenario/threads_test.c under ThreadSanitizer: the core with real threads as CPUs, for several seeds. Usage: run.sh
# [SEEDS [OPERATIONS]]: default 4 seeds of 20000 operations on each CPU. One test for each seed; ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/../.." || exit 1
seeds=${1:-4} ops=${2:-20000}
program=build/tsan/threads_test
make -s -j2 -f test/unit/unit.mk UNIT_BUILD=build/tsan UNIT_CC=clang-14 UNIT_SANITIZE=thread "$program" || {
	echo '0 passed, 1 failed'
	exit 1
}
passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The fake frames are reused by the hypervisor's own heap, and deadlocks are LOCK_CHECK's business.
export TSAN_OPTIONS="detect_deadlocks=0 history_size=4 exitcode=66 ${TSAN_OPTIONS-}"
for ((seed = 1; seed <= seeds; seed++)); do
	if THREADS_SEED=$seed THREADS_OPS=$ops timeout -s KILL 300 "$program" threads >"$log" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		grep -E -A 14 'WARNING: ThreadSanitizer|fake machine|lock order|seed|\[  ERROR' "$log" | head -n 200
		echo "FAIL threads: seed $seed"
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
