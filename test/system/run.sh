#!/bin/bash
# The system tests: dom0's stock tool stack and real guests on a hypervisor in QEMU. One boot for each group of tests.
. "$(dirname "$0")/../../tools/lib.sh"
. "$ROOT/test/cpu.sh"

usage() {
	cat <<'END'
Usage: test/system/run.sh [--hypervisor=gossamer|xen] [--long] [--list] [NAME...]
NAME is a group or a test; the default is every group but the long ones. A group is a file test/system/groups/GROUP.sh.
Logs and disks are left in build/test/system/HYPERVISOR/GROUP/.
END
}

here=$ROOT/test/system
programs=(physinfo core_page tracecount vdso fpu) # of dom0/, for its tests
hypervisor=gossamer long=no list=no
names=()
for word in "$@"; do
	case $word in
	--hypervisor=*) hypervisor=${word#*=} ;;
	--long) long=yes ;;
	--list) list=yes ;;
	--help) usage; exit 0 ;;
	-*) usage >&2; die "unknown option $word" ;;
	*) names+=("$word") ;;
	esac
done

# header GROUP KEY: the text behind "# KEY:" in the group's file.
header() { sed -n "s/^# $2: *//p" "$here/groups/$1.sh"; }
tests_of() { sed -n 's/^test_\([a-z0-9_]*\)() *{.*/\1/p' "$here/groups/$1.sh"; }

# chosen GROUP: the tests of the group that were asked for. The first test of a group that says "first: NAME"
# is the ground for the others and always runs with them.
chosen() {
	local group=$1 test name picked=() first
	if [ ${#names[@]} = 0 ]; then
		[ "$long" = yes ] || [ "$(header "$group" long)" != yes ] || return 0
		tests_of "$group"
		return
	fi
	first=$(header "$group" first)
	for test in $(tests_of "$group"); do
		for name in "${names[@]}"; do
			[ "$name" != "$group" ] && [ "$name" != "$test" ] || picked+=("$test")
		done
	done
	[ ${#picked[@]} = 0 ] || printf '%s\n' $first "${picked[@]}" | awk '!seen[$0]++'
}

# Time limits are multiplied by this: guests under Xen take several times as long.
slow=1
[ "$hypervisor" != xen ] || slow=3

passed=0 failed=0
verdict() { # PASS|FAIL NAME [WHY]
	case $1 in
	PASS) passed=$((passed + 1)); echo "PASS $2" ;;
	*) failed=$((failed + 1)); echo "FAIL $2: ${3:-no reason given}" ;;
	esac
}

# boot LIMIT LAUNCH-OPTION...: runs QEMU to its end; afterwards $ended is yes when it ended by itself, and
# $cpu the CPU seconds it took. A hypervisor that has stopped itself is not waited for, nor a dom0 that has been silent for
# longer than any test may take.
boot() {
	local limit=$1 log=$work/serial.log before size=0 spoke=$SECONDS
	shift
	: >"$log"
	cpu_used
	before=$used
	timeout -k 5 "$limit" "$ROOT/tools/launch.sh" --hypervisor="${image:-$hypervisor}" --serial="$log" "$@" \
		</dev/null >"$work/qemu.log" 2>&1 9>&- &
	qemu=$!
	ended=yes
	while kill -0 $qemu 2>/dev/null; do
		if grep -aqE 'Panic on CPU|the machine has stopped|command line: the machine halts' "$log"; then
			sleep 2
			ended='the hypervisor stopped'
			kill $qemu 2>/dev/null || true
			break
		fi
		if [ "$(stat -c %s "$log")" != "$size" ]; then
			size=$(stat -c %s "$log")
			spoke=$SECONDS
		elif [ $((SECONDS - spoke)) -gt 800 ]; then
			ended="dom0 was silent for $((SECONDS - spoke)) s"
			kill $qemu 2>/dev/null || true
			break
		fi
		sleep 0.3
	done
	wait $qemu || [ "$ended" != yes ] || ended="QEMU was stopped or failed, see ${work#"$ROOT/"}/qemu.log"
	qemu=
	cpu_used
	cpu=$((used - before))
}
# An interrupted run leaves no QEMU and no web server behind.
qemu= server=
trap 'for pid in $qemu $server; do kill $pid 2>/dev/null || true; done' EXIT
trap 'exit 130' INT TERM

# run_group GROUP TEST...: boots once, feeds the tests to dom0, reads its verdicts.
run_group() {
	local group=$1 test line why options last
	shift
	work=$BUILD/test/system/$(basename "$hypervisor")/$group
	mkdir -p "$work"
	# Two runs of the same group at once would share this directory.
	exec 9>"$work.lock"
	flock -n 9 || { say "waiting for another run of $group"; flock 9; }
	rm -rf "$work"
	mkdir -p "$work/tree/test" "$work/tree/guests"
	unset -f host_start host_end
	env=() image= # host_start may set image: another build of the hypervisor
	options=$(header "$group" boot)
	parts=("$BUILD/dom0.cpio")
	[ "$(header "$group" guest)" != yes ] || parts+=("$BUILD/guest-boot.cpio")
	[ ! -f "$here/groups/$group.host" ] || . "$here/groups/$group.host"
	! declare -F host_start >/dev/null || host_start

	cp "$here/dom0/run" "$work/tree/test.sh"
	cp "$here/dom0/lib.sh" "$here/dom0/one.sh" "${programs[@]/#/$BUILD/test/system/}" "$work/tree/test/"
	cp "$here/groups/$group.sh" "$work/tree/test/group.sh"
	printf '%s\n' "hypervisor=$hypervisor" "slow=$slow" ${env[@]+"${env[@]}"} >"$work/tree/test/env"
	printf '%s\n' "$@" >"$work/tree/test/names"
	cp "$BUILD/test/system/tiny" "$work/tree/guests/tiny"
	pack_cpio "$work/tree" "$work/test.cpio"
	cat "${parts[@]}" "$work/test.cpio" >"$work/initrd.cpio"
	rm -rf "$work/tree" "$work/test.cpio"

	boot "$(($(header "$group" limit) * slow))" --initrd="$work/initrd.cpio" $options ${disks[@]+"${disks[@]}"}
	rm "$work/initrd.cpio"
	log=$work/serial.txt
	tr -d '\r' <"$work/serial.log" >"$log"
	last=$(grep -av '^ *$' "$log" | tail -n 1 | cut -c 1-120) || true
	for test in "$@"; do
		if grep -aq "^@@PASS $test\$" "$log"; then
			if declare -F "host_check_$test" >/dev/null; then
				why=$("host_check_$test" 2>&1) && verdict PASS "$test" || verdict FAIL "$test" "$why"
			else
				verdict PASS "$test"
			fi
		elif line=$(grep -a "^@@FAIL $test " "$log"); then
			verdict FAIL "$test" "${line#@@FAIL "$test" }"
		else
			verdict FAIL "$test" "no verdict; the log ends with: $last"
		fi
	done
	if [ "$ended" != yes ]; then
		verdict FAIL "${group}_end" "$ended"
	else
		verdict PASS "${group}_end"
	fi
	! line=$(grep -am1 '^@@OOPS ' "$log") || verdict FAIL "${group}_oops" "${line#@@OOPS }"
	! declare -F host_end >/dev/null || host_end
	unset -f $(compgen -A function host_check_) 2>/dev/null || true
	disks=()
	unimplemented "$group"
	echo "     $group: $cpu CPU seconds"
	total=$((total + cpu))
}

# unimplemented GROUP: what Gossamer logged as not implemented must be what real Xen refuses as well.
unimplemented() {
	local line
	line=$(grep -a unimplemented "$log" | grep -vEf <(grep -v '^#' "$here/refused-by-xen.txt") | head -n 1) || true
	[ -z "$line" ] || verdict FAIL "$1_unimplemented" "$line"
}

if [ "$list" = yes ]; then
	for file in "$here"/groups/*.sh; do
		group=$(basename "$file" .sh)
		echo "$group: $(header "$group" about)"
		tests_of "$group" | sed 's/^/  /'
	done
	exit 0
fi

"$ROOT/tools/deps.sh" run test
mkdir -p "$BUILD/test/system"
"$ROOT/tools/dom0-image.sh"
"$here/tiny/build.sh" "$BUILD/test/system/tiny"
for program in "${programs[@]}"; do
	gcc -O2 -Wall -Wextra -Werror -o "$BUILD/test/system/$program" "$here/dom0/$program.c" -lxenctrl
done
total=0
disks=()
for file in "$here"/groups/*.sh; do
	group=$(basename "$file" .sh)
	mapfile -t tests < <(chosen "$group")
	[ ${#tests[@]} != 0 ] || continue
	[ "$(header "$group" guest)" != yes ] || "$ROOT/tools/guest-image.sh"
	run_group "$group" "${tests[@]}"
done
[ $((passed + failed)) != 0 ] || die "no such test or group: ${names[*]}"
echo "     all: $total CPU seconds"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
