# about: physical CPUs go offline and come back while guests work on them
# boot: --cpus=4 --args=dom0_max_vcpus=4 --nic=none --dom0-args=gossamer.bare
# limit: 1800

cpus() { xl info | sed -n 's/^nr_cpus *: *//p'; }
# on NAME: the CPU of the guest's vCPU, as xl vcpu-list says.
on() { xl vcpu-list "$1" | awk 'NR == 2 { print $4 }'; }
on_is() { [ "$(on "$1")" = "$2" ]; }
linux_says() { [ "$(cat "/sys/devices/system/xen_cpu/xen_cpu$1/online")" = "$2" ]; }
off() { xen-hptool cpu-offline "$1" >/dev/null; }
back() { xen-hptool cpu-online "$1" >/dev/null; }
# hptool_says ERROR WORD...: xen-hptool fails with that error.
hptool_says() {
	local error=$1
	shift
	refused xen-hptool "$@"
	grep -q "$error" /tmp/refused || fail "$*: $(tail -n 1 /tmp/refused)"
}
all_back() { same "$(cpus) $(pool_cpus Pool-0)" '4 0,1,2,3' 'CPUs in the end'; }
# answers NAME COUNT: the guest answers, COUNT times by now.
answers() {
	tell "$1" x
	eventually said "$1" 'tiny: got x' "$2"
}

test_offline_online() {
	same "$(cpus) $(xl info | sed -n 's/^max_cpu_id *: *//p')" '4 3' 'CPUs and the highest number'
	off 3
	same "$(cpus) $(xl info | sed -n 's/^max_cpu_id *: *//p')" '3 3' 'CPUs and the highest number'
	same "$(pool_cpus Pool-0)" 0,1,2 "Pool-0's CPUs"
	same "$(xl info -n | sed -n '/^cpu:/,/^device/p' | grep -c '^ *[0-9]:')" 3 'CPUs with a topology'
	same "$(xenpm get-cpu-topology | grep -c '^CPU[0-9]')" 3 'CPUs of xenpm get-cpu-topology'
	same "$(xenpm get-cpuidle-states | grep -c '^C1 ')" 3 'CPUs with a C1'
	eventually linux_says 3 0
	hptool_says 'File exists' cpu-offline 3
	complains xl cpupool-cpu-add Pool-0 3
	same "$(cpus)" 3 'CPUs after all that'
	back 3
	eventually linux_says 3 1
	same "$(xenpm get-cpuidle-states | grep -c '^C1 ')" 4 'CPUs with a C1'
	all_back
}

test_refused() {
	hptool_says 'Invalid argument' cpu-offline 0
	hptool_says 'Invalid argument' cpu-offline 4
	hptool_says 'Invalid argument' cpu-offline 300
	hptool_says 'Invalid argument' cpu-online 4
	hptool_says 'File exists' cpu-online 0
	hptool_says 'File exists' cpu-online 3
	hptool_says 'not supported' smt-enable
	hptool_says 'not supported' smt-disable
	all_back
}

# dom0's Linux does it through XENPF_cpu_offline, and minds no CPU that is so already.
test_by_linux() {
	local file=/sys/devices/system/xen_cpu/xen_cpu2/online
	for want in 0 0 1 1; do
		echo $want >$file
		same "$(cat $file) $(cpus)" "$want $((3 + want))" 'what Linux says, and CPUs'
	done
	all_back
}

# Every CPU but the first goes, one after the other, whichever dom0 itself asks from.
test_under_work() {
	local cpu round=0
	tiny spin0 'extra = "spin"'
	tiny spin1 'extra = "spin"'
	tiny spin2 'extra = "spin"'
	tiny_up calm
	for cpu in 1 2 3 3 2 1; do
		off $cpu
		round=$((round + 1))
		answers calm $round
		same "$(xl vcpu-list | awk -v c=$cpu 'NR > 1 && $4 == c && $5 ~ /r/')" '' "work on CPU $cpu, which is offline"
		back $cpu
	done
	for cpu in 3 2 1; do
		off $cpu
		round=$((round + 1))
		answers calm $round
	done
	same "$(cpus) $(pool_cpus Pool-0)" '1 0' 'CPUs'
	same "$(nproc)" 4 "dom0's CPUs"
	tiny_up late
	answers late 1
	for cpu in 1 2 3; do
		back $cpu
	done
	answers calm $((round + 1))
	all_back
}

# It is moved by taking its CPU, and again when that is back and pinned to.
test_moved() {
	local cpu
	tiny mover 'extra = "spin"' 'cpus = "2-3"'
	eventually said mover 'tiny: up'
	for cpu in 2 3 2; do
		off $cpu
		eventually on_is mover $((5 - cpu))
		back $cpu
	done
	all_back
}

test_pinned_refused() {
	# Debian's Xen would break the affinity.
	[ "$hypervisor" != xen ] || return 0
	tiny_up pin 'cpus = "3"'
	refused xen-hptool cpu-offline 3
	same "$(xl vcpu-list pin | awk 'NR == 2 { print $4, $7 }')" '3 3' 'CPU and affinity'
	all_back
	answers pin 1
	xl vcpu-pin pin 0 2-3
	off 3
	eventually on_is pin 2
	answers pin 2
	hptool_says . cpu-offline 2
	back 3
	all_back
}

test_pools() {
	xl cpupool-cpu-remove Pool-0 3
	xl cpupool-create 'name="second"' 'sched="credit2"' 'cpus="3"' >/dev/null
	tiny_up last 'pool = "second"'
	# -EBUSY: the tool tries for ever.
	! timeout 5 xen-hptool cpu-offline 3 >/dev/null 2>&1 || fail 'the last CPU of a pool went offline'
	same "$(cpus) $(pool_cpus second)" '4 3' "CPUs, and the pool's"
	answers last 1
	xl destroy last
	eventually gone last
	xl cpupool-destroy second
	# A CPU of no pool.
	off 3
	same "$(cpus) $(pool_cpus Pool-0)" '3 0,1,2' "CPUs, and Pool-0's"
	back 3
	all_back
}
