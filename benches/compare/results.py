"""Result rows: one for each contender, underlay and round, stored as lines of JSON.

A row has `contender`, `place` (in the tables), `underlay`, `round` (from 0), `kind`, `layer`, `mtu`, `cipher`, `note`,
`version`, `figures` (see measure.FIGURES), `noise` ({test: cores used by others during it}), and `remarks` (texts about
failures). The first line of a file is the heading of the report, which states the origin of the rows.
"""

import json

from stats import median


class Results:
    """Rows of one run, and queries on them."""

    def __init__(self, rows, heading=""):
        self.rows, self.heading = rows, heading

    @classmethod
    def load(cls, path):
        """Loads rows from a file."""
        with open(path, encoding="utf-8") as file:
            first, *rows = [json.loads(line) for line in file if line.strip()]
        return cls(rows, first["heading"])

    def underlays(self):
        """Returns the underlays in the order of their first row."""
        return list(dict.fromkeys(row["underlay"] for row in self.rows))

    def contenders(self, underlay=None, kind=None):
        """Returns the contenders in the order of the command line."""
        names = dict.fromkeys(
            row["contender"] for row in sorted(self.rows, key=lambda row: row["place"])
            if (underlay is None or row["underlay"] == underlay) and (kind is None or row["kind"] == kind))
        return list(names)

    def row(self, contender):
        """Returns any row of a contender, for its constant fields."""
        return next(row for row in self.rows if row["contender"] == contender)

    def by_round(self, underlay, contender, figure):
        """Returns {round: value} for the rounds with this figure."""
        return {
            row["round"]: row["figures"][figure] for row in self.rows
            if row["underlay"] == underlay and row["contender"] == contender and row["figures"].get(figure) is not None}

    def values(self, underlay, contender, figure):
        """Returns the figure of each round."""
        return list(self.by_round(underlay, contender, figure).values())

    def median(self, underlay, contender, figure):
        """Returns the median over the rounds, or None."""
        return median(self.values(underlay, contender, figure))

    def ratio(self, underlay, contender, other, figure, base=None):
        """Returns the median over the rounds of the ratio to another contender's figure (`base`, or the same), or None.

        Drift from round to round cancels out.
        """
        mine = self.by_round(underlay, contender, figure)
        theirs = self.by_round(underlay, other, base or figure)
        return median([mine[key] / theirs[key] for key in mine if theirs.get(key)])

    def best(self, underlay, kind, figure, layer=None):
        """Returns the contender of a kind (and layer) with the highest median, or None."""
        names = [
            name for name in self.contenders(underlay, kind)
            if self.median(underlay, name, figure) is not None and layer in (None, self.row(name)["layer"])]
        return max(names, key=lambda name: self.median(underlay, name, figure), default=None)
