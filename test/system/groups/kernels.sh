# about: a guest with populate-on-demand memory
# boot: --memory=2048 --nic=none
# guest: yes
# limit: 900

guest_config() { # NAME LINE...
	local name=$1
	shift
	printf '%s\n' "name = \"$name\"" 'type = "pvh"' 'vcpus = 1' 'on_crash = "destroy"' "$@" >"/tmp/$name.cfg"
	: >"$logs/guest-$name.log"
}
meminfo() { inside "$1" "sed -n 's/$2: *\([0-9]*\) kB/\1/p' /proc/meminfo"; } # NAME FIELD

test_populate_on_demand() {
	local before full
	memory_is() { [ "$(column pod 3)" = "$1" ]; }
	before=$(free_kib)
	guest_config pod 'kernel = "/guests/vmlinuz"' 'ramdisk = "/guests/initrd"' \
		'extra = "console=hvc0 quiet guest.name=pod"' 'memory = 128' 'maxmem = 256' \
		'disk = [ "phy:/dev/nvme0n1,xvda,w" ]'
	xl create -q /tmp/pod.cfg
	eventually said pod '@@GUEST up'
	memory_is 128
	[ $((before - $(free_kib))) -lt $((150 * 1024)) ] || fail "the guest cost $((before - $(free_kib))) KiB"
	full=$(meminfo pod MemTotal)
	[ "$full" -lt 131072 ] || fail "MemTotal is $full KiB"
	# More than half of what it has, with contents.
	inside pod 'mount -o remount,size=200m /tmp; head -c 40000000 /dev/urandom >/tmp/a; md5sum /tmp/a >/tmp/sum'
	xl mem-set pod 256
	eventually memory_is 256
	[ "$(meminfo pod MemTotal)" -gt $((full + 100000)) ] || fail 'the guest did not grow'
	inside pod 'for i in b c d; do cp /tmp/a /tmp/$i; done; md5sum -c /tmp/sum; cmp /tmp/a /tmp/d; rm /tmp/[bcd]'
	xl mem-set pod 140
	eventually memory_is 140
	inside pod 'md5sum -c /tmp/sum'
}
