#!/usr/bin/env bash
# Three hosts in a line, host1 - host2 - host3: host2 relays encrypted frames. Run as root, with mesh in PATH, from
# anywhere in a checkout; the hosts are namespaces of this machine, removed at the end.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
export TESTBED=line
testbed=$here/../tests/testbed/testbed.sh
on() { "$testbed" exec "$@"; }

trap '"$testbed" stop' EXIT
"$testbed" start 3 --no-engine --links 1-2,2-3 --owner $$
on host2 mesh launch --config "$here/line.toml"
on host1 mesh launch --config "$here/line.toml" host2
on host3 mesh launch --config "$here/line.toml" host2
on host1 mesh run --runtime process 10.2.1.1/24 -d -- sleep 60
on host3 mesh run --runtime process 10.2.1.3/24 -- sh -c 'until ping -c 3 10.2.1.1; do :; done'
on host2 mesh status peers
