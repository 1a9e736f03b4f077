#!/bin/bash
# Runs the host test programs given as arguments, or builds and runs all of them: one line each (tests, CPU seconds), the
# output of those that fail, or take longer than UNIT_LIMIT seconds, and a closing line "N passed, N failed" that counts
# single tests. Exit status 1 if any failed.
set -u
if [ $# -eq 0 ]; then
	cd "$(dirname "$0")/../.." || exit 1
	make -s -k -j2 -f test/unit/unit.mk unit-programs || { echo "0 passed, 1 failed"; exit 1; }
	set -- $(for t in test/unit/*_test.c test/scenario/*_test.c; do echo "build/unit/$(basename "$t" .c)"; done)
fi
passed=0 failed=0
TIMEFORMAT='%U %S'
# The leak checker stops the program with ptrace, which hangs in containers that forbid it; the tests count memory themselves.
export ASAN_OPTIONS=detect_leaks=0:${ASAN_OPTIONS-}
log=$(mktemp)
times=$(mktemp)
trap 'rm -f "$log" "$times"' EXIT
for program; do
	{ time timeout -s KILL "${UNIT_LIMIT:-120}" "$program" >"$log" 2>&1; } 2>"$times"
	status=$?
	cpu=$(tail -n 1 "$times" | awk '{ printf "%.2f", $1 + $2 }')
	ok=$(grep -c '^\[       OK \]' "$log")
	bad=$(sed -n 's/^\[  FAILED  \].* \([0-9]*\) test(s), listed below:.*/\1/p' "$log" | tail -n 1)
	bad=${bad:-0}
	if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
		bad=1 # it crashed
	fi
	if [ "$bad" -ne 0 ]; then
		tail -n 60 "$log"
	fi
	printf '%-28s %3d passed %3d failed %7s CPU s\n' "$(basename "$program")" "$ok" "$bad" "$cpu"
	passed=$((passed + ok)) failed=$((failed + bad))
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
