"""The report: Markdown tables of a run's results, with the chart.

In an existing file with the two markers, only the text between them is replaced, so that a page about the method can
get new figures.
"""

import os

import chart
import goals
from measure import FIGURES, NOISE
from stats import median, number, spread

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

# Title of each table, and the figures in its columns.
TABLES = (
    ("TCP", ("tcp1_mbps", "tcp1_cpu", "tcp1_own", "tcp4_mbps", "tcp4_cpu", "bidir_mbps")),
    ("UDP and memory", ("udp64_kpps", "udp1400_mbps", "udp1400_cpu", "rss_mb", "start_s")),
    ("Request and response", ("udp_rr_p50", "udp_rr_p99", "udp_loop_rate", "udp_loop_p50",
                              "tcp_rr_p50", "tcp_rr_p99", "tcp_loop_rate", "tcp_loop_p50")),
    ("Ping", ("idle_p50", "idle_p99", "loaded_p50", "loaded_p99")),
)
# Divisors of the ratios, and the figures that ratios are computed for.
REFERENCES = ("bare", "vxlan")
RATIOS = ("tcp1_mbps", "tcp1_cpu", "udp64_kpps", "udp1400_mbps", "udp_loop_rate", "tcp_loop_rate")


def write(path, results):
    """Writes the report to `path`, and the chart next to it with the extension `.svg`."""
    picture = os.path.splitext(path)[0] + ".svg"
    body = render(results, os.path.basename(picture))
    old = read_or_nothing(path)
    if BEGIN in old and END in old:
        before, rest = old.split(BEGIN, 1)
        body = f"{before}{BEGIN}\n\n{body}\n{END}{rest.split(END, 1)[1]}"
    else:
        body = f"# mesh and other overlays, side by side\n\n{body}"
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    for name, content in ((path, body), (picture, chart.chart(results))):
        with open(name, "w", encoding="utf-8") as file:
            file.write(content)


def read_or_nothing(path):
    """Returns the text of a file; empty if it does not exist."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def render(results, picture):
    """Returns the report as text; `picture` is the path of the chart."""
    chart_line = f"![One TCP stream: Mbit/s and CPU seconds per GB]({picture})"
    parts = [results.heading, *disturbed(results), chart_line, "### Goals", goal_table(results)]
    for underlay in results.underlays():
        for title, columns in TABLES:
            parts += [f"### {title}, underlay `{underlay}`", figure_table(results, underlay, columns)]
        parts += [f"### Ratios, underlay `{underlay}`", ratio_table(results, underlay)]
    parts += ["### Contenders", contender_table(results)]
    remarks = remark_list(results)
    if remarks:
        parts += ["### Remarks", remarks]
    return "\n\n".join(parts) + "\n"


def goal_table(results):
    """Returns the table of goals and results."""
    heads = ["figure", "goal", *(f"`{underlay}`" for underlay in results.underlays())]
    return table(heads, goals.judge(results, FIGURES))


def figure_table(results, underlay, columns):
    """Returns the table of medians and ranges."""
    heads = [f"{what}, {unit}" for what, unit in (FIGURES[column] for column in columns)]
    rows = [[name, *(spread(results.values(underlay, name, column)) for column in columns)]
            for name in results.contenders(underlay)]
    return table(["contender", *heads], rows)


def ratio_table(results, underlay):
    """Returns the table of ratios: medians of the ratio in each round."""
    names = results.contenders(underlay)
    columns = [(figure, other) for other in REFERENCES if other in names for figure in RATIOS]
    heads = [f"{FIGURES[figure][0]} / {other}" for figure, other in columns]
    rows = [[name, *(number(results.ratio(underlay, name, other, figure)) for figure, other in columns)]
            for name in names]
    return table(["contender", *heads], rows)


def contender_table(results):
    """Returns the table that describes the contenders."""
    rows = []
    for name in results.contenders():
        row = results.row(name)
        rows.append([name, row["note"], row["version"], str(row["layer"]), row["cipher"], str(row["mtu"])])
    return table(["contender", "what", "version", "layer", "cipher", "MTU inside"], rows)


def disturbed(results):
    """Returns a warning if more than half of all measurements were disturbed by other processes."""
    usual = median([cores for row in results.rows for cores in row["noise"].values()])
    if usual is None or usual <= NOISE:
        return []
    return [f"**A disturbed run**: other processes used {usual:.1f} of the machine's cores during it (median). Rates "
            "and round-trip times are unreliable, and ratios little better."]


def remark_list(results):
    """Returns the list of failed and disturbed measurements."""
    lines = []
    for row in results.rows:
        noisy = {test: cores for test, cores in row["noise"].items() if cores > NOISE}
        said = [f"others used up to {max(noisy.values()):.1f} cores during {', '.join(noisy)}"] if noisy else []
        lines += [f"- {row['contender']}, `{row['underlay']}`, round {row['round'] + 1}: {remark}"
                  for remark in [*row["remarks"], *said]]
    return "\n".join(lines)


def table(heads, rows):
    """Returns a Markdown table, with escaped bars."""
    def clean(cell):
        return cell.replace("|", "\\|").replace("\n", " ")
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(clean(cell) for cell in line) + " |" for line in lines)
