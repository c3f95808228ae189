"""Base class of contenders, their register, and the reference contenders, which are the kernel itself."""

import os
import shutil

REGISTER = {}
REFERENCE, PEER, OURS = "reference", "peer", "mesh"

# Directories searched before PATH; set by the main program.
BINARIES = []


def find(name):
    """Returns the path of a program, or None."""
    return shutil.which(name, path=os.pathsep.join([*BINARIES, os.environ.get("PATH", "")]))


class Contender:
    """A way to connect the containers of two hosts.

    A subclass defines the attributes and `start`; `prepare` is for steps that are not timed (keys, certificates). The
    caller ends processes that were started with `topology.spawn`.
    """

    name = ""
    note = ""               # description in the report
    cipher = "none"
    kind = PEER
    layer = 2               # 2: joins the bridges; 3: routes between subnets
    mtu = 1500              # of the containers in bytes; fits an underlay of 1500
    offloads = True         # False: containers must send neither partial checksums nor GSO frames
    line = False            # True: three hosts in a line
    programs = ()           # required programs
    version_of = ()         # command line that prints the version

    def missing(self):
        """Returns why it cannot run here; empty if it can."""
        absent = [program for program in self.programs if not find(program)]
        return f"{', '.join(absent)} not installed" if absent else ""

    def prepare(self, topology):
        """Does preparations that are not timed."""

    def start(self, topology):
        """Starts the contender; returns once the daemons need no further help."""
        raise NotImplementedError

    def settle(self, topology):
        """Waits, after the first packet, for optimisations that take longer; not part of the time to the first ping."""

    def containers(self, topology):
        """Creates the containers, before `start`."""
        topology.containers(self.mtu, self.layer, self.offloads)


def register(**attributes):
    """Class decorator: registers a contender once for each set of attributes."""
    def add(cls):
        entry = type(cls.__name__, (cls,), attributes) if attributes else cls
        REGISTER[entry.name] = entry
        return cls
    return add


@register()
class Bare(Contender):
    """The two bridges joined by a veth pair, without a tunnel."""

    name, note, kind = "bare", "the bridges joined by a veth pair, super-frames pass whole", REFERENCE

    def start(self, topology):
        a, b = topology.hosts
        a.link("link", "add", "joint", "type", "veth", "peer", "name", "joint", "netns", b.pid)
        for host in topology.hosts:
            topology.plug(host, "joint", self.mtu)


@register()
class Vxlan(Contender):
    """Kernel VXLAN with a single default entry in its forwarding table."""

    name, note, kind, mtu = "vxlan", "kernel VXLAN", REFERENCE, 1450

    def start(self, topology):
        for host in topology.hosts:
            host.link("link", "add", "vxlan0", "type", "vxlan", "id", "42", "local", host.address, "dstport", "4789")
            host.run("bridge", "fdb", "append", "00:00:00:00:00:00", "dev", "vxlan0", "dst", host.neighbours[0])
            topology.plug(host, "vxlan0", self.mtu)
