#!/usr/bin/python3
"""Prints and draws what `eggroll bench theory --json` measured: see theory.sh.

  deploy/experiments/theory.py FIGURES.json PICTURE

Without matplotlib it prints alone.
"""

import json
import sys

from figures import pyplot, show


def read(path):
    """Notes, and series -> [point] in their order; a point has x, y, error and, where theory says something, theory."""
    with open(path, encoding="utf-8") as file:
        everything = json.load(file)
    series = {}
    for point in everything["points"]:
        series.setdefault(point["series"], []).append(point)
    return everything["notes"], series


def print_table(figures):
    notes, series = figures
    for note in notes:
        print(f"# {note}")
    for name, points in series.items():
        if name.startswith("density, noise"):
            continue  # a hundred of them: in the picture
        for p in points:
            error = f" +- {p['error']:.2g}" if p["error"] > 0 else ""
            theory = f"theory {p['theory']:.4g}" if "theory" in p else ""
            x = "" if name.endswith("slope") else f"{p['x']:.6g}"
            print(f"{name:48} {x:>8} {p['y']:>12.5g}{error:12} {theory}")


def column(points, key):
    return [p[key] for p in points]


def with_prefix(series, prefix):
    """(the rest of the name, its points) of the series whose names begin with this."""
    return [(name[len(prefix):], points) for name, points in series.items() if name.startswith(prefix)]


def curve(axes, points, label, color, line="-", has_bars=True):
    axes.errorbar(column(points, "x"), column(points, "y"), yerr=column(points, "error") if has_bars else None, color=color,
                  linestyle=line, marker=".", label=label, capsize=2)
    if "theory" in points[0]:
        axes.plot(column(points, "x"), column(points, "theory"), color=color, alpha=0.35, linewidth=4)


def draw(figures, picture):
    _, series = figures
    figure, axes = pyplot.subplots(2, 3, figsize=(16, 9))
    (distance, pairs, weights), (density, time, memory) = axes

    exact = series["distance, exact"]
    slope = series["distance, exact: slope"][0]["y"]
    distance.plot(column(exact, "x"), column(exact, "y"), "C0-", label=f"exact: slope {slope:.3f}")
    slope = series["distance, measured: slope"][0]["y"]
    curve(distance, series["distance, measured"], f"measured: slope {slope:.3f}", "C1", "none")
    distance.plot(column(exact, "x"), [exact[-1]["y"] * exact[-1]["x"] / x for x in column(exact, "x")], "k:", label="slope -1")
    distance.set(xscale="log", yscale="log", xlabel="noise rank r", ylabel="share of the full-rank update",
                 title="Distance to the full-rank update")

    for number, (name, points) in enumerate(with_prefix(series, "alignment over pairs, ")):
        curve(pairs, points, name, f"C{number}")
    pairs.set(xscale="log", xlabel="pairs", ylabel="cosine", title="Alignment with the gradient, 256 weights")
    for number, (name, points) in enumerate(with_prefix(series, "alignment over weights, ")):
        curve(weights, points, name, f"C{number}")
    weights.set(xscale="log", xlabel="weights d, 64 d pairs", ylabel="cosine", title="Alignment, a cubic, noise rank 1")

    for number, (name, points) in enumerate(with_prefix(series, "density, noise rank ")):
        density.step(column(points, "x"), column(points, "y"), where="mid", color=f"C{number}", label=f"r = {name}")
        density.plot(column(points, "x"), column(points, "theory"), color=f"C{number}", alpha=0.35, linewidth=4)
    density.set(yscale="log", ylim=(1e-5, 2), xlabel="element of A B^T / sqrt(r)", title="Density; wide pale lines: formula")

    for panel, prefix, title in ((time, "microseconds a member, ", "Time of a member, one core"),
                                 (memory, "bytes a member, ", "Memory of a member beside the weights")):
        for number, (name, points) in enumerate(with_prefix(series, prefix)):
            curve(panel, points, name, f"C{number}", has_bars=False)
        panel.set(xscale="log", yscale="log", xlabel="width of a square matrix", ylabel=prefix.split(",")[0], title=title)
    for panel in axes.flat:
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    sys.exit(show(__doc__, read, print_table, draw))
