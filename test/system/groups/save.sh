# about: a Debian guest is saved, goes on or is restored, and has lost nothing
# boot: --memory=2048 --nic=none --dom0-memory=1024
# guest: yes
# first: save_boot
# limit: 900
# long: yes

# One guest serves all tests; it keeps its memory from one to the next.
keep_domains=yes

test_save_boot() {
	debian saved 'vcpus = 1' 'memory = 160'
	inside saved 'mount -o remount,size=60m /tmp; head -c 30000000 /dev/urandom >/tmp/a; md5sum /tmp/a >/root/sum'
	inside saved 'cat /proc/sys/kernel/random/boot_id >/tmp/boot'
	# Writes all the time, so that every round of the saving finds dirty pages.
	inside saved '(while :; do date +%s >/tmp/now; cp /tmp/now /tmp/then; done) >/dev/null 2>&1 & true'
}

# The guest is the one that was booted, its memory and its disk are what they were, and its clock runs.
unharmed() {
	local before
	inside saved 'md5sum -c /root/sum'
	inside saved 'cmp /proc/sys/kernel/random/boot_id /tmp/boot'
	inside saved 'echo 3 >/proc/sys/vm/drop_caches; md5sum /usr/bin/* >/dev/null; touch /root/x; sync'
	before=$(inside saved 'cat /proc/uptime' | cut -d. -f1)
	inside saved 'sleep 2'
	[ "$(inside saved 'cat /proc/uptime' | cut -d. -f1)" -ge $((before + 2)) ]
	inside saved 'sleep 1; [ $(($(date +%s) - $(cat /tmp/then))) -lt 10 ]'
}

test_checkpoint() {
	xl save -c saved /tmp/image
	[ "$(stat -c %s /tmp/image)" -gt 30000000 ]
	exists saved
	rm /tmp/image
	unharmed
}

test_save_restore() {
	local before
	before=$(xl domid saved)
	xl save saved /tmp/image
	gone saved
	xl restore /tmp/image
	rm /tmp/image
	[ "$(xl domid saved)" != "$before" ]
	unharmed
}

test_restore_refused() {
	head -c 200000 /dev/urandom >/tmp/noise
	refused xl restore /tmp/noise
	xl save -c saved /tmp/image
	head -c 2000000 /tmp/image >/tmp/part
	xl destroy saved
	refused xl restore /tmp/part
	eventually gone saved
	xl restore -p /tmp/image
	has_state saved p
	xl unpause saved
	unharmed
	xl destroy saved
}
