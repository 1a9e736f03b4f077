# about: disks that QEMU in dom0 serves (qdisk), raw and qcow2
# boot: --memory=2560 --nic=none --dom0-memory=1280
# guest: yes
# long: yes
# first: qdisk_boot
# limit: 1800

# The guest of the first test serves all of them; the last one shuts it down.
keep_domains=yes

# qdisk FORMAT VDEV FILE: one disk of a configuration.
qdisk() { echo "format=$1,vdev=$2,access=rw,backendtype=qdisk,target=$3"; }
# emulators: the processes of QEMU.
emulators() { pidof xen-qemu-system-i386 || true; }

# Its root disk is one as well.
test_qdisk_boot() {
	yes from-dom0 | head -c 16777216 >/tmp/raw.img
	qemu-img create -q -f qcow2 /tmp/disk.qcow2 32M
	printf '%s\n' 'name = "qdisk"' 'type = "pvh"' 'vcpus = 1' 'memory = 256' 'on_crash = "destroy"' \
		'kernel = "/guests/vmlinuz"' 'ramdisk = "/guests/initrd"' \
		'extra = "console=hvc0 quiet guest.name=qdisk"' \
		"disk = [ \"$(qdisk raw xvda /dev/nvme0n1)\", \"$(qdisk raw xvdb /tmp/raw.img)\"," \
		"\"$(qdisk qcow2 xvdc /tmp/disk.qcow2)\" ]" >/tmp/qdisk.cfg
	: >"$logs/guest-qdisk.log"
	xl create -q /tmp/qdisk.cfg
	eventually said qdisk '@@GUEST up'
	inside qdisk 'grep -q " / ext4 rw" /proc/mounts'
	same "$(emulators | wc -w)" 1 'processes of QEMU'
	# None of the three went to the kernel's backend.
	same "$(ls /sys/bus/xen-backend/devices | grep vbd || true)" '' 'disks of blkback'
}

test_qdisk_root() {
	inside qdisk 'md5sum /usr/bin/* >/root/sums; sync; echo 3 >/proc/sys/vm/drop_caches'
	inside qdisk 'md5sum --quiet -c /root/sums'
}

test_qdisk_raw() {
	same "$(inside qdisk 'dd if=/dev/xvdb bs=1M iflag=direct 2>/dev/null | md5sum')" \
		"$(yes from-dom0 | head -c 16777216 | md5sum)" 'what dom0 wrote'
	inside qdisk 'yes from-guest | head -c 4194304 | dd of=/dev/xvdb bs=64k seek=32 conv=fsync 2>/dev/null'
	inside qdisk 'yes small-blocks | head -c 65536 | dd of=/dev/xvdb bs=512 oflag=direct 2>/dev/null'
	same "$(tail -c +2097153 /tmp/raw.img | head -c 4194304 | md5sum)" \
		"$(yes from-guest | head -c 4194304 | md5sum)" 'what the guest wrote'
	same "$(head -c 65536 /tmp/raw.img | md5sum)" "$(yes small-blocks | head -c 65536 | md5sum)" 'small blocks'
	cmp <(yes from-dom0 | head -c 16777216 | tail -c 10485760) <(tail -c 10485760 /tmp/raw.img)
}

test_qdisk_qcow2() {
	same "$(inside qdisk 'blockdev --getsize64 /dev/xvdc')" 33554432 'size of the disk'
	inside qdisk 'yes in-qcow2 | head -c 8388608 >/tmp/pattern'
	inside qdisk 'dd if=/tmp/pattern of=/dev/xvdc bs=64k seek=64 conv=fsync 2>/dev/null'
	inside qdisk 'dd if=/dev/xvdc bs=64k skip=64 count=128 iflag=direct 2>/dev/null | cmp - /tmp/pattern'
	xl block-detach qdisk xvdc
	inside qdisk 'while [ -b /dev/xvdc ]; do sleep 0.1; done'
	qemu-img check -q /tmp/disk.qcow2
	qemu-img convert -O raw /tmp/disk.qcow2 /tmp/out.img
	same "$(tail -c +4194305 /tmp/out.img | head -c 8388608 | md5sum)" \
		"$(yes in-qcow2 | head -c 8388608 | md5sum)" 'what is in the file'
	rm /tmp/out.img /tmp/disk.qcow2
}

test_qdisk_attach() {
	head -c 8388608 /dev/zero >/tmp/more.img
	xl block-attach qdisk "$(qdisk raw xvdd /tmp/more.img)"
	inside qdisk 'until [ -b /dev/xvdd ]; do sleep 0.1; done'
	xl block-list qdisk | grep -q '/backend/qdisk/.*/51760'
	inside qdisk 'yes attached | head -c 1048576 | dd of=/dev/xvdd bs=4k conv=fsync 2>/dev/null'
	xl block-detach qdisk xvdd
	inside qdisk 'while [ -b /dev/xvdd ]; do sleep 0.1; done'
	same "$(head -c 1048576 /tmp/more.img | md5sum)" "$(yes attached | head -c 1048576 | md5sum)" \
		'what the guest wrote'
	rm /tmp/more.img
}

test_qdisk_shutdown() {
	timeout 300 xl shutdown -w qdisk
	eventually gone qdisk
	idle() { [ -z "$(emulators)" ] && only_dom0; }
	eventually idle
	rm /tmp/raw.img
}
