# Shared by every script below tools/ and test/system/: paths, messages, Debian packages, cpio archives.
# Source it first. It sets -euo pipefail and defines ROOT (the work tree) and BUILD (everything that is made).
# No state but files below $BUILD; a file that exists there is complete, since it is renamed into place.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${BUILD:-$ROOT/build}
CACHE=$BUILD/cache
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C.UTF-8

say() { printf '%s\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# as_root COMMAND...: with sudo unless this is root already.
as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# newer TARGET SOURCE...: true when TARGET exists and no SOURCE is newer than it.
newer() {
	local target=$1 source
	shift
	[ -e "$target" ] || return 1
	for source in "$@"; do
		[ ! "$source" -nt "$target" ] || return 1
	done
}

# qemu_mend: sets $mend to what starts QEMU without its race on the first of several CPUs (tools/qemu_mend.c).
qemu_mend() {
	local library=$BUILD/qemu_mend.so source=$ROOT/tools/qemu_mend.c
	newer "$library" "$source" || {
		gcc -shared -fPIC -O2 -Wall -Wextra -Werror -o "$library.$$" "$source"
		mv "$library.$$" "$library"
	}
	mend=(env "LD_PRELOAD=$library")
}

# packages_unpack DIR PACKAGE...: fetches the packages with all they depend on and unpacks them into DIR.
# Nothing is installed on this machine: apt resolves against an empty package status, no maintainer script
# runs. Archives stay in $CACHE/debs, so a second run fetches nothing.
packages_unpack() {
	local dir=$1 status=$CACHE/empty-status deb
	shift
	mkdir -p "$CACHE/debs/partial" "$dir"
	: >"$status"
	local apt=(apt-get -qq -y -o "Dir::State::status=$status" -o "Dir::Cache::archives=$CACHE/debs/"
		-o Debug::NoLocking=1 -o APT::Install-Recommends=0 -o Acquire::Retries=3
		-o "APT::Sandbox::User=$(id -un)")
	# Package lists that are missing or out of date are the usual reason for a failure: fetch them, once.
	"${apt[@]}" --download-only install "$@" >/dev/null 2>&1 || {
		as_root apt-get -qq update
		"${apt[@]}" --download-only install "$@" >/dev/null
	}
	# Unpack what this set needs, not everything that other sets left in the directory.
	"${apt[@]}" -s install "$@" | sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1 \2/p' |
	while read -r name version; do
		deb=$(printf '%s\n' "$CACHE/debs/${name%%:*}_${version//:/%3a}"_*.deb)
		[ -f "$deb" ] || die "package $name $version was not fetched"
		dpkg-deb -x "$deb" "$dir"
	done
}

# use_suite SUITE [deb-src]: from now on apt sees this suite alone (its sources), from the archive that this machine's own
# sources name.
use_suite() {
	local apt=$CACHE/apt-$1${2:+-src} archive keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
	[ -n "$archive" ] || die "this machine's apt sources name no Debian archive"
	[ -f "$keyring" ] || die "no $keyring: install debian-archive-keyring"
	mkdir -p "$apt"/{parts,lists/partial,cache/archives/partial}
	: >"$apt/status"
	echo "${2:-deb} [signed-by=$keyring] $archive $1 main" >"$apt/sources.list"
	cat >"$apt/apt.conf" <<-END
		Dir::Etc::sourcelist "$apt/sources.list";
		Dir::Etc::sourceparts "$apt/parts";
		Dir::State "$apt";
		Dir::State::lists "$apt/lists";
		Dir::State::status "$apt/status";
		Dir::Cache "$apt/cache";
		APT::Sandbox::User "$(id -un)";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Debug::NoLocking "1";
	END
	export APT_CONFIG=$apt/apt.conf
	apt-get -qq update
}

# merge_usr DIR: makes bin, sbin, lib and lib64 of an unpacked tree links into usr, as on an installed Debian.
merge_usr() {
	local dir=$1 name
	for name in bin sbin lib lib64; do
		[ -L "$dir/$name" ] && continue
		mkdir -p "$dir/usr/$name"
		if [ -d "$dir/$name" ]; then
			cp -a "$dir/$name/." "$dir/usr/$name/"
			rm -rf "${dir:?}/$name"
		fi
		ln -s "usr/$name" "$dir/$name"
	done
}

# copy_elf FROM TO PATH...: copies programs (paths below FROM) and, recursively, the libraries they need.
# Both trees are merged-usr.
copy_elf() {
	local from=$1 to=$2 path lib found
	shift 2
	for path in "$@"; do
		[ ! -e "$to/$path" ] || continue
		[ -e "$from/$path" ] || die "$path is in none of the packages"
		mkdir -p "$to/$(dirname "$path")"
		cp -L "$from/$path" "$to/$path"
		for lib in $(readelf -d "$to/$path" 2>/dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
			found=$(cd "$from" && find usr/lib usr/lib64 -maxdepth 2 -name "$lib" | head -n 1)
			[ -n "$found" ] || die "$path needs $lib, which is in none of the packages"
			copy_elf "$from" "$to" "$found"
		done
	done
}

# copy_modules FROM TO VERSION MODULE...: copies kernel modules with what they depend on, and indexes them.
# A name that the kernel has built in is fine, an unknown one is an error.
copy_modules() {
	local from=$1 to=$2 version=$3 base file
	shift 3
	base=usr/lib/modules/$version
	[ -s "$from/$base/modules.dep" ] || depmod -b "$from" "$version"
	mkdir -p "$to/$base"
	cp "$from/$base"/modules.{builtin,builtin.modinfo,order} "$to/$base/"
	local names
	names=$(printf '%s\n' "$@" | tr - _)
	awk -v names="$names" '
		BEGIN { n = split(names, want, "\n") }
		FILENAME ~ /modules.builtin$/ { f = $1; sub(/.*\//, "", f); sub(/\.ko.*/, "", f); gsub(/-/, "_", f); builtin[f] = 1; next }
		{ sub(/:$/, "", $1); f = $1; sub(/.*\//, "", f); sub(/\.ko.*/, "", f); gsub(/-/, "_", f); line[f] = $0 }
		END {
			for (i = 1; i <= n; i++) {
				if (want[i] in line) { k = split(line[want[i]], part, " "); for (j = 1; j <= k; j++) print part[j] }
				else if (!(want[i] in builtin)) { print "no kernel module " want[i] > "/dev/stderr"; exit 1 }
			}
		}' "$from/$base/modules.builtin" "$from/$base/modules.dep" | sort -u |
	while read -r file; do
		mkdir -p "$to/$base/$(dirname "$file")"
		cp "$from/$base/$file" "$to/$base/$file"
	done
	depmod -b "$to" "$version"
}

# busybox_links DIR: one link to usr/bin/busybox for each applet whose name no real program has.
busybox_links() {
	local dir=$1 name
	for name in $("$dir/usr/bin/busybox" --list); do
		[ -e "$dir/usr/bin/$name" ] || [ -e "$dir/usr/sbin/$name" ] ||
			ln -s busybox "$dir/usr/bin/$name"
	done
}

# pack_cpio DIR FILE: a newc archive of DIR with every file owned by root.
pack_cpio() {
	(cd "$1" && find . | sort | cpio --quiet -o -H newc -R 0:0 --reproducible) >"$2.tmp"
	mv "$2.tmp" "$2"
}

# kernel_unpack VMLINUZ FILE: the ELF kernel inside a bzImage, found through its boot header's payload fields
# (Linux Documentation/x86/boot.rst: setup_sects at 0x1f1, payload_offset and payload_length at 0x248, 0x24c).
kernel_unpack() {
	local image=$1 out=$2 sects offset length magic tool
	field() { od -An -t "u$2" -j "$1" -N "$2" "$image" | tr -d ' '; }
	sects=$(field 0x1f1 1)
	offset=$(((${sects/#0/4} + 1) * 512 + $(field 0x248 4)))
	length=$(field 0x24c 4)
	magic=$(od -An -t x1 -j "$offset" -N 4 "$image" | tr -d ' ')
	case $magic in
	1f8b*) tool='gzip -dc' ;;
	fd377a58) tool='xz -dc' ;;
	28b52ffd) tool='zstd -dcq' ;;
	02214c18) tool='lz4 -dcq' ;;
	*) die "$image: unknown compression $magic" ;;
	esac
	# The payload ends with its unpacked size in four bytes that are not part of the stream: the tools may
	# complain about them after all has been written, so what counts is that size.
	local size
	size=$(field $((offset + length - 4)) 4)
	tail -c +$((offset + 1)) "$image" | head -c $((length - 4)) | $tool >"$out.tmp" || true
	[ "$(stat -c %s "$out.tmp")" = "$size" ] || [ "$tool" = 'gzip -dc' ] ||
		die "$image: unpacked to the wrong size"
	mv "$out.tmp" "$out"
}
