# about: the scheduler as an operator drives it: weights, caps, promises, affinities, CPU pools
# boot: --cpus=4 --args=dom0_max_vcpus=2 --nic=none --dom0-args=gossamer.bare
# limit: 1800

# vcpu NAME N FIELD: a field of xl vcpu-list, for example 4 the CPU, 7 the hard and 9 the soft affinity.
vcpu() { xl vcpu-list "$1" | awk -v n="$2" -v f="$3" 'NR > 1 && $3 == n { print $f }'; }
vcpu_is() { [ "$(vcpu "$1" "$2" "$3")" = "$4" ]; }
# pool NAME FIELD: a field of xl cpupool-list: 2 how many CPUs, 3 the scheduler, 5 how many domains.
pool() { xl cpupool-list | awk -v p="$1" -v f="$2" '$1 == p { print $f }'; }
pool_is() { [ "$(pool "$1" "$2")" = "$3" ]; }
# make_pool NAME SCHEDULER CPU: a pool with a CPU taken out of Pool-0.
make_pool() {
	xl cpupool-cpu-remove Pool-0 "$3"
	xl cpupool-create "name=\"$1\"" "sched=\"$2\"" "cpus=\"$3\"" >/dev/null
}
# drop_pool NAME CPU: the reverse.
drop_pool() {
	xl cpupool-destroy "$1"
	xl cpupool-cpu-add Pool-0 "$2"
	eventually pool_is Pool-0 2 4
}

test_four_cpus() {
	local cpu
	same "$(xl info | sed -n 's/^nr_cpus *: *//p')" 4 nr_cpus
	same "$(nproc)" 2 "dom0's CPUs"
	same "$(xl vcpu-list 0 | wc -l)" 3 "lines of dom0's vcpu-list"
	same "$(pool Pool-0 2) $(pool Pool-0 3) $(pool Pool-0 5)" '4 credit2 1' 'Pool-0'
	same "$(pool_cpus Pool-0)" 0,1,2,3 "Pool-0's CPUs"
	for cpu in 0 1 2 3; do
		keys r | grep -Eq " CPU $cpu (runs d0v[01], vruntime [0-9]+|idle)\$"
	done
	keys r | grep -q 'pool 0, credit2, 1 domains'
}

test_pin_hard() {
	local cpu
	tiny_up pin
	same "$(vcpu pin 0 7) $(vcpu pin 0 9)" 'all all' 'affinity at first'
	for cpu in 2 3 0 1; do
		xl vcpu-pin pin 0 $cpu
		vcpu_is pin 0 7 $cpu
		tell pin x
		eventually vcpu_is pin 0 4 $cpu
	done
	same "$(grep -acF 'tiny: got x' $logs/guest-pin.log)" 4 answers || eventually said pin 'tiny: got x' 4
	xl vcpu-pin pin 0 1-2
	vcpu_is pin 0 7 1-2
	xl vcpu-pin pin all all
	vcpu_is pin 0 7 all
	xl vcpu-pin 0 1 2
	vcpu_is 0 1 7 2
	eventually vcpu_is 0 1 4 2
	xl vcpu-pin 0 all all
}

test_pin_soft() {
	tiny_up pin
	xl vcpu-pin pin 0 - 2-3
	same "$(vcpu pin 0 7) $(vcpu pin 0 9)" 'all 2-3' 'soft affinity'
	xl vcpu-pin pin 0 0,2 2
	same "$(vcpu pin 0 7) $(vcpu pin 0 9)" '0,2 2' 'both affinities'
	xl vcpu-pin -f pin 0 all all
	same "$(vcpu pin 0 7) $(vcpu pin 0 9)" 'all all' 'after -f'
}

test_pin_at_creation() {
	tiny_up pin 'cpus = "3"' 'cpus_soft = "2-3"'
	same "$(vcpu pin 0 4) $(vcpu pin 0 7) $(vcpu pin 0 9)" '3 3 2-3' 'CPU and affinities'
	tiny_config none 'cpus = "9"'
	refused xl create -q /tmp/none.cfg
	eventually gone none
}

test_pin_refused() {
	tiny_up pin
	xl vcpu-pin pin 0 2 3
	refused xl vcpu-pin pin 0 9
	refused xl vcpu-pin pin 7 1
	refused xl vcpu-pin pin 0 zero
	refused xl vcpu-pin nobody 0 1
	refused xl vcpu-pin pin 0 ^0-3
	same "$(vcpu pin 0 7) $(vcpu pin 0 9)" '2 3' 'affinities after all that'
}

test_credit2_refused() {
	tiny_up sched
	xl sched-credit2 -d sched -w 300 -c 40
	refused xl sched-credit2 -d sched -w 0
	refused xl sched-credit2 -d sched -w 65536
	refused xl sched-credit2 -d sched -c 101
	refused xl sched-credit2 -d nobody -w 100
	refused xl sched-rtds -d sched -p 10000 -b 1000
	same "$(xl sched-credit2 -d sched | awk 'NR == 2 { print $3, $4 }')" '300 40' 'weight and cap after all that'
}

test_rate_limit() {
	rate() { xl sched-credit2 -s -p Pool-0 | sed -n 's/.*ratelimit=\([0-9]*\).*/\1/p'; }
	same "$(rate)" 1000 'the default'
	xl sched-credit2 -s -p Pool-0 -r 500
	same "$(rate)" 500 'the rate limit'
	refused xl sched-credit2 -s -p Pool-0 -r 50
	refused xl sched-credit2 -s -p Pool-0 -r 500001
	refused xl sched-credit2 -s -p nowhere -r 500
	same "$(rate)" 500 'after all that'
	xl sched-credit2 -s -p Pool-0 -r 0
	same "$(rate)" 0 'no rate limit'
	xl sched-credit2 -s -p Pool-0 -r 1000
}

test_pool_life() {
	tiny_up mover
	make_pool second credit2 3
	same "$(pool second 2) $(pool second 3) $(pool second 5)" '1 credit2 0' 'the second pool'
	same "$(pool_cpus second) $(pool_cpus Pool-0)" '3 0,1,2' 'who has which CPU'
	xl cpupool-migrate mover second
	same "$(pool second 5) $(pool Pool-0 5)" '1 1' 'domains in the pools'
	same "$(xl list -c mover | awk 'NR == 2 { print $NF }')" second 'pool of the guest'
	tell mover x
	eventually said mover 'tiny: got x'
	vcpu_is mover 0 4 3
	xl cpupool-rename second other
	same "$(pool other 2)" 1 'the renamed pool'
	xl cpupool-migrate mover Pool-0
	tell mover y
	eventually said mover 'tiny: got y'
	drop_pool other 3
}

test_pool_guest() {
	make_pool second credit2 3
	tiny_up born 'pool = "second"'
	same "$(vcpu born 0 4) $(pool second 5)" '3 1' 'CPU of the guest, domains in the pool'
	xl sched-credit2 -d born -w 100
	same "$(xl sched-credit2 -p second | awk '$1 == "born" { print $3 }')" 100 'weight'
	xl cpupool-cpu-remove Pool-0 2
	xl cpupool-cpu-add second 2
	eventually pool_is second 2 2
	xl vcpu-pin born 0 2
	tell born x
	eventually vcpu_is born 0 4 2
	# Its only CPU: Debian's Xen would break the affinity.
	[ "$hypervisor" = xen ] || complains xl cpupool-cpu-remove second 2
	vcpu_is born 0 7 2
	same "$(pool_cpus second)" 2,3 "the second pool's CPUs"
	xl vcpu-pin born 0 all
	xl cpupool-cpu-remove second 2
	same "$(pool_cpus second)" 3 "the second pool's CPU"
	tell born x
	eventually said born 'tiny: got x' 2
	vcpu_is born 0 4 3
	xl destroy born
	eventually pool_is second 5 0
	xl cpupool-cpu-add Pool-0 2
	drop_pool second 3
}

test_pool_refused() {
	make_pool second credit2 3
	tiny_up stays 'pool = "second"'
	complains xl cpupool-cpu-remove second 3
	complains xl cpupool-cpu-remove second 0
	complains xl cpupool-cpu-add second 0
	complains xl cpupool-destroy second
	complains xl cpupool-destroy Pool-0
	complains xl cpupool-migrate stays nowhere
	complains xl cpupool-migrate 0 second
	complains xl cpupool-create 'name="third"' 'sched="nothing"' 'cpus="3"'
	complains xl cpupool-create 'name="second"' 'sched="credit2"' 'cpus="2"'
	tiny_config lost 'pool = "nowhere"'
	refused xl create -q /tmp/lost.cfg
	refused xl vcpu-pin stays 0 0-2
	same "$(pool_cpus second) $(pool_cpus Pool-0)" '3 0,1,2' 'who has which CPU'
	same "$(pool second 5) $(pool Pool-0 5)" '1 1' 'domains in the pools'
	tell stays x
	eventually said stays 'tiny: got x'
	xl destroy stays
	eventually pool_is second 5 0
	drop_pool second 3
}

# One node: the pool takes the node's name, and can have its own back.
test_pool_split() {
	xl cpupool-numa-split
	same "$(xl cpupool-list | awk 'NR == 2 { print $1, $2 }')" 'Pool-node0 4' 'the pool of the node'
	xl cpupool-rename Pool-node0 Pool-0
	pool_is Pool-0 2 4
}

# Promises; Debian's Xen is built without this scheduler.
test_rtds() {
	[ "$hypervisor" != xen ] || return 0
	make_pool promises rtds 3
	same "$(pool promises 3)" rtds 'scheduler of the pool'
	tiny_up kept 'pool = "promises"'
	xl sched-rtds -d kept -v all -p 10000 -b 2500 -e 0
	same "$(xl sched-rtds -d kept -v all | awk 'NR == 2 { print $3, $4, $5 }')" '0 10000 2500' 'period and budget'
	xl sched-rtds -d kept -v 0 -p 20000 -b 4000 -e 0
	same "$(xl sched-rtds -d kept -v all | awk 'NR == 2 { print $3, $4, $5 }')" '0 20000 4000' 'of its vCPU'
	refused xl sched-rtds -d kept -v all -p 10000 -b 20000 -e 0
	refused xl sched-rtds -d kept -v all -p 0 -b 0 -e 0
	refused xl sched-rtds -d kept -v 5 -p 10000 -b 1000
	refused xl sched-credit2 -d kept -w 100
	# Two halves and a bit do not fit.
	tiny_up second 'pool = "promises"'
	xl sched-rtds -d kept -v all -p 10000 -b 6000 -e 0
	refused xl sched-rtds -d second -v all -p 10000 -b 5000 -e 0
	xl sched-rtds -d kept -v all -p 10000 -b 3000 -e 0
	xl sched-rtds -d second -v all -p 10000 -b 5000 -e 0
	tell kept x
	eventually said kept 'tiny: got x'
	xl cpupool-migrate kept Pool-0
	xl cpupool-migrate second Pool-0
	drop_pool promises 3
}

# One vCPU, one CPU, until the guest is gone.
test_null() {
	[ "$hypervisor" != xen ] || return 0
	make_pool alone null 3
	tiny_up alone 'pool = "alone"'
	same "$(pool alone 3) $(vcpu alone 0 4)" 'null 3' 'scheduler and CPU'
	tell alone x
	eventually said alone 'tiny: got x'
	xl destroy alone
	eventually pool_is alone 5 0
	drop_pool alone 3
}

test_vcpu_set() {
	tiny_up few 'maxvcpus = 3'
	same "$(xl vcpu-list few | wc -l)" 4 "lines of the guest's vcpu-list"
	xl vcpu-set few 2
	same "$(xenstore-read "/local/domain/$(xl domid few)/cpu/1/availability")" online 'vCPU 1'
	same "$(xenstore-read "/local/domain/$(xl domid few)/cpu/2/availability")" offline 'vCPU 2'
	complains xl vcpu-set few 4
	refused xl vcpu-set few 0
	refused xl vcpu-set nobody 1
}

test_dom0_vcpu_set() {
	online() { [ "$(nproc)" = "$1" ]; }
	xl vcpu-set 0 1
	eventually online 1
	xl vcpu-set 0 2
	online_again() { [ "$(cat /sys/devices/system/cpu/cpu1/online)" = 1 ] || echo 1 >/sys/devices/system/cpu/cpu1/online; }
	eventually online_again
	eventually online 2
}

# The times that tools show belong together: what a spinning guest ran is not more than one CPU could give.
test_times() {
	local guest before
	tiny busy 'extra = "spin"' 'cpus = "3"'
	eventually said busy 'tiny: up'
	before=$(vcpu busy 0 6)
	guest=$(xentop -b -i 1 -f | awk '$1 == "busy" { print $3 }')
	[ "$guest" -ge $((${before%.*} - 1)) ] || fail "xentop says $guest s, xl vcpu-list $before s"
	same "$(vcpu busy 0 4)" 3 CPU
	has_state busy r
	tiny_up calm
	eventually has_state calm b
	eventually vcpu_is calm 0 5 '-b-'
}
