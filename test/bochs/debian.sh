# A Debian guest in Bochs, which has an ATA disk and an e1000 network card.
test_disk_and_network() {
	local host
	sed 's#/dev/nvme0n1#/dev/sda#' /guests/debian.cfg >/tmp/debian.cfg
	eventually test -b /dev/sda
	xl create -q /tmp/debian.cfg
	eventually said debian '@@GUEST up'
	inside debian 'echo written in the guest >/root/from-guest; sync'
	inside debian 'ip -4 -brief address show eth0' | grep -q 10.0.2.50
	# Through netback and dom0's bridge.
	ip addr add 10.0.2.51/24 dev xenbr0
	inside debian 'ping -c 3 -W 5 10.0.2.51'
	tell debian $'poweroff\n'
	eventually gone debian
}
