#!/usr/bin/env bash
# Installs the dependencies of building and testing mesh on Debian and Ubuntu (with `build`: of building alone). Silent
# if all are installed.
set -euo pipefail

# Commands, or files (with a slash), and their packages.
needed=(
    cc:build-essential
    /usr/include/pcap/pcap.h:libpcap-dev
    ip:iproute2
    nft:nftables
    iptables:iptables
    pgrep:procps
    busybox:busybox-static
    tcpdump:tcpdump
    ping:iputils-ping
    python3:python3
    dig:bind9-dnsutils
    dockerd:docker.io
)
# Optional: podman, Compose, and the resolver of musl. Without them their tests are skipped with a message.
optional=(podman:podman runc:runc docker-compose:docker-compose musl-gcc:musl-tools)
if [ "${1:-}" = build ]; then
    needed=(cc:build-essential /usr/include/pcap/pcap.h:libpcap-dev)
    optional=()
fi

missing() {
    local pair
    for pair in "$@"; do
        case ${pair%%:*} in
            /*) [ -e "${pair%%:*}" ] || echo "${pair##*:}" ;;
            *)  command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}" ;;
        esac
    done
}

PATH=$HOME/.cargo/bin:$PATH:/usr/sbin:/sbin
if ! command -v cargo >/dev/null; then
    echo "install-deps: no Rust toolchain. Install one from https://rustup.rs and run this again." >&2
    exit 1
fi
packages=$(missing "${needed[@]}")
extras=$(missing "${optional[@]}")
[ -n "$packages$extras" ] || exit 0
if ! command -v apt-get >/dev/null; then
    [ -n "$packages" ] || exit 0
    echo "install-deps: this is not Debian or Ubuntu; install the equivalents of these packages: $(echo $packages)" >&2
    exit 1
fi
sudo=''
[ "$(id -u)" = 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # one word per package
install() { $sudo apt-get install -y -q --no-install-recommends $1; }
echo "install-deps: installing $(echo $packages $extras)"
$sudo apt-get update -q
[ -z "$packages" ] || install "$packages"
[ -z "$extras" ] || install "$extras" || echo "install-deps: not installed, their tests are skipped: $(echo $extras)" >&2
