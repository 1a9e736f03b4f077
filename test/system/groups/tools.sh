# about: the tool stack and tiny guests on one CPU
# boot: --nic=none --dom0-args=gossamer.bare
# limit: 1800

test_info() {
	local info
	info=$(xl info)
	field() { printf '%s\n' "$info" | sed -n "s/^$1 *: *//p"; }
	same "$(field xen_major).$(field xen_minor)" 4.17 version
	same "$(field nr_cpus)" 1 nr_cpus
	same "$(field xen_pagesize)" 4096 xen_pagesize
	same "$(field xen_scheduler)" credit2 xen_scheduler
	same "$(field xen_caps)" 'xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ' xen_caps
	[[ $(field virt_caps) == *hvm*hap* ]]
	[[ $(field xen_commandline) == *com1=115200,8n1* ]]
	[ "$(field total_memory)" -gt 2000 ]
	[ "$(field free_memory)" -gt 1000 ]
	[ "$(field free_memory)" -lt "$(field total_memory)" ]
	xl info -n | grep -q '^cpu_topology'
	xl info -n | grep -q '^numa_info'
}

test_list() {
	same "$(xl list | wc -l)" 2 'lines of xl list'
	same "$(column 0 1)" Domain-0 name
	has_state 0 r
	[ "$(column 0 3)" -gt 700 ]
	xl list -l | grep -q '"domid": 0'
	xl uptime | grep -q Domain-0
}

test_dmesg() {
	[ "$(xl dmesg | wc -l)" -ge 5 ]
	# What dom0 says is not in it: printed on the console, it would have no end.
	echo 'dom0 speaks' >/dev/console
	! xl dmesg | grep -q 'dom0 speaks'
}

test_xenstore() {
	same "$(xenstore-read /local/domain/0/name)" Domain-0 name
	xenstore-write /test/a one /test/b two
	same "$(xenstore-list /test | sort | tr '\n' ' ')" 'a b ' list
	same "$(xenstore-read /test/b)" two value
	xenstore-rm /test
	refused xenstore-read /test/a
}

test_life() {
	tiny_up life
	same "$(xl domname "$(xl domid life)")" life domname
	eventually has_state life b
	same "$(column life 3)" 16 memory
	tell life x
	eventually said life 'tiny: got x'
	xl pause life
	has_state life p
	tell life n
	sleep 1
	! said life 'tiny: count'
	xl unpause life
	eventually said life 'tiny: count 1'
	xl rename life other
	exists other
	gone life
	xl destroy other
	gone other
	refused xl destroy other
}

test_created_paused() {
	tiny_config paused
	: >$logs/guest-paused.log
	xl create -q -p /tmp/paused.cfg
	has_state paused p
	sleep 1
	! said paused tiny
	xl unpause paused
	eventually said paused 'tiny: up'
}

test_console() {
	tiny_up console
	# xl console wants a terminal; ctrl-] leaves it.
	{
		sleep 2
		printf 'xyz'
		eventually said console 'tiny: got z'
		printf '\x1d'
		sleep 1
	} | timeout 100 script -q -c 'xl console console' /tmp/console >/dev/null
	grep -q 'tiny: got z' /tmp/console
	# A long text, longer than the ring: nothing is lost.
	local text
	text=$(head -c 3000 /dev/zero | tr '\0' k)
	tell console "$text"
	eventually said console 'tiny: got k' 3000
	same "$(grep -acF 'got k' $logs/guest-console.log)" 3000 'lines that came back'
}

test_poweroff() {
	tiny_up off
	tell off p
	eventually gone off
	tiny off 'extra = "poweroff"'
	eventually gone off
}

test_reboot() {
	local first
	tiny_up again
	first=$(xl domid again)
	tell again r
	eventually said again 'tiny: up' 2
	[ "$(xl domid again)" != "$first" ]
	xl destroy again
	tiny_up again 'on_reboot = "destroy"'
	tell again r
	eventually gone again
}

test_crash() {
	tiny_up crash 'on_crash = "destroy"'
	tell crash c
	eventually gone crash
	tiny_up crash 'on_crash = "preserve"'
	tell crash c
	eventually has_state crash c
	xl destroy crash
	tiny_up crash 'on_crash = "restart"'
	tell crash c
	eventually said crash 'tiny: up' 2
}

test_triple_fault() {
	tiny_up fault 'on_reboot = "destroy"' 'on_crash = "destroy"'
	tell fault f
	eventually gone fault
}

# A domain that the hypervisor kills: once, with the reason and the registers.
test_killed() {
	local id text
	tiny_up lost 'on_crash = "destroy"'
	id=$(xl domid lost)
	tell lost j
	eventually gone lost
	[ "$hypervisor" != xen ] || return 0
	text=$(xl dmesg | grep -A 8 "domain $id (vcpu 0) crashed: ")
	same "$(grep -c crashed <<<"$text")" 1 'messages about it'
	grep -Eq 'crashed: instruction fetch at guest-physical a0000000, where there is no memory' <<<"$text"
	grep -Eq '\) +rip [0-9a-f]{4}:00000000a0000000 ' <<<"$text"
	grep -Eq '\) +rax [0-9a-f]{16} rbx [0-9a-f]{16} rcx' <<<"$text"
}

test_vcpu_list() {
	tiny_up vcpu
	same "$(xl vcpu-list vcpu | awk 'NR == 2 { print $3, $4 }')" '0 0' 'vCPU and CPU'
	xl vcpu-pin vcpu 0 0
	# xl says "all" when the affinity covers every CPU there is.
	same "$(xl vcpu-list vcpu | awk 'NR == 2 { print $7 }')" all 'hard affinity'
	refused xl vcpu-pin vcpu 5 0
	xl vcpu-list | grep -q Domain-0
}

test_sched_credit2() {
	tiny_up sched
	xl sched-credit2 -d sched -w 512 -c 50
	same "$(xl sched-credit2 -d sched | awk 'NR == 2 { print $3, $4 }')" '512 50' 'weight and cap'
	refused xl sched-credit2 -d sched -w 100000
	xl sched-credit2 | grep -q Domain-0
}

test_memory() {
	tiny_up mem
	xl mem-max mem 20
	xl mem-set mem 12
	same "$(xenstore-read "/local/domain/$(xl domid mem)/memory/target")" 12288 target
	refused xl mem-max mem 1
}

test_spin() {
	# A guest that never yields leaves dom0 and its neighbours their share.
	tiny spin 'extra = "spin"'
	tiny_up calm
	tell calm x
	eventually said calm 'tiny: got x'
	has_state spin r || has_state spin ''
	xl pause spin
	xl destroy spin
}

test_cpupool() {
	xl cpupool-list | grep -q Pool-0
	complains xl cpupool-destroy Pool-0
	complains xl cpupool-cpu-remove Pool-0 0
	xl cpupool-list -c | grep -q 'Pool-0 *0$'
}

test_bad_input() {
	local before
	tiny_config bad
	before=$(balance)
	refused xl create -q /tmp/absent.cfg
	sed 's|/guests/tiny|/guests/absent|' /tmp/bad.cfg >/tmp/bad1.cfg
	refused xl create -q /tmp/bad1.cfg
	sed 's|/guests/tiny|/etc/banner|' /tmp/bad.cfg >/tmp/bad1.cfg
	refused xl create -q /tmp/bad1.cfg
	sed 's|^memory.*|memory = 100000|' /tmp/bad.cfg >/tmp/bad1.cfg
	refused xl create -q /tmp/bad1.cfg
	sed 's|^vcpus.*|vcpus = 1000|' /tmp/bad.cfg >/tmp/bad1.cfg
	refused xl create -q /tmp/bad1.cfg
	# A kernel that ends in the middle.
	head -c 4500 /guests/tiny >/tmp/half
	sed 's|/guests/tiny|/tmp/half|' /tmp/bad.cfg >/tmp/bad1.cfg
	refused xl create -q /tmp/bad1.cfg
	complains xl pause 99
	refused xl unpause nobody
	complains xl unpause 99
	refused xl mem-set 99 16
	refused xl sched-credit2 -d 99
	refused xenctx 99
	refused xen-hvmctx 99
	tiny_up bad
	refused xl create -q /tmp/bad.cfg
	destroy_all
	eventually only_dom0
	eventually is_balanced "$before" 512
}

test_leak() {
	local i before after nodes
	tiny_up leak
	destroy_all
	sleep 1
	before=$(balance)
	nodes=$(xenstore-ls | wc -l)
	for i in 1 2 3 4 5 6 7 8; do
		tiny_up leak
		destroy_all
	done
	eventually is_balanced "$before"
	same "$(xenstore-ls | wc -l)" "$nodes" 'lines in xenstore'
}

test_twenty() {
	local i before
	before=$(balance)
	for i in {1..20}; do
		tiny "many$i" 'memory = 8'
	done
	for i in {1..20}; do
		eventually said "many$i" 'tiny: up'
		tell "many$i" n
	done
	for i in {1..20}; do
		eventually said "many$i" 'tiny: count 1'
	done
	same "$(xl list | wc -l)" 22 'lines of xl list'
	destroy_all
	eventually is_balanced "$before" 512
}

test_inspect() {
	tiny_up look
	local id
	id=$(xl domid look)
	xen-hvmctx "$id" | grep -q CPU
	# What the guest set up itself: protected mode, and a stack in its memory.
	xenctx -a "$id" 0 >/tmp/context
	grep -q '^cr0: 00000011' /tmp/context
	grep -q '^ss:esp: 0000:0010' /tmp/context
	grep -q '^cs:eip: 0000:001' /tmp/context
	lsevtchn 0 | grep -q "Virtual IRQ"
	lsevtchn "$id" | grep -q Interdomain
	xentop -b -i 1 | grep -q look
	xl debug-keys h
	xl dmesg | grep -qE "'h' pressed|keys: h"
	xen-cpuid -p | grep -q 'Raw'
}

# has_pattern FILE NAME: the core file holds what the guest wrote, in the frame that it named.
has_pattern() {
	local frame
	frame=$(sed -n 's/.*tiny: pattern at frame \([0-9a-f]*\).*/\1/p' "$logs/guest-$2.log")
	/test/core_page "$1" "$frame" >/tmp/page
	cmp /tmp/page <(yes 'tiny: pattern' | head -c 4096)
}

test_dump_core() {
	tiny_up core 'on_crash = "coredump-destroy"'
	tell core m
	eventually said core 'tiny: pattern at'
	xl dump-core core /tmp/core
	has_pattern /tmp/core core
	! has_state core p
	tell core n
	eventually said core 'tiny: count 1'
	rm /tmp/core
	mkdir -p /var/lib/xen/dump
	tell core c
	eventually gone core
	has_pattern /var/lib/xen/dump/core core
	rm /var/lib/xen/dump/core
}

test_test_resource() { test-resource; }
test_test_cpu_policy() { test-cpu-policy; }
test_test_paging_mempool() { test-paging-mempool; }
test_test_xenstore() { test-xenstore -i 3; }
test_xen_diag() {
	tiny_up diag
	xen-diag gnttab_query_size "$(xl domid diag)" | grep -q nr_frames
}
