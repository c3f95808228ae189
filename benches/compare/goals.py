"""Goals of mesh, and the comparison of results with them."""

from contenders import PEER
from stats import number

# Figure, contender, "<=" or ">=", and the limit for each underlay.
ABSOLUTE = (
    ("tcp1_mbps", "mesh", ">=", {"veth": 5000, "nic": 4200}),
    ("tcp1_cpu", "mesh-chacha", "<=", {"veth": 3.0, "nic": 3.5}),
    ("tcp1_cpu", "mesh-aes", "<=", {"veth": 2.2, "nic": 2.8}),
    ("udp64_kpps", "mesh", ">=", {"veth": 100, "nic": 100}),
    ("loaded_p99", "mesh", "<=", {"veth": 1000, "nic": 1000}),
    ("rss_mb", "mesh", "<=", {"veth": 32, "nic": 32}),
    ("tcp1_mbps", "mesh-pcap", ">=", {"veth": 600, "nic": 600}),
)

BEST_L2, BEST = "the best layer-2 peer", "the best peer"

# Figure, contender, "<=" or ">=", factor, figure and contender of the base.
RELATIVE = (
    ("tcp1_mbps", "mesh", ">=", 9.0, "tcp1_mbps", BEST_L2),
    ("tcp4_mbps", "mesh", ">=", 1.0, "tcp1_mbps", "mesh"),
    ("bidir_mbps", "mesh", ">=", 1.0, "tcp1_mbps", "mesh"),
    ("udp64_kpps", "mesh", ">=", 1.8, "udp64_kpps", BEST),
    ("udp1400_mbps", "mesh", ">=", 0.8, "udp1400_mbps", "vxlan"),
    ("udp_loop_rate", "mesh", ">=", 1.0, "udp_loop_rate", "vxlan"),
    ("tcp_loop_rate", "mesh", ">=", 1.0, "tcp_loop_rate", "vxlan"),
    ("udp_loop_rate", "mesh", ">=", 2.0, "udp_loop_rate", "mesh-latency-off"),
    ("tcp_loop_rate", "mesh", ">=", 2.0, "tcp_loop_rate", "mesh-latency-off"),
    ("tcp1_mbps", "mesh", ">=", 0.95, "tcp1_mbps", "mesh-latency-off"),
    ("tcp1_cpu", "mesh", "<=", 1.05, "tcp1_cpu", "mesh-latency-off"),
    ("tcp1_mbps", "mesh-kernel", ">=", 0.95, "tcp1_mbps", "vxlan"),
    ("tcp1_cpu", "mesh-kernel", "<=", 1.1, "tcp1_cpu", "vxlan"),
    ("tcp1_mbps", "mesh-relay", ">=", 0.5, "tcp1_mbps", "mesh"),
)


def judge(results, figures):
    """Returns table rows: goal, then per underlay `value (met)`, `value (missed)` or `not measured`."""
    underlays = results.underlays()
    rows = []
    for figure, name, relation, values in ABSOLUTE:
        what, unit = figures[figure]
        goal = " / ".join(number(values[underlay]) for underlay in underlays)
        cells = [absolute(results, underlay, name, figure, relation, values[underlay]) for underlay in underlays]
        rows.append([f"{name}: {what}", f"{relation} {goal} {unit}", *cells])
    for figure, name, relation, factor, base, other in RELATIVE:
        cells = [relative(results, underlay, name, figure, relation, factor, base, other) for underlay in underlays]
        whose = other if base == figure else f"{other}, {figures[base][0]}"
        rows.append([f"{name}: {figures[figure][0]}", f"{relation} {factor:g} × {whose}", *cells])
    return rows


def absolute(results, underlay, name, figure, relation, goal):
    """Returns one cell for a goal with a fixed limit."""
    value = results.median(underlay, name, figure)
    if value is None:
        return "not measured"
    return verdict(number(value), holds(value, relation, goal))


def relative(results, underlay, name, figure, relation, factor, base, other):
    """Returns one cell for a goal relative to another contender."""
    if other in (BEST_L2, BEST):
        other = results.best(underlay, PEER, figure, layer=2 if other == BEST_L2 else None)
    ratio = results.ratio(underlay, name, other, figure, base) if other else None
    if ratio is None:
        return "not measured"
    return verdict(f"{number(ratio)} × {other}", holds(ratio, relation, factor))


def holds(value, relation, goal):
    """Returns true if `value <= goal`, or `>=`."""
    return value <= goal if relation == "<=" else value >= goal


def verdict(text, met):
    """Returns the value with its verdict."""
    return f"{text} ({'met' if met else 'missed'})"
