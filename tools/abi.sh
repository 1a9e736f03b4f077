#!/bin/bash
# Makes docs/abi.md from the hypercall table and the sub-op switches. Usage: tools/abi.sh [--check]
# --check prints nothing and fails when docs/abi.md is not what would be made.
cd "$(dirname "$0")/.." || exit 1

table() { # MACRO TITLE: the rows of one macro in ops.def
	awk -v macro="$1" -F'[(,)]' '
		$1 == macro { gsub(/[ \t]/, "", $2); gsub(/[ \t]/, "", $3); print $2, $3 }' hypervisor/hcall/ops.def
}

list() { # PREFIX: what the dispatcher offers, what Xen refuses too, what is missing
	echo "Offered: $(table "$1" | awk '{ printf "%s`%s`", n++ ? ", " : "", $1 }')."
	echo
	echo "Refused as Debian's Xen does: $(table "$1_REFUSED" | awk '{ printf "%s`%s` (-%s)", n++ ? ", " : "", $1, $2 }')."
	echo
	echo "Not offered, logged once when asked for: $(table "$1_MISSING" | awk '{ printf "%s`%s` (-%s)", n++ ? ", " : "", $1, $2 }')."
}

cases() { # FILE PREFIX: the sub-ops a file's switch names
	grep -ohE "case $2[A-Za-z0-9_]+" hypervisor/hcall/$1 | sed "s/case $2//" | sort -u |
		awk '{ printf "%s`%s`", n++ ? ", " : "", $1 }'
}

page() {
	cat <<'END'
# ABI coverage

Made by `tools/abi.sh` from `hypervisor/hcall/`; `./check static` fails when it is out of date. The layouts and numbers are those
of Debian's `libxen-dev` (Xen 4.17). Accepted interface versions of domctl and sysctl are a table in `hcall/domctl.c` and
`hcall/sysctl.c`.

## Hypercalls

| hypercall | who may (on another domain than itself) |
|---|---|
END
	{
		table OP
		table OP_OUTER
		awk -F'[(,)]' '$1 == "OP_ARCH" { gsub(/[ \t]/, ""); gsub(/[ \t]/, "", $3); gsub(/[ \t]/, "", $4); print $3, $4 }' \
			hypervisor/hcall/ops.def
	} | awk '{ printf "| `%s` | %s |\n", $1, $2 == "ANY" ? "any domain" : "right: " tolower($2) }'
	printf '\nEvery other number answers -ENOSYS.\n'
	printf '\n## domctl\n\n'
	list DOMCTL
	printf '\n## sysctl\n\n'
	list SYSCTL
	printf '\n## platform_op\n\n'
	list PLATFORM
	printf '\n## Sub-operations of the others\n\n'
	echo "- memory_op: $(cases 'memory*.c' XENMEM_)"
	echo "- event_channel_op: $(cases event_channel.c EVTCHNOP_)"
	echo "- grant_table_op: $(cases grant_table.c GNTTABOP_)"
	echo "- sched_op: $(cases sched_op.c SCHEDOP_)"
	echo "- vcpu_op: $(cases vcpu_op.c VCPUOP_)"
	echo "- hvm_op: $(cases hvm_op.c HVMOP_)"
	echo "- physdev_op: $(cases physdev_op.c PHYSDEVOP_)"
	echo "- xen_version: $(cases version.c XENVER_)"
}

case ${1-} in
--check) page | cmp -s - docs/abi.md || { echo 'docs/abi.md is out of date: run tools/abi.sh'; exit 1; } ;;
*) page >docs/abi.md ;;
esac
