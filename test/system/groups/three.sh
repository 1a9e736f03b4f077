# about: three Debian guests with disks and network at once, one of them with two vCPUs
# boot: --memory=2304
# guest: yes
# long: yes
# first: three_boot
# limit: 1800

# The guests of the first test serve all of them; the last one shuts them down.
keep_domains=yes
guests='one two three'

# together COMMAND...: runs it for all guests at once, with the guest's name as its last word.
together() {
	local guest pid pids=
	for guest in $guests; do
		"$@" "$guest" &
		pids+=" $!"
	done
	for pid in $pids; do
		wait "$pid"
	done
}

# create NAME N LINE...: the guest has a root disk, a disk to write to (the third guest's is a file) and a network card.
create() {
	local name=$1 n=$2
	local scratch=phy:/dev/nvme0n$((n + 3))
	[ "$n" != 3 ] || scratch=file:/tmp/three.img
	shift 2
	: >"$logs/guest-$name.log"
	printf '%s\n' "name = \"$name\"" 'type = "pvh"' 'kernel = "/guests/vmlinuz"' 'ramdisk = "/guests/initrd"' \
		"extra = \"console=hvc0 quiet guest.name=$name guest.ip=10.0.2.5$n/24\"" 'memory = 224' \
		"disk = [ \"phy:/dev/nvme0n$n,xvda,w\", \"$scratch,xvdb,w\" ]" \
		"vif = [ \"mac=00:16:3e:00:00:1$n,bridge=xenbr0\" ]" 'on_crash = "destroy"' "$@" >"/tmp/$name.cfg"
	xl create -q "/tmp/$name.cfg"
}

test_three_boot() {
	local guest
	eventually grep -q nameserver /etc/resolv.conf
	# dom0's own page tables and port pages grow with the first guest that it serves, and stay.
	tiny_up warm
	xl destroy warm
	eventually only_dom0
	holdings >/tmp/holdings
	balance >/tmp/balance
	truncate -s 16M /tmp/three.img
	# On Xen guests that boot take dom0 so much time that its hotplug scripts run out of theirs: one after the other there.
	booted() { [ "$hypervisor" != xen ] || eventually said "$1" '@@GUEST up'; }
	create one 1 'vcpus = 1'
	booted one
	create two 2 'vcpus = 2'
	booted two
	create three 3 'vcpus = 1'
	for guest in $guests; do
		eventually said "$guest" '@@GUEST up'
	done
}

test_three_list() {
	local guest
	for guest in $guests; do
		same "$(column "$guest" 3)" 224 "memory of $guest"
		same "$(inside "$guest" hostname)" "$guest" hostname
		same "$(xl block-list "$guest" | grep -c .)" 3 "lines of $guest's block-list"
		same "$(xl network-list "$guest" | grep -c .)" 2 "lines of $guest's network-list"
	done
	same "$(xl list | wc -l)" 5 'lines of xl list'
	same "$(column two 4)" 2 'vCPUs of two'
}

test_three_vcpus() {
	same "$(xl vcpu-list two | wc -l)" 3 'lines of vcpu-list'
	same "$(inside two nproc)" 2 'CPUs inside'
	same "$(inside one nproc)" 1 'CPUs inside'
	# Work on each vCPU, and a CPU that is taken away and comes back.
	inside two 'pids=; for cpu in 0 1; do taskset -c $cpu md5sum /usr/bin/perl & pids="$pids $!"; done'
	inside two 'bad=0; for pid in $pids; do wait $pid || bad=1; done; [ $bad = 0 ]'
	xl vcpu-set two 1
	inside two 'until [ "$(nproc)" = 1 ]; do sleep 0.1; done'
	xl vcpu-set --ignore-host two 2
	inside two 'until echo 1 >/sys/devices/system/cpu/cpu1/online; do sleep 0.1; done 2>/dev/null'
	inside two '[ "$(nproc)" = 2 ] && taskset -c 1 true'
}

write_and_read() {
	inside "$1" "yes 'pattern of $1' | head -c 8388608 >/tmp/pattern"
	inside "$1" 'dd if=/tmp/pattern of=/dev/xvdb bs=64k oflag=direct 2>/dev/null'
	inside "$1" 'echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/xvdb bs=32k count=256 2>/dev/null | cmp - /tmp/pattern'
	inside "$1" 'dd if=/tmp/pattern of=/tmp/part bs=4k skip=1000 count=32 2>/dev/null'
	inside "$1" 'dd if=/dev/xvdb bs=4k skip=1000 count=32 iflag=direct 2>/dev/null | cmp - /tmp/part'
}
test_three_disks() { together write_and_read; }

fetch() {
	inside "$1" "wget -q -O /tmp/file http://10.0.2.2:$port/file"
	same "$(inside "$1" 'md5sum /tmp/file' | cut -c 1-32)" "$sum" "checksum of the file that $1 fetched"
	inside "$1" "wget -q -O - http://10.0.2.2:$port/$token-$1" || true
}
test_three_net() {
	together fetch
	inside one 'ping -q -c 2 10.0.2.52; ping -q -c 2 10.0.2.53'
	inside three 'ping -q -c 2 -s 8000 10.0.2.52'
}

disk_and_net() {
	local disk='(cat /dev/xvda | head -c 67108864 | md5sum) & pid=$!' net="wget -q -O - http://10.0.2.2:$port/file"
	inside "$1" "$disk; $net | md5sum >/tmp/got; wait \$pid; grep -q $sum /tmp/got"
}
test_three_disks_and_net() { together disk_and_net; }

test_three_shutdown() {
	local guest
	timeout 300 xl shutdown -a -w
	for guest in $guests; do
		eventually gone "$guest"
	done
	clear() {
		[ -z "$(ls /sys/bus/xen-backend/devices)" ] && [ -z "$(ls /sys/class/net | grep vif)" ] && [ -z "$(losetup -a)" ]
	}
	eventually clear
	# The host looks at it there.
	cat /tmp/three.img >/dev/nvme0n6
	rm /tmp/three.img
	sync
	eventually holdings_are "$(cat /tmp/holdings)"
	eventually is_balanced "$(cat /tmp/balance)" 256
}
