"""Other overlays: tinc, fastd, VpnCloud, wireguard-go, Weave Net, and any program given on the command line.

MTUs fit an underlay of 1500 without fragmentation. Settings are the defaults, or recommendations of the manuals.
"""

import shlex

from contenders import Contender, REGISTER, find, register
from topology import run, wait_for


@register()
class Tinc(Contender):
    """tinc 1.0 as a switch."""

    name, note, mtu = "tinc", "tinc 1.0, Mode = switch, defaults", 1428
    cipher = "AES-256-CBC, HMAC-SHA256"
    programs, version_of = ("tincd",), ("tincd", "--version")

    def prepare(self, topology):
        for host in topology.hosts:
            dial = "ConnectTo = A\n" if host is not topology.a else ""
            host.write("tinc/tinc.conf",
                       f"Name = {host.letter}\nMode = switch\nInterface = tap0\nDeviceType = tap\n{dial}")
            host.write(f"tinc/hosts/{host.letter}", f"Address = {host.address}\nPort = 655\n")
            run(find("tincd"), "-c", host.path("tinc"), "-K", "2048")
        for host in topology.hosts:
            with open(host.path(f"tinc/hosts/{host.letter}"), encoding="ascii") as file:
                topology.other(host).write(f"tinc/hosts/{host.letter}", file.read())

    def start(self, topology):
        for host in topology.hosts:
            topology.spawn(host, find("tincd"), "-c", host.path("tinc"), "-D", "--pidfile", host.path("tinc.pid"))
            topology.plug(host, "tap0", self.mtu)


@register(name="fastd", cipher="salsa2012+umac", note="fastd TAP, its recommended method")
@register(name="fastd-aes", cipher="aes128-ctr+umac", note="fastd TAP")
class Fastd(Contender):
    """fastd with a TAP interface."""

    mtu = 1434
    programs, version_of = ("fastd",), ("fastd", "--version")

    def prepare(self, topology):
        public = {}
        for host in topology.hosts:
            secret = run(find("fastd"), "--machine-readable", "--generate-key").split()[-1]
            config = host.write("fastd.conf", f'secret "{secret}";\nmode tap;\ninterface "tap0";\nmtu {self.mtu};\n'
                                f'bind {host.address}:10000;\nmethod "{self.cipher}";\nlog level warn;\n')
            public[host] = run(find("fastd"), "--machine-readable", "--show-key", "-c", config).split()[-1]
        for host in topology.hosts:
            peer = topology.other(host)
            with open(host.path("fastd.conf"), "a", encoding="ascii") as file:
                file.write(f'peer "{peer.letter}" {{ key "{public[peer]}"; remote {peer.address}:10000; }}\n')

    def start(self, topology):
        for host in topology.hosts:
            topology.spawn(host, find("fastd"), "-c", host.path("fastd.conf"))
            topology.plug(host, "tap0", self.mtu)


@register(name="vpncloud", algorithm="chacha20", cipher="ChaCha20-Poly1305")
@register(name="vpncloud-aes", algorithm="aes128", cipher="AES-128-GCM")
class VpnCloud(Contender):
    """VpnCloud as a switch."""

    note, mtu, algorithm = "VpnCloud TAP, mode switch", 1430, ""
    programs, version_of = ("vpncloud",), ("vpncloud", "--version")

    def start(self, topology):
        for host in topology.hosts:
            # It determines its own address by connecting to a public one.
            host.link("route", "add", "default", "dev", "ul0", "src", host.address)
        for host in topology.hosts:
            topology.spawn(host, find("vpncloud"), "-t", "tap", "-m", "switch", "-d", "tap0",
                           "-l", f"{host.address}:3210", "-c", f"{topology.other(host).address}:3210",
                           "-p", "password-of-the-benchmark", "--algorithm", self.algorithm,
                           "--no-port-forwarding", "-q")
            topology.plug(host, "tap0", self.mtu)


@register()
class WireguardGo(Contender):
    """wireguard-go, at layer 3: each host routes a subnet."""

    name, note, layer, mtu = "wireguard-go", "wireguard-go; layer 3: routes, no Ethernet", 3, 1440
    cipher = "ChaCha20-Poly1305"
    programs, version_of = ("wireguard-go", "wg"), ("wireguard-go", "--version")

    def prepare(self, topology):
        self.public = {}
        for host in topology.hosts:
            secret = run("wg", "genkey").strip()
            host.write("wg.key", secret)
            self.public[host] = run("wg", "pubkey", input=secret).strip()

    def start(self, topology):
        for host in topology.hosts:
            topology.spawn(host, find("wireguard-go"), "-f", "wg0", WG_PROCESS_FOREGROUND="1", LOG_LEVEL="error")
            topology.wait_for_device(host, "wg0")
            wait_for(lambda: "wg0" in host.run("wg", "show", "interfaces", check=False), "wireguard-go answers wg")
        for host in topology.hosts:
            peer = topology.other(host)
            host.run("wg", "set", "wg0", "listen-port", "51820", "private-key", host.path("wg.key"),
                     "peer", self.public[peer], "endpoint", f"{peer.address}:51820",
                     "allowed-ips", f"10.2.{peer.index}.0/24")
            host.link("link", "set", "wg0", "mtu", self.mtu, "up")
            host.link("route", "add", f"10.2.{peer.index}.0/24", "dev", "wg0")


@register(name="weave", note="Weave Net without the kernel module (sleeve), no encryption", mtu=1438)
@register(name="weave-crypt", note="the same with a password", mtu=1414, cipher="XSalsa20-Poly1305",
          password="password-of-the-benchmark")
class Weave(Contender):
    """Weave Net's own data plane, if its `weaver` is installed."""

    password, offloads = "", False
    programs, version_of = ("weaver", "iptables"), ("weaver", "--version")

    def start(self, topology):
        for host in topology.hosts:
            secret = ["--password", self.password] if self.password else []
            dial = [topology.a.address] if host is not topology.a else []
            topology.spawn(
                host, find("weaver"), "--name", f"00:00:00:00:00:0{host.index}", "--nickname", host.letter,
                "--weave-bridge", host.bridge, "--no-fastdp", "--mtu", self.mtu, "--port", "6783",
                "--no-dns", "--no-discovery", "--docker-api", "", "--ipalloc-range", "",
                "--db-prefix", host.path("weave-"), "--http-addr", host.path("weave.sock"),
                *secret, *dial, CHECKPOINT_DISABLE="1")


class Command(Contender):
    """A daemon given on the command line: one process per host.

    `{bridge}`, `{address}`, `{peer}` (underlay addresses), `{host}` (A or B) and `{dir}` (scratch directory of that
    host) are substituted.
    """

    template, tap = "", False

    def start(self, topology):
        for host in topology.hosts:
            filled = self.template.format(bridge=host.bridge, address=host.address, peer=host.neighbours[0],
                                          host=host.letter, dir=host.scratch)
            topology.spawn(host, *shlex.split(filled))
            if self.tap:
                topology.plug(host, "tap0", self.mtu)


def add_command(spec, mtu, tap, offloads):
    """Registers `NAME=COMMAND LINE`; with `tap`, its `tap0` is added to the bridge. Returns the name."""
    name, _, template = spec.partition("=")
    if not name or not template.strip():
        raise ValueError(f"'{spec}' is not NAME=COMMAND")
    program = shlex.split(template)[0]
    REGISTER[name] = type("Given", (Command,), {
        "name": name, "template": template, "note": f"`{template}`", "cipher": "?", "mtu": mtu, "tap": tap,
        "offloads": offloads, "programs": (program,)})
    return name
