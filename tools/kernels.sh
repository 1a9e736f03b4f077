#!/bin/bash
# Makes what the tests of other kernels need: Debian 13's stock kernel (for dom0 and for guests) and GRUB for PVH with
# a disk to boot from. Nothing is installed; apt uses sources and lists of its own, signed by Debian's keyring.
# Usage: tools/kernels.sh [--force]
# Makes in build/: debian13-vmlinuz (the kernel as packaged), grub.img (ext2: grub.cfg, the kernel and initramfs of
# guest-boot.cpio) and kernels.cpio (append it to dom0.cpio and guest-boot.cpio: the modules that dom0 needs under
# Debian 13's kernel, /guests/vmlinuz13, /guests/initrd13, /guests/grub-pvh).
. "$(dirname "$0")/lib.sh"

here=$ROOT/tools
"$here/guest-image.sh"
[ "${1:-}" = --force ] ||
	! newer "$BUILD/kernels.cpio" "$here/kernels.sh" "$here/lib.sh" "$here/guest/initramfs-init" "$BUILD/guest-boot.cpio" ||
	exit 0

work=$CACHE/kernels
rm -rf "$work"
mkdir -p "$work"

# package DIR NAME: unpacks the one package, without what it depends on.
package() {
	local debs
	debs=$(mktemp -d "$work/deb.XXX")
	(cd "$debs" && apt-get -qq download "$2" >/dev/null)
	dpkg-deb -x "$debs"/*.deb "$1"
	rm -r "$debs"
}

say 'kernels: GRUB for PVH'
package "$work/grub" grub-xen-host
mkdir -p "$work/out/guests" "$work/disk/boot/grub"
cp "$work/grub/usr/lib/grub-xen/grub-i386-xen_pvh.bin" "$work/out/guests/grub-pvh"
(cd "$work/disk" && cpio --quiet -id --no-absolute-filenames 'guests/vmlinuz' 'guests/initrd' \
	'./guests/vmlinuz' './guests/initrd' <"$BUILD/guest-boot.cpio")
cat >"$work/disk/boot/grub/grub.cfg" <<'END'
echo "@@GRUB runs on $grub_cpu-$grub_platform"
linux /guests/vmlinuz console=hvc0 quiet guest.name=grub guest.grub=yes
initrd /guests/initrd
boot
END
truncate -s 32M "$BUILD/grub.img.tmp"
mke2fs -q -t ext2 -F -E root_owner=0:0 -L grub -d "$work/disk" "$BUILD/grub.img.tmp"
mv "$BUILD/grub.img.tmp" "$BUILD/grub.img"

say "kernels: Debian 13's kernel"
(
	use_suite trixie
	name=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: //p' | head -n 1)
	package "$work/linux" "$name"
	package "$work/linux" busybox-static
)
merge_usr "$work/linux"
kernel=$(cd "$work/linux/boot" && echo vmlinuz-*)
version=${kernel#vmlinuz-}

# modules TREE MODULE...: the modules of Debian 13's kernel; unpacked, since busybox' modprobe leaves that to the kernel.
modules() {
	local tree=$1
	shift
	merge_usr "$tree"
	copy_modules "$work/linux" "$tree" "$version" "$@"
	find "$tree/usr/lib/modules" -name '*.ko.xz' -exec xz -d {} +
	depmod -b "$tree" "$version"
}
modules "$work/initrd" xen-blkfront xen-netfront ext4 crc32c_generic af_packet
modules "$work/dom0" xen-privcmd xen-evtchn xen-gntdev xen-gntalloc xenfs xen-blkback nvme loop ext4
mkdir -p "$work/out/usr/lib"
cp -r "$work/dom0/usr/lib/modules" "$work/out/usr/lib/"

mkdir -p "$work/initrd"/{proc,sys,dev,root}
cp "$work/linux/usr/bin/busybox" "$work/initrd/usr/bin/"
for name in sh mount modprobe switch_root sleep cat; do
	ln -s busybox "$work/initrd/usr/bin/$name"
done
# The kernel itself calls this one: ext4 asks for a checksum's driver.
ln -s ../bin/busybox "$work/initrd/usr/sbin/modprobe"
install -m 755 "$here/guest/initramfs-init" "$work/initrd/init"
pack_cpio "$work/initrd" "$work/out/guests/initrd13"
cp "$work/linux/boot/$kernel" "$work/out/guests/vmlinuz13"
cp "$work/linux/boot/$kernel" "$BUILD/debian13-vmlinuz"
pack_cpio "$work/out" "$BUILD/kernels.cpio"
rm -rf "$work"
say "kernels: Debian 13's $version, $(du -h "$BUILD/kernels.cpio" | cut -f 1) in ${BUILD##*/}/kernels.cpio"
