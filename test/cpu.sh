# Shared by ./check and the suites' scripts; source it.

# cpu_used: sets $used to the CPU seconds of everything that this script has started and waited for.
cpu_used() {
	local file
	file=$(mktemp)
	times >"$file" # in a $(...) it would count that shell's children, which are none
	used=$(awk 'NR == 2 { for (i = 1; i <= 2; i++) { split($i, t, /[ms]/); sum += t[1] * 60 + t[2] } print int(sum) }' "$file")
	rm -f "$file"
}
