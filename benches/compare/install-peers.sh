#!/usr/bin/env bash
# Installs the contenders and tools of `make bench`. Unavailable ones are reported and left out; the benchmark skips
# them. From the distribution (Debian, Ubuntu): tinc, fastd, wireguard-go and the tools. From crates.io: VpnCloud, into
# the directory given as the first argument (default: target/bench-peers).
set -euo pipefail
cd "$(dirname "$0")/../.."
root=${1:-${CARGO_TARGET_DIR:-target}/bench-peers}
vpncloud=2.3.0
export PATH=$HOME/.cargo/bin:$PATH:/usr/sbin:/sbin

# Commands and their packages.
wanted=(python3:python3 ip:iproute2 sysctl:procps setpriv:util-linux ping:iputils-ping iperf3:iperf3 ethtool:ethtool
        tincd:tinc fastd:fastd wireguard-go:wireguard-go wg:wireguard-tools)

without() { echo "install-peers: going on without $1" >&2; }

install_packages() {
    local pair packages=() sudo=''
    for pair in "${wanted[@]}"; do
        command -v "${pair%%:*}" >/dev/null || packages+=("${pair##*:}")
    done
    [ ${#packages[@]} -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then without "${packages[*]} (not Debian or Ubuntu)"; return; fi
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -q || true
    for pair in "${packages[@]}"; do
        # One by one: a package that this release lacks must not prevent the others.
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$pair" ||
            without "$pair"
    done
}

install_vpncloud() {
    if [ -x "$root/bin/vpncloud" ] || command -v vpncloud >/dev/null; then return; fi
    cargo install --quiet --locked --root "$root" "vpncloud@$vpncloud" || without vpncloud
}

install_packages
install_vpncloud
