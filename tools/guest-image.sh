#!/bin/bash
# Makes the Debian 12 guest that xl starts: a root file system on a raw disk image, and its unmodified kernel.
# Usage: tools/guest-image.sh [--force]
# Makes in build/: guest.img (ext4, the guest's whole disk) and guest-boot.cpio (what dom0 starts it with:
# /guests/vmlinuz, /guests/initrd and configurations; append it to dom0.cpio).
. "$(dirname "$0")/lib.sh"

here=$ROOT/tools
[ "${1:-}" = --force ] ||
	! newer "$BUILD/guest-boot.cpio" "$here/guest-image.sh" "$here/lib.sh" "$here"/guest/* || exit 0

from=$CACHE/guest-packages
root=$CACHE/guest-root
boot=$CACHE/guest-boot
say 'guest image: fetching the kernel'
rm -rf "$from" "$boot"
as_root rm -rf "$root"
packages_unpack "$from" linux-image-cloud-amd64 busybox-static
merge_usr "$from"
kernel=$(cd "$from/boot" && echo vmlinuz-*)
version=${kernel#vmlinuz-}

say 'guest image: Debian root file system'
# Maintainer scripts run in this one: it is a real Debian, only without an init system.
as_root mmdebstrap --quiet --mode=root --variant=essential --include=mount,iproute2,iputils-ping,wget,procps \
	--aptopt='Acquire::Retries "3"' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
	bookworm "$root"
as_root install -m 755 "$here/guest/init" "$root/sbin/guest-init"
as_root install -m 755 "$here/guest/poweroff" "$root/sbin/poweroff"
as_root install -m 755 "$here/guest/poweroff" "$root/sbin/reboot"
# Escape sequences of line editing have no place in a console's log.
echo 'set enable-bracketed-paste off' | as_root tee -a "$root/etc/inputrc" >/dev/null
merge_usr "$boot/tree"
copy_modules "$from" "$boot/tree" "$version" xen-blkfront xen-netfront ext4 af_packet
as_root mkdir -p "$root/usr/lib/modules"
as_root cp -r "$boot/tree/usr/lib/modules/$version" "$root/usr/lib/modules/"

say 'guest image: disk'
rm -f "$BUILD/guest.img.tmp"
truncate -s 512M "$BUILD/guest.img.tmp"
as_root mke2fs -q -t ext4 -E lazy_itable_init=1,root_owner=0:0 -L guest -d "$root" "$BUILD/guest.img.tmp"
mv "$BUILD/guest.img.tmp" "$BUILD/guest.img"

say 'guest image: kernel and initramfs'
mkdir -p "$boot/tree"/{proc,sys,dev,root} "$boot/out/guests"
cp "$from/usr/bin/busybox" "$boot/tree/usr/bin/"
for name in sh mount modprobe switch_root sleep cat; do
	ln -s busybox "$boot/tree/usr/bin/$name"
done
install -m 755 "$here/guest/initramfs-init" "$boot/tree/init"
pack_cpio "$boot/tree" "$boot/out/guests/initrd"
cp "$from/boot/$kernel" "$boot/out/guests/vmlinuz"
cp "$here"/guest/*.cfg "$boot/out/guests/"
install -m 755 "$here/guest/start" "$boot/out/guests/start"
pack_cpio "$boot/out" "$BUILD/guest-boot.cpio"
rm -rf "$from" "$boot"
as_root rm -rf "$root"
say "guest image: $(du -h "$BUILD/guest.img" | cut -f 1) in ${BUILD##*/}/guest.img"
