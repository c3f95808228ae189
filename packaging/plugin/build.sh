#!/usr/bin/env bash
# Makes the managed plugin for Docker's Swarm: build.sh BINARIES PLUGIN
#
# BINARIES holds mesh-router; PLUGIN gets config.json and rootfs, as `docker plugin create` wants them. The file system holds
# the router and the libraries that it is linked to, nothing else.
set -euo pipefail

binaries=${1:?the directory with mesh-router}
plugin=${2:?the directory for the plugin}
here=$(cd "$(dirname "$0")" && pwd)
router=$binaries/mesh-router
[ -x "$router" ] || { echo "build.sh: there is no $router; run make build" >&2; exit 1; }

new=$plugin.new
rm -rf "$new"
mkdir -p "$new/rootfs"/{usr/bin,tmp,etc,host/run,host/lib,run/docker/plugins,var/run/docker}
install -m 644 "$here/config.json" "$new/config.json"
install -m 755 "$router" "$new/rootfs/usr/bin/mesh-router"
# The loader is a path of its own in the output of ldd, without "=>".
ldd "$router" | grep -o '/[^ ]*' | sort -u | while read -r library; do
    install -D -m 755 "$library" "$new/rootfs$library"
done
# Docker names namespaces by this path of the host.
ln -s /host/run/docker/netns "$new/rootfs/var/run/docker/netns"
rm -rf "$plugin"
mv "$new" "$plugin"
echo "$plugin"
