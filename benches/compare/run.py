#!/usr/bin/env python3
"""Runs mesh and other overlays side by side on this machine, and writes a report with a chart.

Contenders run one after another; a round runs each of them once on each underlay, and each round starts with another
contender. Needs root. All traffic is in network namespaces that end with this program, even if it is killed.
"""

import argparse
import fcntl
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time

import contenders
import machine
import ours
import peers
import report
import topology
from measure import Measure
from results import Results
from stats import number

# The full comparison; contenders that are not installed are skipped.
DEFAULT = ("mesh mesh-latency-off mesh-chacha mesh-aes mesh-kernel mesh-relay mesh-pcap bare vxlan tinc fastd fastd-aes "
           "vpncloud vpncloud-aes wireguard-go weave weave-crypt").split()
# Programs that the measurements need.
TOOLS = ("ip", "bridge", "sysctl", "nsenter", "unshare", "setpriv", "ping", "iperf3", "ethtool", "mesh-rr")
# Errors that fail one contender and not the whole run; LookupError and ValueError come from
# unexpected program output.
FAILURES = (topology.Failed, subprocess.SubprocessError, OSError, LookupError, ValueError)
# Figures in the terminal's progress line.
BRIEF = ("tcp1_mbps", "tcp1_cpu", "udp64_kpps", "udp1400_mbps", "udp_rr_p50", "udp_loop_rate", "loaded_p99")


def main():
    """Measures, or only renders earlier results."""
    options = parse()
    if options.render:
        report.write(options.report, Results.load(options.render))
        return
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    contenders.BINARIES[:] = [os.path.abspath(directory) for directory in options.bin]
    names = choose(options)
    os.makedirs(options.work, exist_ok=True)
    with open(os.path.join(options.work, "lock"), "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"another benchmark uses {options.work}; give another --work")
        results = measure_all(names, options)
    report.write(options.report, results)
    print(machine.read(options.report))
    print(f"wrote {options.report} and its .svg; rows: {raw_path(options)}", file=sys.stderr)


def parse():
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contenders", default=" ".join(DEFAULT), help="names, separated by spaces or commas")
    parser.add_argument("--underlay", default="veth nic", help="veth, nic or both")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5,
                        help="duration of each TCP run and of the 1,400-byte flood (at least 2)")
    parser.add_argument("--tests", default="", help="some of: idle rr tcp1 tcp4 bidir udp64 udp1400 (default: all)")
    parser.add_argument("--patience", type=int, default=60, metavar="SECONDS",
                        help="longest wait for other processes to become idle before and between measurements; "
                        "0: do not wait")
    parser.add_argument("--command", action="append", default=[], metavar="NAME='COMMAND'",
                        help="further contender: a daemon for each host; {bridge} {address} {peer} {host} {dir} "
                        "are substituted")
    parser.add_argument("--command-mtu", type=int, default=1400, help="MTU of its containers")
    parser.add_argument("--command-tap", action="store_true", help="it creates tap0, to be added to the bridge")
    parser.add_argument("--command-no-offloads", action="store_true",
                        help="it captures frames: containers send packets that are cut and have checksums")
    parser.add_argument("--build", action="append", default=[], metavar="NAME=DIR",
                        help="one more contender: mesh with the programs in DIR, as a build of the commit before")
    parser.add_argument("--bin", action="append", default=[], metavar="DIR",
                        help="directory to search for programs before PATH")
    parser.add_argument("--work", default="target/bench", metavar="DIR", help="for raw results, logs and scratch files")
    parser.add_argument("--report", metavar="FILE", help="default: report.md in the --work directory")
    parser.add_argument("--render", metavar="ROWS",
                        help="measure nothing: create the report from the rows of an earlier run")
    parser.add_argument("--list", action="store_true", help="list the contenders that would run or be skipped")
    options = parser.parse_args()
    options.work = os.path.abspath(options.work)
    options.report = options.report or os.path.join(options.work, "report.md")
    options.underlay, options.tests = words(options.underlay), words(options.tests)
    if options.seconds < 2 or options.rounds < 1 or not set(options.underlay) <= {"veth", "nic"}:
        parser.error("--seconds is at least 2, --rounds at least 1, --underlay of veth and nic")
    return options


def words(text):
    """Splits a text at spaces and commas."""
    return text.replace(",", " ").split()


def choose(options):
    """Returns the contenders that can run here; prints the reasons for the others."""
    named = words(options.contenders)
    try:
        named += [peers.add_command(spec, options.command_mtu, options.command_tap, not options.command_no_offloads)
                  for spec in options.command]
        named += [ours.add_build(spec) for spec in options.build]
    except ValueError as error:
        sys.exit(str(error))
    unknown = [name for name in named if name not in contenders.REGISTER]
    if unknown:
        sys.exit(f"no contender {', '.join(unknown)}; there are: {' '.join(contenders.REGISTER)}")
    missing = {name: contenders.REGISTER[name]().missing() for name in named}
    for name in named:
        if missing[name] or options.list:
            remark = f"skipped, {missing[name]}" if missing[name] else contenders.REGISTER[name].note
            print(f"{name}: {remark}", file=sys.stderr)
    if options.list:
        sys.exit(0)
    options.skipped = {name: why for name, why in missing.items() if why}
    absent = [tool for tool in TOOLS if not contenders.find(tool)]
    if absent:
        sys.exit(f"not installed: {' '.join(absent)} (install-peers.sh beside this program installs them; "
                 "`make bench` builds mesh-rr)")
    if os.geteuid() != 0:
        sys.exit("needs root: it makes network namespaces")
    return [name for name in named if not missing[name]]


def raw_path(options):
    """Returns the path of the raw results."""
    return os.path.join(options.work, "rows.jsonl")


def measure_all(names, options):
    """Runs all rounds; rows are written as they are measured."""
    rows, top = [], heading(options)
    with open(raw_path(options), "w", encoding="utf-8") as file:
        file.write(json.dumps({"heading": top}) + "\n")
        for index in range(options.rounds):
            first = index * len(names) // options.rounds
            for underlay in options.underlay:
                for name in names[first:] + names[:first]:
                    row = {"round": index, "place": names.index(name), **measure_one(name, underlay, options)}
                    rows.append(row)
                    file.write(json.dumps(row) + "\n")
                    file.flush()
                    say(row, options)
    return Results(rows, top)


def measure_one(name, underlay, options):
    """Measures one contender once on one underlay. Returns a result row, even after a failure."""
    contender = contenders.REGISTER[name]()
    row = {"contender": name, "underlay": underlay, "kind": contender.kind, "layer": contender.layer,
           "mtu": contender.mtu, "cipher": contender.cipher, "note": contender.note, "version": version(contender),
           "figures": {}, "noise": {}, "remarks": []}
    machine.wait_until_quiet(options.patience)
    try:
        with topology.Topology(os.path.join(options.work, "hosts"), underlay, contender.line) as space:
            contender.containers(space)
            contender.prepare(space)
            start = time.monotonic()
            contender.start(space)
            measure = Measure(space, options.seconds)
            measure.first_ping()
            row["figures"]["start_s"] = time.monotonic() - start
            row["mtu"] = measure.a.mtu()
            contender.settle(space)
            if not measure.full_size_passes():
                row["remarks"].append("a packet of full size does not pass")
            run_tests(measure, row, options)
            row["figures"].update(measure.memory())
    except FAILURES as error:
        row["remarks"].append(f"failed: {in_short(error, options)}")
    return row


def run_tests(measure, row, options):
    """Runs each test separately: a failure does not affect the others."""
    for name, test in measure.tests().items():
        if options.tests and name not in options.tests:
            continue
        try:
            measure.topology.check()
            figures, noise = measure.quietly(test, options.patience)
        except FAILURES as error:
            row["remarks"].append(f"{name} failed: {in_short(error, options)}")
            continue
        row["figures"].update(figures)
        row["noise"][name] = noise


def in_short(error, options):
    """Formats an error as one line of limited length, without paths of this machine."""
    text = f"{type(error).__name__}: {error}" if isinstance(error, LookupError) else str(error)
    for directory in (*contenders.BINARIES, options.work, os.getcwd()):
        text = text.replace(directory + os.sep, "")
    return " ".join(text.split())[:500]


def version(contender):
    """Returns the version that the program prints: the first line with a number, shortened."""
    if not contender.version_of:
        return platform.release() if contender.kind == contenders.REFERENCE else "?"
    program, *arguments = contender.version_of
    try:
        text = topology.run(contenders.find(program), *arguments, check=False)
    except (OSError, subprocess.SubprocessError):
        return "?"
    lines = [line.strip() for line in text.splitlines() if any(letter.isdigit() for letter in line)]
    return lines[0][:40] if lines else "?"


def say(row, options):
    """Prints one line of progress."""
    brief = "  ".join(f"{name} {number(row['figures'].get(name))}" for name in BRIEF)
    failed = "; ".join(remark for remark in row["remarks"] if "failed" in remark)
    print(f"[{row['round'] + 1}/{options.rounds}] {row['underlay']:4} {row['contender']:12} {brief}  {failed}",
          file=sys.stderr, flush=True)


def heading(options):
    """Returns the origin of the figures: day, machine, and the command that reproduces them."""
    variables = {"ROUNDS": options.rounds, "SECS": options.seconds, "PATIENCE": options.patience,
                 "UNDERLAY": " ".join(options.underlay), "CONTENDERS": " ".join(words(options.contenders))}
    again = " ".join(["make bench", *(f"{name}={shlex.quote(str(value))}" for name, value in variables.items())])
    lines = [f"{time.strftime('%Y-%m-%d')}, {machine.describe()}. Cells are `median [min-max]` over the "
             f"rounds ({options.rounds}), or the value of the only one. Measured by:", f"```\n{again}\n```"]
    if options.skipped:
        lines.append("Skipped: " + "; ".join(f"{name} ({why})" for name, why in options.skipped.items()) + ".")
    return "\n\n".join(lines)


if __name__ == "__main__":
    main()
