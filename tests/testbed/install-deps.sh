#!/usr/bin/env bash
# Installs what building and testing mesh needs on Debian and Ubuntu (with `build`: what building alone needs). Says
# nothing when all is there.
set -euo pipefail

# What is looked for, and the package that has it. A name with a slash is a file, the others are commands.
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
# Tested when they are there: podman, and the resolver of musl. A machine without skips those tests and says so.
optional=(podman:podman runc:runc musl-gcc:musl-tools)
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
    echo "install-deps: this is not Debian or Ubuntu; install what these packages of theirs hold: $(echo $packages)" >&2
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
[ -z "$extras" ] || install "$extras" || echo "install-deps: went on without $(echo $extras)" >&2
