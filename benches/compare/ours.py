"""mesh in its variants.

Real routers, started as by `mesh launch`, and containers attached by `mesh run --runtime process`, whose interfaces
have the MTU and offloads that mesh sets. A variant is skipped if this `mesh-router` lacks an option that it needs.
"""

import functools
import os
import shutil

import machine
from contenders import Contender, OURS, REGISTER, find, register
from topology import Container, NETWORK, run, wait_for


@functools.cache
def usage(program):
    """What `mesh-router --help` prints, or nothing without one."""
    return run(program, "--help", check=False) if program else ""


@register(name="mesh", note="mesh as it comes: the fastest data path and cipher that work here", cipher="auto")
@register(name="mesh-chacha", note="the same, ChaCha20-Poly1305", cipher="ChaCha20-Poly1305",
          options=("--cipher=chacha20-poly1305",))
@register(name="mesh-aes", note="the same, AES-256-GCM", cipher="AES-256-GCM", options=("--cipher=aes-256-gcm",))
@register(name="mesh-latency-off", note="mesh without quick wake-ups", cipher="auto", options=("--latency=off",))
@register(name="mesh-pcap", note="mesh by libpcap, which works everywhere; no offloads", cipher="auto",
          options=("--datapath=pcap",))
@register(name="mesh-lanes2", note="mesh with two lanes in each direction", cipher="auto", options=("--lanes=2",))
@register(name="mesh-lanes4", note="mesh with four lanes in each direction", cipher="auto", options=("--lanes=4",))
@register(name="mesh-relay", note="mesh, three hosts in a line: the one in the middle relays", cipher="auto", line=True)
class Mesh(Contender):
    """Two routers, or three in a line."""

    kind, options = OURS, ()
    programs, version_of = ("mesh", "mesh-router"), ("mesh-router", "--version")
    build = ""              # directory of its programs; empty: where all programs are searched

    def find(self, name):
        """Path of a program of this build, or None."""
        return shutil.which(name, path=self.build) if self.build else find(name)

    def missing(self):
        absent = [program for program in self.programs if not self.find(program)]
        if absent:
            return f"no {', '.join(absent)} in {self.build or 'PATH'}"
        unknown = [option for option in self.options if option.split("=")[0] not in usage(self.find("mesh-router"))]
        return f"this mesh-router has no {' '.join(unknown)}" if unknown else ""

    def containers(self, topology):
        """Does nothing: containers are created after the routers."""

    def prepare(self, topology):
        key = topology.a.path("mesh.key")
        run(self.find("mesh"), "keygen", key)
        with open(key, encoding="ascii") as file:
            text = file.read()
        for host in topology.hosts[1:]:
            host.write("mesh.key", text)

    def start(self, topology):
        for host in topology.hosts:
            secret = () if "--no-encryption" in self.options else (f"--key-file={host.path('mesh.key')}",)
            topology.spawn(host, self.find("mesh-router"), "--state-dir", host.path("state"), "--nickname", host.letter,
                           "--log-level", "warn", *secret, *self.options, *host.neighbours)
        for host in (topology.a, topology.b):
            self.attach(topology, host)

    def attach(self, topology, host):
        """Starts a container, whose interface exists before its command runs."""
        def answers():
            topology.check()
            return host.succeeds(self.find("mesh"), "status")
        wait_for(answers, f"the router of host {host.letter} answers")
        address = NETWORK.format(host.index)
        host.run(self.find("mesh"), "run", "--runtime", "process", f"{address}/24", "-d", "--", "sleep", "infinity")
        pid = wait_for(lambda: command_on_the_mesh(host), f"the container of host {host.letter}")
        host.container = Container(pid, "mesh0")
        host.container.address = address


@register(name="mesh-kernel", note="mesh without encryption: the kernel forwards", options=("--no-encryption",))
class Kernel(Mesh):
    """Two routers with the kernel fast path, after both have tested it."""

    def settle(self, topology):
        for host in topology.hosts:
            wait_for(lambda host=host: " kernel " in host.run(self.find("mesh"), "status", "connections"),
                     f"the kernel's path of host {host.letter}")


def add_build(spec):
    """Registers `NAME=DIRECTORY`, mesh as another build has it; returns its name."""
    name, _, directory = spec.partition("=")
    if not name or not directory:
        raise ValueError(f"'{spec}' is not NAME=DIRECTORY")
    build = os.path.abspath(directory)
    REGISTER[name] = type("Build", (Mesh,), {
        "name": name, "note": f"mesh, the build in {build}", "cipher": "auto", "build": build,
        "version_of": (os.path.join(build, "mesh-router"), "--version")})
    return name


def command_on_the_mesh(host):
    """Returns the pid of the command of `mesh run -d`: the child of process 1 that has its own network."""
    def network(pid):
        try:
            return os.readlink(f"/proc/{pid}/ns/net")
        except OSError:  # it has ended
            return own
    own = os.readlink(f"/proc/{host.pid}/ns/net")
    return next((pid for pid in machine.children(host.pid) if network(pid) != own), None)
