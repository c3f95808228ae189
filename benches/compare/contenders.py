"""What a contender is, the register of them, and those that are the kernel itself."""

import os
import shutil

REGISTER = {}
REFERENCE, PEER, OURS = "reference", "peer", "mesh"

# Directories that are searched before PATH; the main program fills it.
BINARIES = []


def find(name):
    """Path of a program, or None."""
    return shutil.which(name, path=os.pathsep.join([*BINARIES, os.environ.get("PATH", "")]))


class Contender:
    """One way to join the containers of two hosts.

    A subclass sets the attributes, and `start`; `prepare` is for what is not timed (keys, certificates). Processes
    that it starts with `topology.spawn` are ended by the caller.
    """

    name = ""
    note = ""               # one line for the report
    cipher = "none"
    kind = PEER
    layer = 2               # 2: joins the bridges; 3: routes between subnets
    mtu = 1500              # of the containers; what fits an underlay of 1500
    offloads = True         # False: containers must not send partial checksums nor GSO frames
    line = False            # True: three hosts in a line
    programs = ()           # what must be installed
    version_of = ()         # command line that prints the version

    def missing(self):
        """Why it cannot run here; empty if it can."""
        absent = [program for program in self.programs if not find(program)]
        return f"{', '.join(absent)} not installed" if absent else ""

    def prepare(self, topology):
        """What is not timed."""

    def start(self, topology):
        """Starts it; returns when the rest is up to the daemons."""
        raise NotImplementedError

    def settle(self, topology):
        """Waits, after the first packet, for what it does better a little later; not part of the time to the first ping."""

    def containers(self, topology):
        """Makes the containers, before `start`."""
        topology.containers(self.mtu, self.layer, self.offloads)


def register(**attributes):
    """Class decorator: a contender in the register, once for each set of attributes it is decorated with."""
    def add(cls):
        entry = type(cls.__name__, (cls,), attributes) if attributes else cls
        REGISTER[entry.name] = entry
        return cls
    return add


@register()
class Bare(Contender):
    """The two bridges joined by a veth pair: no tunnel at all."""

    name, note, kind = "bare", "the bridges joined by a veth pair, super-frames pass whole", REFERENCE

    def start(self, topology):
        a, b = topology.hosts
        a.link("link", "add", "joint", "type", "veth", "peer", "name", "joint", "netns", b.pid)
        for host in topology.hosts:
            topology.plug(host, "joint", self.mtu)


@register()
class Vxlan(Contender):
    """VXLAN by the kernel, one default entry in its forwarding table."""

    name, note, kind, mtu = "vxlan", "kernel VXLAN", REFERENCE, 1450

    def start(self, topology):
        for host in topology.hosts:
            host.link("link", "add", "vxlan0", "type", "vxlan", "id", "42", "local", host.address, "dstport", "4789")
            host.run("bridge", "fdb", "append", "00:00:00:00:00:00", "dev", "vxlan0", "dst", host.neighbours[0])
            topology.plug(host, "vxlan0", self.mtu)
