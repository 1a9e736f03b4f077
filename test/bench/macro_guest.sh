#!/bin/sh
# The first process of the macro benchmark's guest: its disk is a RAM disk of dom0, its network is dom0's bridge.
export PATH=/usr/bin
echo @@INIT
mount -t proc proc /proc
# The guest that is saved only waits.
! grep -q bench.save /proc/cmdline || while :; do sleep 1000; done
mount -t devtmpfs dev /dev 2>/dev/null
modprobe xen-blkfront
modprobe xen-netfront
until [ -b /dev/xvda ] && [ -e /proc/sys/net/ipv4/conf/eth0 ]; do
	sleep 0.1
done
busybox ifconfig eth0 10.9.9.2 up
sleep 1
# Whole pages of the RAM disk come into being at the first write.
/macro disk first w 1048576 33554432 /dev/xvda >/dev/null
for how in w r; do
	/macro disk blk4k$how $how 4096 4194304 /dev/xvda
	/macro disk blk64k$how $how 65536 33554432 /dev/xvda
	/macro disk blk1m$how $how 1048576 33554432 /dev/xvda
done
grep -q bench.short /proc/cmdline && bytes=2097152 || bytes=33554432
/macro send 10.9.9.1 5001 $bytes 2
/macro sink netin 5002 2
echo @@DONE
busybox poweroff -f
