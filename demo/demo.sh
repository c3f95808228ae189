#!/usr/bin/env bash
# The demo of README.md on one machine: three hosts with a Docker engine each, containers that ping each other, a
# transfer with a checksum, and a cable that is cut under traffic. The commands are taken from the blocks of README.md
# that are marked `<!-- demo HOST -->`. Ends with `demo: ok` and leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$HOME/.cargo/bin:$PATH:/usr/sbin:/sbin
testbed=$PWD/tests/testbed/testbed.sh
export TESTBED=${TESTBED:-demo}

title() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
die()   { echo "demo: $*" >&2; exit 1; }

# Runs a command on a host, and prints it with its output.
on() {
    local host=$1; shift
    printf '\033[36m%s$\033[0m %s\n' "$host" "$*"
    "$testbed" exec "$host" sh -c "$*"
}

quietly() { "$testbed" exec "$@" >/dev/null 2>&1; }

# Prints the lines of the README's blocks as `HOST COMMAND`, in order.
readme_commands() {
    awk '/^<!-- demo host[0-9]+ -->$/ { host = $3; next }
         /^```/ { inside = host != "" && !inside; if (!inside) host = ""; next }
         inside { print host, $0 }' README.md
}

# Repeats a command on a host until it succeeds, for at most so many seconds.
within() {
    local seconds=$1 deadline; shift
    deadline=$((SECONDS + seconds))
    until quietly "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || die "not within $seconds s: $*"
        sleep 0.1
    done
}

if [ "${1:-}" != --built ]; then
    title 'Building'
    cargo build --release -p mesh-cli -p mesh-router
fi
if [ "$(id -u)" != 0 ]; then
    exec sudo --preserve-env=CARGO_TARGET_DIR "$0" --built       # namespaces need root, the build does not
fi
programs=$(readlink -f "${CARGO_TARGET_DIR:-target}")/release
[ -x "$programs/mesh" ] || die "no $programs/mesh"
export PATH=$programs:$PATH

title 'Three hosts, each with a Docker engine'
trap '"$testbed" stop' EXIT
trap 'exit 130' INT TERM
"$testbed" start 3 --owner $$
"$testbed" status

title 'The commands of README.md'
while read -r host command <&3; do on "$host" "$command"; done 3< <(readme_commands)

# Prints the address allocated for a container.
address() { "$testbed" exec "$1" mesh ps "$2" | sed -E 's|.* ([0-9.]+)/[0-9]+.*|\1|'; }
first=$(address host1 first) web=$(address host2 web) third=$(address host3 third)

title 'Every container reaches every other'
containers=(host1:first:"$first" host2:web:"$web" host3:third:"$third")
for from in "${containers[@]}"; do
    IFS=: read -r host name _ <<<"$from"
    for to in "${containers[@]}"; do
        [ "$from" != "$to" ] || continue
        within 20 "$host" docker exec "$name" ping -c 1 -W 1 "${to##*:}"
        echo "  $name on $host reaches ${to##*:}"
    done
done

title '100 MB from web on host2 to third on host3, with checksum'
quietly host2 docker exec web dd if=/dev/urandom of=/www/file bs=1M count=100
sent=$("$testbed" docker host2 exec web sha256sum /www/file | cut -d' ' -f1)
# The file follows the empty line after the response header.
fetch='printf "GET /file HTTP/1.0\r\n\r\n" | nc '$web' 80 |
       { while read -r line && [ "${#line}" -gt 1 ]; do :; done; sha256sum; }'
began=$(date +%s%N)
got=$(timeout 120 "$testbed" docker host3 exec third sh -c "$fetch" | cut -d' ' -f1)
took=$((($(date +%s%N) - began) / 1000000))
[ "$sent" = "$got" ] || die "sent $sent, received $got"
echo "  the same SHA-256 on both sides after $took ms: $sent"

title 'What the routers say'
on host2 mesh status
on host2 mesh ps
on host2 mesh status peers

title 'The cable between host1 and host3 is cut while they talk'
pings=$(mktemp)
"$testbed" docker host1 exec first ping -c 60 -W 1 "$third" >"$pings" 2>&1 &
pinging=$!
within 5 host1 docker exec first ping -c 1 -W 1 "$third"
"$testbed" cut-pair host1 host3
began=$(date +%s%N)
within 10 host1 docker exec first ping -c 1 -W 1 "$third"
echo "  first reaches third again after $((($(date +%s%N) - began) / 1000000)) ms, through host2"
! quietly host1 ping -c 1 -W 1 host3 || die 'the cable is not cut'
kill -0 "$pinging" 2>/dev/null || die 'the pings that went on ended'
kill "$pinging" && wait "$pinging" 2>/dev/null || true
rm -f "$pings"
on host1 mesh status connections
"$testbed" heal-pair host1 host3
within 10 host1 docker exec first ping -c 1 -W 1 "$third"

title 'Cleaning up'
for host in host1 host2 host3; do on "$host" 'docker rm -f $(docker ps -aq) >/dev/null; mesh reset'; done
"$testbed" stop
trap - EXIT
echo 'demo: ok'
