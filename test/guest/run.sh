#!/usr/bin/env bash
# Builds the guest test kernels and boots each as the dom0 kernel of Xen (the oracle), of Gossamer, or of both.
#   run.sh [--hypervisor=gossamer|xen|both] [--cpus=N] [--verbose] [NAME | NAME@domU ...]
# NAME@domU runs the kernel as an unprivileged domain, which the kernel `launch` builds as dom0.
# A kernel's source may say `// cpus: N` (physical CPUs, else 1; --cpus= overrides), `// xen-cpus: N` (for that
# hypervisor: on several CPUs QEMU delivers now and then twice what Xen injects by EVENTINJ), `// vcpus: N` (of the
# unprivileged domain, else 1), `// launch: ...` (for the kernel that starts it) and `// xen-args: ...` (for the hypervisor). The kernel reads the number of CPUs as cpus=N.
# Prints every failing check and one verdict a kernel; ends with "N passed, N failed".
set -u -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=test/guest/rig.sh
. "$here/rig.sh"

domu="dirty scaled spec smp clock coherence storm version topology memory events fifo timers grants lapic msr insn calls hostile user abi32 tools schedctl" # what also runs unprivileged
which=xen
verbose=
cpus=
names=()
for a in "$@"; do
	case $a in
	--hypervisor=*) which=${a#*=} ;;
	--cpus=*) cpus=${a#*=} ;;
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
	for f in "$here"/*.c; do
		n=$(basename "$f" .c)
		case $n in launch | dirty) ;; *) names+=("$n") ;; esac # those say nothing as the first domain
	done
	for n in $domu; do names+=("$n@domU"); done
fi

# header KEY NAME: what the kernel's source says after "// KEY: ".
header() {
	sed -n "s|^// $1: ||p" "$here/$2.c"
}

# run_one HYPERVISOR NAME: boots it, prints what failed and the verdict, and counts.
run_one() {
	local h=$1 n=${2%@domU} log=$rig_out/$2.$1.log args extra vcpus verdict launched=PASS
	extra=$(header xen-args "$n")
	vcpus=$(header vcpus "$n")
	RIG_CPUS=${cpus:-$(header "$h-cpus" "$n")}
	RIG_CPUS=${RIG_CPUS:-$(header cpus "$n")}
	RIG_CPUS=${RIG_CPUS:-1}
	args="$rig_out/$n.elf cpus=$RIG_CPUS${verbose:+ verbose}"
	[ "$h" != xen ] || args="$args oracle"
	if [ "$2" = "$n" ]; then
		# shellcheck disable=SC2086
		RIG_VERDICT=$n rig_boot "$h" "$args" "$log" 120 $extra
	else
		RIG_VERDICT=launch rig_boot "$h" "$rig_out/launch.elf vcpus=${vcpus:-1} $(header launch "$n"),$args" "$log" 120 guest_loglvl=all
		launched=$(grep -aoE "VERDICT launch .*" "$log" | tr -d '\r')
	fi
	grep -aoE "(FAIL|ok) ($n|launch):.*|exception .*" "$log" | sed "s/^/  /"
	verdict=$(grep -aom1 "VERDICT $n .*" "$log" | tr -d '\r')
	[ -n "$verdict" ] || { verdict="VERDICT $n FAIL no verdict"; tail -n 5 "$log" | sed 's/^/  | /'; }
	echo "$h: $2 ${verdict#VERDICT "$n" }"
	case $verdict/$launched in
	*" PASS "*/*PASS*) passed=$((passed + 1)) ;;
	*) failed=$((failed + 1)) ;;
	esac
}

passed=0 failed=0
for h in "${hypervisors[@]}"; do
	rig_hypervisor "$h" || exit 1
	for n in "${names[@]}"; do run_one "$h" "$n"; done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
