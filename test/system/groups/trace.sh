# about: xentrace, xenperf and the debug keys of the counters, with guests that spin and send events
# boot: --cpus=2 --args=dom0_max_vcpus=2 --nic=none --dom0-args=gossamer.bare
# limit: 1200

# trace SECONDS OPTION...: runs xentrace, with small buffers, while a guest talks on its console, and counts the records.
trace() {
	local seconds=$1 i
	shift
	rm -f /tmp/trace
	xentrace -D -S 2 -T "$seconds" "$@" /tmp/trace &
	for i in 1 2 3 4 5; do
		tell calm n
		sleep 0.2
	done
	wait $!
	/test/tracecount /tmp/trace >/tmp/counts
	cat /tmp/counts
}
# counted KIND: how many of them.
counted() { awk -v kind="$1" '$1 == kind { print $2 }' /tmp/counts; }
some() { [ "$(counted "$1")" -ge "${2:-1}" ] || fail "only $(counted "$1") records of $1"; }

test_trace_all() {
	local kind
	tiny spin 'extra = "spin"'
	tiny_up calm
	trace 3
	for kind in runstate switch infprev infnext wake block entry exit hypercall; do
		some $kind 10
	done
	if [ "$hypervisor" != xen ]; then
		some send 5
		[ "$(counted lost)" -lt 100 ]
	fi
	grep -q '^cpu 0 ' /tmp/counts
}

# Twice: the buffers are there already. Only what was asked for.
test_trace_some() {
	tiny_up calm
	trace 2 -e 0x0002f000
	some switch 10
	same "$(counted hvm)" 0 'records of exits'
	trace 2 -e 0x00081000
	some exit 10
	same "$(counted sched)" 0 'records of the scheduler'
}

value() { xenperf | awk -v name="$1" 'index($0, name) == 1 { sub(/.*T= */, ""); print $1 }'; }

test_perf_counters() {
	local before
	if [ "$hypervisor" = xen ]; then
		complains xenperf # Debian's Xen is built without
		return
	fi
	tiny_up calm
	xenperf
	before=$(value 'exits: hypercall')
	[ "$before" -ge 100 ]
	[ "$(value 'exits: hypercall')" -gt "$before" ]
	[ "$(value 'hypercalls')" -ge 100 ]
	[ "$(value 'sched: context switches')" -ge 10 ]
	xenperf -f | grep -q hypercalls
	xenperf -r
	[ "$(value 'exits: hypercall')" -lt "$before" ]
	xl debug-keys p
	xl dmesg | grep -q 'exits: hypercall: '
	xl debug-keys P
}
