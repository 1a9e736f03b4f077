#!/bin/bash
# Tests of the domain loader: its C code as a hosted program under ASan and UBSan (host.c), and the real binary in QEMU,
# where a small PVH kernel (wrapper.c) plays the dom0 builder. It boots Debian's kernel ($VMLINUZ) and runs as dom0 of
# Debian's Xen ($XEN, not compressed); both are downloaded with apt-get when not given.
# Usage: run.sh [seed]
set -u
cd "$(dirname "$0")/../.." || exit 1
out=build/test-loader
seed=${1:-1}
passed=0
failed=0
places="L9001000 S8000000:1000000"	# of the loader and its scratch
mkdir -p $out

verdict()	# 0 or other, name
{
	if [ "$1" = 0 ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED: $2"
	fi
}

le32()		# number: four bytes, little-endian
{
	printf "$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) \
		$(($1 >> 24 & 255)))"
}

poke()		# file, offset: overwrite with standard input
{
	dd of="$1" bs=1 seek=$(($2)) conv=notrunc status=none
}

bzimage()	# result, payload, unpacked size or none: the boot protocol's fields around a payload
{
	cp "$2" $out/payload
	[ -z "${3:-}" ] || le32 "$3" >> $out/payload
	head -c 1024 /dev/zero > "$1"
	printf '\x01' | poke "$1" 0x1f1
	printf '\x55\xaa' | poke "$1" 0x1fe
	printf 'HdrS\x0f\x02' | poke "$1" 0x202
	le32 "$(stat -c %s $out/payload)" | poke "$1" 0x24c
	cat $out/payload >> "$1"
}

program()	# result, address, sources and options...
{
	local result=$1 base=$2
	shift 2
	gcc -m32 -O2 -ffreestanding -fno-pie -fno-stack-protector -fcf-protection=none -nostdlib -static -Wall -Wextra \
		-Werror -Ihypervisor '-DLOADER_BIN="build/loader/loader.bin"' -o "$result" "$@" \
		-Wl,-Ttest/loader/program.lds,--defsym=BASE="$base",--build-id=none,--no-warn-rwx-segments
}

build()
{
	echo 'include hypervisor/loader/loader.mk' > $out/Makefile
	make -s -f $out/Makefile CC="${CC:-gcc}" build/loader/loader.bin &&
	program $out/guest32 0x1000000 test/loader/start.S &&
	objcopy -O elf64-x86-64 $out/guest32 $out/guest64 &&
	program $out/wrapper 0x100000 -DWRAPPER test/loader/start.S test/loader/wrapper.c &&
	gcc -std=gnu17 -g -O1 -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all -Ihypervisor \
		-o $out/host test/loader/host.c hypervisor/loader/{main,place,image,unpack}.c \
		-Wl,--wrap=malloc,--wrap=calloc,--wrap=free -l:liblzma.a -l:libzstd.a -l:libz.a -l:liblz4.a
}

pack()
{
	local e=$out/guest64 size
	size=$(stat -c %s $e)
	gzip -nc $e > $out/e.gz && xz -c --check=crc32 --x86 --lzma2=dict=1MiB $e > $out/e.xz &&
	lzma -c -6 $e > $out/e.lzma && zstd -qc -19 $e > $out/e.zst && lz4 -qlc -9 $e > $out/e.lz4 || return 1
	bzimage $out/bz.gz $out/e.gz
	bzimage $out/bz.xz $out/e.xz "$size"
	bzimage $out/bz.lzma $out/e.lzma "$size"
	bzimage $out/bz.zst $out/e.zst "$size"
	bzimage $out/bz.lz4 $out/e.lz4 "$size"
	head -c $(($(stat -c %s $out/bz.xz) / 2)) $out/bz.xz > $out/truncated
	cp $out/e.xz $out/corrupt
	printf 'damage' | poke $out/corrupt 5000
	objcopy --remove-section=.note $e $out/nopvh 2> /dev/null
	tail -c 20000 $out/e.xz > $out/random
	printf 'MZ' | poke $out/random 0
}

from_debian()	# package, file in it, result
{
	[ -s "$3" ] && return
	(cd $out && apt-get -q download "$1" > apt.log 2>&1 &&
		dpkg-deb --fsys-tarfile "$1"_*.deb | tar -xO --wildcards "./boot/$2") > "$3"
	rm -f "$out/$1"_*.deb
}

# Runs QEMU until a line that matches stands in one of the outputs, the loader has given up, or 60 seconds.
run()		# name, wanted line, QEMU's options...
{
	local name=$1 wanted=$2 pid i rc=1
	shift 2
	: > $out/e9
	: > $out/serial
	timeout 60 qemu-system-x86_64 -accel tcg -nodefaults -display none -no-reboot -debugcon file:$out/e9 \
		-serial file:$out/serial -device isa-debug-exit "$@" > $out/qemu.log 2>&1 &
	pid=$!
	for ((i = 0; i < 600; i++)); do
		sleep 0.1
		grep -aqs -- "$wanted" $out/e9 $out/serial && break
		kill -0 $pid 2> /dev/null || break
		grep -aqs '^loader: \|Hardware Dom0' $out/e9 $out/serial && sleep 0.5 && break
	done
	grep -aqs -- "$wanted" $out/e9 $out/serial && rc=0
	kill $pid 2> /dev/null
	wait $pid 2> /dev/null
	[ $rc = 0 ] || { echo "$name: wanted \"$wanted\", got:"; cat $out/e9 $out/qemu.log; tail -3 $out/serial; }
	verdict $rc "$name"
}

boot()		# name, payload, wanted line, loader's options, arguments
{
	run "$1" "$3" -m 384 -kernel $out/wrapper -initrd "$2" -append "${4:-$places} ${5:-}"
}

# The same as dom0 of Debian's Xen: there the message and the domain's end go through hypercalls.
boot_on_xen()	# name, payload, wanted line
{
	run "$1" "$3" -machine q35 -m 1024 -device amd-iommu \
		-cpu max,-smap,-rdtscp,-avx,-avx2,-fma,-f16c,-xsave,-monitor,family=23,model=49,stepping=0 \
		-kernel "$XEN" -append "console=com1 com1=115200,8n1 dom0=pvh guest_loglvl=all dom0_mem=512M noreboot" \
		-initrd "$out/wrapper $places,$2"
}

build
verdict $? "build"
[ $failed = 0 ] || { echo "$passed passed, $failed failed"; exit 1; }
[ "$(od -An -tu4 -j12 -N4 build/loader/loader.bin | tr -d ' ')" = "$(stat -c %s build/loader/loader.bin)" ]
verdict $? "the header's file_size is the file's size"
pack
verdict $? "pack the test kernel"

# The hosted program says how many of its own cases passed.
ASAN_OPTIONS=detect_leaks=0 timeout 120 $out/host "$seed" $out > $out/host.log 2>&1
rc=$?
read -r p _ f _ < <(tail -1 $out/host.log)
grep -E '^(FAILED|seed)' $out/host.log
if [[ "$p $f" =~ ^[0-9]+\ [0-9]+$ ]]; then
	passed=$((passed + p))
	failed=$((failed + f))
	[ $rc = 0 ] || [ "$f" != 0 ]
	verdict $? "host"
else
	tail -40 $out/host.log
	verdict 1 "host (exit status $rc)"
fi

for f in guest32 guest64 e.gz e.xz e.lzma e.zst e.lz4 bz.gz bz.xz bz.lzma bz.zst bz.lz4; do
	boot "boot $f" $out/$f "guest: OK"
done
boot "loader elsewhere" $out/bz.xz "guest: OK" "L300000 S4000000:400000"
boot "corrupt payload" $out/corrupt "loader: the xz data of the kernel does not decode"
boot "truncated payload" $out/truncated "loader: the bzImage has .*truncated or damaged"
boot "not a kernel" $out/random "loader: the kernel is neither a bzImage nor an ELF file"
boot "no PVH entry" $out/nopvh "loader: the kernel has no PVH entry"
boot "scratch too small" $out/bz.gz "loader: .* of scratch do not hold the kernel" "L9001000 S8000000:10000"
boot "kernel over loader" $out/bz.gz "loader: the kernel's segment .*overlaps the loader" "L1002000 S8000000:1000000"

VMLINUZ=${VMLINUZ:-$out/vmlinuz}
from_debian "$(apt-cache depends linux-image-amd64 | awk '/Depends:/ { print $2; exit }')" 'vmlinuz-*' "$VMLINUZ"
boot "Debian's kernel" "$VMLINUZ" "Linux version " "L14000000 S9000000:9000000" \
	"earlyprintk=serial,ttyS0,115200 console=ttyS0"

if [ -z "${XEN:-}" ]; then
	XEN=$out/xen
	from_debian xen-hypervisor-4.17-amd64 'xen-4.17-amd64.gz' $XEN.gz
	gunzip -c $XEN.gz > $XEN
fi
boot_on_xen "Xen: boot" $out/bz.xz "guest: OK"
boot_on_xen "Xen: message" $out/corrupt "^loader: the xz data of the kernel does not decode"
boot_on_xen "Xen: domain crashed" $out/corrupt "Hardware Dom0 crashed"

echo "$passed passed, $failed failed"
[ $failed = 0 ]
