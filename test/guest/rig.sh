# shellcheck shell=bash
# Sourced by run.sh and by the benchmark: where things are, and how a hypervisor with one kernel is booted in QEMU.
# The CPU model and Xen's arguments are the oracle's: Debian's Xen 4.17, PVH dom0, QEMU 7.2 TCG.
rig_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
rig_out=${RIG_OUT:-$rig_root/build/test/guest}
rig_cache=$rig_root/build/cache
rig_cpu_model=max,-smap,-rdtscp,-avx,-avx2,-fma,-f16c,-xsave,-monitor,family=23,model=49,stepping=0
rig_args="console=com1 com1=115200,8n1 dom0=pvh dom0_mem=1G noreboot loglvl=warning"
mkdir -p "$rig_out" "$rig_cache"

# rig_hypervisor xen|gossamer: makes sure its image is there.
rig_hypervisor() {
	case $1 in
	xen)
		[ -s "$rig_cache/xen.elf" ] && return
		(
			d=$(mktemp -d) && cd "$d" &&
				apt-get -q download xen-hypervisor-4.17-amd64 >/dev/null &&
				dpkg-deb -x xen-hypervisor-4.17-amd64_*.deb . &&
				gunzip -c boot/xen-4.17-amd64.gz >"$rig_cache/xen.elf.part" &&
				mv "$rig_cache/xen.elf.part" "$rig_cache/xen.elf"
			rc=$?
			rm -rf "$d"
			exit $rc
		) || { echo "no Xen image: apt-get download xen-hypervisor-4.17-amd64 failed" >&2; return 1; }
		;;
	gossamer)
		[ -s "$rig_image_gossamer" ] || { echo "build $rig_image_gossamer first" >&2; return 1; }
		;;
	esac
}
rig_image_gossamer=${RIG_GOSSAMER:-$rig_root/build/gossamer.elf}

# An interrupted run leaves no QEMU behind.
rig_qemu=
trap '[ -z "$rig_qemu" ] || kill "$rig_qemu" 2>/dev/null' EXIT
trap 'exit 130' INT TERM

# rig_boot HYPERVISOR "KERNEL ARGS[,MODULE ARGS]" LOG SECONDS [HYPERVISOR-ARGS...]
# Returns when the dom0 kernel's verdict (RIG_VERDICT: whose) is out, QEMU ended, or the time is over.
rig_boot() {
	local image log=$3 limit=$4 start=$SECONDS
	case $1 in
	xen) image=$rig_cache/xen.elf ;;
	*) image=$rig_image_gossamer ;;
	esac
	local kernel=$2
	shift 4
	: >"$log"
	# Virtual time counts instructions (2^RIG_SHIFT ns each), so that a busy machine changes no verdict and the
	# benchmark, which sets 0, repeats to the digit. RIG_CPUS physical CPUs take turns in one thread.
	rm -f "$log.monitor.in" "$log.monitor.out"
	mkfifo "$log.monitor.in" "$log.monitor.out"
	# shellcheck disable=SC2086
	timeout -k 2 "$limit" qemu-system-x86_64 -machine q35 -accel tcg -smp "${RIG_CPUS:-1}" -m 2G -cpu "$rig_cpu_model" \
		-device amd-iommu -display none -no-reboot -net none -serial "file:$log" \
		-chardev "pipe,id=monitor,path=$log.monitor" -mon chardev=monitor \
		-icount "shift=${RIG_SHIFT:-3},sleep=off" \
		-kernel "$image" -append "$rig_args $*" -initrd "$kernel" </dev/null >"$log.qemu" 2>&1 &
	rig_qemu=$!
	while kill -0 $rig_qemu 2>/dev/null; do
		if grep -aqE "VERDICT ${RIG_VERDICT:-.*} (PASS|FAIL)|Panic on CPU|[Hh]ardware (Dom0|domain d0) (crashed|shutdown|ended)" "$log"; then
			sleep 0.1
			kill $rig_qemu 2>/dev/null
			break
		fi
		sleep 0.1
		# QEMU 7.2 can stop taking turns between its CPUs under -icount, for good, where one image does and the next does not;
		# stopped and continued it goes on. Not so the benchmark: two cycles in ten thousand are lost in it.
		[ -n "${RIG_SHIFT:-}" ] || [ $((SECONDS - start)) -lt 3 ] || { start=$SECONDS; printf 'stop\ncont\n' 1<>"$log.monitor.in"; }
	done
	wait $rig_qemu 2>/dev/null
	rig_qemu=
	rm -f "$log.monitor.in" "$log.monitor.out"
}
