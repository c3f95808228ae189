#!/bin/sh
# Two processes on the mesh of one host, without any container engine: a web server and its client.
# Run as root, with mesh and busybox in PATH.
set -eu

mesh launch
trap 'mesh reset' EXIT

site=$(mktemp -d)
echo 'hello from the mesh' >"$site/index.html"
mesh run --runtime process 10.2.1.1/24 -d --name web -- busybox httpd -f -p 80 -h "$site"

mesh ps
mesh run --runtime process 10.2.1.2/24 -- sh -c '
    until printf "GET / HTTP/1.0\r\n\r\n" | busybox nc 10.2.1.1 80; do sleep 0.1; done'
rm -r "$site"
