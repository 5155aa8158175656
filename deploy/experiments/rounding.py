#!/usr/bin/python3
"""Prints and draws what `eggroll bench shaping --json` measured: see rounding.sh.

  deploy/experiments/rounding.py FIGURES.json PICTURE

Left: the difference that rounding makes to Z, as a share of |Z|, beside the noise of Z. Right: the cosine between Z and the direction
in which fitness rises, rounded and in fp64, and in fp64 with utilities that end at three deviations.
"""

import json
import re
import sys

from figures import pyplot, show

ROW = re.compile(r"(rounding|alignment|clipped), (\S+) of (\S+), 2\^(\d+)")
TAILS = ["normal", "log-normal", "Cauchy"]


def read(path):
    """(what, rule, tails) -> [(members, value, what it is held against)]"""
    with open(path, encoding="utf-8") as file:
        rows = json.load(file)["rows"]
    curves = {}
    for row in rows:
        match = ROW.fullmatch(row["name"])
        if not match:
            continue
        what, rule, tails, log_members = match.groups()
        value = row["median"] / 100 if what == "rounding" else row["median"]
        against = value / row["ratio"] if row["ratio"] else float("nan")
        curves.setdefault((what, rule, tails), []).append((2 ** int(log_members), value, against))
    return curves


def print_table(curves):
    print(f"{'fitness':12}{'rule':14}{'members':>9}{'rounding':>12}{'noise':>9}{'cosine':>9}{'in fp64':>9}{'clipped':>9}")
    for tails in TAILS:
        for rule in ("centred-rank", "z-score"):
            clipped = curves.get(("clipped", rule, tails))
            rows = zip(curves["rounding", rule, tails], curves["alignment", rule, tails])
            for number, ((members, rounding, noise), (_, cosine, exact)) in enumerate(rows):
                # Where utilities are exact, what is left is the error of fp64.
                share = f"{100 * rounding:.4f} %" if rounding > 1e-12 else "exact"
                last = f"{clipped[number][1]:9.3f}" if clipped else f"{'':9}"
                print(f"{tails:12}{rule:14}{members:9}{share:>12}{100 * noise:7.1f} %{cosine:9.3f}{exact:9.3f}{last}")


def draw(curves, picture):
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 5.6))
    for number, tails in enumerate(TAILS):
        for rule, line in (("centred-rank", "-"), ("z-score", "--")):
            color = f"C{number}"
            members, rounding, noise = zip(*curves["rounding", rule, tails])
            shown = [(m, r) for m, r in zip(members, rounding) if r > 1e-12]  # the others are exact
            left.plot(*zip(*shown), line, color=color, marker=".", label=f"rounding: {rule}, {tails}")
            left.plot(members, noise, line, color=color, alpha=0.35, linewidth=3)
            _, cosine, exact = zip(*curves["alignment", rule, tails])
            right.plot(members, cosine, line, color=color, marker=".", label=f"{rule}, {tails}")
            right.plot(members, exact, line, color=color, alpha=0.35, linewidth=3)
        clipped = [value for _, value, _ in curves["clipped", "z-score", tails]]
        right.plot(members, clipped, ":", color=f"C{number}", label=f"clipped z-score, {tails}")
    left.set_yscale("log")
    left.set_ylabel("share of |Z|; wide pale lines: noise of Z")
    right.set_ylabel("cosine with the true direction; wide pale lines: fp64")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xlabel("members")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small", loc="upper center", bbox_to_anchor=(0.5, -0.12), ncol=3)
    figure.suptitle("Utilities as integers of at most 1562")
    figure.tight_layout()
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    sys.exit(show(__doc__, read, print_table, draw))
