"""Measurements: each sends one bounded load from container A to container B and returns figures.

Figures are a flat dictionary, described by FIGURES. One GB is 10^9 bytes received.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time

import machine
from contenders import find
from stats import percentile
from topology import Failed, wait_for

PORT = 5201
UDPLOAD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "udpload.py")
PING_SPACING = 0.01       # seconds between the pings during a TCP stream
IDLE_SPACING = 0.02       # between pings on an idle path; below 10 ms ping polls instead of sleeping
IDLE_PINGS = 250
RR_GAP = 2000             # microseconds that a blocking client sleeps between an answer and the next request
MAX_LOSS = 0.01           # highest loss at which a rate counts
SEARCH_STEPS = 7
SEARCH_SECONDS = 0.8      # of each search step
FIRST_PING = 20.0         # timeout in seconds of the first packet
NOISE = 0.12              # cores used by others above which a measurement is repeated
TRIES = 3

# Name of each figure: (description, unit).
FIGURES = {
    "tcp1_mbps": ("TCP 1 stream", "Mbit/s"),
    "tcp1_cpu": ("CPU, TCP 1 stream", "s/GB"),
    "tcp1_own": ("of which daemons", "s/GB"),
    "tcp4_mbps": ("TCP 4 streams", "Mbit/s"),
    "tcp4_cpu": ("CPU, TCP 4 streams", "s/GB"),
    "bidir_mbps": ("TCP both ways, sum", "Mbit/s"),
    "udp64_kpps": ("UDP 64 B, loss <= 1 %", "k packets/s"),
    "udp1400_mbps": ("UDP 1,400 B flood", "Mbit/s"),
    "udp1400_cpu": ("CPU, UDP 1,400 B", "s/GB"),
    "udp_rr_p50": ("UDP, a request each 2 ms, p50", "µs"),
    "udp_rr_p99": ("UDP, a request each 2 ms, p99", "µs"),
    "tcp_rr_p50": ("TCP, a request each 2 ms, p50", "µs"),
    "tcp_rr_p99": ("TCP, a request each 2 ms, p99", "µs"),
    "udp_loop_rate": ("UDP closed loop", "requests/s"),
    "udp_loop_p50": ("UDP closed loop, p50", "µs"),
    "udp_loop_p99": ("UDP closed loop, p99", "µs"),
    "tcp_loop_rate": ("TCP closed loop", "requests/s"),
    "tcp_loop_p50": ("TCP closed loop, p50", "µs"),
    "tcp_loop_p99": ("TCP closed loop, p99", "µs"),
    "idle_p50": ("ping each 20 ms, p50", "µs"),
    "idle_p99": ("ping each 20 ms, p99", "µs"),
    "loaded_p50": ("RTT while TCP runs, p50", "µs"),
    "loaded_p99": ("RTT while TCP runs, p99", "µs"),
    "rss_mb": ("peak RSS", "MB"),
    "start_s": ("start to first ping", "s"),
}


class Measure:
    """Measurements on a topology with a running contender."""

    def __init__(self, topology, seconds):
        self.topology, self.seconds = topology, seconds
        self.a, self.b = topology.a.container, topology.b.container
        self.payload = min(1400, self.a.mtu() - 28)  # minus IPv4 and UDP headers

    def tests(self):
        """Returns the tests by name."""
        return {"idle": self.idle, "rr": self.request_response, "tcp1": self.tcp1, "tcp4": self.tcp4,
                "bidir": self.bidir, "udp64": self.udp64, "udp1400": self.udp1400}

    # ---- latency ----------------------------------------------------------------------------------------------------

    def first_ping(self):
        """Waits for the first answered ping."""
        def answered():
            self.topology.check()
            return self.a.succeeds("ping", "-nqc1", "-W0.2", self.b.address)
        wait_for(answered, "a first ping", FIRST_PING)

    def full_size_passes(self):
        """Returns true if a packet of the containers' MTU passes unfragmented."""
        return self.a.succeeds("ping", "-nqc3", "-i0.05", "-W1", "-Mdo", f"-s{self.a.mtu() - 28}", self.b.address)

    def ping(self, count, spacing):
        """Returns round-trip times in microseconds."""
        out = self.a.run("ping", "-n", "-c", count, "-i", spacing, "-W", "1", self.b.address, check=False)
        times = [float(text) * 1000 for text in re.findall(r"time=([\d.]+) ms", out)]
        if not times:
            raise Failed("no ping was answered")
        return times

    def idle(self):
        """Measures the RTT without other traffic."""
        times = self.ping(IDLE_PINGS, IDLE_SPACING)
        return {"idle_p50": percentile(times, 50), "idle_p99": percentile(times, 99)}

    def request_response(self):
        """Measures clients that block on each answer: with a pause after it, and in a closed loop."""
        figures = {}
        for kind in ("udp", "tcp"):
            for name, gap in (("rr", RR_GAP), ("loop", 0)):
                sample = self.requests(kind, gap)
                figures.update({f"{kind}_{name}_{key}": sample[key] for key in ("p50", "p99")})
                if not gap:
                    figures[f"{kind}_{name}_rate"] = sample["rate"]
        return figures

    def requests(self, kind, gap):
        """Runs one client for the duration of a run."""
        program = find("mesh-rr")
        server = self.b.popen(program, "server", PORT, self.seconds + 2)
        try:
            if server.stdout.readline() != "ready\n":
                raise Failed(f"mesh-rr: {server.stdout.read()[-400:]}")
            client = self.a.popen(program, "client", kind, f"{self.b.address}:{PORT}", self.seconds, gap)
            sample = output(client, self.seconds + 15)
        finally:
            stop(server)
        if not sample["rate"]:
            raise Failed(f"no {kind} request was answered")
        return sample

    # ---- TCP --------------------------------------------------------------------------------------------------------

    def tcp1(self):
        """Measures one stream, and pings during it."""
        def pings():
            time.sleep(0.5)  # skip slow start
            return self.ping(max(20, int((self.seconds - 1) / PING_SPACING)), PING_SPACING)
        figures, times = self.tcp("tcp1", [], pings)
        return {**figures, "loaded_p50": percentile(times, 50), "loaded_p99": percentile(times, 99)}

    def tcp4(self):
        """Measures four streams."""
        return self.tcp("tcp4", ["-P", 4])[0]

    def bidir(self):
        """Measures one stream in each direction at once."""
        return self.tcp("bidir", ["--bidir"])[0]

    def tcp(self, name, options, meanwhile=lambda: None):
        """Runs iperf3. Returns its figures, and the value of meanwhile(), which runs during the transfer."""
        server = self.b.popen("iperf3", "-s", "-1", "-p", PORT)
        try:
            wait_for(lambda: listens(self.b.pid, PORT), "iperf3 listens")
            with Cost(self.topology) as cost:
                client = self.a.popen("iperf3", "-c", self.b.address, "-p", PORT, "-t", self.seconds, "-J", *options)
                beside = meanwhile()
                end = result_of(client, self.seconds + 15)
            sums = [end[key] for key in ("sum_received", "sum_received_bidir_reverse") if key in end]
            rate = sum(entry["bits_per_second"] for entry in sums) / 1e6
            gigabytes = sum(entry["bytes"] for entry in sums) / 1e9
            return {f"{name}_mbps": rate, **cost.figures(name, gigabytes)}, beside
        finally:
            stop(server)

    # ---- UDP --------------------------------------------------------------------------------------------------------

    def udp64(self):
        """Searches the highest rate of 64-byte payloads with at most 1 % loss: bisection, starting from a flood.

        A rate with more loss is measured a second time before it counts as too high.
        """
        low, high, best = 0.0, None, 0.0
        rate = max(1000.0, self.udp(64, 0, SEARCH_SECONDS)["rate"])
        for _ in range(SEARCH_STEPS):
            sample = self.udp(64, rate, SEARCH_SECONDS)
            if sample["loss"] > MAX_LOSS:
                sample = self.udp(64, rate, SEARCH_SECONDS)
            if sample["loss"] <= MAX_LOSS:
                best, low = max(best, sample["rate"]), rate
                if sample["offered"] < 0.93 * rate:  # the sender is the limit
                    break
            else:
                high = rate
            if high and high - low < 0.05 * high:
                break
            rate = (low + high) / 2 if high else rate * 1.5
        return {"udp64_kpps": best / 1000}

    def udp1400(self):
        """Measures the throughput of a flood of full-size packets."""
        with Cost(self.topology) as cost:
            sample = self.udp(self.payload, 0, self.seconds)
        gigabytes = sample["received"] * self.payload / 1e9
        rate = sample["rate"] * self.payload * 8 / 1e6
        return {"udp1400_mbps": rate, "udp1400_loss": sample["loss"], **cost.figures("udp1400", gigabytes)}

    def udp(self, size, rate, seconds):
        """Sends one burst. Returns received and offered packets/s, and the fraction lost."""
        receiver = self.b.popen(sys.executable, UDPLOAD, "recv", PORT, seconds + 0.5)
        try:
            if receiver.stdout.readline() != "ready\n":
                raise Failed(f"udpload: {receiver.stdout.read()[-400:]}")
            sender = self.a.popen(sys.executable, UDPLOAD, "send", self.b.address, PORT, size, rate, seconds)
            out = output(sender, seconds + 10)
            into = output(receiver, seconds + 10)
        finally:
            stop(receiver)
        # The time to drain a queue after the last packet does not increase the rate.
        duration = max(out["seconds"], into["seconds"])
        return {"rate": into["received"] / duration, "offered": out["sent"] / out["seconds"],
                "received": into["received"], "loss": 1 - into["received"] / max(1, out["sent"])}

    # ---- the rest ---------------------------------------------------------------------------------------------------

    def memory(self):
        """Returns the peak RSS since the contender's start, of its largest process."""
        return {"rss_mb": max((machine.peak_rss(daemon.pid()) for daemon in self.topology.daemons), default=0.0)}

    def quietly(self, test, patience):
        """Runs a test, again if others were active; returns the least disturbed result, and their cores."""
        best = None
        for attempt in range(TRIES if patience else 1):
            if attempt:
                machine.wait_until_quiet(patience)
            before, start = machine.used_by_others(), time.monotonic()
            figures = test()
            noise = (machine.used_by_others() - before) / (time.monotonic() - start)
            if best is None or noise < best[1]:
                best = figures, noise
            if noise <= NOISE:
                break
        return best


class Cost:
    """CPU time between entry and exit: of the whole machine except other processes, and of the contender."""

    def __init__(self, topology):
        self.daemons = topology.daemons
        self.machine = self.own = 0.0

    def __enter__(self):
        self.start = self.now()
        return self

    def __exit__(self, *_):
        spent = [after - before for before, after in zip(self.start, self.now())]
        # The time of an unreaped process vanishes when it ends, so the others' time may seem to decrease.
        self.machine, self.own = spent[0] - max(0.0, spent[2]), spent[1]

    def now(self):
        """Returns the CPU time of the machine, of the contender, and of others."""
        own = sum(machine.process_cpu(daemon.pid()) for daemon in self.daemons)
        return machine.busy(), own, machine.used_by_others()

    def figures(self, name, gigabytes):
        """Returns CPU seconds per GB, under the figure names of a test."""
        if not gigabytes:
            return {}
        return {f"{name}_cpu": self.machine / gigabytes, f"{name}_own": self.own / gigabytes}


def listens(pid, port):
    """Returns true if a socket in the process's network namespace listens on the TCP port."""
    tables = machine.read(f"/proc/{pid}/net/tcp") + machine.read(f"/proc/{pid}/net/tcp6")
    return re.search(rf":{port:04X} \S+ 0A ", tables)


def result_of(iperf3, seconds):
    """Returns the `end` object of an iperf3 client's report."""
    report = output(iperf3, seconds)
    if "error" in report or "sum_received" not in report.get("end", {}):
        raise Failed(f"iperf3: {report.get('error', 'no result')}")
    return report["end"]


def output(process, seconds):
    """Waits for a process and parses its JSON output."""
    try:
        text = process.communicate(timeout=seconds)[0]
        return json.loads(text[text.index("{"):])
    except subprocess.TimeoutExpired:
        raise Failed(f"{shlex.join(process.args)} did not end in {seconds:.0f} s") from None
    except ValueError:
        raise Failed(f"{shlex.join(process.args)}: {text[-400:]}") from None
    finally:
        stop(process)


def stop(process):
    """Ends a child process and reaps it."""
    if process.poll() is None:
        process.kill()
    process.wait()
    process.stdout.close()
