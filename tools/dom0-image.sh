#!/bin/bash
# Makes dom0 out of unmodified Debian 12 packages: the stock kernel and an initramfs with Xen's tool stack.
# Usage: tools/dom0-image.sh [--force]
# Makes in build/: dom0-vmlinuz (the kernel as packaged), dom0-vmlinux (the ELF inside it), dom0.cpio, and
# cache/xen.elf (Debian's own Xen 4.17, the oracle that every guest-visible test also runs on).
. "$(dirname "$0")/lib.sh"

here=$ROOT/tools
[ "${1:-}" = --force ] || ! newer "$BUILD/dom0.cpio" "$here/dom0-image.sh" "$here/lib.sh" "$here"/dom0/* "$here"/dom0/etc/* || exit 0

from=$CACHE/dom0-packages
to=$CACHE/dom0-root
say 'dom0 image: fetching packages'
rm -rf "$from" "$to"
packages_unpack "$from" linux-image-amd64 xen-utils-4.17 xen-hypervisor-4.17-amd64 busybox-static bash iproute2 mount util-linux bsdutils
merge_usr "$from"

say 'dom0 image: hypervisor (oracle) and kernel'
gzip -dc "$from/boot/xen-4.17-amd64.gz" >"$CACHE/xen.elf"
kernel=$(cd "$from/boot" && echo vmlinuz-*)
version=${kernel#vmlinuz-}
cp "$from/boot/$kernel" "$BUILD/dom0-vmlinuz"
kernel_unpack "$BUILD/dom0-vmlinuz" "$BUILD/dom0-vmlinux"

say 'dom0 image: programs and modules'
merge_usr "$to"
mkdir -p "$to"/{dev,proc,sys,run,tmp,root,etc/xen,mnt,var/log/xen,var/lib/xen,var/lib/xenstored}
ln -s ../run "$to/var/run"
ln -s ../run/lock "$to/var/lock"
cp -a "$from/etc/xen/." "$to/etc/xen/"
cp -a "$from/usr/lib/xen-common" "$to/usr/lib/"

xen=usr/lib/xen-4.17/bin
# libgcc_s: pthread_cancel loads it by name.
programs=(usr/bin/busybox usr/bin/bash usr/sbin/losetup usr/bin/mount usr/bin/umount usr/bin/flock usr/bin/script usr/lib64/ld-linux-x86-64.so.2
	usr/lib/x86_64-linux-gnu/libgcc_s.so.1)
for name in ip bridge; do
	programs+=("$(cd "$from" && find usr/bin usr/sbin -name $name -type f)")
done
# Everything that xen-utils ships and that is a program; the Python scripts among them have no use here.
for file in "$from/$xen"/* "$from"/usr/bin/xenstore* "$from"/usr/bin/xen-detect "$from"/usr/sbin/xenhypfs; do
	name=${file#"$from/"}
	case $(head -c 2 "$file") in
	$'\x7fE') programs+=("$name") ;;
	esac
done
copy_elf "$from" "$to" "${programs[@]}"
# The wrappers of xen-utils-common pick the tools by the running hypervisor's version; they stay in use.
for file in "$from"/usr/sbin/* "$from"/usr/bin/*; do
	name=${file#"$from/"}
	[ ! -L "$file" ] || case $(readlink "$file") in
	*xen-utils-wrapper*) cp -a "$file" "$to/$name" ;;
	esac
done

copy_modules "$from" "$to" "$version" \
	xen-privcmd xen-evtchn xen-gntdev xen-gntalloc xenfs xen-blkback xen-netback \
	nvme ahci ata_piix sd_mod e1000e e1000 virtio_pci virtio_blk virtio_net virtio_console \
	loop bridge tun af_packet ext4 overlay
busybox_links "$to"
for file in "$here"/dom0/etc/*; do
	cp -r "$file" "$to/etc/"
done
install -m 755 "$here/dom0/init" "$to/init"
install -m 755 "$here/dom0/dhcp" "$to/usr/sbin/dhcp-event"

pack_cpio "$to" "$BUILD/dom0.cpio"
rm -rf "$from" "$to"
say "dom0 image: $(du -h "$BUILD/dom0.cpio" | cut -f 1) in ${BUILD##*/}/dom0.cpio"
