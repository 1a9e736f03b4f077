# about: Debian 13's kernel as dom0's and as a guest's, GRUB for PVH
# boot: --memory=2560 --nic=none
# guest: yes
# long: yes
# limit: 1800

guest_config() { # NAME LINE...
	local name=$1
	shift
	printf '%s\n' "name = \"$name\"" 'type = "pvh"' 'vcpus = 1' 'memory = 256' 'on_crash = "destroy"' "$@" \
		>"/tmp/$name.cfg"
	: >"$logs/guest-$name.log"
}
disk='disk = [ "phy:/dev/nvme0n1,xvda,r" ]'

test_dom0_13() {
	uname -r | grep -q deb13
	same "$(column 0 1)" Domain-0 name
	tiny_up small
}

test_guest_13() {
	guest_config guest13 'kernel = "/guests/vmlinuz13"' 'ramdisk = "/guests/initrd13"' \
		'extra = "console=hvc0 quiet guest.name=guest13"' 'disk = [ "phy:/dev/nvme0n1,xvda,w" ]'
	xl create -q /tmp/guest13.cfg
	eventually said guest13 '@@GUEST up'
	inside guest13 'uname -r' | grep -q deb13
	inside guest13 'md5sum /usr/bin/* | md5sum'
	timeout 300 xl shutdown -w guest13
	eventually gone guest13
}

test_guest_cloud() {
	guest_config cloud 'kernel = "/guests/vmlinuz"' 'ramdisk = "/guests/initrd"' \
		'extra = "console=hvc0 quiet guest.name=cloud"' 'disk = [ "phy:/dev/nvme0n1,xvda,w" ]'
	xl create -q /tmp/cloud.cfg
	eventually said cloud '@@GUEST up'
}

test_grub_pvh() {
	guest_config grub 'kernel = "/guests/grub-pvh"' \
		'disk = [ "phy:/dev/nvme0n1,xvda,w", "phy:/dev/nvme0n2,xvdb,r" ]'
	xl create -q /tmp/grub.cfg
	eventually said grub '@@GRUB runs on i386-xen_pvh'
	eventually said grub '@@GUEST up'
	inside grub 'grep -q guest.grub=yes /proc/cmdline'
}
