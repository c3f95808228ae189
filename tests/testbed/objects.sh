#!/bin/sh
# Prints the objects in a host's kernel and on its disks, one per line: links, addresses, routes, rules, namespaces,
# files, networks of the engine, processes, mounts. Tests compare them before and after to find leftovers.
ip -o link | awk -F'[:@]' '{ print "link" $2 }'
# Docker's bridges get a link-local address with their first container, and keep it.
ip -o addr | grep -v -e ' docker0 .* fe80:' -e ' br-[0-9a-f]* .* fe80:' | awk '{ print "address", $2, $4 }'
{ ip route; ip rule; ip -6 rule; } | sed 's/^/route /; s/ linkdown//'
for family in iptables ip6tables; do
    for table in filter nat mangle; do
        $family -t $table -S 2>/dev/null | grep -v '^-P' | sed "s/^/$family $table /"
    done
done
nft list tables 2>/dev/null | grep mesh | sed 's/^/nft /'
ls /run/netns 2>/dev/null | sed 's/^/namespace /'
# Files of the engines are excluded: Docker takes a minute to remove the names of its namespaces. So is the file of
# neighbours, which is written some seconds later, and what is being written (.NAME.tmp); tests in router/src/state check that a
# reset removes both.
for path in docker containerd containers libpod crun runc lock testbed; do theirs="${theirs:-} -path /run/$path -o"; done
# shellcheck disable=SC2086  # words
find /run /var/lib/mesh /etc/mesh /etc/docker /etc/cni \( $theirs -name cni.lock \) -prune \
    -o -path /var/lib/mesh/neighbours -prune -o -path '/var/lib/mesh/.*.tmp' -prune \
    -o \( -type f -o -type s \) -print 2>/dev/null | sed 's/^/file /'
ls /run/docker/plugins 2>/dev/null | sed 's/^/plugin /'
docker network ls -q --no-trunc 2>/dev/null | sed 's/^/network /'
# What the thread mesh-host starts has its name until it is the program that is meant.
ps -e -o comm= | grep '^mesh' | grep -vx mesh-host | sed 's/^/process /'
awk '{ print $2 }' /proc/mounts | grep mesh | grep -vx -e /var/lib/mesh -e /etc/mesh | sed 's/^/mount /'
exit 0
