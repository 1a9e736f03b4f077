# about: two CPUs, dom0 and guests on both
# boot: --cpus=2 --nic=none --dom0-args=gossamer.bare
# limit: 1800

test_two_cpus() {
	same "$(xl info | sed -n 's/^nr_cpus *: *//p')" 2 nr_cpus
	same "$(nproc)" 2 "dom0's CPUs"
	same "$(xl vcpu-list 0 | wc -l)" 3 "lines of dom0's vcpu-list"
}

test_pin_two() {
	local i
	for i in 0 1; do
		tiny_up "pin$i" "cpus = \"$i\""
		same "$(xl vcpu-list "pin$i" | awk 'NR == 2 { print $4, $7 }')" "$i $i" 'CPU and affinity'
	done
	xl vcpu-pin pin0 0 1
	tell pin0 n
	eventually said pin0 'tiny: count 1'
	same "$(xl vcpu-list pin0 | awk 'NR == 2 { print $4, $7 }')" '1 1' 'CPU and affinity afterwards'
	xl vcpu-pin pin0 0 all
	tell pin0 n
	eventually said pin0 'tiny: count 2'
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

test_pool_two() {
	xl cpupool-cpu-remove Pool-0 1
	same "$(xl cpupool-list -c Pool-0 | awk 'NR == 2 { print $2 }')" 0 'CPUs of the pool'
	xl cpupool-cpu-add Pool-0 1
	same "$(xl cpupool-list -c Pool-0 | awk 'NR == 2 { print $2 }')" 0,1 'CPUs of the pool afterwards'
}
