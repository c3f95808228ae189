"""Chart of the report: Mbit/s and CPU seconds per GB of one TCP stream for each underlay, as bars with ranges. SVG."""

import math
from xml.sax.saxutils import escape

from contenders import OURS, REFERENCE
from stats import median, number

PANELS = (("tcp1_mbps", "TCP, 1 stream: Mbit/s (more is better)"),
          ("tcp1_cpu", "CPU of the whole machine: s/GB (less is better)"))
COLOURS = {OURS: "#1f6feb", REFERENCE: "#8c959f"}
PEERS = "#c9ced6"
INK, FAINT = "#24292f", "#d8dee4"

ROW, BAR = 24, 15          # heights of a row, and of the bar in it
NAMES, PLOT, VALUES = 104, 250, 66   # widths of names, bars, and the numbers to their right
PANEL = PLOT + VALUES
MARGIN, HEAD, FOOT = 16, 58, 30


def chart(results):
    """Returns the whole picture as text."""
    underlays = results.underlays()
    rows = {underlay: results.contenders(underlay) for underlay in underlays}
    heights = [HEAD + ROW * len(rows[underlay]) + FOOT for underlay in underlays]
    width = 2 * MARGIN + NAMES + PANEL * len(PANELS)
    height = sum(heights) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12" role="img">',
        "<title>mesh and other overlays, side by side</title>",
        rect(0, 0, width, height, "#ffffff")]
    top = 0
    for underlay, size in zip(underlays, heights):
        parts.append(text(MARGIN, top + 24, f"underlay {underlay}", size=15, weight="bold"))
        parts += [text(MARGIN + NAMES - 8, line(top, index) + BAR - 3, name, anchor="end", weight=weight(results, name))
                  for index, name in enumerate(rows[underlay])]
        for column, (figure, title) in enumerate(PANELS):
            left = MARGIN + NAMES + PANEL * column
            parts += panel(results, underlay, rows[underlay], figure, title, left, top)
        top += size
    return "\n".join([*parts, "</svg>"]) + "\n"


def panel(results, underlay, names, figure, title, left, top):
    """Returns the panel of one figure on one underlay."""
    values = [results.values(underlay, name, figure) for name in names]
    bottom = line(top, len(names))
    step, end = axis(max((max(entry) for entry in values if entry), default=1.0))
    parts = [text(left, top + 46, title)]
    for tick in range(round(end / step) + 1):
        x = left + PLOT * tick * step / end
        parts.append(f'<line x1="{x:.1f}" y1="{top + HEAD - 4}" x2="{x:.1f}" y2="{bottom}" stroke="{FAINT}"/>')
        parts.append(text(x, bottom + 14, f"{tick * step:,g}", anchor="middle", size=10))
    for index, (name, entry) in enumerate(zip(names, values)):
        y = line(top, index)
        if not entry:
            parts.append(text(left + 4, y + BAR - 3, "not measured", size=10))
            continue
        parts += bar(left, y, entry, PLOT / end, COLOURS.get(results.row(name)["kind"], PEERS))
    return parts


def bar(left, y, values, scale, colour):
    """Returns a bar up to the median, a whisker over the range, and the median as a number."""
    middle, low, high = median(values), min(values), max(values)
    centre = y + BAR / 2
    parts = [rect(left, y, middle * scale, BAR, colour)]
    if high > low:
        parts.append(f'<path d="M{left + low * scale:.1f} {centre - 3}v6m0-3H{left + high * scale:.1f}m0-3v6" '
                     f'stroke="{INK}" fill="none"/>')
    parts.append(text(left + high * scale + 5, y + BAR - 3, number(middle), size=11))
    return parts


def axis(highest):
    """Returns the spacing of the scale's lines (1, 2 or 5 times a power of ten), and its end."""
    rough = max(highest, 1e-9) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    return step, step * math.ceil(highest / step * 0.999)


def line(top, index):
    """Returns the upper edge of bar number `index`."""
    return top + HEAD + ROW * index + (ROW - BAR) // 2


def weight(results, name):
    """Returns the font weight: mesh's own variants are bold."""
    return "bold" if results.row(name)["kind"] == OURS else "normal"


def rect(x, y, width, height, colour):
    """Returns a filled rectangle."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height}" fill="{colour}"/>'


def text(x, y, content, anchor="start", size=12, weight="normal"):
    """Returns a line of text."""
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
            f'fill="{INK}">{escape(content)}</text>')
