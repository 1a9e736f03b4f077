#!/bin/bash
# Runs the host test programs given as arguments; one line each (tests, CPU seconds), the output of those that fail, and
# a closing line "N passed, N failed" that counts single tests. Exit status 1 if any failed.
set -u
passed=0 failed=0
TIMEFORMAT='%U %S'
log=$(mktemp)
times=$(mktemp)
trap 'rm -f "$log" "$times"' EXIT
for program; do
	{ time "$program" >"$log" 2>&1; } 2>"$times"
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
