# about: a Debian guest with disks and network
# boot: --memory=2048
# guest: yes
# first: debian_boot
# limit: 1800

# The guest of the first test serves all of them; the last one shuts it down.
keep_domains=yes

test_debian_boot() {
	xl create -q /guests/debian.cfg
	eventually said debian '@@GUEST up'
	said debian 'root /dev/xvda'
	inside debian 'grep -q " / ext4 rw" /proc/mounts'
}

test_console_inside() {
	same "$(inside debian 'hostname')" debian hostname
	same "$(inside debian 'seq 1 2000 | tail -n 1')" 2000 'last line'
	same "$(inside debian 'seq 1 2000' | wc -l)" 2000 'lines through the console'
}

test_root_disk() {
	inside debian 'dpkg -s bash | grep -q "install ok installed"'
	inside debian 'md5sum /usr/bin/* >/root/sums && sync && echo 3 >/proc/sys/vm/drop_caches && md5sum --quiet -c /root/sums'
}

test_net_dom0() {
	eventually grep -q nameserver /etc/resolv.conf
	inside debian "ping -q -c 3 $(ip -4 -o addr show xenbr0 | sed 's/.*inet \([0-9.]*\).*/\1/')"
	ping -q -c 3 10.0.2.50
	inside debian 'ping -q -c 1 -s 8000 10.0.2.15'
}

test_net_outside() {
	inside debian "wget -q -O /tmp/file http://10.0.2.2:$port/file"
	same "$(inside debian 'md5sum /tmp/file' | cut -c 1-32)" "$sum" 'checksum of the file'
	inside debian "wget -q -O - http://10.0.2.2:$port/$token" || true
}

test_disk_write() {
	xl block-attach debian phy:/dev/nvme0n2 xvdb w
	inside debian 'until [ -b /dev/xvdb ]; do sleep 0.1; done'
	inside debian 'yes gossamer-pattern | head -c 4194304 | dd of=/dev/xvdb bs=64k seek=16 conv=fsync 2>/dev/null'
	inside debian 'yes small-blocks | head -c 65536 | dd of=/dev/xvdb bs=512 oflag=direct 2>/dev/null'
}

test_disk_read() {
	[ "$(xl block-list debian | grep -c .)" = 3 ] || xl block-attach debian phy:/dev/nvme0n2 xvdb w
	inside debian 'until [ -b /dev/xvdb ]; do sleep 0.1; done'
	same "$(inside debian 'dd if=/dev/xvdb bs=1M skip=16 count=4 iflag=direct 2>/dev/null | md5sum' | cut -c 1-32)" \
		"$disk_sum" 'checksum of what the host wrote'
	xl block-detach debian xvdb
	inside debian 'while [ -b /dev/xvdb ]; do sleep 0.1; done'
}

test_disk_file() {
	head -c 8388608 /dev/zero >/tmp/file.img
	xl block-attach debian file:/tmp/file.img xvdc w
	inside debian 'until [ -b /dev/xvdc ]; do sleep 0.1; done'
	inside debian 'yes through-loop | head -c 1048576 | dd of=/dev/xvdc bs=4k conv=fsync 2>/dev/null'
	xl block-detach debian xvdc
	same "$(head -c 1048576 /tmp/file.img | md5sum)" "$(yes through-loop | head -c 1048576 | md5sum)" 'file content'
	detached() { [ -z "$(losetup -a)" ]; }
	eventually detached
	rm /tmp/file.img
}

test_net_attach() {
	xl network-attach debian mac=00:16:3e:00:00:02 bridge=xenbr0
	inside debian 'until [ -e /sys/class/net/eth1 ]; do sleep 0.1; done'
	inside debian 'ip addr add 10.9.9.2/24 dev eth1; ip link set eth1 up'
	ip addr add 10.9.9.1/24 dev xenbr0
	eventually ping -q -c 1 -W 2 10.9.9.2
	xl network-detach debian 00:16:3e:00:00:02
	inside debian 'while [ -e /sys/class/net/eth1 ]; do sleep 0.1; done'
	ip addr del 10.9.9.1/24 dev xenbr0
}

test_balloon() {
	local full
	full=$(inside debian "sed -n 's/MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo")
	xl mem-set debian 200
	memory_is() { [ "$(column debian 3)" = "$1" ]; }
	eventually memory_is 200
	[ "$(inside debian "sed -n 's/MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo")" -lt $((full - 40000)) ]
	xl mem-set debian 256
	eventually memory_is 256
	inside debian 'head -c 100000000 /dev/zero | md5sum'
}

test_pause_debian() {
	xl pause debian
	has_state debian p
	sleep 3
	xl unpause debian
	inside debian 'sleep 1; true'
}

test_sysrq() {
	xl sysrq debian h
	eventually said debian 'sysrq: HELP'
}

test_shutdown() {
	timeout 300 xl shutdown -w debian
	eventually gone debian
	clear() { [ -z "$(ls /sys/bus/xen-backend/devices)" ] && [ -z "$(ls /sys/class/net | grep vif)" ]; }
	eventually clear
}
