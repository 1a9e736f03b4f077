#!/bin/bash
# Worst-case stack depth of the hypervisor, from the call graph in the image: without indirect calls it is complete.
# Frame sizes are read off the code (pushes and the subtraction from rsp). Prints the deepest chain; fails above the limit.
# Usage: test/static/stack.sh [LIMIT bytes]
limit=${1:-12288} # a CPU's stack is 16 KiB
cd "$(dirname "$0")/../.." || exit 1
objdump -d --no-show-raw-insn -j .text build/gossamer.syms.elf | awk -v limit="$limit" '
	/^[0-9a-f]+ <.*>:$/ { f = substr($2, 2, length($2) - 3); frame[f] = 8; next }
	/\tpush/ { frame[f] += 8 }
	/\tsub .*,%rsp$/ { v = $0; sub(/.*\$0x/, "", v); sub(/,.*/, "", v); frame[f] += size(v) }
	/\t(call|jmp|j[a-z]+) .*<[^+>]+>$/ { t = $0; sub(/.*</, "", t); sub(/>$/, "", t); if (t != f) calls[f] = calls[f] " " t }
	function size(v) { return length(v) == 16 ? 4294967296 - hex(substr(v, 9)) : hex(v) } # subtracting -128 is shorter
	function hex(v,   n, i) {
		for (i = 1; i <= length(v); i++)
			n = n * 16 + index("0123456789abcdef", substr(v, i, 1)) - 1
		return n
	}
	function depth(f,   n, i, list, best, d) {
		if (f in done)
			return done[f]
		if (f in busy) {
			if (f !~ /panic|upcall_fatal|log_|trap_|port_backtrace/)
				loops[f] = 1
			return 0
		}
		busy[f] = 1
		n = split(calls[f], list, " ")
		best = 0
		for (i = 1; i <= n; i++)
			# The end of the machine prints from a stack that it owns for good.
			if (list[i] !~ /^(panic|upcall_fatal)/ && (d = depth(list[i])) > best) {
				best = d
				next_of[f] = list[i]
			}
		delete busy[f]
		return done[f] = frame[f] + best
	}
	END {
		for (f in frame)
			if (depth(f) > worst) {
				worst = depth(f)
				top = f
			}
		chain = top
		for (f = top; f in next_of; f = next_of[f])
			chain = chain " > " next_of[f] "(" frame[next_of[f]] ")"
		print chain
		for (f in loops)
			print "recursion through " f
		print "worst-case stack " worst " bytes (limit " limit ") in " top
		exit worst > limit
	}'
