# about: guests with four vCPUs live, move and die at random, from a seed, while the hypervisor checks its locks
# boot: --threads --cpus=4 --memory=2048 --args=dom0_max_vcpus=4 --nic=none
# guest: yes
# long: yes
# limit: 2400

# one_of WORD...: one of the words.
one_of() {
	shift $((RANDOM % $#))
	echo "$1"
}
# may COMMAND...: does it, or is refused (the moment may be wrong for it); nobody is killed by a signal.
may() {
	local rc=0
	"$@" >/dev/null 2>&1 || rc=$?
	[ $rc -lt 129 ] || [ $rc = 255 ] || fail "died with $rc: $*"
}
# answers NAME COUNT: the guest has gone round its vCPUs each time that it was told to.
answers() {
	(eventually said "$1" 'tiny: laps' "$2") >/dev/null || fail "guest $1 was told $2 times, and did it $(grep -acF 'tiny: laps' "$logs/guest-$1.log") times"
}

# step NAME: something happens to the tiny guest; $told is how often it was told to go round its vCPUs.
step() {
	if gone "$1"; then
		tiny_up "$1" "pool = \"$(one_of Pool-0 second)\"" 'on_poweroff = "destroy"' 'vcpus = 4' 'memory = 8'
		told=0
	fi
	case $((RANDOM % 12)) in
	0) has_state "$1" p || may xl pause "$1" ;; # pauses nest: one unpause must do
	1 | 2) may xl vcpu-pin "$1" "$(one_of 0 1 2 3 all)" "$(one_of 0 1 2 3 0-1 1-3 all)" "$(one_of 0 1 2 3 all)" ;;
	3 | 4) may xl cpupool-migrate "$1" "$(one_of Pool-0 second)" ;;
	5 | 6) may xl sched-credit2 -d "$1" -w "$(one_of 1 64 256 65535)" -c "$(one_of 0 0 50 150)" ;;
	7)
		xl unpause "$1"
		answers "$1" $told
		may xl destroy "$1"
		eventually gone "$1"
		;;
	8) may xl destroy "$1"; eventually gone "$1" ;;
	*)
		xl unpause "$1"
		tell "$1" w
		told=$((told + 1))
		;;
	esac
}
# worker NAME SEED STEPS: the guest's lives. At the end it must answer.
worker() {
	local told=0 i
	RANDOM=$2
	for ((i = 0; i < $3; i++)); do
		step "$1"
	done
	if exists "$1"; then
		xl unpause "$1"
		may xl sched-credit2 -d "$1" -w 256 -c 0
		tell "$1" w
		answers "$1" $((told + 1))
		xl destroy "$1"
	fi
}
# shuffler SEED: CPUs change their pool, dom0's vCPUs their affinity, until the workers have ended. No pool becomes empty:
# no guest can be created in such a one.
shuffler() {
	local cpu
	RANDOM=$1
	while [ ! -f /tmp/stress-end ]; do
		cpu=$(one_of 1 2)
		case $((RANDOM % 5)) in
		0) may xl cpupool-cpu-remove Pool-0 "$cpu"; may xl cpupool-cpu-add second "$cpu" ;;
		1) may xl cpupool-cpu-remove second "$cpu"; may xl cpupool-cpu-add Pool-0 "$cpu" ;;
		2) may xl vcpu-pin 0 "$(one_of 0 1 2 3)" "$(one_of 0 1 0-1 all)" ;;
		3) may xl vcpu-pin 0 all all all ;;
		4) may xl debug-keys "$(one_of q r p)" ;;
		esac
		sleep 0.5
	done
}

second_pool() {
	xl cpupool-cpu-remove Pool-0 3
	xl cpupool-create 'name="second"' 'sched="credit2"' 'cpus="3"' >/dev/null
}

# stress SEED STEPS: three guests; afterwards every frame, port and grant is back.
stress() {
	local before held n worker workers=() failed=
	second_pool
	tiny_up warm 'pool = "second"' 'vcpus = 4' 'memory = 8'
	tell warm w
	answers warm 1
	destroy_all
	pools_back
	before=$(balance)
	held=$(holdings)
	second_pool
	rm -f /tmp/stress-end
	shuffler "$1" >/tmp/stress-shuffler 2>&1 &
	local shuffler=$!
	for n in 1 2 3; do
		worker "t$n" $(($1 + n)) "$2" >"/tmp/stress-$n" 2>&1 &
		workers+=($!)
	done
	for n in 1 2 3; do
		wait "${workers[n - 1]}" || failed="$failed worker $n: $(tail -n 3 "/tmp/stress-$n");"
	done
	touch /tmp/stress-end
	wait $shuffler || failed="$failed shuffler: $(tail -n 1 /tmp/stress-shuffler);"
	if [ -n "$failed" ]; then
		keys q | tail -n 60
		keys r | tail -n 60
		fail "$failed"
	fi
	destroy_all
	pools_back
	eventually holdings_are "$held"
	eventually is_balanced "$before"
}

test_stress_1() { stress 1 30; }
test_stress_2() { stress 1002 30; }
test_stress_3() { stress 2003 30; }

debian_guest() { debian deb 'vcpus = 4' 'memory = 224'; }
# vcpus N: the tool stack gives the guest N vCPUs. Linux takes away by itself what is taken.
vcpus() {
	xl vcpu-set --ignore-host deb "$1"
	plug deb $(seq 1 $(($1 - 1)))
	eventually has_cpus "$1"
}
has_cpus() { [ "$(inside deb nproc)" = "$1" ]; }

# A Debian guest computes and sums up the same, whatever happens to its vCPUs meanwhile; tiny guests do laps beside it.
test_stress_debian() {
	local sum i told=0 before held plugged=0
	second_pool
	debian_guest
	destroy_all
	pools_back
	before=$(balance)
	held=$(holdings)
	second_pool
	debian_guest
	sum=$(perl_sum deb)
	load deb
	RANDOM=3004
	for ((i = 0; i < 40; i++)); do
		case $((RANDOM % 6)) in
		0) xl pause deb; may xl unpause deb ;;
		1) may xl vcpu-pin deb "$(one_of 0 1 2 3 all)" "$(one_of 0 1 2 3 all)" "$(one_of 0 1 2 3 all)" ;;
		2) may xl cpupool-migrate deb "$(one_of Pool-0 second)" ;;
		3 | 5) vcpus "$(one_of 1 2 3 4)"; plugged=$((plugged + 1)) ;;
		4) step side ;;
		esac
	done
	[ $plugged -ge 5 ] || fail "the guest's vCPUs went and came only $plugged times"
	xl vcpu-pin deb all all all
	vcpus 4
	load_sums deb "$sum"
	destroy_all
	pools_back
	eventually holdings_are "$held"
	eventually is_balanced "$before"
}
