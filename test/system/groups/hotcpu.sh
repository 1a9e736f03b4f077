# about: physical CPUs go offline and come back under guests that work
# boot: --cpus=4 --args=dom0_max_vcpus=4 --nic=none --dom0-args=gossamer.bare
# limit: 1800

test_probe() {
	set +e
	set -x
	s() { xl info | grep -E '^(nr_cpus|max_cpu_id)'; grep . /sys/devices/system/xen_cpu/xen_cpu*/online; }
	s
	for a in 'cpu-offline 0' 'cpu-online 0' 'cpu-online 3' 'cpu-offline 3' 'cpu-offline 3' ; do
		xen-hptool $a; echo "rc $?"
	done
	s
	xl info -n | sed -n '/^cpu:/,/^device/p'
	xenpm get-cpu-topology
	xenpm get-cpuidle-states | grep -E '^(cpu|C1|Max)'
	xenpm get-cpufreq-para 3
	xenpm start 1
	xl cpupool-list -c
	for a in 'cpu-offline 4' 'cpu-online 4' 'cpu-offline 300' 'cpu-online 300' 'smt-enable' 'smt-disable' ; do
		xen-hptool $a; echo "rc $?"
	done
	xl cpupool-cpu-add Pool-0 3; echo "rc $?"
	xen-hptool cpu-online 3; echo "rc $?"
	s
	xl cpupool-list -c
	echo 0 >/sys/devices/system/xen_cpu/xen_cpu2/online; echo "rc $?"
	s
	echo 0 >/sys/devices/system/xen_cpu/xen_cpu2/online; echo "rc $?"
	echo 1 >/sys/devices/system/xen_cpu/xen_cpu2/online; echo "rc $?"
	s
	xl cpupool-list -c
	xl cpupool-cpu-remove Pool-0 3
	xen-hptool cpu-offline 3; echo "rc $?"
	xen-hptool cpu-online 3; echo "rc $?"
	xl cpupool-list -c
	xl cpupool-create name="\"p\"" sched=\"credit2\" cpus=\"3\"
	xen-hptool cpu-offline 3; echo "rc empty pool last $?"
	xl cpupool-list -c
	xen-hptool cpu-online 3; echo "rc $?"
	xl cpupool-list -c
	tiny_up born 'pool = "p"'
	xen-hptool cpu-offline 3; echo "rc last $?"
	xl cpupool-list -c
	xl vcpu-list
	xl dmesg | tail -n 30
	return 0
}
