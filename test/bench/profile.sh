#!/bin/bash
# Prints where the instructions of one row of the benchmark go: guests, hypervisor functions, reasons for exits.
#   test/bench/profile.sh micro|macro ROW [FUNCTIONS]    ROW as in test/bench/rows and macro.rows; 25 functions if not given
# After ./bench, or ./bench --macro: it uses what they built. A run of its own, in which QEMU logs each block that it executes
# while the operation is measured: minutes for a row of a second.
. "$(dirname "$0")/../../tools/lib.sh"

here=$ROOT/test/bench
[[ $# -ge 2 && $1 =~ ^(micro|macro)$ ]] || die "usage: test/bench/profile.sh micro|macro ROW [FUNCTIONS]"
kind=$1 row=$2 lines=${3:-25}
work=$BUILD/bench/profile
mkdir -p "$work"

# Whose program times the operation, which of its repetitions to look at (the first may be cold), and what dom0 runs.
owner=dom0 other=guest visit=1 part=debian
case $kind/$row in
micro/*other) die "$row has no profile: two CPUs take turns in it" ;;
micro/*) visit=20 other='other vCPU' ;;
macro/create | macro/destroy) visit=2 part=tiny ;;
macro/save | macro/restore | macro/checkpoint) part=save ;;
macro/debian*) ;;
macro/netout) visit=2 ;;
macro/netin) owner=guest other=dom0 visit=2 ;;
macro/blk*) owner=guest other=dom0 visit=3 ;;
*) die "$row has no marks to profile between" ;;
esac

if [ "$kind" = micro ]; then
	program=$BUILD/test/guest/micro.elf image=$BUILD/gossamer.elf
	nm "$BUILD/gossamer.syms.elf" >"$work/nm"
	launch=(--kernel="$program" --initrd="$program" --memory=2048 --args=dom0_max_vcpus=2)
else
	macro=$BUILD/bench/macro
	program=$macro/macro image=$macro/gossamer.elf
	cp "$macro/gossamer.nm" "$work/nm"
	launch=(--initrd="$macro/dom0.cpio" --memory=4096 "--dom0-args=bench=$part bench.short")
fi
address() { nm "$program" | awk -v s="$1" '$3 == s { print $1 }'; }

gcc -O2 -std=gnu17 -Wall -Wextra -Werror -o "$work/profile" "$here/profile.c"
rm -f "$work/gdb" "$work/log" "$work/window"
mkfifo "$work/log"
"$work/profile" "$work/nm" "$owner" "$other" "$work/window" "$lines" <"$work/log" >"$work/$kind.$row" &
reader=$!
timeout -k 5 1800 "$ROOT/tools/launch.sh" --hypervisor="$image" --icount --dom0-memory=1024 --nic=none \
	--serial="$work/serial" "${launch[@]}" -- -S -D "$work/log" \
	-gdb "unix:path=$work/gdb,server=on,wait=off" </dev/null >"$work/qemu" 2>&1 &
pid=$!
trap 'kill $pid $reader 2>/dev/null || true' EXIT
timeout 1800 python3 -B "$here/profile_window.py" "$work/gdb" "$row" "$visit" "$(address mark_begin)" \
	"$(address mark_end)" "$work/window" || die "no profile of $row, see $work/serial and $work/qemu"
wait $reader
cat "$work/$kind.$row"
