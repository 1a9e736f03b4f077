#!/bin/bash
# Runs in dom0: the macro benchmark's part that needs the tool stack. Prints lines "ROW NAME VALUE [VALUE]".
# dom0's kernel argument bench=PART leaves it with one of the parts tiny, debian and save; bench.short makes transfers short.
# Everything that is waited for sleeps: what polls takes instructions from what is measured.
bench=/bench
log=/var/log/xen/console/guest-bench.log
row() { echo "ROW $*"; }
# memory FIELD: 1 is the free memory, 2 dom0's, in KiB.
memory() { $bench/macro_memory | cut -d ' ' -f "$1"; }
# least NAME: of the rows NAME on standard input, the smallest one.
least() { awk -v name="$1" '$2 == name && (!n++ || $3 < v) { v = $3 } END { if (n) print "ROW", name, v }'; }
quiet() { sleep 0.5; }

config() { # MEMORY VCPUS [LINE]...
	local memory=$1 vcpus=$2
	shift 2
	printf '%s\n' 'name = "bench"' 'type = "pvh"' "memory = $memory" "vcpus = $vcpus" "$@" >/tmp/bench.cfg
}
debian() { # MEMORY ARGUMENTS [LINE]...
	local memory=$1 arguments=$2
	shift 2
	config "$memory" 1 'kernel = "/bench/vmlinuz"' 'ramdisk = "/bench/initrd"' "extra = \"console=hvc0 quiet $arguments\"" "$@"
}
gone() {
	for _ in $(seq 50); do
		[ "$(xl list | wc -l)" != 2 ] || return 0
		sleep 0.2
	done
}

# overhead MEMORY VCPUS: what a guest costs beyond its own memory, in KiB.
overhead() {
	local before
	gone
	quiet
	before=$(memory 1)
	config "$1" "$2" 'kernel = "/bench/tiny"'
	xl create -q /tmp/bench.cfg
	quiet
	echo $((before - $(memory 1) - $1 * 1024))
	xl destroy bench
}

part_tiny() {
	local small
	quiet
	row neither $((4194304 - $(memory 1) - $(memory 2)))

	config 16 1 'kernel = "/bench/tiny"'
	for _ in 1 2 3 4 5; do
		quiet
		$bench/macro run create xl create -q /tmp/bench.cfg || row failed create
		quiet
		$bench/macro run destroy xl destroy bench || row failed destroy
	done >/tmp/rows
	least create </tmp/rows
	least destroy </tmp/rows

	small=$(overhead 64 1)
	row over64 "$small"
	row over256 "$(overhead 256 1)"
	row overvcpu $(($(overhead 64 2) - small))
}

part_debian() {
	insmod $bench/brd.ko rd_nr=1 rd_size=65536
	ip addr add 10.9.9.1/24 dev xenbr0
	debian 256 "$short" 'disk = [ "phy:/dev/ram0,xvda,w" ]' 'vif = [ "mac=00:16:3e:00:00:01,bridge=xenbr0" ]'
	# The inner row is when xl returns, the outer one when the guest's first process runs.
	$bench/macro run debianinit sh -c "$bench/macro run debianxl xl create -q /tmp/bench.cfg &&
		$bench/macro until $log @@INIT" || row failed debianinit
	$bench/macro sink netout 5001 2
	$bench/macro send 10.9.9.2 5002 $bytes 2
	$bench/macro until $log @@DONE || tail -n 5 $log
	tr -d '\r' <$log | grep -a '^ROW'
}

# The guest's image goes to a file in dom0's memory.
part_save() {
	: >$log
	debian 128 bench.save
	xl create -q /tmp/bench.cfg
	$bench/macro until $log @@INIT || tail -n 5 $log
	quiet
	$bench/macro run checkpoint xl save -c bench /tmp/image 2>/dev/null || row failed checkpoint
	quiet
	$bench/macro run save xl save bench /tmp/image 2>/dev/null || row failed save
	quiet
	$bench/macro run restore xl restore /tmp/image 2>/dev/null || row failed restore
	quiet
	xl destroy bench
	rm /tmp/image
}

short=$(grep -o 'bench\.short' /proc/cmdline)
bytes=$([ -n "$short" ] && echo 2097152 || echo 33554432)
part=$(sed -n 's/.*bench=\([a-z]*\).*/\1/p' /proc/cmdline)
for name in ${part:-tiny debian save}; do
	[ "$name" = tiny ] || [ -f $bench/vmlinuz ] || continue
	part_"$name"
	gone
done
