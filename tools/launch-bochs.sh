#!/bin/bash
# Starts Bochs with a hypervisor, a dom0 kernel and its initramfs: the counterpart of tools/launch.sh for CPUs that QEMU does
# not emulate. ./run --cpu= and the tests use it.
. "$(dirname "$0")/lib.sh"

usage() {
	cat <<'END'
Usage: tools/launch-bochs.sh [OPTION]...
  --cpu=intel|intel-new|intel-old|amd  Skylake-X (VMX), Ice Lake (registers against speculation), Westmere (VMX with few
                      options), Ryzen (SVM, NRIP save)
  --hypervisor=FILE          default build/gossamer.elf
  --memory=MIB               machine memory, at most 2047 (default 1536)
  --cpus=N                   CPUs (default 1)
  --dom0-memory=MIB          dom0's memory (default 768)
  --kernel=FILE              dom0's kernel, not compressed (default build/dom0-vmlinux)
  --initrd=FILE              dom0's initramfs (default build/dom0.cpio); empty: none
  --args=TEXT                more arguments for the hypervisor
  --dom0-args=TEXT           more arguments for dom0's kernel
  --disk=FILE                an ATA disk, sda; FILE itself is written to
  --nic=e1000|none           the network card, on Bochs' user network (default e1000)
  --serial=FILE              the serial line goes to FILE, not to this terminal
  --dir=DIR                  where the boot disc and the logs are made (default build/bochs)
The machine is switched off when dom0 powers off; without a serial file, `pkill -x bochs` elsewhere ends it at once.
END
}

cpu=intel hypervisor=$BUILD/gossamer.elf memory=1536 cpus=1 dom0_memory=768
kernel=$BUILD/dom0-vmlinux initrd=$BUILD/dom0.cpio args='' dom0_args='' disk='' nic=e1000 serial='' dir=$BUILD/bochs
while [ $# != 0 ]; do
	value=${1#*=}
	case $1 in
	--cpu=*) cpu=$value ;;
	--hypervisor=*) hypervisor=$value ;;
	--memory=*) memory=$value ;;
	--cpus=*) cpus=$value ;;
	--dom0-memory=*) dom0_memory=$value ;;
	--kernel=*) kernel=$value ;;
	--initrd=*) initrd=$value ;;
	--args=*) args+=" $value" ;;
	--dom0-args=*) dom0_args+=" $value" ;;
	--disk=*) disk=$value ;;
	--nic=*) nic=$value ;;
	--serial=*) serial=$value ;;
	--dir=*) dir=$value ;;
	--help) usage; exit 0 ;;
	*) usage >&2; die "unknown option $1" ;;
	esac
	shift
done
case $cpu in
intel) model=corei7_skylake_x ;;
intel-new) model=corei7_icelake_u ;;
intel-old) model=corei5_arrandale_m520 ;;
amd) model=ryzen ;;
*) die "--cpu=$cpu: intel, intel-new, intel-old or amd" ;;
esac
[ "$memory" -lt 2048 ] || die "--memory=$memory: Bochs has at most 2047 MiB"
for file in "$hypervisor" "$kernel" ${initrd:+"$initrd"} ${disk:+"$disk"}; do
	[ -f "$file" ] || die "no $file: run make and tools/dom0-image.sh first"
done

rm -rf "$dir"
mkdir -p "$dir/disc/boot/grub"
cp "$hypervisor" "$dir/disc/boot/hypervisor"
cp "$kernel" "$dir/disc/boot/kernel"
[ -z "$initrd" ] || cp "$initrd" "$dir/disc/boot/initrd"
{
	echo 'serial --unit=0 --speed=115200'
	echo 'terminal_output serial'
	echo "multiboot2 /boot/hypervisor console=com1 com1=115200,8n1 dom0_mem=${dom0_memory}M noreboot$args"
	echo "module2 /boot/kernel console=hvc0 panic=-1$dom0_args"
	[ -z "$initrd" ] || echo 'module2 --nounzip /boot/initrd'
	echo boot
} >"$dir/disc/boot/grub/grub.cfg"
# Nothing on it is compressed: the emulated CPU would have to unpack it.
grub-mkrescue -d /usr/lib/grub/i386-pc --compress=no --install-modules='multiboot2 iso9660 serial terminal normal echo
	biosdisk part_msdos' -o "$dir/disc.iso" "$dir/disc" >"$dir/grub.log" 2>&1 ||
	{ tail -n 3 "$dir/grub.log" >&2; die 'grub-mkrescue failed'; }
rm -rf "$dir/disc"

com1="mode=file, dev=$serial"
if [ -z "$serial" ]; then
	[ -t 0 ] || die 'no terminal: give --serial=FILE'
	com1="mode=term, dev=$(tty)"
fi
cat >"$dir/bochsrc" <<END
display_library: nogui
config_interface: textconfig
cpu: model=$model, count=$cpus, ips=50000000, reset_on_triple_fault=0
memory: guest=$memory, host=$memory, block_size=512
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
pci: enabled=1, chipset=i440fx${nic:+$([ "$nic" = none ] || echo ", slot1=e1000")}
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path="$dir/disc.iso", status=inserted
boot: cdrom
clock: sync=none, time0=1700000000
com1: enabled=1, $com1
log: $dir/bochs.log
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
END
[ -z "$disk" ] || cat >>"$dir/bochsrc" <<END
ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15
ata1-master: type=disk, mode=flat, path="$disk", cylinders=0
END
[ "$nic" = none ] || echo 'e1000: enabled=1, mac=52:54:00:00:00:01, ethmod=slirp, ethdev=/tmp' >>"$dir/bochsrc"

bochs=$CACHE/bochs/bochs
# A Bochs that was killed leaves its lock: nobody has the disk open.
[ -z "$disk" ] || [ -n "$(find -L /proc/[0-9]*/fd -samefile "$disk" 2>/dev/null)" ] || rm -f "$disk.lock"
[ -x "$bochs" ] || die "no $bochs: run tools/bochs.sh first"
# A switched-off machine is an error to Bochs, and the normal end here.
if [ -z "$serial" ]; then
	rc=0
	"$bochs" -q -f "$dir/bochsrc" >"$dir/out" 2>&1 || rc=$?
	stty sane || true # Bochs leaves it as it used it when it is killed
	[ $rc = 0 ] || grep -aq 'soft power off' "$dir/bochs.log" ||
		die "Bochs ended with code $rc: $(tail -n 1 "$dir/bochs.log")"
	exit 0
fi
# Bochs goes on when the machine inside has halted: the last line of the hypervisor ends it.
"$bochs" -q -f "$dir/bochsrc" </dev/null >"$dir/out" 2>&1 &
pid=$!
trap 'kill $pid 2>/dev/null' EXIT
trap 'exit 143' INT TERM
while kill -0 $pid 2>/dev/null; do
	! grep -aqE 'switches the machine off|the machine halts|the machine has stopped' "$serial" 2>/dev/null || break
	sleep 0.3
done
sleep 0.3
