#!/bin/bash
# Boot tests: every way the hypervisor is started, machines of many sizes, compressed kernels, and bad input, which must
# end in one clear message. dom0's kernel is a tiny one (probe.c) but where a case says Debian's.
# A case is a function case_NAME (default set) or long_NAME; its first comment line says what it is about.
. "$(dirname "$0")/../../tools/lib.sh"

usage() {
	cat <<'END'
Usage: test/boot/run.sh [--hypervisor=FILE] [--long] [--list] [NAME...]
The default is every case but the long ones; FILE is build/gossamer.elf. Logs are left in build/test/boot/NAME.log.
END
}

here=$ROOT/test/boot
work=$BUILD/test/boot
hypervisor=$BUILD/gossamer.elf long=no list=no
names=()
for word in "$@"; do
	case $word in
	--hypervisor=*) hypervisor=${word#*=} ;;
	--long) long=yes ;;
	--list) list=yes ;;
	--help) usage; exit 0 ;;
	-*) usage >&2; die "unknown option $word" ;;
	*) names+=("$word") ;;
	esac
done

cpu='max,-smap,-rdtscp,-avx,-avx2,-fma,-f16c,-xsave,-monitor,family=23,model=49,stepping=0' # as tools/launch.sh
probe=$work/probe.elf
module_lines=3932160 # 60 MiB in lines of 16 bytes, see probe.c

# --- a case's tools; a check that fails says why and ends the case ---

fail() { echo "$*" >"$work/why"; exit 1; }

# boot LIMIT END QEMU-OPTION...: runs QEMU until a line matches END, it ends by itself, or LIMIT seconds are over.
boot() {
	local limit=$1 end=$2 pid ended=no i
	shift 2
	: >"$log"
	timeout -k 5 "$limit" "${mend[@]}" qemu-system-x86_64 -machine q35 -accel tcg -nodefaults -display none -no-reboot \
		-serial "file:$log" "$@" </dev/null >"$log.qemu" 2>&1 &
	pid=$!
	for ((i = 0; i < limit * 5; i++)); do
		sleep 0.2
		if grep -aqE -- "$end" "$log"; then
			sleep 0.2
			ended=yes
			break
		fi
		kill -0 $pid 2>/dev/null || break
	done
	kill $pid 2>/dev/null || true
	wait $pid || true
	! grep -aqE -- "$end" "$log" || ended=yes
	sed -i 's/\r//g' "$log"
	[ $ended = yes ] ||
		fail "no end within $limit s; the log ends with: $(tail -n 1 "$log" | cut -c 1-150) $(head -n 1 "$log.qemu")"
}
stopped='the machine (has stopped|halts|reboots)'

says() { grep -aqE -- "$1" "$log" || fail "not said: $1"; }
silent() { ! grep -aE -m 1 -- "$1" "$log" >"$work/line" || fail "said: $(cat "$work/line")"; }
once() {
	local n
	n=$(grep -acE -- "$1" "$log") || true
	[ "$n" = 1 ] || fail "said $n times instead of once: $1"
}

# start ARGUMENTS QEMU-OPTION...: by QEMU's own Multiboot 1 loader, with probe.elf up to its verdict.
start() {
	local args=$1
	shift
	boot "${limit:-30}" "VERDICT|$stopped" -kernel "$hypervisor" -cpu "$cpu" -append "$args" \
		-initrd "${modules:-$probe one two}" "$@"
	healthy
}
healthy() {
	silent 'PANIC|call chain|exception'
	says 'VERDICT probe PASS'
}

# refused TEXT ARGUMENTS QEMU-OPTION...: the start ends with just that message, and no trace of our own.
refused() {
	local text=$1 args=$2
	shift 2
	boot 30 "VERDICT|$stopped" -kernel "$hypervisor" -cpu "${model:-$cpu}" -append "$args" "$@"
	silent 'PANIC|call chain|exception|VERDICT'
	once "$text"
	says '^\(GSM\) the machine (has stopped|reboots|halts)|^\(GSM\) .*: the machine halts'
}

# ram KIB: the RAM that the probe found, but for the 64 KiB of ACPI tables and the odd page at 640 KiB.
ram() {
	local low high
	read -r low high < <(sed -n 's/^RAM below 4G \([0-9]*\) KiB, above \([0-9]*\) KiB$/\1 \2/p' "$log")
	((low + high <= $1 && low + high >= $1 - 256)) || fail "RAM of $((low + high)) KiB instead of $1"
}
ram_above() {
	local high
	high=$(sed -n 's/^RAM below 4G .*, above \([0-9]*\) KiB$/\1/p' "$log")
	((high >= $1)) || fail "only $high KiB of RAM above 4 GiB, not $1"
}

# kept KIB: at most that much is neither dom0's nor free.
kept() {
	local kib
	kib=$(sed -n "s/^(GSM) memory: .*, the hypervisor's \([0-9]*\) KiB$/\1/p" "$log")
	[ -n "$kib" ] || fail 'the start-up does not say how much memory the hypervisor uses'
	echo "     $name: $kib KiB are the hypervisor's" >&3
	((kib > 0 && kib <= $1)) || fail "$kib KiB are neither dom0's nor free; at most $1 are to be"
}

module_file() { # the file, made once
	if [ ! -s "$work/module" ]; then
		seq -f %015.0f $module_lines >"$work/module.tmp"
		mv "$work/module.tmp" "$work/module"
	fi
	echo "$work/module"
}

# grub ISO LIMIT END QEMU-OPTION...: as start, by the GRUB on that ISO image; $how: multiboot or multiboot2.
grub() {
	local iso=$1 limit=$2 end=$3
	shift 3
	boot "$limit" "$end|$stopped" -cpu "$cpu" -cdrom "$iso" -boot d -smbios "type=1,serial=$how" "$@"
	says 'started by GRUB'
}

# iso NAME KERNEL INITRD ARGUMENTS...: makes $work/NAME.iso; the machine's serial number chooses the command.
iso() {
	local tree=$work/$1.tree out=$work/$1.iso kernel=$2 initrd=$3
	shift 3
	if newer "$out" "$hypervisor" "$kernel" "$initrd" "$here/run.sh" && [ "$hypervisor" = "$(cat "$out.for")" ]; then
		return
	fi
	rm -rf "$tree" "$out"
	mkdir -p "$tree/boot/grub"
	cp "$hypervisor" "$tree/boot/gossamer.elf"
	cp "$kernel" "$tree/boot/kernel"
	cp "$initrd" "$tree/boot/initrd"
	cat >"$tree/boot/grub/grub.cfg" <<-END
		serial --unit=0 --speed=115200
		terminal_output serial
		smbios --type 1 --get-string 7 --set how
		if [ "\$how" = multiboot ]; then
			multiboot /boot/gossamer.elf dom0_mem=512M
			module --nounzip /boot/kernel $*
			module --nounzip /boot/initrd second
		else
			multiboot2 /boot/gossamer.elf dom0_mem=512M
			module2 --nounzip /boot/kernel $*
			module2 --nounzip /boot/initrd second
		fi
		boot
	END
	grub-mkrescue --compress=no --fonts= --themes= --locales= -o "$out" \
		--install-modules='multiboot multiboot2 smbios iso9660 serial terminal normal echo test part_msdos boot' \
		"$tree" >"$out.log" 2>&1 || fail "grub-mkrescue: $(tail -n 1 "$out.log")"
	rm -rf "$tree"
	echo "$hypervisor" >"$out.for"
}

# --- the ways to start ---

case_multiboot() { # QEMU's Multiboot 1 loader, arguments, a module of 60 MiB
	modules="$probe one  two,$(module_file) second" start 'dom0_mem=512M' -m 1G
	says '^\(GSM\) started by qemu, options: dom0_mem=512M$'
	says '^arguments "one  two swiotlb=force"$'
	says "^module $((module_lines * 16)) bytes, arguments \"second\"\$"
	ram 524288
}

case_modules_high() { # the modules end just below the end of RAM: they come behind an image that looks larger than it is
	local mib=320 bytes top
	bytes=$((module_lines * 16 + (1 << 20)))
	top=$(((mib << 20) - (1 << 20) - bytes & ~0xfffff))
	# The ELF header's last segment, GNU_STACK, becomes four bytes at that address (ELF-32: type, offset, two addresses,
	# two sizes, flags, alignment).
	python3 - "$hypervisor" "$work/high.elf" $top <<-'END'
		import struct, sys
		image = bytearray(open(sys.argv[1], 'rb').read())
		table, size, count = struct.unpack_from('<I', image, 28) + struct.unpack_from('<HH', image, 42)
		last = table + size * (count - 1)
		assert struct.unpack_from('<I', image, last)[0] == 0x6474e551
		address = int(sys.argv[3])
		struct.pack_into('<8I', image, last, 1, 4096, address, address, 4, 4, 4, 4096)
		open(sys.argv[2], 'wb').write(image)
	END
	hypervisor=$work/high.elf modules="$probe one two,$(module_file) second" start 'dom0_mem=200M' -m ${mib}M
	says "^\\(GSM\\)   module 1: $(printf %x $((top >> 20)))[0-9a-f]{5}, 61440 KiB"
	says "^module $((module_lines * 16)) bytes, arguments \"second\"\$"
	ram $((200 << 10))
	rm "$work/high.elf"
}

grub_probe() {
	iso probe "$probe" "$(module_file)" one two
	grub "$work/probe.iso" 60 VERDICT -m 1G "$@"
	healthy
	says '^\(GSM\) started by GRUB 2.*, options: dom0_mem=512M$'
	says '^arguments "one two swiotlb=force"$'
	says "^module $((module_lines * 16)) bytes, arguments \"second\"\$"
	ram 524288
}
case_grub_bios_multiboot() { how=multiboot grub_probe; }
case_grub_bios_multiboot2() { how=multiboot2 grub_probe; }
case_grub_uefi() { # OVMF; the RSDP is GRUB's copy
	how=multiboot2 grub_probe -bios /usr/share/ovmf/OVMF.fd
}

# --- machines ---

case_memory_256m() {
	start '' -m 256M
	kept 5000
}
case_memory_1g() {
	start '' -m 1G
	kept 8000
}
case_memory_4g() { # BASELINE: at most 20,000 KiB of 4 GiB are neither dom0's nor free
	start '' -m 4G
	ram_above $((1 << 20))
	kept 20000
}
case_memory_6g() {
	start 'dom0_mem=5G' -m 6G
	ram $((5 << 20))
	ram_above $((2 << 20))
	kept 30000
}
sparse() { # GIB OPTION...: QEMU reserves nothing for it
	local gib=$1
	shift
	limit=$((30 + gib / 4)) start '' -m "${gib}G" -object "memory-backend-ram,id=ram,size=${gib}G,reserve=off" -machine memory-backend=ram "$@"
}
case_memory_40g() {
	sparse 40
	ram_above $((34 << 20))
	kept 150000
}
long_memory_100g() {
	sparse 100
	ram_above $((97 << 20))
	kept 300000
}
long_memory_500g() {
	sparse 500
	ram_above $((496 << 20))
	kept 1100000
}
long_memory_1t() { # an AMD machine puts it from 1 TiB to 2 TiB, behind its hole; 4 GiB of the host's are really used
	cpu+=,phys-bits=42 sparse 1024
	ram_above $((1016 << 20))
	kept 4500000
}
case_tcg_heartbeat() { # x86/tcg.c
	start '' -m 1G
	once "QEMU's TCG found: the 8254 is a second heartbeat, for interrupts that it loses$"
	silent 'cannot be bound'
}
case_cpus() {
	start '' -m 1G -smp 4
	says '^\(GSM\) 4 CPUs online$'
}
case_dom0_vcpus() {
	start 'dom0_max_vcpus=4' -m 1G
	says '^\(GSM\) 1 CPU online$'
	says 'dom0: .* 4 vCPUs'
}

# --- Debian's kernel ---

linux() { # KERNEL: up to its first message
	[ -s "$1" ] || fail "no $1: run tools/dom0-image.sh first"
	boot 90 "Linux version|$stopped" -kernel "$hypervisor" -cpu "$cpu" -m 1G -append 'dom0_mem=768M' \
		-initrd "$1 earlyprintk=xen console=hvc0"
	silent 'PANIC|call chain|loader:'
	says 'Linux version [0-9]'
}
packed() { # TOOL...: the kernel's ELF file, packed
	objcopy -S "$BUILD/dom0-vmlinux" "$work/vmlinux" || fail 'objcopy failed'
	"$@" <"$work/vmlinux" >"$work/packed"
	linux "$work/packed"
	rm "$work/packed" "$work/vmlinux"
}
case_linux_stock() { # a bzImage, xz
	linux "$BUILD/dom0-vmlinuz"
}
case_linux_lz4() { packed lz4 -1 -l -c; }
long_linux_elf() { packed cat; }
long_linux_gzip() { packed gzip -1; }
long_linux_zstd() { packed zstd -q -3; }
long_linux_xz() { packed xz -0 --check=crc32; }

# dom0's initramfs with a script that its init runs; to_init: it ran, and xl works.
initrd_with_script() {
	rm -rf "$work/script"
	mkdir "$work/script"
	cat >"$work/script/test.sh" <<-'END'
		echo "@@UP $(xl info | sed -n 's/^xen_version *: //p') $(cat /proc/cmdline)"
	END
	pack_cpio "$work/script" "$work/script.cpio"
	cat "$BUILD/dom0.cpio" "$work/script.cpio" >"$work/debian.cpio.new"
	cmp -s "$work/debian.cpio.new" "$work/debian.cpio" || mv "$work/debian.cpio.new" "$work/debian.cpio"
	rm -rf "$work/script" "$work/script.cpio"
}
to_init() {
	silent 'PANIC|call chain|loader:'
	says '^@@UP 4\.17.* console=hvc0 '
}
long_linux_init() { # by QEMU, to dom0's user space and xl
	initrd_with_script
	boot 200 "^@@UP |$stopped" -kernel "$hypervisor" -cpu "$cpu" -m 2G -append 'dom0_mem=768M' \
		-initrd "$BUILD/dom0-vmlinuz console=hvc0,$work/debian.cpio"
	to_init
}
long_linux_uefi() { # the same by GRUB on UEFI
	initrd_with_script
	iso debian "$BUILD/dom0-vmlinuz" "$work/debian.cpio" console=hvc0
	how=multiboot2 grub "$work/debian.iso" 240 '^@@UP ' -m 2G -bios /usr/share/ovmf/OVMF.fd
	to_init
}

long_dom0_elsewhere() { # an initramfs that nothing of ours made, with systemd, and the options that Debian's Xen takes
	local root=$work/elsewhere.root
	as_root rm -rf "$root"
	"$ROOT/test/system/tiny/build.sh" "$work/tiny"
	as_root mmdebstrap --quiet --mode=root --variant=minbase --include=systemd-sysv,udev,kmod,xen-utils-4.17,linux-image-amd64 \
		--aptopt='Acquire::Retries "3"' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --customize-hook="sh '$here/elsewhere.sh' \"\$1\" '$work/tiny'" \
		bookworm "$root" >"$work/elsewhere.log" 2>&1 || fail "mmdebstrap: $(tail -n 1 "$work/elsewhere.log")"
	(cd "$root" && as_root find . -xdev | as_root cpio -o -H newc --quiet) >"$work/elsewhere.cpio"
	as_root rm -rf "$root"
	boot 600 "switches the machine off|$stopped" -kernel "$hypervisor" -cpu "$cpu" -m 3G -smp 2 \
		-append 'dom0_mem=2048M,max:2048M dom0=pvh dom0_max_vcpus=2 console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all' \
		-initrd "$work/elsewhere.vmlinuz console=hvc0,$work/elsewhere.cpio"
	rm "$work/elsewhere.cpio" "$work/elsewhere.vmlinuz"
	says '@@version 4.17-gossamer'
	says '@@service active'
	says '@@guest up'
	says '@@guest destroyed'
	says '@@failed units: 0'
	silent 'PANIC|call chain'
}

# --- bad input: what is wrong, and what to do ---

case_no_module() {
	refused "no modules: the boot loader must give dom0's kernel as the first" '' -m 1G
}
bad_kernel() { # TEXT: $work/bad as the kernel
	refused "^loader: $1" 'dom0_mem=512M' -m 1G -initrd "$work/bad"
	once '^\(GSM\) hardware domain d0 '
	says '^\(GSM\) the machine reboots$'
}
case_kernel_garbage() {
	seq 10000 >"$work/bad"
	bad_kernel 'the kernel is neither a bzImage nor an ELF file, .*: pass such a kernel$'
}
case_kernel_empty() {
	: >"$work/bad"
	bad_kernel 'the payload is empty: .*must pass a kernel$'
}
case_kernel_truncated_bzimage() {
	head -c 3000000 "$BUILD/dom0-vmlinuz" >"$work/bad"
	bad_kernel 'the bzImage has .* the file is truncated or damaged, replace it$'
}
case_kernel_truncated_elf() {
	head -c 10000 "$probe" >"$work/bad"
	bad_kernel ".* the file is truncated, replace it\$"
}
case_kernel_without_pvh() {
	objcopy --remove-section=.note "$probe" "$work/bad" 2>/dev/null
	bad_kernel 'the kernel has no PVH entry .*: use one built with CONFIG_PVH$'
}
case_noreboot() { # the bad kernel's message stays on the screen
	seq 10000 >"$work/bad"
	refused '^loader: the kernel is neither' 'dom0_mem=512M noreboot' -m 1G -initrd "$work/bad"
	says "'noreboot' was given .*: the machine halts\$"
}
case_dom0_mem_too_much() {
	refused '2048 MiB \(dom0_mem=\) are more than the [0-9]* MiB that it can have of this machine; give it less$' \
		dom0_mem=2G -m 1G -initrd "$probe"
}
case_dom0_mem_most() { # as much as it can have; a MiB more is refused
	local most
	(refused 'are more than' dom0_mem=1G -m 1G -initrd "$probe")
	most=$(sed -n 's/.* more than the \([0-9]*\) MiB.*/\1/p' "$log")
	start "dom0_mem=${most}M" -m 1G
	refused 'are more than' "dom0_mem=$((most + 1))M" -m 1G -initrd "$probe"
}
case_dom0_mem_little() {
	refused 'dom0: its low memory has no room for a kernel of .*; give it more \(dom0_mem=\)$' dom0_mem=1M \
		-m 1G -initrd "$probe"
	start 'dom0_mem=64M' -m 1G
	once 'dom0: 64 MiB are little for a Linux kernel; give it at least 128 MiB \(dom0_mem=\)$'
	ram 65536
}
case_initrd_too_big() {
	refused 'no room for a kernel of [0-9]* KiB and an initrd of 61440 KiB; give it more \(dom0_mem=\)$' dom0_mem=128M \
		-m 1G -initrd "$probe,$(module_file)"
}
case_message_in_spite_of_loglvl() {
	refused '2048 MiB \(dom0_mem=\) are more than' 'dom0_mem=2G loglvl=none' -m 1G -initrd "$probe"
}
case_dom0_mem_nonsense() {
	start 'dom0_mem=nonsense' -m 1G
	once 'option dom0_mem=nonsense: bad value, ignored; expected a size, as in dom0_mem=1G,max:1G$'
}
case_panic() { # the hypervisor jumps to nowhere: one message, registers, the call chain with symbols, and it stops
	local at pid
	at=$(nm "$BUILD/gossamer.syms.elf" | awk '$3 == "sched_pick" { print $1 }') # run_loop() calls it, boot_main() that
	rm -f "$work/gdb"
	python3 "$here/jump.py" "$work/gdb" "$at" 10 >"$work/jump.log" 2>&1 &
	pid=$!
	boot 60 "VERDICT|$stopped" -kernel "$hypervisor" -cpu "$cpu" -m 1G -append '' -initrd "$probe" -S \
		-chardev "socket,id=gdb,path=$work/gdb,server=on,wait=off" -gdb chardev:gdb
	kill $pid 2>/dev/null || true
	once '^\(GSM\) PANIC: page fault in the hypervisor at 10$'
	says '^\(GSM\) rip 0000000000000010  cs 0008  rflags [0-9a-f]+  rsp [0-9a-f]+  ss 0010$'
	once '^\(GSM\) call chain, CPU 0:$'
	says '^\(GSM\)   [0-9a-f]{16} boot_main\+0x[0-9a-f]+$'
	once '^\(GSM\) the machine has stopped$'
	silent VERDICT
}
case_bad_values() { # each is named, and the start goes on
	local word
	local words=(dom0_max_vcpus=0 dom0_max_vcpus=1000 com1=fast com1=115200,7e1 loglvl=loud guest_loglvl=5
		dom0_mem=512M,max:much sched=luck dom0=pv console=vga)
	start "${words[*]}" -m 1G
	for word in "${words[@]}"; do
		once "^\(GSM\) option $word: bad value, ignored; .*[a-z0-9]"
	done
}
case_spec_ctrl() { # the table, what an option changes in it, and a word that is none
	start 'spec-ctrl=rsb,foo' -m 1G
	says '^\(GSM\)   rsb: on \(as the options say\)$'
	says '^\(GSM\)   l1d-flush: off \(.*\)$'
	once '^\(GSM\) option spec-ctrl: "foo" '
}
case_unknown_options() { # of Debian's GRUB scripts, and of nobody
	start 'placeholder no-real-mode edd=off colour=green dom0_mem=512M' -m 1G
	for word in placeholder no-real-mode edd colour; do
		once "^\(GSM\) unknown option $word is ignored$"
	done
	ram 524288
}
case_little_memory() {
	refused 'too little memory: 47 MiB, at least 64 MiB are needed; give the machine more$' '' -m 48M -initrd "$probe"
}
case_no_svm() {
	model=qemu64,-svm refused 'this CPU has no AMD SVM.*(enable it in the firmware|\+svm)' '' -m 1G -initrd "$probe"
}
case_no_npt() {
	model=max,-npt refused "this CPU's SVM has no nested paging .*\\+npt" '' -m 1G -initrd "$probe"
}
case_no_64_bit() {
	boot 30 'no 64-bit mode' -kernel "$hypervisor" -cpu pentium3 -m 1G -initrd "$probe"
	once '^Gossamer: this CPU has no 64-bit mode$'
}

# --- running them ---

all=$(sed -n 's/^\(case\|long\)_\([a-z0-9_]*\)() *{.*/\2/p' "$here/run.sh")
if [ "$list" = yes ]; then
	echo "$all"
	exit 0
fi
for word in ${names[@]+"${names[@]}"}; do
	grep -qx -- "$word" <<<"$all" || die "no such case: $word (--list names them)"
done
"$ROOT/tools/deps.sh" run test
mkdir -p "$work"
qemu_mend
make -s -C "$ROOT/test/guest" OUT="$work" VPATH=../boot "$probe"
[ -s "$hypervisor" ] || die "no $hypervisor: run make first"

passed=0 failed=0
for name in $all; do
	run=case_$name
	if [ ${#names[@]} != 0 ]; then
		printf '%s\n' "${names[@]}" | grep -qx -- "$name" || continue
		declare -F "$run" >/dev/null || run=long_$name
	elif ! declare -F "$run" >/dev/null; then
		[ "$long" = yes ] || continue
		run=long_$name
	fi
	log=$work/$name.log
	echo 'a command failed' >"$work/why"
	# A subshell that is not part of a condition, so that set -e holds in it.
	set +e
	(set -e; "$run") 3>&1
	rc=$?
	set -e
	if [ $rc = 0 ]; then
		passed=$((passed + 1))
		echo "PASS $name"
	else
		failed=$((failed + 1))
		echo "FAIL $name: $(cat "$work/why")"
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
