# Runs in dom0: one test of the group, in a shell of its own that ends at the first command that fails.
set -eE
. /test/env
. /test/lib.sh
. /test/group.sh
trap 'echo "failed: $BASH_COMMAND (line $LINENO of ${BASH_SOURCE[0]##*/})"' ERR
rc=0
"test_$1"
trap - ERR
[ -n "${keep_domains:-}" ] || destroy_all
