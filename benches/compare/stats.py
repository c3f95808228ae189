"""Medians, ranges and percentiles, and number formats. Pure: no clock, no files."""

import math


def median(values):
    """Returns the median of a list; the mean of the middle two for an even count; None for an empty list."""
    ordered = sorted(values)
    if not ordered:
        return None
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def percentile(values, percent):
    """Returns the nearest-rank percentile (0 < percent <= 100), an element of the list; None for an empty list."""
    ordered = sorted(values)
    if not ordered:
        return None
    rank = max(1, math.ceil(percent / 100 * len(ordered)))
    return ordered[rank - 1]


def number(value):
    """Formats with three significant digits, or as an integer from 100 on; `-` for None."""
    if value is None:
        return "-"
    if value == 0 or abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"


def spread(values):
    """Formats `median [min-max]`, or the value alone if there is only one."""
    if not values:
        return "-"
    if len(values) == 1:
        return number(values[0])
    return f"{number(median(values))} [{number(min(values))}-{number(max(values))}]"
