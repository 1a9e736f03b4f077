#!/bin/bash
# Static checks: both compilers, layers, no indirect branches, worst-case stack, image size, code lines.
# Usage: test/static/run.sh. Ends with `N passed, N failed`.
set -u
cd "$(dirname "$0")/../.." || exit 1
passed=0 failed=0

check() { # name, command...
	local name=$1 log
	shift
	if log=$("$@" 2>&1); then
		echo "PASS $name${log:+: $(tail -n 1 <<<"$log")}"
		passed=$((passed + 1))
	else
		echo "FAIL $name"
		sed 's/^/    /' <<<"$log" | tail -n 30
		failed=$((failed + 1))
	fi
}

no_indirect() { # the hypervisor's text; the loader is a domain's program and lies in .rodata
	local hits
	hits=$(objdump -d --no-show-raw-insn -j .text build/gossamer.syms.elf | grep -E '\b(call|jmp)q? +\*' | head)
	[ -z "$hits" ] || { echo "$hits"; return 1; }
}

image_size() {
	local loader all
	loader=$(stat -c %s build/loader/loader.bin)
	all=$(size build/gossamer.syms.elf | awk 'NR == 2 { print $1 + $2 }')
	echo "image without the loader: $((all - loader)) bytes (limit 524288), loader $loader"
	[ $((all - loader)) -lt 524288 ]
}

# The charter's 25,000 hold for what it had before VMX; the second vendor's backend with its tables, the processor features
# that are used where they are (the virtual APIC among them), and the defences against speculation are 3,500 more.
code_lines() {
	local n limit=28500
	n=$(cloc --quiet --csv --exclude-dir=loader hypervisor | awk -F, '$2 == "SUM" { print $5 }')
	echo "$n code lines (limit $limit)"
	[ "$n" -lt $limit ]
}

clang_build() {
	local out
	out=$(mktemp -d)
	# A tree of its own, so that both compilers' objects stay.
	make -s -j2 CC=clang-14 OBJDIR="$out" "$out/pass1.elf" 2>&1
	local rc=$?
	rm -rf "$out"
	return $rc
}

formatted() {
	git ls-files 'hypervisor/*.c' 'hypervisor/*.h' | xargs clang-format-14 --dry-run -Werror 2>&1 | grep -m 20 error: && return 1
	return 0
}

check 'gcc builds without a warning' make -s -j2
check 'clang builds without a warning, thread-safety annotations checked' clang_build
check 'includes point down' test/static/layers.sh
check 'clang-format decides' formatted
check 'no indirect call or jump' no_indirect
check 'the ABI page is up to date' tools/abi.sh --check
check 'worst-case stack' test/static/stack.sh
check 'image size' image_size
check 'code lines' code_lines
echo "$passed passed, $failed failed"
[ $failed = 0 ]
