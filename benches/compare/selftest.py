#!/usr/bin/env python3
"""Tests of the code that turns measurements into a report. They need neither root nor any contender."""

import os
import tempfile
import unittest
import xml.etree.ElementTree

import chart
import contenders
import goals
import ours
import peers
import report
import run
import stats
from measure import FIGURES
from results import Results


def row(contender, index=0, underlay="veth", kind=contenders.PEER, layer=2, remarks=(), **figures):
    """Returns a result row with a few figures."""
    place = ["mesh", "vxlan", "tinc", "wireguard-go"].index(contender)
    return {"contender": contender, "place": place, "underlay": underlay, "round": index, "kind": kind,
            "layer": layer, "mtu": 1400, "cipher": "none", "note": "a | b", "version": "1", "figures": figures,
            "noise": {"tcp1": 0.5 if remarks else 0.0, "idle": 0.0}, "remarks": list(remarks)}


def sample():
    """Returns two rounds of four contenders; in the second round all are twice as fast."""
    rows = []
    for index, speed in ((0, 1), (1, 2)):
        rows += [
            row("wireguard-go", index, layer=3, tcp1_mbps=1000 * speed, udp64_kpps=80),
            row("tinc", index, tcp1_mbps=400 * speed, udp64_kpps=30, udp1400_mbps=200),
            row("vxlan", index, kind=contenders.REFERENCE, tcp1_mbps=8000 * speed, udp1400_mbps=1000),
            row("mesh", index, kind=contenders.OURS, tcp1_mbps=4000 * speed, tcp1_cpu=3.0, udp64_kpps=120,
                udp1400_mbps=700, loaded_p99=900, remarks=["it broke"] if index else [])]
    return Results(rows, "heading")


class Stats(unittest.TestCase):
    """Tests of number formats and statistics."""

    def test_median(self):
        self.assertIsNone(stats.median([]))
        self.assertEqual(stats.median([3, 1, 2]), 2)
        self.assertEqual(stats.median([4, 1, 2, 3]), 2.5)

    def test_percentile_is_a_value_that_occurred(self):
        hundred = list(range(100, 0, -1))
        self.assertEqual(stats.percentile(hundred, 50), 50)
        self.assertEqual(stats.percentile(hundred, 99), 99)
        self.assertEqual(stats.percentile(hundred, 100), 100)
        self.assertEqual(stats.percentile([7], 1), 7)
        self.assertIsNone(stats.percentile([], 50))

    def test_three_significant_digits(self):
        values = {None: "-", 0: "0", 0.1234: "0.12", 9.994: "9.99", 9.996: "10.0", 99.94: "99.9", 99.96: "100",
                  12345: "12,345"}
        for value, text in values.items():
            self.assertEqual(stats.number(value), text)

    def test_spread(self):
        self.assertEqual(stats.spread([]), "-")
        self.assertEqual(stats.spread([5]), "5.00")
        self.assertEqual(stats.spread([3, 200, 10]), "10.0 [3.00-200]")


class Rows(unittest.TestCase):
    """Tests of queries on result rows."""

    def test_ratios_are_taken_within_a_round(self):
        results = sample()
        self.assertEqual(results.median("veth", "mesh", "tcp1_mbps"), 6000)
        self.assertEqual(results.ratio("veth", "mesh", "vxlan", "tcp1_mbps"), 0.5)
        self.assertIsNone(results.ratio("veth", "mesh", "vxlan", "tcp1_cpu"))
        self.assertIsNone(results.ratio("nic", "mesh", "vxlan", "tcp1_mbps"))

    def test_the_best_of_a_layer(self):
        results = sample()
        self.assertEqual(results.best("veth", contenders.PEER, "tcp1_mbps"), "wireguard-go")
        self.assertEqual(results.best("veth", contenders.PEER, "tcp1_mbps", layer=2), "tinc")
        self.assertIsNone(results.best("veth", contenders.PEER, "rss_mb"))

    def test_contenders_are_in_the_order_asked_for(self):
        self.assertEqual(sample().contenders(), ["mesh", "vxlan", "tinc", "wireguard-go"])

    def test_goals(self):
        cells = {(line[0], line[1]): line[2] for line in goals.judge(sample(), FIGURES)}
        self.assertEqual(cells["mesh: TCP 1 stream", ">= 5,000 Mbit/s"], "6,000 (met)")
        self.assertEqual(cells["mesh: TCP 1 stream", ">= 9 × the best layer-2 peer"], "10.0 × tinc (met)")
        best = cells["mesh: UDP 64 B, loss <= 1 %", ">= 1.8 × the best peer"]
        self.assertEqual(best, "1.50 × wireguard-go (missed)")
        self.assertEqual(cells["mesh: UDP 1,400 B flood", ">= 0.8 × vxlan"], "0.70 × vxlan (missed)")
        self.assertIn(("mesh: TCP 4 streams", ">= 1 × mesh, TCP 1 stream"), cells)
        self.assertEqual(cells["mesh-relay: TCP 1 stream", ">= 0.5 × mesh"], "not measured")


class Report(unittest.TestCase):
    """Tests of the report and the chart."""

    def test_tables(self):
        text = report.render(sample(), "report.svg")
        self.assertIn("| mesh | 6,000 [4,000-8,000] | 3.00 [3.00-3.00] | - |", text)
        self.assertIn("| tinc | a \\| b | 1 | 2 | none | 1400 |", text)
        self.assertIn("- mesh, `veth`, round 2: it broke", text)
        self.assertIn("- mesh, `veth`, round 2: others used up to 0.5 cores during tcp1", text)
        self.assertNotIn("disturbed run", text)
        for table in text.split("\n\n"):
            columns = {line.replace("\\|", "").count("|") for line in table.splitlines() if line.startswith("|")}
            self.assertLessEqual(len(columns), 1, table)

    def test_a_disturbed_run_says_so(self):
        results = sample()
        for disturbed in results.rows:
            disturbed["noise"] = {"tcp1": 1.5}
        self.assertIn("used 1.5 of the machine's cores", report.render(results, "report.svg"))

    def test_figures_go_between_the_markers(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "page.md")
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"method\n{report.BEGIN}\nold\n{report.END}\nend\n")
            report.write(path, sample())
            report.write(path, sample())
            with open(path, encoding="utf-8") as file:
                text = file.read()
            self.assertTrue(text.startswith(f"method\n{report.BEGIN}\n\nheading"))
            self.assertTrue(text.endswith(f"{report.END}\nend\n"))
            self.assertNotIn("old", text)
            self.assertEqual(text.count("### Goals"), 1)
            self.assertIn("page.svg", os.listdir(directory))

    def test_the_chart_is_xml_and_nothing_leaves_it(self):
        tree = xml.etree.ElementTree.fromstring(chart.chart(sample()))
        space = "{http://www.w3.org/2000/svg}"
        width, height = float(tree.get("width")), float(tree.get("height"))
        bars = tree.findall(f"{space}rect")
        self.assertEqual(len(bars), 1 + 4 + 1)  # the background, four rates, one CPU figure
        for bar in bars:
            self.assertLessEqual(float(bar.get("x")) + float(bar.get("width")), width)
            self.assertLessEqual(float(bar.get("y")) + float(bar.get("height")), height)
        texts = [element.text for element in tree.findall(f"{space}text")]
        self.assertIn("6,000", texts)
        self.assertEqual(texts.count("not measured"), 3)

    def test_scales_end_at_or_above_the_highest_value(self):
        for highest in (0.3, 1, 7, 10, 99, 100, 14_144, 21_000):
            step, end = chart.axis(highest)
            self.assertGreaterEqual(end * 1.001, highest)
            self.assertLessEqual(end / step, 6)


class Contenders(unittest.TestCase):
    """Tests of the register."""

    def test_what_is_run_by_default_is_known(self):
        self.assertLessEqual(set(run.DEFAULT), set(contenders.REGISTER))

    def test_each_has_a_name_and_a_note(self):
        for name, contender in contenders.REGISTER.items():
            self.assertEqual(contender.name, name)
            self.assertTrue(contender.note)

    def test_options_that_the_router_does_not_have_are_a_reason_to_skip(self):
        known, ours.usage = ours.usage, lambda _program: "--datapath <DATAPATH>"
        try:
            contender = contenders.REGISTER["mesh-pcap"]()
            contender.programs = ()
            self.assertEqual(contender.missing(), "")
            contender.options = ("--cipher=rot13",)
            self.assertEqual(contender.missing(), "this mesh-router has no --cipher=rot13")
        finally:
            ours.usage = known

    def test_another_build_of_mesh(self):
        with tempfile.TemporaryDirectory() as directory:
            name = ours.add_build(f"before={directory}")
            try:
                build = contenders.REGISTER[name]()
                self.assertIn("no mesh, mesh-router in", build.missing())
                for program in build.programs:
                    path = os.path.join(directory, program)
                    with open(path, "w", encoding="ascii") as file:
                        file.write("#!/bin/sh\n")
                    os.chmod(path, 0o755)
                self.assertEqual(build.missing(), "")
                self.assertEqual(build.find("mesh"), os.path.join(directory, "mesh"))
            finally:
                del contenders.REGISTER[name]
        self.assertRaises(ValueError, ours.add_build, "before=")

    def test_a_command_of_the_caller(self):
        try:
            name = peers.add_command("mine=no-such-program --peer {peer}", 1380, True, False)
            contender = contenders.REGISTER[name]()
            self.assertEqual((contender.mtu, contender.tap, contender.offloads), (1380, True, False))
            self.assertEqual(contender.missing(), "no-such-program not installed")
        finally:
            del contenders.REGISTER["mine"]
        self.assertRaises(ValueError, peers.add_command, "mine", 1380, False, True)


if __name__ == "__main__":
    unittest.main()
