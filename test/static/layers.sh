#!/bin/bash
# Includes of the hypervisor may only point down: boot -> hcall -> hvm -> core -> port -> lib, and x86 -> port -> lib.
# Usage: test/static/layers.sh. Prints each include that points up; exit 1 if there is one.
cd "$(dirname "$0")/../../hypervisor" || exit 1
declare -A may=(
	[lib]='lib' [port]='port|lib' [core]='core|port|lib' [hvm]='hvm|core|port|lib' [hcall]='hcall|hvm|core|port|lib'
	[boot]='boot|hcall|hvm|core|port|lib|loader' [x86]='x86|port|lib' [loader]='loader'
)
bad=0
for layer in "${!may[@]}"; do
	if grep -nHE '^#include "' "$layer"/*.[chS] 2>/dev/null | grep -vE "#include \"(${may[$layer]})/"; then
		bad=1
	fi
done
exit $bad
