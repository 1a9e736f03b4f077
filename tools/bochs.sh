#!/bin/bash
# Builds Bochs, which emulates Intel's VMX (and AMD's SVM with NRIP save), from Debian 13's source package: Debian's own
# binary is built with a debugger and is several times slower. Usage: tools/bochs.sh
# Makes build/cache/bochs/bochs. Nothing of it is part of this repository or of what it ships.
. "$(dirname "$0")/lib.sh"

to=$CACHE/bochs
options=(--enable-x86-64 --enable-cpu-level=6 --enable-vmx=2 --enable-svm --enable-avx --enable-evex --enable-pci
	--enable-all-optimizations --enable-protection-keys --enable-cet --enable-fpu --enable-3dnow --enable-memtype
	--enable-e1000 --disable-docbook --with-nogui --enable-cdrom --disable-debugger --disable-debugger-gui
	--disable-plugins --enable-smp)
# What Bochs 3.0 does wrong, FILE=SED-COMMAND: each must change its file.
fixes=(
	# VMRUN with RFLAGS.IF set on both sides leaves the virtual interrupt masked: the mask is only looked at when IF changes.
	'svm.cc=s/^ *BX_CPU_THIS_PTR in_svm_guest = true;/&\n  handleInterruptMaskChange();/'
	# SVM: the cause of a #DB that exits is in DR6 by then (APM 15.12.2).
	'svm.cc=s/^ *BX_CPU_THIS_PTR debug_trap = 0; .*clear debug_trap field/  if (vector == BX_DB_EXCEPTION) BX_CPU_THIS_PTR dr6.val32 = (BX_CPU_THIS_PTR dr6.val32 \& 0xffff6ff0) | (BX_CPU_THIS_PTR debug_trap \& 0xe00f);\n&/'
	# A physical interrupt that comes while the guest has IF clear has VMX deliver the virtual one that waits, IF or not.
	'event.cc=s/if (is_pending(BX_EVENT_PENDING_VMX_VIRTUAL_INTR))/if (is_unmasked_event_pending(BX_EVENT_PENDING_VMX_VIRTUAL_INTR))/'
	# The descriptor of posted interrupts is 64 bytes long and aligned to that (SDM 26.2.1.1), not to a page.
	'vmx.cc=/pid_addr/s/IsValidPageAlignedPhyAddr(vm->pid_addr)/(IsValidPhyAddr(vm->pid_addr) \&\& !(vm->pid_addr \& 63))/'
	# A notification with nothing posted any more makes 255, the byte of "none", the vector that is delivered next.
	'vapic.cc=s/vector = BX_CPU_THIS_PTR lapic->highest_priority_int(virr);/int highest = BX_CPU_THIS_PTR lapic->highest_priority_int(virr);\n  vector = highest < 0 ? 0 : highest;/'
)
stamp="${options[*]} ${fixes[*]}"
[ ! -x "$to/bochs" ] || [ "$(cat "$to/stamp" 2>/dev/null)" != "$stamp" ] || exit 0

"$ROOT/tools/deps.sh" bochs
say 'Bochs: fetching the source of the Debian package'
rm -rf "$to"
mkdir -p "$to/src"
# Only the upstream part is wanted: Debian's own changes concern its packaging.
(use_suite trixie deb-src && cd "$to" && apt-get -qq source --download-only --tar-only bochs >/dev/null 2>"$to/fetch.log") || true
tarball=$(printf '%s\n' "$to"/bochs_*.orig.tar.* | head -n 1)
[ -f "$tarball" ] || { tail -n 5 "$to/fetch.log" >&2; die "the archive did not give the source of bochs (see above)"; }
tar -xf "$tarball" -C "$to/src" --strip-components=1
for fix in "${fixes[@]}"; do
	file=$to/src/cpu/${fix%%=*}
	cp "$file" "$to/before"
	sed -i "${fix#*=}" "$file"
	! cmp -s "$to/before" "$file" || die "the source of Bochs is not what tools/bochs.sh knows: cpu/${fix%%=*}"
done
rm "$to/before"
say 'Bochs: building, one to five minutes on two cores'
(cd "$to/src" && CXXFLAGS='-O2 -fomit-frame-pointer' CFLAGS=-O2 ./configure "${options[@]}" && make -j2) >"$to/build.log" 2>&1 ||
	{ tail -n 5 "$to/build.log" >&2; die "Bochs did not build, see ${to#"$ROOT/"}/build.log"; }
cp "$to/src/bochs" "$to/bochs.tmp"
rm -rf "$to/src" "$tarball"
printf '%s\n' "$stamp" >"$to/stamp"
mv "$to/bochs.tmp" "$to/bochs"
