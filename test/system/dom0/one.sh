# Runs in dom0: one test of the group, in a shell of its own that ends at the first command that fails. Without a
# test's name it cleans up behind one that has failed.
set -eE
. /test/env
. /test/lib.sh
. /test/group.sh
if [ $# = 0 ]; then
	[ -n "${keep_domains:-}" ] || { destroy_all; pools_back; }
	exit
fi
trap 'echo "failed: $BASH_COMMAND (line $LINENO of ${BASH_SOURCE[0]##*/})"' ERR
"test_$1"
trap - ERR
[ -n "${keep_domains:-}" ] || destroy_all
