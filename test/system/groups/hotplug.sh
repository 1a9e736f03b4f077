# about: a Debian guest with four vCPUs: work and interrupts on each of them, and vCPUs that go and come
# boot: --cpus=4 --memory=2048 --nic=none --dom0-memory=1024
# guest: yes
# long: yes
# first: hotplug_boot
# limit: 1800

# One guest serves all tests; it starts with three of its four vCPUs.
keep_domains=yes

# online N: that many CPUs are up inside and for the hypervisor (those that are not are paused: p).
online() {
	[ "$(inside hot nproc)" = "$1" ] && [ "$(xl vcpu-list hot | awk 'NR > 1 && $5 !~ /p/' | wc -l)" = "$1" ]
}
# interrupts NAME: the counts of all such lines of /proc/interrupts together, a word for each CPU that is up.
interrupts() {
	inside hot "grep -aE '$1' /proc/interrupts" |
		awk '{ for (i = 2; $i ~ /^[0-9]+$/; i++) { sum[i] += $i; if (i > n) n = i } } END { for (i = 2; i <= n; i++) printf "%s ", sum[i] }'
}
# work CPU: something to compute on that CPU; what it says is checked.
work() {
	same "$(inside hot "taskset -c $1 md5sum /usr/bin/perl | cut -d' ' -f1")" "$sum" "sum computed on CPU $1"
}

test_hotplug_boot() {
	debian hot 'vcpus = 3' 'maxvcpus = 4' 'memory = 224'
	same "$(xl vcpu-list hot | wc -l)" 5 'lines of vcpu-list'
	eventually online 3
}

test_hotplug_up() {
	xl vcpu-set --ignore-host hot 4
	plug hot 3
	eventually online 4
	same "$(column hot 4)" 4 "vCPUs in xl list"
	same "$(inside hot 'cat /sys/devices/system/cpu/online')" 0-3 'CPUs online inside'
}

test_hotplug_work() {
	local cpu sum
	sum=$(perl_sum hot)
	for cpu in 0 1 2 3; do
		work "$cpu"
	done
	inside hot 'for cpu in 0 1 2 3; do taskset -c $cpu md5sum /usr/bin/perl & done; wait' |
		awk -v sum="$sum" '$1 == sum { n++ } END { exit n != 4 }'
	# Each vCPU ran, as the hypervisor counts.
	same "$(xl vcpu-list hot | awk 'NR > 1 && $6 > 0' | wc -l)" 4 'vCPUs that ran'
}

# Interrupts by event channel arrive on every CPU: upcalls, timers, and what CPUs send to each other.
test_hotplug_interrupts() {
	local line before after i
	for line in 'timer[0-3]$' resched 'HYP:'; do
		before=($(interrupts "$line"))
		[ ${#before[@]} = 4 ] || fail "line $line of /proc/interrupts: '${before[*]}'"
		inside hot 'for cpu in 0 1 2 3; do taskset -c $cpu sleep 0.3 & done; wait; for i in 1 2 3 4 5 6 7 8; do for cpu in 0 1 2 3; do taskset -cp $cpu $$ >/dev/null; done; done; taskset -cp 0-3 $$ >/dev/null'
		after=($(interrupts "$line"))
		for i in 0 1 2 3; do
			[ "$line" = resched ] || [ "${after[i]}" -gt "${before[i]}" ] ||
				fail "$line on CPU $i: ${before[i]}, then ${after[i]}"
			[ "${after[i]}" -gt 0 ] || fail "$line never came to CPU $i"
		done
	done
}

test_hotplug_down_and_up() {
	local round sum
	sum=$(perl_sum hot)
	for round in 1 2 3; do
		xl vcpu-set hot 2
		eventually online 2
		work 1
		xl vcpu-set hot 1
		eventually online 1
		work 0
		xl vcpu-set --ignore-host hot 4
		plug hot 1 2 3
		eventually online 4
		work 3
	done
}

# CPUs go while they work: what ran there goes on elsewhere.
test_hotplug_under_load() {
	local sum
	sum=$(perl_sum hot)
	load hot
	xl vcpu-set hot 1
	eventually online 1
	xl vcpu-set --ignore-host hot 4
	plug hot 1 2 3
	eventually online 4
	load_sums hot "$sum"
}

test_hotplug_pin() {
	local sum cpu
	sum=$(perl_sum hot)
	for cpu in 0 1 2 3; do
		xl vcpu-pin hot "$cpu" $((3 - cpu)) all
	done
	pinned() { [ "$(xl vcpu-list hot | awk 'NR > 1 { printf "%s ", $4 }')" = '3 2 1 0 ' ]; }
	for cpu in 0 1 2 3; do
		work "$cpu"
	done
	eventually pinned
	refused xl vcpu-set hot 0
	refused xl vcpu-pin hot 4 all
	xl vcpu-pin hot all all all
	xl destroy hot
	eventually gone hot
}
