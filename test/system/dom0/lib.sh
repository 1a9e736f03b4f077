# What the tests in dom0 are written with. Each test runs under set -e: a command that fails, fails the test.

logs=/var/log/xen/console

fail() {
	trap - ERR
	echo "$*"
	exit 1
}

# eventually COMMAND...: tries again until it succeeds; gives up after two minutes, on a slow hypervisor later.
eventually() {
	local end=$((SECONDS + 120 * slow))
	while [ $SECONDS -lt $end ]; do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.2
	done
	fail "never came true: $*"
}

# refused COMMAND...: must fail, and say why; being killed by a signal is not a refusal.
refused() {
	local rc=0
	complains "$@"
	[ $rc != 0 ] || fail "not refused: $*"
}
# complains COMMAND...: the same for the few commands of xl that report an error and then return 0.
complains() {
	local signals='129 130 131 132 133 134 135 136 137 139'
	rc=0
	"$@" >/tmp/refused 2>&1 || rc=$?
	[[ " $signals " != *" $rc "* ]] || fail "died with $rc: $*"
	[ -s /tmp/refused ] || fail "refused without a word: $*"
}

same() { # GOT WANTED WHAT
	[ "$1" = "$2" ] || fail "$3: got '$1', wanted '$2'"
}

# tiny NAME [LINE...]: writes the configuration of a tiny guest with more lines, and creates it.
tiny_config() {
	local name=$1
	shift
	printf '%s\n' "name = \"$name\"" 'type = "pvh"' 'kernel = "/guests/tiny"' 'memory = 16' 'vcpus = 1' "$@" \
		>"/tmp/$name.cfg"
}
tiny() {
	tiny_config "$@"
	: >"$logs/guest-$1.log"
	xl create -q "/tmp/$1.cfg"
}
# said NAME TEXT [COUNT]: has the guest printed the text, at least that often?
said() { [ "$(grep -acF -- "$2" "$logs/guest-$1.log")" -ge "${3:-1}" ]; }
tiny_up() {
	tiny "$@"
	eventually said "$1" 'tiny: up'
}

# tell NAME TEXT: types the text on the guest's console.
tell() {
	local tty
	tty=$(xenstore-read "/local/domain/$(xl domid "$1")/console/tty")
	printf '%s' "$2" >"$tty"
}

exists() { xl domid "$1" >/dev/null 2>&1; }
gone() { ! exists "$1"; }
# state NAME: one of xl list's letters rbpscd, for example p.
state() { xl list "$1" | awk 'NR == 2 { gsub("-", "", $(NF - 1)); print $(NF - 1) }'; }
has_state() { [[ $(state "$1") == *"$2"* ]]; }
column() { xl list "$1" | awk -v n="$2" 'NR == 2 { print $n }'; }

destroy_all() {
	local id
	for id in $(xl list | awk 'NR > 1 && $2 != 0 { print $2 }'); do
		xl destroy "$id" || true
	done
	eventually only_dom0
}
# pool_cpus NAME: the pool's CPUs, as in 0,2,3.
pool_cpus() { xl cpupool-list -c | awk -v p="$1" '$1 == p { print $2 }'; }
# pools_back: what a failed test may leave behind: all CPUs belong to Pool-0, and dom0 may run on each of them.
pools_back() {
	local name cpu
	name=$(xl cpupool-list | awk 'NR == 2 { print $1 }')
	[ "$name" = Pool-0 ] || xl cpupool-rename "$name" Pool-0
	for name in $(xl cpupool-list | awk 'NR > 2 { print $1 }'); do
		xl cpupool-destroy "$name" || true
	done
	for ((cpu = $(xl info | sed -n 's/^nr_cpus *: *//p') - 1; cpu >= 0; cpu--)); do
		xl cpupool-cpu-add Pool-0 "$cpu" || true
	done
	xl vcpu-pin 0 all all all
}
only_dom0() { [ "$(xl list | wc -l)" = 2 ]; }

# free_kib: the hypervisor's free memory.
free_kib() { /test/physinfo; }

# keys KEYS: what the debug keys, the first of which is m or q, made the hypervisor write.
keys() {
	xl debug-keys "$1"
	xl dmesg | tac | sed "/'${1:0:1}' pressed/q"
}

# balance: a figure in KiB that is the same whenever the same domains exist, to the page: free memory, and what dom0 has
# and may come to have by itself (its RAM, which it balloons; its page tables, ports, grant tables and handles; how the
# heap cuts up its pages). Then the number of small objects in the heap, which those pages could hide. Xen does not tell.
balance() {
	local text
	[ "$hypervisor" != xen ] || { free_kib; return; }
	text=$(keys mq)
	sed -nE -e "s/.*heap: .* ([0-9]+) overhead; ([0-9]+) small objects.*/\1 \2/p" \
		-e 's/.* d0: ([0-9]+) frames .* ([0-9]+) page-table pages, ([0-9]+) pages of .*/\1 \2 \3/p' <<<"$text" | tr '\n' ' ' |
		awk -v free="$(free_kib)" 'NF == 5 { print free + 4 * ($1 + $2 + $3 + $4) " KiB, " $5 " objects" }'
}
# is_balanced WHAT [KIB]: on Xen more memory than before is no fault, and so much less, for dom0's page tables.
is_balanced() {
	if [ "$hypervisor" = xen ]; then
		[ "$(balance)" -ge $(($1 - ${2:-0})) ]
	else
		[ -n "$1" ] && [ "$(balance)" = "$1" ]
	fi
}

# holdings: how many domains there are and what dom0 has: its event channels and, as far as the hypervisor tells, its
# grants. xl list also shows domains that are not gone completely.
holdings() {
	local grants=
	[ "$hypervisor" = xen ] ||
		grants=$(keys q | sed -n 's/.* d0: .*\(, [0-9]* ports, [0-9]* grants used, [0-9]* mapped\).*/\1/p')
	echo "$(($(xl list | wc -l) - 1)) domains, $(lsevtchn 0 | wc -l) channels$grants"
}
holdings_are() { [ "$(holdings)" = "$1" ]; }

# debian NAME LINE...: the Debian guest, up to its shell; LINEs are added to its configuration.
debian() {
	local name=$1
	shift
	printf '%s\n' "name = \"$name\"" 'type = "pvh"' 'on_crash = "preserve"' 'kernel = "/guests/vmlinuz"' 'ramdisk = "/guests/initrd"' \
		"extra = \"console=hvc0 quiet guest.name=$name\"" 'disk = [ "phy:/dev/nvme0n1,xvda,w" ]' "$@" >"/tmp/$name.cfg"
	: >"$logs/guest-$name.log"
	xl create -q "/tmp/$name.cfg"
	eventually said "$name" '@@GUEST up'
}
# plug NAME CPU...: the guest's own way to take CPUs that the tool stack gave it, as udev does it on a full system.
plug() {
	local name=$1 cpu
	shift
	for cpu; do
		inside "$name" "until echo 1 >/sys/devices/system/cpu/cpu$cpu/online || [ \"\$(cat /sys/devices/system/cpu/cpu$cpu/online)\" = 1 ]; do sleep 0.1; done 2>/dev/null"
	done
}
# load NAME: four jobs that compute a sum over and over, until load_sums NAME SUM ends them: each did, and always that sum.
load() {
	inside "$1" '(for i in 1 2 3 4; do while [ ! -e /tmp/stop ]; do md5sum /usr/bin/perl; done | uniq >/tmp/load$i & done) 2>/dev/null'
}
load_sums() {
	inside "$1" 'touch /tmp/stop; for i in $(seq 100); do [ "$(ls -s /tmp/load? | grep -vc "^ *0 ")" = 4 ] && break; sleep 1; done'
	same "$(inside "$1" 'sort -u /tmp/load* | cut -c 1-32')" "$2" 'sums'
}
perl_sum() { inside "$1" "md5sum /usr/bin/perl | cut -d' ' -f1"; }

# not_ended NAME COMMAND: says why the end mark of a command has not been seen; another mark shows whether the shell is
# free.
not_ended() {
	local mark="S$RANDOM$RANDOM"
	tell "$1" "echo @@'$mark'"$'\n'
	sleep 10
	! said "$1" "@@$mark" || fail "the guest $1 has done it, but the end mark was lost or torn: $2"
	fail "the guest $1 has not come to the end of: $2"
}

# inside NAME COMMAND: runs a shell command in the Debian guest through its console, prints its output, and fails
# when the command does. The guest echoes what is typed, so the end marks are typed in two halves.
inside() {
	local log=$logs/guest-$1.log mark="M$RANDOM$RANDOM" text rc
	tell "$1" "echo @@'$mark'; $2; echo @@'$mark' \$?"$'\n'
	(eventually grep -aq "^@@$mark [0-9]" "$log") >&2 || not_ended "$1" "$2" >&2
	text=$(tr -d '\r' <"$log" | sed -n "/^@@$mark\$/,/^@@$mark [0-9]/p")
	rc=$(printf '%s\n' "$text" | sed -n "s/^@@$mark \([0-9]*\)/\1/p")
	printf '%s\n' "$text" | grep -av "^@@$mark" || true
	return "$rc"
}
