#!/bin/bash
# Builds the fuzzers and runs each for SECONDS (default 60) from the corpus in build/fuzz/corpus, which grows. A finding is
# left in build/fuzz; its bytes, given to the program as a file, repeat it.
set -u
cd "$(dirname "$0")/../.." || exit 1
seconds=${1:-60}
make -s -j2 -f test/fuzz/fuzz.mk fuzz || { echo '0 passed, 1 failed'; exit 1; }
passed=0 failed=0
export ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=16
for name in hcall_fuzz; do
	[ -d "build/fuzz/corpus/$name" ] || python3 test/fuzz/seeds.py "build/fuzz/corpus/$name"
	if "build/fuzz/$name" -detect_leaks=0 -max_total_time="$seconds" -max_len=2048 -timeout=20 -len_control=0 -use_value_profile=1 -rss_limit_mb=2048 \
		-print_final_stats=1 -artifact_prefix="build/fuzz/$name-" "build/fuzz/corpus/$name" >"build/fuzz/$name.log" 2>&1; then
		passed=$((passed + 1))
		grep -E '^stat::number_of_executed|DONE' "build/fuzz/$name.log"
	else
		failed=$((failed + 1))
		tail -n 40 "build/fuzz/$name.log"
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
