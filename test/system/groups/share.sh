# about: CPU time by weight, cap and budget; time counts instructions, so a busy machine changes nothing
# boot: --cpus=2 --args=dom0_max_vcpus=1 --nic=none --dom0-args=gossamer.bare -- -icount shift=3,sleep=off
# limit: 1800
# long: yes

# dom0 has CPU 0, the guests that never wait share CPU 1.
# ran NAME...: how long each of these domains with one vCPU ran, in milliseconds; all are asked for at once.
ran() { xl vcpu-list "$@" | awk 'NR > 1 { printf "%d ", $6 * 1000 }'; }
# shares A B MS: lets A run for MS more milliseconds of its own time; prints B's time in that while, in percent of A's.
shares() {
	local before now
	before=($(ran "$1" "$2"))
	enough() {
		now=($(ran "$1" "$2"))
		[ $((now[0] - before[0])) -ge "$3" ]
	}
	eventually enough "$@"
	echo $(((now[1] - before[1]) * 100 / (now[0] - before[0])))
}
between() { [ "$1" -ge "$2" ] && [ "$1" -le "$3" ] || fail "$4: $1 is not between $2 and $3"; }

spinner() { # NAME LINE...
	tiny "$@" 'extra = "spin"' 'cpus = "1"'
	eventually said "$1" 'tiny: up'
}

# Twice the weight, twice the time.
test_weight() {
	xl vcpu-pin 0 0 0
	spinner one
	spinner two
	between "$(shares one two 2000)" 90 110 'two of one with the same weight'
	xl sched-credit2 -d two -w 512
	same "$(xl sched-credit2 -d two | awk 'NR == 2 { print $3, $4 }')" '512 0' 'weight and cap'
	between "$(shares one two 1000)" 180 220 'two of one at twice the weight'
	xl sched-credit2 -d two -w 64
	between "$(shares one two 4000)" 20 30 'two of one at a quarter of the weight'
}

# A guest that may use a quarter of the CPU leaves three quarters to the other.
test_cap() {
	xl vcpu-pin 0 0 0
	spinner free
	spinner capped
	xl sched-credit2 -d capped -c 25
	same "$(xl sched-credit2 -d capped | awk 'NR == 2 { print $3, $4 }')" '256 25' 'weight and cap'
	between "$(shares free capped 3000)" 25 40 'capped of free with a cap of 25 %'
	xl sched-credit2 -d capped -c 0
	between "$(shares free capped 2000)" 90 110 'capped of free after the cap'
}

# Budget / period of a CPU, and no more.
test_budget() {
	[ "$hypervisor" != xen ] || return 0
	xl vcpu-pin 0 all all
	xl cpupool-cpu-remove Pool-0 1
	xl cpupool-create 'name="promises"' 'sched="rtds"' 'cpus="1"' >/dev/null
	spinner one 'pool = "promises"'
	spinner two 'pool = "promises"'
	xl sched-rtds -d one -v all -p 10000 -b 2000 -e 0
	xl sched-rtds -d two -v all -p 10000 -b 6000 -e 0
	between "$(shares one two 4000)" 285 315 'two of one with three times the budget'
	xl cpupool-migrate one Pool-0
	xl cpupool-migrate two Pool-0
	xl cpupool-destroy promises
	xl cpupool-cpu-add Pool-0 1
}
