#!/bin/bash
# The tests on CPUs that QEMU does not emulate: Intel's VMX, new and old, and AMD's SVM with NRIP save, all in Bochs.
# Usage: test/bochs/run.sh [--long] [--cpu=intel|intel-new|intel-old|amd] [NAME...]
# NAME is a guest kernel of test/guest, smp, tools (dom0's tool stack and tiny guests) or debian (a Debian guest with disk and
# PV network). Default: on intel all of them, on the others what their CPUs make different (--long: dom0 and a Debian guest on those, too). Logs are left in build/test/bochs/.
. "$(dirname "$0")/../../tools/lib.sh"

guest=$ROOT/test/guest
out=$BUILD/test/bochs
cpus=(intel intel-new intel-old amd)
long=
names=()
for word in "$@"; do
	case $word in
	--cpu=*) cpus=("${word#*=}") ;;
	--long) long=' stack debian' ;;
	-*) die "unknown option $word" ;;
	*) names+=("$word") ;;
	esac
done

# Kernels that one CPU is enough for.
all=(version events fifo timers clock grants memory calls control hostile insn lapic msr user abi32 storm tools schedctl topology scaled@domU dirty@domU)
declare -A chosen=(
	[intel]="${all[*]} smp debian stack"
	[intel-new]='spec events timers dirty@domU hostile'
	[intel-old]='version events timers insn lapic memory msr hostile'
	[amd]='version events timers lapic memory calls msr insn hostile'
)

passed=0 failed=0
verdict() { # PASS|FAIL NAME [WHY]
	case $1 in
	PASS) passed=$((passed + 1)); echo "PASS $2" ;;
	*) failed=$((failed + 1)); echo "FAIL $2: ${3:-no reason given}" ;;
	esac
}

# boot CPU NAME LIMIT OPTION...: runs Bochs until the serial log, in $log, matches $until, or the machine or the time ends.
pid=
trap '[ -z "$pid" ] || kill $pid 2>/dev/null' EXIT
trap 'exit 130' INT TERM
boot() {
	local cpu=$1 name=$2 limit=$3 end
	shift 3
	log=$out/$cpu-$name.txt
	: >"$log"
	"$ROOT/tools/launch-bochs.sh" --cpu="$cpu" --dir="$out/$cpu-$name" --serial="$log" --nic=none "$@" >"$out/$cpu-$name.out" 2>&1 &
	pid=$!
	end=$((SECONDS + limit))
	while kill -0 $pid 2>/dev/null && [ $SECONDS -lt $end ] && ! grep -aqE "$until" "$log"; do sleep 0.2; done
	kill $pid 2>/dev/null || true
	wait $pid 2>/dev/null || true
	pid=
	rm -f "$out/$cpu-$name/disc.iso"
}

# kernel CPU NAME [plain]: one guest kernel as dom0 (NAME@domU: as a domain that the kernel launch starts); plain: without the
# CPU's optional features.
kernel() {
	local cpus args=${3:+virt-off=vpid,ple,xsaves,tsc-scaling,dirty-flags,pml,preemption-timer,virtual-interrupts,nrips,pause-filter} line n=${2%@domU} first=$2 with= words
	[ "$2" = "$n" ] || { first=launch args+=" guest_loglvl=all" with=$BUILD/test/guest/$n.elf; words=$(sed -n 's|^// launch: ||p' "$guest/$n.c"); }
	cpus=$(sed -n 's|^// cpus: ||p' "$guest/$n.c")
	[ "$2" != smp ] || cpus=2 # four would take turns for minutes
	args+=" $(sed -n 's|^// xen-args: ||p' "$guest/$n.c")"
	until="VERDICT $first |the machine has stopped"
	boot "$1" "$2${3:+-$3}" 150 --cpus=${cpus:-1} --kernel="$BUILD/test/guest/$first.elf" --initrd="$with" --dom0-memory=512 --args="$args" --dom0-args=" cpus=${cpus:-1}${words:+ $words}"
	line=$(grep -aoE "VERDICT $n .*" "$log" | tr -d '\r' | head -n 1) || true
	# The kernel that launched it has checks of its own.
	[ "$first" = "$n" ] || grep -aq 'VERDICT launch PASS' "$log" || line=$(grep -ao 'FAIL launch.*' "$log" | tr -d '\r' | head -n 1) || line=
	case $line in
	*" PASS "*)
		# What the CPU has and QEMU has not must have been used for that verdict to say anything about it.
		if [ "$1-$2" = intel-timers ] && ! grep -aq 'timer: TSC deadline' "$log"; then
			verdict FAIL "$1 $2" 'the timer was not the TSC deadline'
		elif [ "$1-$2${3:+-$3}" = intel-storm ] && ! grep -aq 'VMX: .* dirty flags, page-modification log, .* preemption timer, virtual interrupts, APIC registers, posted interrupts' "$log"; then
			verdict FAIL "$1 $2" 'optional features of the CPU were not used'
		else
			verdict PASS "$1 $2${3:+ $3}"
		fi
		;;
	*) verdict FAIL "$1 $2${3:+ $3}" "${line:-no verdict; the log ends with: $(tail -n 1 "$log" | cut -c 1-120)}" ;;
	esac
}

# dom0 CPU NAME OPTION...: boots dom0 with the tests of $work/tree/test/names; each is a verdict.
dom0() {
	local cpu=$1 name=$2 test line
	shift 2
	pack_cpio "$work/tree" "$work/test.cpio"
	cat "${parts[@]}" "$work/test.cpio" >"$work/initrd.cpio"
	until='switches the machine off|the machine has stopped'
	boot "$cpu" "$name" 400 --initrd="$work/initrd.cpio" --dom0-memory=640 "$@"
	while read -r test; do
		if grep -aq "^@@PASS $test"$'\r*$' "$log"; then
			verdict PASS "$cpu $name: $test"
		else
			line=$(grep -a "^@@FAIL $test " "$log" | tr -d '\r') || true
			verdict FAIL "$cpu $name: $test" "${line:-no verdict; the log ends with: $(tail -n 1 "$log" | cut -c 1-120)}"
		fi
	done <"$work/tree/test/names"
	grep -aq 'switches the machine off' "$log" && verdict PASS "$cpu $name: power off" || verdict FAIL "$cpu $name: power off" 'dom0 did not end'
	rm -rf "$work"
}

# tree GROUP TEST...: what dom0 runs: tests of a group of the system tests, or of this directory.
tree() {
	local file=$1
	shift
	work=$out/work
	rm -rf "$work"
	mkdir -p "$work/tree/test" "$work/tree/guests"
	cp "$ROOT/test/system/dom0/run" "$work/tree/test.sh"
	cp "$ROOT/test/system/dom0/lib.sh" "$ROOT/test/system/dom0/one.sh" "$work/tree/test/"
	cp "$file" "$work/tree/test/group.sh"
	printf '%s\n' hypervisor=gossamer slow=2 >"$work/tree/test/env"
	printf '%s\n' "$@" >"$work/tree/test/names"
	cp "$out/tiny" "$work/tree/guests/tiny"
}

stack() {
	tree "$ROOT/test/system/groups/tools.sh" life console reboot crash triple_fault vcpu_list
	parts=("$BUILD/dom0.cpio")
	dom0 "$1" stack --dom0-args=gossamer.bare
}

debian() {
	"$ROOT/tools/guest-image.sh"
	tree "$ROOT/test/bochs/debian.sh" disk_and_network
	parts=("$BUILD/dom0.cpio" "$BUILD/guest-boot.cpio")
	cp --sparse=always "$BUILD/guest.img" "$out/disk.img"
	dom0 "$1" debian --disk="$out/disk.img"
	# What the guest wrote is on the host's side of the disk.
	if debugfs -R 'cat /root/from-guest' "$out/disk.img" 2>/dev/null | grep -q 'written in the guest'; then
		verdict PASS "$1 debian: contents"
	else
		verdict FAIL "$1 debian: contents" 'the disk does not hold what the guest wrote'
	fi
	rm -f "$out/disk.img"
}

"$ROOT/tools/deps.sh" test
make -s -C "$ROOT" build/gossamer.elf
"$ROOT/tools/dom0-image.sh"
"$ROOT/tools/bochs.sh"
make -s -C "$guest" OUT="$BUILD/test/guest"
mkdir -p "$out"
"$ROOT/test/system/tiny/build.sh" "$out/tiny"
for cpu in "${cpus[@]}"; do
	[ -n "${chosen[$cpu]:-}" ] || die "--cpu=$cpu: intel, intel-new, intel-old or amd"
	more=$long
	[ "$cpu" != intel ] || more= # has them anyway
	for name in ${names[@]:-${chosen[$cpu]}$more}; do
		case $name in
		stack | debian) "$name" "$cpu" ;;
		*)
			[ -f "$guest/${name%@domU}.c" ] || die "no test $name"
			kernel "$cpu" "$name"
			case $cpu-$name in intel-memory | intel-insn | intel-dirty@domU | amd-memory) kernel "$cpu" "$name" plain ;; esac
			;;
		esac
	done
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
