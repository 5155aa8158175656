#!/usr/bin/python3
"""Draws the learning curves of one or more runs from their metrics.jsonl.

  deploy/plot.py RUN [RUN ...] -o curves.png [--x seconds|generations|tokens|steps] [--reference NAME=VALUE ...]

RUN is a run folder or a metrics.jsonl; all of one task. Of each run two curves: the unperturbed model, and the perturbed members
(averaged over stretches of the run). Of language models in bits per byte, exact and by integer score; of policies the return; of
other models the loss of the unperturbed one. Seconds of a resumed run add up.
"""

import argparse
import json
import math
import os
import sys
from dataclasses import dataclass

STRETCHES = 200  # points of a training curve; each is the mean over the generations of its stretch


@dataclass
class Task:
    """What is drawn of a task: keys of metrics.jsonl."""
    label: str
    validation: str
    training: str | None
    members: str = ""
    is_loss: bool = True


LM = Task("bits per byte", "validation_bits_per_byte", "train_integer_bits_per_byte", "training (integer score)")
CONTROL = Task("return", "return", "fitness_mean", "members", is_loss=False)
OTHER = Task("loss", "loss", None)


class Refusal(Exception):
    """One line for the person who called."""


def find_metrics(run):
    path = os.path.join(run, "metrics.jsonl") if os.path.isdir(run) else run
    if not os.path.isfile(path):
        raise Refusal(f"{run}: no run folder with a metrics.jsonl, and no such file")
    return path


def read_records(path):
    """The records of a run; a last line that is still being written is left out."""
    records = []
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
                record["generation"] + record["elapsed_s"]
            except (ValueError, KeyError, TypeError):
                if not line.endswith("\n"):
                    break
                raise Refusal(f"{path} line {number}: not a record of eggroll train") from None
            records.append(record)
    if not records:
        raise Refusal(f"{path}: holds no record yet")
    return records


def task_of(records):
    for task, key in ((LM, LM.training), (CONTROL, "episode_steps")):
        if key in records[0]:
            return task
    return OTHER


def tokens_per_generation(path):
    """population x tokens-per-update, from the config.ini beside the metrics."""
    config = os.path.join(os.path.dirname(path), "config.ini")
    values = {}
    try:
        with open(config, encoding="utf-8-sig", errors="replace") as file:
            for line in file:
                name, equals, value = line.partition("=")
                if equals and not line.lstrip().startswith("#"):
                    values[name.strip()] = value.strip()
        return int(values["population"]) * int(values["tokens-per-update"])
    except OSError as error:
        raise Refusal(f"{config}: --x tokens needs it: {error.strerror}") from None
    except (KeyError, ValueError):
        raise Refusal(f"{config}: --x tokens needs population and tokens-per-update") from None


def positions(records, axis, path):
    if axis == "generations":
        return [record["generation"] for record in records]
    if axis == "tokens":
        tokens = tokens_per_generation(path)
        return [record["generation"] * tokens for record in records]
    if axis == "steps":
        if task_of(records) is not CONTROL:
            raise Refusal(f"x = steps: {path} is none of a policy")
        steps, so_far = [], 0
        for record in records:
            so_far += record["steps"]
            steps.append(so_far)
        return steps
    # In files of older programs the clock of a resumed run starts anew, which shows where less than its own time lies between a
    # generation and the one before it.
    seconds, before, last = [], 0.0, 0.0
    for record in records:
        if record["elapsed_s"] - last < 0.999 * record.get("generation_s", 0.0):
            before += last
        last = record["elapsed_s"]
        seconds.append(before + last)
    return seconds


def training_curve(x, records, key):
    # A generation in which nobody had a value has no mean.
    pairs = [(at, record[key]) for at, record in zip(x, records) if record.get(key) is not None] if key else []
    x, records = [at for at, _ in pairs], [value for _, value in pairs]
    length = max(1, math.ceil(len(records) / STRETCHES))
    xs, ys = [], []
    for first in range(0, len(records), length):
        stretch = records[first:first + length]
        xs.append(x[first + len(stretch) // 2])
        ys.append(sum(stretch) / len(stretch))
    return xs, ys


def validation_curve(x, records, key):
    points = [(at, record[key]) for at, record in zip(x, records) if record.get(key) is not None]
    return [at for at, _ in points], [value for _, value in points]


def reference(text):
    name, equals, bits = text.rpartition("=")
    try:
        value = float(bits)
    except ValueError:
        value = math.nan
    if not equals or not name or not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text}: allowed is NAME=VALUE, such as bigram=3.32")
    return name, value


def bits(text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: allowed are numbers above 0")
    return value


def labels_of(runs):
    names = [os.path.basename(os.path.normpath(run)) for run in runs]
    return names if len(set(names)) == len(names) else list(runs)


def drawable(name):
    """A name as a picture can show it: what is no text, or no character, as a replacement."""
    text = os.fsencode(name).decode("utf-8", errors="replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def add_legend(axes, names):
    """A row for each line, in their order, with its name as it is: matplotlib leaves out labels that begin with _, and sets what
    stands between two $ as a formula."""
    legend = axes.legend(axes.get_lines(), [str(row) for row in range(len(names))], fontsize="small")
    for text, name in zip(legend.get_texts(), names):
        text.set_parse_math(False)
        text.set_text(drawable(name))


def draw(arguments):
    # Everything is read before anything is drawn, so an error leaves no picture.
    curves, tasks = [], []
    for run, label in zip(arguments.run, labels_of(arguments.run)):
        path = find_metrics(run)
        records = read_records(path)
        x = positions(records, arguments.x, path)
        task = task_of(records)
        tasks.append(task)
        if task is not tasks[0]:
            raise Refusal(f"{run}: its task has a {task.label}, that of {arguments.run[0]} {tasks[0].label}")
        validation, training = validation_curve(x, records, task.validation), training_curve(x, records, task.training)
        if not validation[0] and not training[0]:
            raise Refusal(f"{run}: holds no {task.label} yet")
        curves.append((label, validation, training))
    task = tasks[0]
    if arguments.top and not task.is_loss:
        raise Refusal(f"top = {arguments.top:g}: allowed for losses; this is a return")

    try:
        import matplotlib
        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise Refusal("this Python has no matplotlib; deploy/setup.sh installs it for /usr/bin/python3") from None

    figure, axes = pyplot.subplots(figsize=(8, 5))
    names, ends, highest = [], [], 0.0  # ends: where each curve is lowest; all of these are in the picture
    for number, (label, validation, training) in enumerate(curves):
        color = f"C{number % 10}"
        if training[0]:
            axes.plot(*training, color=color, linewidth=1, alpha=0.45)
            names.append(f"{label}: {task.members}")
        if validation[0]:
            axes.plot(*validation, color=color, linewidth=1.6, marker=".", markersize=4)
            names.append(f"{label}: validation")
        ends.append(min(training[1] + validation[1]))
        highest = max(highest, *training[1], *validation[1])
    for number, (name, value) in enumerate(arguments.reference):
        style = ["--", ":", "-."][number % 3]
        axes.axhline(value, color="0.4", linewidth=1, linestyle=style)
        names.append(f"{name}: {value:g}")
        ends.append(value)
        highest = max(highest, value)
    if task is LM or arguments.top:
        lowest = min(ends)
        top = arguments.top if arguments.top else min(highest, max(ends) + 1)
        if top <= lowest:
            raise Refusal(f"top = {top:g}: the lowest point of the picture is {lowest:.3f}")
        axes.set_ylim(lowest - 0.05 * (top - lowest), top)
    axes.set_xlabel({"seconds": "elapsed seconds", "generations": "generations",
                     "tokens": "tokens evaluated (population x bytes read)", "steps": "environment steps"}[arguments.x])
    if arguments.log:
        axes.set_xscale("log")
    axes.set_ylabel(task.label)
    axes.grid(alpha=0.3)
    add_legend(axes, names)
    figure.tight_layout()

    root, extension = os.path.splitext(arguments.output)
    formats = sorted(figure.canvas.get_supported_filetypes())
    if extension[1:] not in formats:
        raise Refusal(f"output = {arguments.output}: allowed are names that end in .{', .'.join(formats)}")
    aside = f"{root}.partial{extension}"
    try:
        figure.savefig(aside, dpi=150)
        os.replace(aside, arguments.output)
    except OSError as error:
        raise Refusal(f"output = {arguments.output}: cannot be written: {error.strerror}") from None
    finally:
        if os.path.exists(aside):
            os.remove(aside)
    print(arguments.output)


def main():
    parser = argparse.ArgumentParser(prog="deploy/plot.py", allow_abbrev=False,
                                     description="Learning curves of one or more runs.")
    parser.add_argument("run", nargs="+", metavar="RUN", help="run folder, or its metrics.jsonl")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="picture to write: .png, .svg, .pdf")
    parser.add_argument("--x", choices=["seconds", "generations", "tokens", "steps"], default="seconds", help="what goes to the right (seconds)")
    parser.add_argument("--log", action="store_true", help="logarithmic to the right")
    parser.add_argument("--top", type=bits, metavar="BITS", help="top of the picture (1 above where the highest curve ends)")
    parser.add_argument("--reference", type=reference, action="append", default=[], metavar="NAME=VALUE",
                        help="a level line; may be given several times")
    sys.stdout.reconfigure(errors="surrogateescape")  # a name of a file is bytes
    try:
        draw(parser.parse_args())
    except Refusal as refusal:
        print(f"plot: {refusal}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
