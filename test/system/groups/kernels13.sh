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
# disk N: the namespace with that number; Linux 6.12 looks for them in parallel, and their names come as they are found.
disk() { echo "/dev/$(grep -lx "$1" /sys/block/nvme*/nsid | cut -d / -f 4)"; }

# guest_up NAME: waits until the guest's init says so; a kernel that panics is not waited for.
guest_up() {
	up_or_panic() { said "$1" '@@GUEST up' || said "$1" 'Kernel panic'; }
	eventually up_or_panic "$1"
	! said "$1" 'Kernel panic' || {
		grep -aB 12 -m 1 'Kernel panic' "$logs/guest-$1.log" | tr -d '\r'
		fail "$1: the kernel panicked"
	}
}

test_dom0_13() {
	uname -r | grep -q deb13
	same "$(column 0 1)" Domain-0 name
	tiny_up small
}

test_guest_13() {
	guest_config guest13 'kernel = "/guests/vmlinuz13"' 'ramdisk = "/guests/initrd13"' \
		'extra = "console=hvc0 quiet guest.name=guest13"' "disk = [ \"phy:$(disk 1),xvda,w\" ]"
	xl create -q /tmp/guest13.cfg
	guest_up guest13
	inside guest13 'uname -r' | grep -q deb13
	inside guest13 'md5sum /usr/bin/* | md5sum'
	timeout 300 xl shutdown -w guest13
	eventually gone guest13
}

test_guest_cloud() {
	guest_config cloud 'kernel = "/guests/vmlinuz"' 'ramdisk = "/guests/initrd"' \
		'extra = "console=hvc0 quiet guest.name=cloud"' "disk = [ \"phy:$(disk 1),xvda,w\" ]"
	xl create -q /tmp/cloud.cfg
	guest_up cloud
}

test_grub_pvh() {
	guest_config grub 'kernel = "/guests/grub-pvh"' \
		"disk = [ \"phy:$(disk 1),xvda,w\", \"phy:$(disk 2),xvdb,r\" ]"
	xl create -q /tmp/grub.cfg
	eventually said grub '@@GRUB runs on i386-xen_pvh'
	guest_up grub
	inside grub 'grep -q guest.grub=yes /proc/cmdline'
}
