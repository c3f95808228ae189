#!/usr/bin/env python3
"""Measures what networks cost: throughput, idle round trip and memory with 1, 10 and 100 networks.

    networks.py [--counts '1 10 100'] [--rounds 3] [--seconds 3] [--underlay veth] --bin DIR

Two routers; a container of each network on both hosts. Traffic is in the first network, the others are idle. The steps
alternate within one run, so slow drifts of the machine affect all alike: a round is every count once, from fresh routers.
Figures are medians over the rounds; ratios to the first count are taken within each round, then their median. Exit status
1 if a goal is missed. Needs root; all traffic is in network namespaces.
"""

import argparse
import os
import statistics
import sys
import tempfile

import contenders
import machine
import ours  # registers mesh
import topology
from measure import Measure

MOST_LOSS = 0.02    # of throughput, and of the round trip, with the most networks
MOST_MEMORY = 1.0   # MB of the router for each network
SETTLE = 12         # seconds until the members of new networks have agreed on keys
FIGURES = (
    ("tcp1_mbps", "TCP, 1 stream", "Mbit/s", 1), ("tcp1_cpu", "processor time", "s/GB", -1),
    ("udp_rr_p50", "a request each 2 ms, p50", "us", -1), ("rss_mb", "memory of router A", "MB", 0))


class Networked(ours.Mesh):
    """Two routers with networks, each with a container on both hosts; the first network has the measured ones."""

    name = "mesh"
    count = 1

    def start(self, space):
        for host in space.hosts:
            space.spawn(host, self.find("mesh-router"), "--state-dir", host.path("state"), "--nickname", host.letter,
                        "--log-level", "warn", f"--key-file={host.path('mesh.key')}", *host.neighbours)
        for host in space.hosts:
            topology.wait_for(lambda host=host: host.succeeds(self.find("mesh"), "status"), "the router answers")
        program = self.find("mesh")
        in_batches(space.a, self.count, f"{program} network create net$n --subnet 10.0.0.0/24")
        for host in space.hosts:
            topology.wait_for(lambda host=host: host.run(program, "network", "ls").count("10.0.0.0/24") == self.count,
                              "the networks are known")
        for host in space.hosts:
            self.populate(host)

    def populate(self, host):
        """Runs a container in each network; that of the first one is measured."""
        address, file = f"10.0.0.{host.index}", host.path("pid")
        in_batches(host, self.count, f"{self.find('mesh')} run --runtime process --net net$n {address} -d -- "
                   f"sh -c \"[ $n != 1 ] || readlink /proc/self >{file}; exec sleep infinity\"")
        first = topology.wait_for(lambda: first_container(host), "the first container")
        host.container = topology.Container(first, "mesh0")
        host.container.address = address


def first_container(host):
    """Returns the pid of the command of the first `mesh run`: the oldest child of process 1 with its own network."""
    own = os.readlink(f"/proc/{host.pid}/ns/net")
    def begun(pid):
        return int(machine.read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[19])
    children = [pid for pid in machine.children(host.pid) if os.readlink(f"/proc/{pid}/ns/net") != own]
    return min(children, key=lambda pid: (begun(pid), pid), default=None)


def in_batches(host, count, command):
    """Runs a command for each network, some in one shell, since a command has a time limit."""
    for first in range(1, count + 1, 20):
        last = min(count, first + 19)
        host.run("sh", "-ec", f"for n in $(seq {first} {last}); do {command}; done")


def main():
    """Measures all rounds and prints the figures."""
    options = parse()
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    contenders.BINARIES[:] = [os.path.abspath(directory) for directory in options.bin]
    if os.geteuid() != 0:
        sys.exit("needs root: it makes network namespaces")
    counts = [int(count) for count in options.counts.split()]
    rounds = []
    for number in range(options.rounds):
        order = counts[number % len(counts):] + counts[:number % len(counts)]
        rounds.append({count: measure(count, options) for count in order})
    sys.exit(0 if report(counts, rounds) else 1)


def parse():
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="1 10 100", help="numbers of networks; ratios are to the first")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--patience", type=float, default=20, help="seconds to wait for a quiet machine")
    parser.add_argument("--underlay", default="veth", choices=("veth", "nic"))
    parser.add_argument("--bin", action="append", default=[], metavar="DIR", help="directory of the programs")
    return parser.parse_args()


def measure(count, options):
    """Measures one number of networks. Returns the figures by name."""
    bed = Networked()
    bed.count = count
    with tempfile.TemporaryDirectory() as scratch, topology.Topology(scratch, options.underlay) as space:
        bed.prepare(space)
        bed.start(space)
        measured = Measure(space, int(options.seconds))
        measured.first_ping()
        topology.time.sleep(SETTLE)
        rss = resident(space.daemons[0].pid())
        machine.wait_until_quiet(options.patience)
        figures = {"rss_mb": rss}
        for test in (measured.request_response, measured.tcp1):
            got, noise = measured.quietly(test, options.patience)
            figures.update(got[0] if isinstance(got, tuple) else got)
            figures["noise"] = max(noise, figures.get("noise", 0.0))
    print(f"  {count:4} networks: " + ", ".join(f"{key} {figures[key]:,.2f}" for key, *_ in FIGURES if key in figures)
          + f" (others used {figures['noise']:.2f} cores)", flush=True)
    return figures


def resident(pid):
    """Returns the resident memory of a process in megabytes (2^20 bytes)."""
    for line in machine.read(f"/proc/{pid}/status").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def report(counts, rounds):
    """Prints medians and ratios. Returns true if all goals were met."""
    print(f"networks: {machine.describe()}, {len(rounds)} rounds")
    first, most, good = counts[0], counts[-1], True
    for key, text, unit, better in FIGURES:
        cells = []
        for count in counts:
            values = [figures[count][key] for figures in rounds]
            ratio = statistics.median(figures[count][key] / figures[first][key] for figures in rounds)
            cells.append(f"{count}: {statistics.median(values):,.1f} {unit} (x {ratio:.3f})")
        verdict = ""
        if better and most != first:
            worse = (1 / ratio if better > 0 else ratio) - 1
            if key != "tcp1_cpu":
                met = worse <= MOST_LOSS
                good, verdict = good and met, f"  {worse:+.1%} (goal {MOST_LOSS:.0%}: {'met' if met else 'MISSED'})"
        elif most != first:
            each = statistics.median(f[most][key] - f[first][key] for f in rounds) / (most - first)
            met = each <= MOST_MEMORY
            good, verdict = good and met, f"  {each:.2f} MB each (goal {MOST_MEMORY} MB: {'met' if met else 'MISSED'})"
        print(f"{text:26} {'  '.join(cells)}{verdict}")
    return good


if __name__ == "__main__":
    main()
