#!/bin/bash
# Makes what a dom0 needs for disks that QEMU serves (backendtype=qdisk): Debian's qemu-system-xen, as packaged.
# Usage: tools/qemu-image.sh [--force]
# Makes in build/: qemu.cpio (xl's device model, qemu-img and their libraries; append it to dom0.cpio).
. "$(dirname "$0")/lib.sh"

[ "${1:-}" = --force ] || ! newer "$BUILD/qemu.cpio" "$ROOT/tools/qemu-image.sh" "$ROOT/tools/lib.sh" || exit 0

from=$CACHE/qemu-packages
to=$CACHE/qemu-root
say 'QEMU for dom0: fetching packages'
rm -rf "$from" "$to"
packages_unpack "$from" qemu-system-xen qemu-utils
merge_usr "$from"
merge_usr "$to"
copy_elf "$from" "$to" usr/libexec/xen-qemu-system-i386 usr/bin/qemu-img
# It reads a keymap even when it has no display.
mkdir -p "$to/usr/share/qemu"
cp -r "$from/usr/share/qemu/keymaps" "$to/usr/share/qemu/"
pack_cpio "$to" "$BUILD/qemu.cpio"
rm -rf "$from" "$to"
say "QEMU for dom0: $(du -h "$BUILD/qemu.cpio" | cut -f 1) in ${BUILD##*/}/qemu.cpio"
