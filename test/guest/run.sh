#!/usr/bin/env bash
# Builds the guest test kernels and boots each as the dom0 kernel of Xen (the oracle), of Gossamer, or of both.
#   run.sh [--hypervisor=gossamer|xen|both] [--verbose] [NAME...]
# Prints every failing check and one verdict a kernel; ends with "N passed, N failed" and the CPU seconds used.
set -u -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/rig.sh"

which=xen
verbose=
names=()
for a in "$@"; do
	case $a in
	--hypervisor=*) which=${a#*=} ;;
	--verbose) verbose=1 ;;
	-*) echo "run.sh: unknown option $a" >&2; exit 2 ;;
	*) names+=("$a") ;;
	esac
done
case $which in
xen | gossamer) hypervisors=("$which") ;;
both) hypervisors=(xen gossamer) ;;
*) echo "run.sh: --hypervisor= takes gossamer, xen or both" >&2; exit 2 ;;
esac

make -s -C "$here" OUT="$rig_out" || exit 1
if [ ${#names[@]} -eq 0 ]; then
	for f in "$here"/*.c; do names+=("$(basename "$f" .c)"); done
fi

passed=0 failed=0
for h in "${hypervisors[@]}"; do
	rig_hypervisor "$h" || exit 1
	for n in "${names[@]}"; do
		log=$rig_out/$n.$h.log
		extra=$(sed -n "s|^// xen-args: ||p" "$here/$n.c")
		rig_boot "$h" "$rig_out/$n.elf${verbose:+ verbose}" "$log" 60 $extra
		grep -aoE "(FAIL|ok) $n:.*|exception .*" "$log" | sed "s/^/  /"
		verdict=$(grep -aom1 "VERDICT $n .*" "$log" | tr -d '\r')
		[ -n "$verdict" ] || { verdict="VERDICT $n FAIL no verdict"; tail -n 5 "$log" | sed 's/^/  | /'; }
		echo "$h: ${verdict#VERDICT }"
		case $verdict in
		*" PASS "*) passed=$((passed + 1)) ;;
		*) failed=$((failed + 1)) ;;
		esac
	done
done
rig_cpu
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
