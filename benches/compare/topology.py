"""Hosts and containers of the benchmark: namespaces on this machine.

    container A --- [bridge  host A  ul0] === underlay === [ul0  host B  bridge] --- container B

A host has its own network, mount (an empty /run) and pid namespaces; a container has its own network namespace.
Namespaces have no names: they last as long as the process that holds them, and all holders end with this program, even
on SIGKILL. So nothing can be left over, and two runs cannot interfere.

Underlays, MTU 1500:
- `veth`: a plain veth pair; GSO super-frames and UDP_SEGMENT batches pass unsegmented, unlike on any wire.
- `nic`:  every packet leaves MTU-sized (segmented in software), and arriving packets are coalesced by GRO.

`line=True` puts a third host in the middle: A - R - B, two underlays and no route between them.
"""

import os
import shlex
import shutil
import subprocess
import time

import machine

MTU = 1500
NETWORK = "10.2.1.{}"  # containers of layer-2 contenders
START_DEADLINE = 10.0


class Failed(Exception):
    """A required operation failed; the text says which."""


def run(*argv, check=True, **options):
    """Runs a short command and returns its output."""
    argv = [str(word) for word in argv]
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
        **({} if "input" in options else {"stdin": subprocess.DEVNULL}), **options)
    if check and done.returncode:
        raise Failed(f"{shlex.join(argv)}: status {done.returncode}: {done.stdout.strip()[-400:]}")
    return done.stdout


def start(*argv):
    """Starts a command with a pipe for its output; it is killed when this program ends in any way."""
    argv = ["setpriv", "--pdeathsig", "KILL", *map(str, argv)]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(condition, what, seconds=START_DEADLINE):
    """Waits until condition() is true, and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(0.01)


class Namespace:
    """A network namespace held by a process; `prefix` is the command line that enters it."""

    def __init__(self, pid):
        self.pid = pid
        self.net = ["nsenter", "-t", str(pid), "-n", "--"]
        self.prefix = self.net

    def run(self, *argv, **options):
        """Runs a short command inside."""
        return run(*self.prefix, *argv, **options)

    def succeeds(self, *argv):
        """Returns true if a short command inside succeeds."""
        try:
            self.run(*argv)
        except Failed:
            return False
        return True

    def popen(self, *argv):
        """Starts a command inside, which the caller must end."""
        return start(*self.prefix, *argv)

    def link(self, *argv, **options):
        """Runs `ip …` inside. Pids are those of this program's namespace, so that links can be moved."""
        return run(*self.net, "ip", *argv, **options)

    def links(self):
        """Returns the names of the interfaces."""
        lines = machine.read(f"/proc/{self.pid}/net/dev").splitlines()
        return [line.split(":")[0].strip() for line in lines if ":" in line]

    def sysctl(self, *settings):
        """Sets those of `key=value …` that exist."""
        run(*self.net, "sysctl", "-qw", *settings, check=False)


class Host(Namespace):
    """A machine: A, B, or R between them."""

    def __init__(self, letter, pid, scratch):
        super().__init__(pid)
        self.letter, self.scratch = letter, scratch
        self.prefix = ["nsenter", "-t", str(pid), "-n", "-m", "-p", "--"]
        self.index = "ABR".index(letter) + 1
        self.address = None      # on the underlay
        self.neighbours = []     # underlay addresses of the directly connected hosts
        self.bridge = "br0"
        self.container = None
        os.makedirs(scratch, mode=0o700)

    def path(self, name):
        """Returns the path of a file that belongs to this host."""
        return os.path.join(self.scratch, name)

    def write(self, name, text):
        """Writes such a file with mode 0600."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        return path


class Daemon:
    """A process of the contender, whose CPU time and memory are measured."""

    def __init__(self, host, argv, environment):
        self.argv = [str(word) for word in argv]
        self.log = host.path(f"{os.path.basename(self.argv[0])}.log")
        with open(self.log, "ab") as log:
            self.entry = subprocess.Popen(
                [*host.prefix, *self.argv], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, **environment})

    def pid(self):
        """Returns its pid: nsenter remains as its parent when it enters a pid namespace."""
        return next(iter(machine.children(self.entry.pid)), self.entry.pid)

    def check(self):
        """Fails if the process has ended."""
        if self.entry.poll() is not None:
            raise Failed(f"{shlex.join(self.argv)} ended with status {self.entry.returncode}: {self.tail()}")

    def tail(self):
        """Returns the end of its log."""
        return machine.read(self.log)[-600:].strip()


class Topology:
    """Hosts and containers of one contender, as a context manager that removes them."""

    def __init__(self, scratch, underlay="veth", line=False):
        self.scratch, self.underlay, self.line = scratch, underlay, line
        self.hosts, self.daemons, self.holders = [], [], []

    def __enter__(self):
        try:
            self.build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for holder in self.holders:
            holder.kill()
        for process in [*self.holders, *(daemon.entry for daemon in self.daemons)]:
            process.wait()

    def build(self):
        """Creates the hosts and the cables between them."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        letters = "ABR" if self.line else "AB"
        self.hosts = [Host(letter, self.hold_host(), os.path.join(self.scratch, letter)) for letter in letters]
        self.a, self.b = self.hosts[:2]
        if self.line:
            relay = self.hosts[2]
            self.cable((self.a, "ul0", "10.1.1.1"), (relay, "ul0", "10.1.1.3"))
            self.cable((self.b, "ul0", "10.1.2.2"), (relay, "ul1", "10.1.2.3"))
        else:
            self.cable((self.a, "ul0", "10.1.1.1"), (self.b, "ul0", "10.1.1.2"))

    # ---- namespaces -------------------------------------------------------------------------------------------------

    def hold(self, *argv):
        """Starts a process that prints `ready` once it holds its namespaces. Returns its pid."""
        holder = start(*argv)
        self.holders.append(holder)
        ready = holder.stdout.readline()
        if ready != "ready\n":
            raise Failed(f"cannot make a namespace: {ready}{holder.stdout.read()}")
        return holder.pid

    def hold_host(self):
        """Creates a host's network, mount and pid namespaces. Returns the pid of its process 1."""
        script = "mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs /run && echo ready && exec sleep infinity"
        outer = self.hold("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc",
                          "sh", "-c", script)
        return machine.children(outer)[0]

    def hold_network(self):
        """Creates a network namespace alone."""
        return self.hold("unshare", "--net", "sh", "-c", "echo ready && exec sleep infinity")

    # ---- underlay and containers ------------------------------------------------------------------------------------

    def cable(self, one, other):
        """Connects two hosts, each given as (host, interface, address)."""
        (host, device, _), (peer, peer_device, _) = one, other
        host.link("link", "add", device, "mtu", MTU, "type", "veth",
                  "peer", "name", peer_device, "mtu", MTU, "netns", peer.pid)
        for (end, name, address), (_, _, remote) in ((one, other), (other, one)):
            end.address = end.address or address
            end.neighbours.append(remote)
            end.sysctl("net.ipv4.conf.all.rp_filter=0", "net.bridge.bridge-nf-call-iptables=0")
            end.link("address", "add", f"{address}/24", "dev", name)
            end.link("link", "set", name, "up")
            end.link("link", "set", "lo", "up")
            if self.underlay == "nic":
                end.run("ethtool", "-K", name, "gso", "off", "tso", "off", "tx-udp-segmentation", "off",
                        "tx-udp_tnl-segmentation", "off", "tx-udp_tnl-csum-segmentation", "off", check=False)
                end.run("ethtool", "-K", name, "gro", "on", "rx-udp-gro-forwarding", "off")

    def containers(self, mtu, layer=2, offloads=True):
        """Creates a bridge with a container on A and B; at layer 3 also a subnet and routes per host."""
        for host in (self.a, self.b):
            host.link("link", "add", host.bridge, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
            host.link("link", "set", host.bridge, "up")
            container = Container(self.hold_network(), "eth0")
            host.container = container
            host.link("link", "add", "port", "mtu", mtu, "type", "veth", "peer", "name", "eth0", "mtu", mtu,
                      "netns", container.pid)
            host.link("link", "set", "port", "master", host.bridge, "up")
            container.address = NETWORK.format(host.index) if layer == 2 else f"10.2.{host.index}.1"
            container.link("address", "add", f"{container.address}/24", "dev", "eth0")
            if not offloads:
                container.run("ethtool", "-K", "eth0", "tx", "off")
            container.link("link", "set", "eth0", "up")
            if layer == 3:
                host.sysctl("net.ipv4.ip_forward=1")
                host.link("address", "add", f"10.2.{host.index}.254/24", "dev", host.bridge)
                container.link("route", "add", "default", "via", f"10.2.{host.index}.254")

    # ---- what contenders need ---------------------------------------------------------------------------------------

    def other(self, host):
        """Returns the host at the other end."""
        return self.b if host is self.a else self.a

    def spawn(self, host, *argv, **environment):
        """Starts a daemon in the foreground on a host."""
        daemon = Daemon(host, argv, environment)
        self.daemons.append(daemon)
        return daemon

    def wait_for_device(self, host, device):
        """Waits until a daemon has created its interface."""
        def there():
            self.check()
            return device in host.links()
        wait_for(there, f"{device} on host {host.letter}")

    def plug(self, host, device, mtu):
        """Adds an interface of a contender to the bridge."""
        self.wait_for_device(host, device)
        host.link("link", "set", device, "mtu", mtu, "master", host.bridge, "up")

    def check(self):
        """Fails if a daemon has ended."""
        for daemon in self.daemons:
            daemon.check()


class Container(Namespace):
    """Source or destination of traffic."""

    def __init__(self, pid, interface):
        super().__init__(pid)
        self.interface = interface
        self.address = None

    def mtu(self):
        """Returns the MTU of its interface."""
        words = self.link("-o", "link", "show", self.interface).split()
        return int(words[words.index("mtu") + 1])
