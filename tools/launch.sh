#!/bin/bash
# Starts QEMU with a hypervisor, a dom0 kernel and its initramfs. ./run, the tests and the benchmark use it.
. "$(dirname "$0")/lib.sh"

usage() {
	cat <<'END'
Usage: tools/launch.sh [OPTION]... [-- QEMU-OPTION...]
  --hypervisor=gossamer|xen|FILE  build/gossamer.elf (default), Debian's Xen 4.17, or an ELF file of yours
  --memory=MIB        machine memory (default 2048)
  --cpus=N            CPUs (default 1)
  --dom0-memory=MIB   dom0's memory (default 768)
  --kernel=FILE       dom0's kernel (default build/dom0-vmlinuz)
  --initrd=FILE       dom0's initramfs (default build/dom0.cpio)
  --args=TEXT         more arguments for the hypervisor
  --dom0-args=TEXT    more arguments for dom0's kernel
  --disk=FILE         an NVMe disk, nvme0n1 and so on in this order; FILE itself is written to
  --disk-ro=FILE      the same, but what is written to it is forgotten at the end
  --nic=e1000e|virtio-net-pci|none    the network card, on QEMU's user network (default e1000e)
  --serial=FILE       the serial line goes to FILE, not to this terminal
  --iommu             an AMD IOMMU (always there for Xen, which has no PVH dom0 without)
  --threads           a thread for each CPU (as QEMU does by itself where it can)
  --icount            count instructions: slower, but every run is the same
  --gdb               wait for gdb on port 1234
  --print             print the command, do not run it
END
}

hypervisor=gossamer memory=2048 cpus=1 dom0_memory=768 kernel=$BUILD/dom0-vmlinuz initrd=$BUILD/dom0.cpio
tcg=tcg args='' dom0_args='' nic=e1000e serial='' iommu=no print=no
qemu=(-display none -nodefaults -no-reboot)
disks=0

# The CPU of every measurement against Debian's Xen: what of QEMU's "max" real Xen 4.17 does not trip over.
cpu='max,-smap,-rdtscp,-avx,-avx2,-fma,-f16c,-xsave,-monitor,family=23,model=49,stepping=0'

# add_disk FILE OPTIONS: the next namespace of the one NVMe controller.
add_disk() {
	[ -f "$1" ] || die "no disk image $1"
	[ "$disks" != 0 ] || qemu+=(-device 'nvme,id=nvme,serial=gossamer')
	disks=$((disks + 1))
	qemu+=(-drive "file=${1//,/,,},format=raw,if=none,id=disk$disks,$2"
		-device "nvme-ns,bus=nvme,drive=disk$disks,nsid=$disks")
}

while [ $# != 0 ]; do
	value=${1#*=}
	case $1 in
	--hypervisor=*) hypervisor=$value ;;
	--memory=*) memory=$value ;;
	--cpus=*) cpus=$value ;;
	--dom0-memory=*) dom0_memory=$value ;;
	--kernel=*) kernel=$value ;;
	--initrd=*) initrd=$value ;;
	--args=*) args+=" $value" ;;
	--dom0-args=*) dom0_args+=" $value" ;;
	--disk=*) add_disk "$value" cache=unsafe ;;
	--disk-ro=*) add_disk "$value" snapshot=on ;;
	--nic=*) nic=$value ;;
	--serial=*) serial=$value ;;
	--iommu) iommu=yes ;;
	--threads) tcg=tcg,thread=multi ;;
	--icount) qemu+=(-icount 'shift=0,sleep=off') ;;
	--gdb) qemu+=(-S -gdb tcp::1234) ;;
	--print) print=yes ;;
	--help) usage; exit 0 ;;
	--) shift; qemu+=("$@"); break ;;
	*) usage >&2; die "unknown option $1" ;;
	esac
	shift
done

args="console=com1 com1=115200,8n1 dom0_mem=${dom0_memory}M noreboot$args"
dom0_args="console=hvc0 panic=-1$dom0_args"
case $hypervisor in
gossamer) image=$BUILD/gossamer.elf ;;
xen)
	image=$CACHE/xen.elf iommu=yes
	args+=' dom0=pvh'
	;;
*) image=$hypervisor ;;
esac
[ "$iommu" = no ] || qemu+=(-device amd-iommu)
[ "$nic" = none ] ||
	qemu+=(-netdev user,id=net -device "$nic,netdev=net,mac=52:54:00:00:00:01,romfile=")
if [ -n "$serial" ]; then
	qemu+=(-serial "file:$serial" -monitor none)
else
	qemu+=(-serial mon:stdio)
fi
for file in "$image" "$kernel" "$initrd"; do
	[ -f "$file" ] || die "no $file: run make and tools/dom0-image.sh first"
done

# kvm_nests: is this a machine whose KVM gives SVM to its guests?
kvm_nests() {
	[ -w /dev/kvm ] && grep -qw svm /proc/cpuinfo &&
		grep -q '[1Y]' /sys/module/kvm_amd/parameters/nested 2>/dev/null
}
mend=()
if kvm_nests; then
	qemu+=(-accel kvm -cpu host)
else
	qemu+=(-accel "$tcg" -cpu "$cpu")
	[ "$cpus" = 1 ] || qemu_mend
fi

# A comma inside a module's arguments is written twice.
modules="$kernel ${dom0_args//,/,,},$initrd"
command=("${mend[@]}" qemu-system-x86_64 -machine q35 -m "$memory" -smp "$cpus" "${qemu[@]}"
	-kernel "$image" -append "$args" -initrd "$modules")
if [ "$print" = yes ]; then
	printf '%q ' "${command[@]}"
	echo
	exit 0
fi
exec "${command[@]}"
