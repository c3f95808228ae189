#!/usr/bin/env python3
"""Counts what answers for tasks that ended: networks of mesh and Docker's own overlay under one Swarm, in one run.

    swarm.py [--updates 1000] [--services 10] [--kinds 'mesh overlay'] --bin DIR

Three Docker hosts in namespaces, all managers. A round updates each service by force, `docker service update --force`, so that
all its tasks are replaced. A second after they are, each node is asked for those that ended: DNS (a name that leads to one of
them), ARP (who has its address) and the table of MAC addresses: of the router for mesh, of the network's bridge and its
neighbours for the overlay. At the end all services go, and the addresses that are still taken are counted.
Exit status 1 if anything of mesh is stale or leaked. Needs root and docker.
"""

import argparse
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TESTBED = os.path.join(HERE, "../../tests/testbed/testbed.sh")
BUILD_PLUGIN = os.path.join(HERE, "../../packaging/plugin/build.sh")
HOSTS = ("host1", "host2", "host3")
STALE_AFTER = 1.0   # seconds after the tasks of a round were replaced
REPLICAS = 2
DEADLINE = 180      # seconds for Swarm to replace the tasks of a round
QUICK = "--no-resolve-image --update-parallelism 0 --update-monitor 1ms"
COUNTED = ("dns", "arp", "fdb")


class Bed:
    """Three hosts with engines and routers."""

    def __init__(self, binaries):
        self.binaries = os.path.abspath(binaries)
        path = f"{self.binaries}:{os.environ['PATH']}:/usr/sbin:/sbin"
        self.env = {**os.environ, "TESTBED": "swarmbench", "PATH": path}

    def __enter__(self):
        self.script("start", "3", "--owner", str(os.getpid()))
        return self

    def __exit__(self, *_):
        self.script("stop")

    def script(self, *words):
        """Runs a verb of the testbed's script; returns its output."""
        done = subprocess.run([TESTBED, *words], env=self.env, text=True, stdout=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise SystemExit(f"testbed.sh {' '.join(words)} failed")
        return done.stdout

    def run(self, host, line, check=True):
        """Runs a line of the shell on a host; returns its output."""
        done = subprocess.run([TESTBED, "exec", host, "sh", "-c", line], env=self.env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if check and done.returncode != 0:
            raise SystemExit(f"{host}: {line}\n{done.stdout}{done.stderr}")
        return done.stdout

    def everywhere(self, line, check=True):
        """Runs a line on all hosts at once; returns their outputs."""
        jobs = [subprocess.Popen([TESTBED, "exec", host, "sh", "-c", line], env=self.env, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE) for host in HOSTS]
        told = [job.communicate() for job in jobs]
        for host, job, (_, errors) in zip(HOSTS, jobs, told):
            if check and job.returncode != 0:
                raise SystemExit(f"{host}: {line}\n{errors}")
        return [output for output, _ in told]

    def form_swarm(self):
        """Starts the routers, enables the plugin, and makes one Swarm of all hosts."""
        for number, host in enumerate(HOSTS):
            self.run(host, "mesh launch" + (" host1" if number else ""))
        self.everywhere(f"{BUILD_PLUGIN} {self.binaries} /run/testbed/plugin && "
                        "docker plugin create mesh:swarm /run/testbed/plugin && docker plugin enable mesh:swarm")
        self.run("host1", "docker swarm init --advertise-addr 192.168.77.1")
        token = self.run("host1", "docker swarm join-token -q manager").strip()
        for number, host in enumerate(HOSTS[1:], 2):
            self.run(host, f"docker swarm join --token {token} --advertise-addr 192.168.77.{number} 192.168.77.1")


class Kind:
    """Services on networks of one driver."""

    def __init__(self, bed, name, services):
        self.bed, self.name = bed, name
        self.services = [f"{name}{number}" for number in range(services)]
        self.net = f"net-{name}"
        self.stale = dict.fromkeys(COUNTED, 0)
        self.ended = 0

    def create(self):
        """Creates the network, the services, and a container on each host that asks."""
        of_mesh = "-d mesh:swarm --ipam-driver mesh:swarm --subnet 10.50.0.0/16"
        driver = of_mesh if self.name == "mesh" else "-d overlay --subnet 10.60.0.0/16"
        self.bed.run("host1", f"docker network create {driver} --attachable {self.net}")
        for service in self.services:
            self.bed.run("host1", f"docker service create -d -q --no-resolve-image --network {self.net} "
                         f"--endpoint-mode dnsrr --replicas {REPLICAS} --stop-grace-period 0s --restart-delay 0s "
                         f"--name {service} ubuntu sleep 100000")
        self.bed.everywhere(f"docker run -d --network {self.net} --name ask-{self.name} ubuntu sleep 100000")

    def running(self):
        """Returns the addresses of each service, or none while some of its tasks do not run."""
        line = ("docker ps -q --filter label=com.docker.swarm.service.name | xargs -r docker inspect -f "
                "'{{.State.Running}} {{index .Config.Labels \"com.docker.swarm.service.name\"}} "
                f"{{{{with index .NetworkSettings.Networks \"{self.net}\"}}}}{{{{.IPAddress}}}}{{{{end}}}}'")
        found = {service: set() for service in self.services}
        for output in self.bed.everywhere(line, check=False):
            for words in map(str.split, output.splitlines()):
                if len(words) == 3 and words[0] == "true" and words[1] in found:
                    found[words[1]].add(words[2])
        return found if all(len(addresses) == REPLICAS for addresses in found.values()) else None

    def update(self):
        """Has all tasks replaced."""
        each = "; ".join(f"docker service update -d -q --force {QUICK} {service}" for service in self.services)
        self.bed.run("host1", each)

    def replaced(self, before):
        """Waits until no task of before runs; returns those that run."""
        def other():
            now = self.running()
            return now if now and all(now[s].isdisjoint(before.get(s, ())) for s in now) else None
        return wait_for(other, f"the tasks of {self.name}")

    def count(self, before, now):
        """Counts on each node what answers for tasks that ended."""
        gone = sorted(address for addresses in before.values() for address in addresses)
        self.ended += len(gone)
        alive = sorted(now[self.services[0]])
        for output in self.bed.everywhere(self.question(gone + alive), check=False):
            names, answers, table = (output.split("--") + ["", "", ""])[:3]
            # A check that finds nothing alive would find nothing stale either.
            if not set(alive) <= set(answers.split()) or not set(alive) & set(names.split()):
                raise SystemExit(f"{self.name}: {alive} run, and are not found:\n{output}")
            found = [word for word in names.split() if word in set(gone)]
            self.stale["dns"] += len(found)
            self.stale["arp"] += len(set(answers.split()) & set(gone))
            macs = {mac_of(address, self.name) for address in gone}
            self.stale["fdb"] += len(set(table.split()) & macs)

    def question(self, gone):
        """Returns the line that asks one node: addresses of names, addresses that answer ARP, known MAC addresses."""
        ask = f"ask-{self.name}"
        names = "; ".join(f"nslookup {service}" for service in self.services)
        arps = " ".join(f"{{ busybox arping -q -c1 -w1 -I $dev {address} && echo {address}; }} &" for address in gone)
        known = ("mesh report -f '{{range .Router.MACs}}{{.Mac}} {{end}}'" if self.name == "mesh" else
                 "for ns in /run/docker/netns/1-*; do nsenter --net=$ns bridge fdb show; nsenter --net=$ns ip neigh; done")
        return (f"docker exec {ask} sh -c '{names}' 2>/dev/null | grep -o '10[.][56]0[.][0-9.]*'; echo --; "
                f"pid=$(docker inspect -f '{{{{.State.Pid}}}}' {ask}); "
                "export dev=$(nsenter -t $pid -n ip -o -4 addr | awk '/ 10[.][56]0[.]/ {print $2; exit}'); "
                f"nsenter -t $pid -n sh -c '{arps} wait'; echo --; {known}")

    def leaked(self):
        """Removes all services, and returns the addresses that the leader of Swarm still holds for them."""
        self.bed.run("host1", "docker service rm " + " ".join(self.services))
        self.bed.everywhere(f"docker rm -f ask-{self.name}")
        def none_runs():
            return not "".join(self.bed.everywhere("docker ps -q --filter label=com.docker.swarm.service.name="
                                                   + self.services[0], check=False)).strip()
        wait_for(none_runs, "the end of all tasks")
        if self.name != "mesh":
            return None
        time.sleep(5)
        held = 0
        for host in HOSTS:
            text = self.bed.run(host, "cat /var/lib/mesh/attachments")
            # A checksum is in front of the table.
            table, _ = json.JSONDecoder().raw_decode(text[text.index("{"):])
            pools = table.get("swarm", {}).get("pools", {})
            held += sum(len(pool.get("given", [])) for pool in pools.values())
        return held


def mac_of(address, kind):
    """Returns the MAC address that a container with this address has."""
    octets = [int(part) for part in address.split(".")]
    head = [0x02, 0x6d] if kind == "mesh" else [0x02, 0x42]
    return ":".join(f"{octet:02x}" for octet in head + octets)


def wait_for(found, what):
    """Polls until something is found, and returns it."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        got = found()
        if got:
            return got
        time.sleep(0.2)
    raise SystemExit(f"not within {DEADLINE} s: {what}")


def main():
    """Runs all rounds and prints the counts."""
    options = parse()
    if os.geteuid() != 0:
        sys.exit("needs root: it makes network namespaces")
    with Bed(options.bin) as bed:
        bed.form_swarm()
        kinds = [Kind(bed, name, options.services) for name in options.kinds.split()]
        for kind in kinds:
            kind.create()
        now = {kind.name: kind.replaced({}) for kind in kinds}
        rounds = -(-options.updates // options.services)
        began = time.monotonic()
        for number in range(rounds):
            before = now
            for kind in kinds:
                kind.update()
            now = {kind.name: kind.replaced(before[kind.name]) for kind in kinds}
            time.sleep(STALE_AFTER)
            for kind in kinds:
                kind.count(before[kind.name], now[kind.name])
            if sys.stderr.isatty():
                print(f"\rround {number + 1} of {rounds}", end="", file=sys.stderr)
        seconds = time.monotonic() - began
        good = report(kinds, rounds * options.services, seconds)
    sys.exit(0 if good else 1)


def report(kinds, updates, seconds):
    """Prints a table; returns true if mesh is without a fault."""
    print(f"{updates} forced updates of each kind in {seconds:.0f} s; stale answers on {len(HOSTS)} nodes, "
          f"{STALE_AFTER:g} s after the tasks were replaced")
    print(f"{'':8} {'tasks ended':>12} {'DNS':>6} {'ARP':>6} {'FDB':>6} {'leaked':>8}")
    good = True
    for kind in kinds:
        leaked = kind.leaked()
        row = " ".join(f"{kind.stale[what]:6}" for what in COUNTED)
        print(f"{kind.name:8} {kind.ended:12} {row} {'-' if leaked is None else leaked:>8}")
        if kind.name == "mesh":
            good = not any(kind.stale.values()) and not leaked
    return good


def parse():
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=1000, help="forced updates of services, of each kind")
    parser.add_argument("--services", type=int, default=10, help="services that are updated in one round")
    parser.add_argument("--kinds", default="mesh overlay")
    parser.add_argument("--bin", required=True, metavar="DIR", help="directory of the programs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
