#!/usr/bin/env python3
"""Measures a real router's DNS server with dnsperf: answers per second, and per second of CPU time.

    dnsbench.py [--seconds 10] [--names 1000] [--clients 8] --bin DIR

Two routers, each with half of the names; dnsperf on host A queries router A for all of them, and for the names of their
addresses. Exit status 1 below the goal of 20,000 answers per second of one core, or if any query was lost or answered
wrongly. Needs root; all traffic is in network namespaces.
"""

import argparse
import os
import re
import sys
import tempfile

import contenders
import machine
import ours  # registers mesh
import topology

GOAL = 20_000       # answers per second of CPU time
DOMAIN = "mesh.local"
LISTEN = ("--dns-listen", "127.0.0.1")


class Named(ours.Mesh):
    """Two routers that answer DNS queries."""

    name, options = "mesh", LISTEN


def main():
    """Measures names of router A, names of router B, and reverse queries."""
    options = parse()
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    contenders.BINARIES[:] = [os.path.abspath(directory) for directory in options.bin]
    if os.geteuid() != 0:
        sys.exit("needs root: it makes network namespaces")
    if not contenders.find("dnsperf"):
        sys.exit("needs dnsperf (apt-get install dnsperf)")
    with tempfile.TemporaryDirectory() as scratch, topology.Topology(scratch) as space:
        bed = Named()
        bed.containers(space)
        bed.prepare(space)
        bed.start(space)
        good = all([measure(space, options, what) for what in ("local", "remote", "addresses")])
    print(f"dnsbench: {'ok' if good else 'FAILED'}")
    sys.exit(0 if good else 1)


def parse():
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--names", type=int, default=1000, help="names on each host, at most 1000")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--bin", action="append", default=[], metavar="DIR", help="directory of mesh and mesh-router")
    return parser.parse_args()


def address(host, number):
    """Returns the address of a name."""
    return f"10.9{host.index}.{number // 250}.{number % 250 + 1}"


def measure(space, options, what):
    """Runs dnsperf once. Returns true if the goal was met."""
    asked = space.b if what == "remote" else space.a
    state_names(space, asked, options.names)
    questions = queries(asked, options.names, what)
    file = space.a.write(f"{what}.txt", "\n".join(questions) + "\n")
    router = space.daemons[0].pid()
    before = machine.process_cpu(router)
    text = space.a.run("dnsperf", "-s", "127.0.0.1", "-d", file, "-l", options.seconds, "-c", options.clients,
                       "-q", 100)
    spent = machine.process_cpu(router) - before
    sent, done, lost = (count(text, word) for word in ("sent", "completed", "lost"))
    right = count(text, "NOERROR", pattern=r"NOERROR (\d+)")
    rate = float(re.search(r"Queries per second:\s+([\d.]+)", text).group(1))
    mean, worst = latency(text)
    per_core = done / spent
    good = per_core >= GOAL and lost == 0 and right == done
    print(f"{what:9} {rate:9,.0f} answers/s, {per_core:9,.0f} per second of the router's processor time "
          f"(goal {GOAL:,}: {'met' if per_core >= GOAL else 'MISSED'}); latency mean {mean * 1e6:,.0f} us, "
          f"most {worst * 1e3:.1f} ms; {sent} sent, {lost} lost, {done - right} wrong", flush=True)
    return good


def state_names(space, host, names):
    """Adds names with addresses but without containers, once; waits until router A knows the last one."""
    program = contenders.find("mesh")
    if not host.succeeds(program, "dns-lookup", "n0"):
        commands = [f"{program} dns-add {address(host, n)} -h n{n}-{host.letter.lower()}.{DOMAIN}" for n in range(names)]
        host.run("sh", "-c", " && ".join(commands[:1]))
        for first in range(1, names, 50):
            host.run("sh", "-ec", "\n".join(commands[first:first + 50]))
    last = f"n{names - 1}-{host.letter.lower()}.{DOMAIN}"
    topology.wait_for(lambda: address(host, names - 1) in space.a.run(
        "dig", "@127.0.0.1", "+short", "+tries=1", last, check=False), f"{last} is known on host A")


def queries(host, names, what):
    """Returns the lines of dnsperf's input."""
    if what != "addresses":
        return [f"n{n}-{host.letter.lower()}.{DOMAIN} A" for n in range(names)]
    reverse = (".".join(reversed(address(host, n).split("."))) for n in range(names))
    return [f"{name}.in-addr.arpa PTR" for name in reverse]


def count(text, word, pattern=None):
    """Returns a number from dnsperf's output."""
    found = re.search(pattern or rf"Queries {word}:\s+(\d+)", text)
    return int(found.group(1)) if found else 0


def latency(text):
    """Returns the mean and the maximum, in seconds."""
    mean = re.search(r"Average Latency \(s\):\s+([\d.]+)", text)
    most = re.search(r"\(min [\d.]+, max ([\d.]+)\)", text)
    return float(mean.group(1)), float(most.group(1))


if __name__ == "__main__":
    main()
