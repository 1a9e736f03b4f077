# about: a machine of two sockets, a NUMA node each: topology, where guests' memory comes from, tsc_mode
# boot: --cpus=4,sockets=2,cores=2,threads=1 --memory=2048 --args=dom0_max_vcpus=2 --nic=none --dom0-args=gossamer.bare -- -object memory-backend-ram,id=m0,size=1G -object memory-backend-ram,id=m1,size=1G -numa node,nodeid=0,cpus=0-1,memdev=m0 -numa node,nodeid=1,cpus=2-3,memdev=m1 -numa dist,src=0,dst=1,val=21 -numa dist,src=1,dst=0,val=21
# limit: 1200

info() { xl info -n | sed -n "s/^$1 *: *//p"; }
# node_free N: MiB that are free on the node.
node_free() { xl info -n | sed -n '/^numa_info/,/^xen_major/p' | awk -v n="$1:" '$1 == n { print $3 }'; }
node_affinity() { xl list -n "$1" | awk 'NR == 2 { print $NF }'; }

test_topology() {
	same "$(info nr_nodes)" 2 nr_nodes
	same "$(info cores_per_socket)" 2 cores_per_socket
	same "$(info threads_per_core)" 1 threads_per_core
	same "$(xl info -n | sed -n '/^cpu:/,/^device/p' | sed -n 's/^ *\([0-3]\): */\1 /p' | tr -s ' ')" \
		"$(printf '%s\n' '0 0 0 0' '1 1 0 0' '2 0 1 1' '3 1 1 1')" 'CPU, core, socket, node'
	same "$(xenpm get-cpu-topology | tr -s '\t ' ' ')" \
		"$(printf '%s\n' 'CPU core socket node' 'CPU0 0 0 0' 'CPU1 1 0 0' 'CPU2 0 1 1' 'CPU3 1 1 1')" 'xenpm get-cpu-topology'
	same "$(xl info -n | sed -n '/^node:/,/^xen_major/p' | awk '/^ *[01]:/ { print $4 }' | tr '\n' ' ')" '10,21 21,10 ' distances
	# Each node has 1 GiB, but for what the firmware keeps.
	xl info -n | sed -n '/^node:/,/^xen_major/p' | awk '/^ *[01]:/ && ($2 < 1000 || $2 > 1024) { exit 1 }'
}

# A pool for each node, and one pool again.
test_split() {
	xl cpupool-numa-split
	same "$(xl cpupool-list -c | awk 'NR > 1 { print $1, $2 }' | tr '\n' ' ')" 'Pool-node0 0,1 Pool-node1 2,3 ' 'pools and their CPUs'
	same "$(nproc)" 2 "dom0's CPUs"
	tiny_up there 'pool = "Pool-node1"'
	[ "$(xl vcpu-list there | awk 'NR == 2 { print $4 }')" -ge 2 ]
	xl destroy there
	eventually only_dom0
	pools_back
	same "$(xl cpupool-list -c | awk 'NR > 1 { print $1, $2 }')" 'Pool-0 0,1,2,3' 'the pool and its CPUs'
}

test_xenpm() {
	xenpm start 1 >/tmp/xenpm
	same "$(grep -c '^CPU[0-3]:' /tmp/xenpm)" 4 'CPUs measured'
	grep -q '^Socket 1' /tmp/xenpm
	same "$(sed -n '/^Socket 1/,$p' /tmp/xenpm | grep -c 'Core [01] CPU [23]')" 2 'cores of socket 1'
	same "$(xenpm get-cpuidle-states | grep -c '^C1 ')" 4 'CPUs with a C1'
	xenpm get-cpufreq-para 2>&1 | grep -q 'CPU3. failed to get cpufreq parameter'
}

# Memory comes from the node of the CPUs that the guest may use. (A list: for cpus="0-1" libxl places the guest by itself.)
test_placement() {
	local before0 before1 after0 after1 cpus node
	for node in 0 1; do
		cpus=$((node * 2))-$((node * 2 + 1))
		before0=$(node_free 0) before1=$(node_free 1)
		tiny_up "placed$node" 'memory = 100' "cpus = [\"$cpus\"]"
		same "$(node_affinity "placed$node")" $node "node affinity with cpus=$cpus"
		after0=$(node_free 0) after1=$(node_free 1)
		if [ $node = 0 ]; then
			[ $((before0 - after0)) -ge 100 ] && [ $((before1 - after1)) -le 4 ]
		else
			[ $((before1 - after1)) -ge 100 ] && [ $((before0 - after0)) -le 4 ]
		fi || fail "cpus=$cpus: node 0 $before0 to $after0 MiB, node 1 $before1 to $after1 MiB"
	done
	if [ "$hypervisor" != xen ]; then
		xl debug-keys u
		xl dmesg | tail -n 12 | grep -Eq "d$(xl domid placed0) wants nodes 1; frames on node 0: 25[0-9]{3} 1: 0\$"
		xl dmesg | tail -n 12 | grep -Eq "d$(xl domid placed1) wants nodes 2; frames on node 0: 0 1: 25[0-9]{3}\$"
	fi
	# More than the node has: the rest comes from the other.
	before1=$(node_free 1)
	if [ "$(node_free 0)" -gt 200 ]; then
		tiny_up large "memory = $((before1 + 60))" 'cpus = ["2-3"]'
		[ "$(node_free 1)" -le 20 ] || fail "node 1 has $(node_free 1) MiB left"
		xl destroy large
	fi
	destroy_all
	eventually all_is_back "$before0" "$before1"
}
all_is_back() { [ "$(node_free 0)" -ge $(($1 - 2)) ] && [ "$(node_free 1)" -ge $(($2 - 2)) ]; }

# Without a word about CPUs libxl takes the node with more free memory, and the guest would rather run there.
test_automatic() {
	local node=0
	[ "$(node_free 0)" -ge "$(node_free 1)" ] || node=1
	tiny_up placed 'memory = 100'
	same "$(node_affinity placed)" $node 'node chosen by libxl'
	same "$(xl vcpu-list placed | awk 'NR == 2 { print $NF }')" "$((node * 2))-$((node * 2 + 1))" 'soft affinity chosen by libxl'
	destroy_all
}

# A list of CPUs that spans both nodes leaves the choice; one that is off the machine is refused.
test_placement_bad() {
	tiny_up both 'cpus = ["1-2"]'
	same "$(node_affinity both)" all 'affinity of a guest on both nodes'
	xl vcpu-pin both 0 3
	same "$(node_affinity both)" 1 'affinity after vcpu-pin'
	xl vcpu-pin both 0 all
	same "$(node_affinity both)" all 'affinity after vcpu-pin all'
	tiny_config off 'cpus = ["7"]'
	refused xl create -q /tmp/off.cfg
	eventually gone off
	destroy_all
}

# libxl 4.17 asks for a PVH guest's virtual nodes with no room for the answer: refused, on Xen as here, and nothing stays.
test_vnuma() {
	local free=$(free_kib)
	tiny_config virtual 'memory = 64' 'vcpus = 2' \
		'vnuma = [["pnode=0","size=32","vcpus=0","vdistances=10,20"],["pnode=1","size=32","vcpus=1","vdistances=20,10"]]'
	refused xl create -q /tmp/virtual.cfg
	grep -q 'xc_domain_getvnuma failed' /tmp/refused
	eventually only_dom0
	eventually back "$free"
}
back() { [ "$(free_kib)" -ge $(($1 - 1024)) ]; }

test_tsc_mode() {
	tiny_up slow 'tsc_mode = "always_emulate"'
	tiny_up quick 'tsc_mode = "native"'
	tell slow t
	tell quick t
	eventually said slow 'tiny: tsc emulated'
	eventually said quick 'tiny: tsc native'
	destroy_all
}
