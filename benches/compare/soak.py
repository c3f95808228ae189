#!/usr/bin/env python3
"""Sends many gigabytes through each datapath of mesh and compares checksums: TCP must repair every loss.

    soak.py [--gigabytes 10] [--contenders 'mesh mesh-pcap mesh-kernel mesh-relay'] [--underlay veth] --bin DIR

Prints one line for each: bytes received, the comparison of SHA-256 checksums, the rate, and the routers' drops. Exit
status 1 if data arrived modified or incomplete. Needs root; all traffic is in network namespaces.
"""

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

import contenders
import ours  # registers mesh
import topology
from measure import Measure, PORT, listens

BLOCK = 1 << 20
BLOCKS = 61            # random blocks, sent repeatedly; not a power of two, so that errors do not align with them
STALL = 20.0           # seconds without data after which a transfer fails
GB = 10 ** 9


def main():
    """Runs all contenders one after another; with --end, one end of a transfer."""
    if sys.argv[1:2] == ["--end"]:
        end, *arguments = sys.argv[2:]
        print(json.dumps(receive(*arguments) if end == "receive" else send(*arguments)))
        return
    options = parse()
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    contenders.BINARIES[:] = [os.path.abspath(directory) for directory in options.bin]
    if os.geteuid() != 0:
        sys.exit("needs root: it makes network namespaces")
    intact = [soak(name, options) for name in options.contenders.split()]
    print(f"soak: {'ok' if all(intact) else 'FAILED'}")
    sys.exit(0 if all(intact) else 1)


def parse():
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--contenders", default="mesh mesh-pcap mesh-kernel mesh-relay")
    parser.add_argument("--underlay", default="veth", choices=("veth", "nic"))
    parser.add_argument("--bin", action="append", default=[], metavar="DIR", help="directory of mesh and mesh-router")
    return parser.parse_args()


def soak(name, options):
    """Runs one transfer. Returns true if the data arrived unmodified."""
    contender = contenders.REGISTER[name]()
    with tempfile.TemporaryDirectory() as scratch, topology.Topology(scratch, options.underlay, contender.line) as space:
        contender.containers(space)
        contender.prepare(space)
        contender.start(space)
        measure = Measure(space, 2)
        measure.first_ping()
        sent, got = transfer(measure, int(options.gigabytes * GB))
        dropped = [drops(host) for host in space.hosts]
    same = sent["sha256"] == got["sha256"] and sent["bytes"] == got["bytes"]
    rate = got["bytes"] * 8 / got["seconds"] / 1e6
    print(f"{name:12} {got['bytes'] / GB:6.2f} of {sent['bytes'] / GB:.2f} GB  {'same' if same else 'DIFFERENT'} SHA-256 "
          f"{got['sha256'][:16]}  {rate:7,.0f} Mbit/s  {got['retransmitted']} segments sent again  "
          f"dropped by the routers: {' | '.join(dropped)}", flush=True)
    return same


def transfer(measure, size):
    """Transfers `size` bytes from A to B. Returns the results of both ends."""
    receiver = measure.b.popen(sys.executable, __file__, "--end", "receive", PORT, size)
    topology.wait_for(lambda: listens(measure.b.pid, PORT), "B listens")
    sender = measure.a.popen(sys.executable, __file__, "--end", "send", measure.b.address, PORT, size)
    ends = []
    for process in (sender, receiver):
        out, errors = process.communicate(timeout=size / GB * 60 + 60)
        if process.returncode != 0:
            raise topology.Failed(f"an end of the transfer failed: {errors or out}")
        ends.append(json.loads(out))
    sent, got = ends
    return sent, {**got, "retransmitted": sent["retransmitted"]}


def drops(host):
    """Returns the drop counters of a host's router that are not zero."""
    report = json.loads(host.run(contenders.find("mesh"), "report"))
    reasons = report["Router"]["Drops"]
    counted = {reason: count for reason, count in reasons.items() if count}
    return " ".join(f"{reason} {count}" for reason, count in counted.items()) or "nothing"


def send(address, port, size):
    """Sends the data. Returns its size, its checksum and the retransmitted segments."""
    blocks = [os.urandom(BLOCK) for _ in range(BLOCKS)]
    digest, left, index = hashlib.sha256(), int(size), 0
    with socket.create_connection((address, int(port)), timeout=STALL) as connection:
        while left:
            block = memoryview(blocks[index % BLOCKS])[:left]
            connection.sendall(block)
            digest.update(block)
            left, index = left - len(block), index + 1
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)  # returns once the receiver has read everything
        again = retransmitted(connection)
    return {"bytes": int(size), "sha256": digest.hexdigest(), "retransmitted": again}


def retransmitted(connection):
    """Returns `tcpi_total_retrans` of linux/tcp.h, at an offset of eight bytes and 23 words."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int.from_bytes(info[100:104], sys.byteorder)


def receive(port, size):
    """Receives the data. Returns its size, its checksum and the duration."""
    digest, got, buffer = hashlib.sha256(), 0, bytearray(BLOCK)
    with socket.create_server(("", int(port))) as server:
        server.settimeout(STALL)
        connection, _ = server.accept()
    connection.settimeout(STALL)
    start = time.monotonic()
    with connection:
        while got < int(size):
            count = connection.recv_into(buffer)
            if count == 0:
                break
            digest.update(memoryview(buffer)[:count])
            got += count
    return {"bytes": got, "sha256": digest.hexdigest(), "seconds": time.monotonic() - start}


if __name__ == "__main__":
    try:
        main()
    except (topology.Failed, subprocess.SubprocessError, OSError) as error:
        sys.exit(f"soak: {error}")
