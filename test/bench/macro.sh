#!/bin/bash
# The macro benchmark: whole operations of a real dom0, on Gossamer and on Debian's Xen, in virtual time.
#   test/bench/macro.sh [--check | --xen-only | --gossamer-only | --show] [--no-guest | --part=start|tiny|debian|save]
# --show runs nothing and prints what the last runs measured (icount repeats, so they need not be of one hour).
# --no-guest leaves out the rows that need a Linux guest, --part all but one part; --check ends with "N passed, N failed".
# A row over its goal is followed by where its instructions go (profile.sh) and the next step.
# QEMU counts instructions: a virtual second is 1e9 of them, whatever the host's load. Two boots for each hypervisor: one
# whose user space only stops the machine, one whose dom0 runs macro_dom0.sh. Files are left in build/bench/macro/.
. "$(dirname "$0")/../../tools/lib.sh"

here=$ROOT/test/bench
work=$BUILD/bench/macro
hypervisors="gossamer xen" check=0 guest=yes show=no part=
for word in "$@"; do
	case $word in
	--check) check=1 ;;
	--xen-only) hypervisors=xen ;;
	--gossamer-only) hypervisors=gossamer ;;
	--show) show=yes ;;
	--no-guest) guest=no ;;
	--part=*) part=${word#*=} ;;
	*) die "usage: test/bench/macro.sh [--check | --xen-only | --gossamer-only | --show] [--no-guest | --part=PART]" ;;
	esac
done

# prepare: the programs and the two initramfs archives.
prepare() {
	local tree=$work/tree
	rm -rf "$tree"
	mkdir -p "$work" "$tree/bench"
	"$ROOT/tools/dom0-image.sh"
	# What is measured must not change while it is.
	cp "$BUILD/gossamer.elf" "$work/gossamer.elf"
	nm "$BUILD/gossamer.syms.elf" >"$work/gossamer.nm"
	# At an address that no other program has, for the profiler's breakpoints.
	gcc -O2 -std=gnu17 -static -Wall -Wextra -Werror -Wl,-Ttext-segment=0x30000000 -o "$work/macro" "$here/macro.c"
	install "$work/macro" "$tree/init"
	rmdir "$tree/bench"
	pack_cpio "$tree" "$work/slim.cpio"
	rm "$tree/init"

	mkdir "$tree/bench"
	cp "$work/macro" "$tree/bench/"
	gcc -O2 -std=gnu17 -Wall -Wextra -Werror -o "$tree/bench/macro_memory" "$here/macro_memory.c" -lxenctrl
	"$ROOT/test/system/tiny/build.sh" "$tree/bench/tiny"
	cp "$here/macro_dom0.sh" "$tree/test.sh"
	[ "$guest" = no ] || prepare_guest "$tree"
	pack_cpio "$tree" "$work/test.cpio"
	cat "$BUILD/dom0.cpio" "$work/test.cpio" >"$work/dom0.cpio"
	rm -rf "$tree" "$work/test.cpio"
}

# prepare_guest TREE: the guest's kernel, its initramfs with our first process, and dom0's RAM disk driver.
prepare_guest() {
	local tree=$1
	"$ROOT/tools/guest-image.sh"
	mkdir -p "$work/boot" "$work/extra"
	(cd "$work/boot" && cpio -iu --quiet <"$BUILD/guest-boot.cpio")
	cp "$work/macro" "$work/extra/macro"
	install "$here/macro_guest.sh" "$work/extra/init"
	pack_cpio "$work/extra" "$work/extra.cpio"
	cat "$work/boot/guests/initrd" "$work/extra.cpio" >"$tree/bench/initrd"
	cp "$work/boot/guests/vmlinuz" "$tree/bench/vmlinuz"
	[ -s "$work/brd.ko" ] || {
		dpkg-deb --fsys-tarfile "$(ls -t "$CACHE"/debs/linux-image-[0-9]*[0-9]-amd64_*.deb | head -n 1)" |
			tar x -O --wildcards '*/drivers/block/brd.ko' >"$work/brd.ko.part"
		mv "$work/brd.ko.part" "$work/brd.ko"
	}
	cp "$work/brd.ko" "$tree/bench/brd.ko"
}

# launch HYPERVISOR NAME SECONDS INITRD [OPTION]...: one QEMU run, its serial line in NAME.HYPERVISOR.log.
launch() {
	local hypervisor=$1 log=$work/$2.$1 limit=$3 initrd=$4
	shift 4
	[ "$hypervisor" = xen ] || hypervisor=$work/gossamer.elf
	timeout -k 5 "$limit" "$ROOT/tools/launch.sh" --hypervisor="$hypervisor" --icount --memory=4096 \
		--dom0-memory=1024 --nic=none --initrd="$initrd" --serial="$log.log" "$@" </dev/null >"$log.qemu" 2>&1
}

# address SYMBOL: where Gossamer has it.
address() { awk -v s="$1" '$3 == s { print $1 }' "$work/gossamer.nm"; }

# start HYPERVISOR: "build" and "user". Gossamer's moments are two addresses; Xen tells the TSC with its messages, and
# the one before dom0's building is on how many PIRQs it has.
start() {
	local h=$1 gdb=$work/$1.gdb points=() args='' pid
	rm -f "$gdb"
	if [ "$h" = xen ]; then
		args=--args=console_timestamps=raw
	else
		points=("first=$(address port_console_write)" "built=$(address dom0_build)")
	fi
	launch "$h" start 300 "$work/slim.cpio" $args -- -S -no-shutdown -rtc base=2000-01-01,clock=vm \
		-gdb "unix:path=$gdb,server=on,wait=off" &
	pid=$!
	timeout 300 python3 -B "$here/macro_clock.py" "$gdb" ${points[@]+"${points[@]}"} >"$work/start.$h.rows" || true
	kill $pid 2>/dev/null || true
	wait $pid 2>/dev/null || true
	if [ "$h" = xen ]; then
		for word in 'first Xen version' 'built d0 has maximum'; do
			echo "ROW ${word%% *} $((16#$(grep -am 1 "\] ${word#* }" "$work/start.xen.log" |
				sed 's/[^[]*\[\([0-9a-f]*\)\].*/\1/')))"
		done >>"$work/start.$h.rows"
	fi
	awk '{ at[$2] = $3 } END {
		if ("built" in at) printf "ROW build %.0f\n", at["built"] - at["first"]
		if ("end" in at) printf "ROW user %.0f\n", at["end"]
	}' "$work/start.$h.rows"
}

# image HYPERVISOR: what is loaded of it from its file, without the kernel loader, which is a program of dom0's.
image() {
	local file=$work/gossamer.elf loader
	loader=$(stat -c %s "$BUILD/loader/loader.bin")
	[ "$1" != xen ] || { file=$CACHE/xen.elf loader=0; }
	echo "ROW image $(size "$file" | awk -v l="$loader" 'NR == 2 { print $1 + $2 - l }')"
}

[ "$show" = yes ] || prepare
for h in $hypervisors; do
	[ "$show" = no ] || continue
	{
		[ "${part:-start}" != start ] || start "$h"
		[ "$part" = start ] || launch "$h" dom0 1500 "$work/dom0.cpio" ${part:+"--dom0-args=bench=$part"} || say "$h: dom0's run did not end well, see $work/dom0.$h.log"
		tr -d '\r' <"$work/dom0.$h.log" | grep -aoE '^ROW [a-z0-9]+ .*' || true
		image "$h"
	} >"$work/$h.rows"
done

row_file() {
	if [[ " $hypervisors " == *" $1 "* ]]; then echo "$work/$1.rows"; else echo /dev/null; fi
}
over=$work/over bad=0
: >"$over"
awk -v check=$check -v over_file="$over" -v guest=$guest -v part="$part" -v ours="$(row_file gossamer)" -v xens="$(row_file xen)" '
	function value(f, v, a) {
		while ((getline v <f) > 0) { n = split(v, a, " "); got[f, a[2]] = a[3]; if (n > 3 && a[4]) got[f, a[2]] = a[3] / a[4] * 1e9 }
	}
	# In the unit of the row: nanoseconds as seconds, bytes a second as MB/s.
	function scaled(v, unit) { return v == "" ? "" : unit == "s" ? v / 1e9 : unit == "MB/s" ? v / 1e6 : v }
	function shown(v, unit) { return v == "" ? "-" : sprintf(unit == "s" ? "%.4f" : unit == "MB/s" ? "%.1f" : "%.0f", v) }
	BEGIN {
		FS = "|"
		value(ours)
		value(xens)
		printf "%-48s %-6s %9s %9s %7s %10s\n", "operation", "unit", "Gossamer", "Xen", "ratio", "goal"
	}
	{
		if (guest == "no" && $1 ~ /^(debian|net|blk|save|restore|checkpoint)/) next
		if (part != "" && got[ours, $1] == "" && got[xens, $1] == "") next
		rows++
		o = scaled(got[ours, $1], $2); x = scaled(got[xens, $1], $2); r = "-"; mark = ""
		# A ratio below 1 is always the better one.
		if (o != "" && o > 0 && x != "" && x > 0) {
			q = $5 == "more" ? x / o : o / x; r = sprintf("%.3f", q); sum += log(q); n_ratio++
		}
		if (o != "" && ($5 == "more" ? o < $4 : o > $4)) { mark = "  over"; over++; print $1 "|" $3 "|" $6 >over_file }
		if (r != "-" && q > 1) { mark = "  WORSE THAN XEN"; worse++ }
		printf "%-48s %-6s %9s %9s %7s %10s%s\n", $3, $2, shown(o, $2), shown(x, $2), r, ($5 == "more" ? ">= " : "<= ") $4, mark
	}
	END {
		if (n_ratio) printf "geometric mean of %d ratios: %.3f; over the goal: %d; worse than Xen: %d\n", n_ratio, exp(sum / n_ratio), over, worse
		if (check) {
			bad = worse + rows - n_ratio + !(n_ratio && exp(sum / n_ratio) <= 0.5)
			printf "%d passed, %d failed\n", rows + 1 - bad, bad
			exit bad != 0
		}
	}' "$here/macro.rows" || bad=1
while IFS='|' read -r row name step; do
	printf '\n%s, over its goal. Next step: %s\n' "$name" "${step:-not known yet}"
	if [ "$show" = yes ]; then
		cat "$BUILD/bench/profile/macro.$row" || true
	else
		"$here/profile.sh" macro "$row" 20 </dev/null || true
	fi
done <"$over"
exit $bad
