#!/bin/bash
# Installs the Debian 12 packages that are missing on this machine, by name.
# Usage: tools/deps.sh [build] [run] [bochs] [test]      (all groups by default)
. "$(dirname "$0")/lib.sh"

build='gcc make binutils libc6-dev libxen-dev liblzma-dev libzstd-dev zlib1g-dev liblz4-dev'
# run: the emulator, and what assembles the images of dom0 and of the guest.
run='qemu-system-x86 seabios mmdebstrap cpio kmod e2fsprogs xz-utils zstd lz4 gzip binutils apt dpkg'
# bochs: the emulator of Intel's VMX is built from Debian's source; firmware, and what makes a bootable disc for it.
bochs='g++ make xz-utils debian-archive-keyring bochsbios vgabios grub-pc-bin grub-common xorriso mtools'
test="$run $bochs gcc libc6-dev libxen-dev libcmocka-dev python3 clang-14 clang-format-14 libclang-rt-14-dev cloc git gdb grub-efi-amd64-bin ovmf"

wanted=
for group in "${@:-all}"; do
	case $group in
	build | run | bochs | test) wanted+=" ${!group}" ;;
	all) wanted+=" $build $run $test" ;;
	*) die "unknown group $group: build, run, bochs or test" ;;
	esac
done

missing=()
for package in $(printf '%s\n' $wanted | sort -u); do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
done
[ ${#missing[@]} != 0 ] || exit 0

say "Installing these Debian packages: ${missing[*]}"
as_root apt-get -qq update
as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null
