# about: dom0 reboots the machine, which ends QEMU (every other group ends with a power-off)
# boot: --nic=none --dom0-args=gossamer.bare
# limit: 600

test_machine_reboot() {
	echo 'printf "\n@@DONE\n"; sync; reboot -f; sleep 1000' >/tmp/last
}
