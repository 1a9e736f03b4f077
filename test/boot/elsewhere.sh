#!/bin/sh
# mmdebstrap's hook for the boot test dom0_elsewhere: a Debian with systemd, xen-utils and a kernel as their packages set them
# up, and one service that tries the tool stack and powers off. Usage: elsewhere.sh ROOT TINY-GUEST
set -e
root=$1
ln -sf /sbin/init "$root/init"
echo dom0 >"$root/etc/hostname"
mkdir -p "$root/guests" "$root/var/log/xen/console"
cp "$2" "$root/guests/tiny"
echo 'XENCONSOLED_ARGS=--log=guest' >>"$root/etc/default/xen"
cat >"$root/usr/local/sbin/try" <<'END'
#!/bin/sh
# By way of the kernel's log: who writes to the console itself is cut off when getty takes it.
say() { echo "@@$*" >/dev/kmsg; }
say "version $(xl info | sed -n 's/^xen_version *: *//p')"
say "service $(systemctl is-active xen.service)"
printf '%s\n' 'name = "tiny"' 'type = "pvh"' 'kernel = "/guests/tiny"' 'memory = 16' >/tmp/tiny.cfg
xl create -q /tmp/tiny.cfg || say 'xl create failed'
for i in $(seq 30); do
	grep -aqs 'tiny: up' /var/log/xen/console/guest-tiny.log && say 'guest up' && break
	sleep 1
done
xl destroy tiny && say 'guest destroyed'
say "failed units: $(systemctl --failed --no-legend | wc -l)"
systemctl --failed --no-legend >/dev/kmsg
systemctl poweroff
END
chmod 755 "$root/usr/local/sbin/try"
cat >"$root/etc/systemd/system/try.service" <<'END'
[Unit]
After=multi-user.target xen.service
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/try
[Install]
WantedBy=multi-user.target
END
chroot "$root" systemctl enable try.service
# It is to fit into memory: the kernel, which QEMU loads, and drivers of hardware that is not there.
cp "$root"/boot/vmlinuz-* "$root/../elsewhere.vmlinuz"
rm -rf "$root"/boot/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
find "$root/usr/lib/modules" -name '*.ko' \( -path '*/sound/*' -o -path '*/net/*' -o -path '*/fs/*' -o -path '*/drivers/*' \) ! -path '*/xen/*' -delete
