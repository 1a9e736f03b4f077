# about: a machine with two CPUs, dom0 with two vCPUs, and guests that compete
# boot: --cpus=2 --args=dom0_max_vcpus=2 --nic=none --dom0-args=gossamer.bare
# limit: 1800

test_two_cpus() {
	same "$(xl info | sed -n 's/^nr_cpus *: *//p')" 2 nr_cpus
	same "$(nproc)" 2 "dom0's CPUs"
	same "$(xl vcpu-list 0 | wc -l)" 3 "lines of dom0's vcpu-list"
}

# The kernel believes that the clock is stable over CPUs, and lets programs read it by themselves.
test_vdso() {
	same "$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)" xen 'the clock of the kernel'
	/test/vdso
	taskset -c 1 /test/vdso
}

# One CPU loads the FPU's registers all the time, the other one enters and leaves dom0.
test_fpu() {
	local load
	xl vcpu-pin 0 0 0
	xl vcpu-pin 0 1 1
	taskset -c 1 /test/fpu 5 &
	load=$!
	while kill -0 $load 2>/dev/null; do taskset -c 0 xl info >/dev/null; done
	wait $load || fail 'its registers changed'
	xl vcpu-pin 0 all all
}

test_spin_two() {
	tiny spin0 'extra = "spin"'
	tiny spin1 'extra = "spin"'
	tiny_up calm
	tell calm x
	eventually said calm 'tiny: got x'
	xl pause spin0
	has_state spin0 p
}

test_many_on_two() {
	local i
	for i in {1..8}; do
		tiny "many$i" 'memory = 8'
	done
	for i in {1..8}; do
		eventually said "many$i" 'tiny: up'
		tell "many$i" n
	done
	for i in {1..8}; do
		eventually said "many$i" 'tiny: count 1'
	done
	destroy_all
}
