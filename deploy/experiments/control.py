#!/usr/bin/env python3
"""Low rank beside full rank, task by task: settings by random search, the same number of trials for each way,
then several seeds of the best ones. See control.sh."""
import argparse
import concurrent.futures
import json
import math
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys

from figures import pyplot

# What is evaluated of each task, for all three ways: population, generations, episodes of a member.
BUDGETS = {
    "CartPole-v1": (256, 10, 1),
    "Acrobot-v1": (256, 30, 1),
    "MountainCar-v0": (256, 50, 1),
    "MountainCarContinuous-v0": (256, 25, 1),
    "Pendulum-v1": (256, 80, 2),
    "LunarLander-v3": (128, 60, 2),
    "LunarLanderContinuous-v3": (128, 60, 2),
    "BipedalWalker-v3": (256, 200, 1),
    "InvertedPendulum-v5": (64, 20, 1),
    "InvertedDoublePendulum-v5": (64, 60, 1),
    "Swimmer-v5": (64, 60, 1),
    "Reacher-v5": (128, 100, 2),
    "Hopper-v5": (64, 80, 1),
    "HalfCheetah-v5": (64, 40, 1),
    "Walker2d-v5": (128, 400, 1),
    "Ant-v5": (128, 300, 1),
}
CLASSIC = list(BUDGETS)[:5]
WAYS = {
    "r = 1": [],
    "r = 4": ["--noise-rank", "4"],
    "full": ["--perturbation", "full"],
}
# The search: both of them log-uniform.
SIGMA = (0.02, 0.5)
LEARNING_RATE = (0.01, 0.3)


class Failure(Exception):
    """One line for the person who called."""


def run(command):
    """What it printed, and the seconds of CPU time it took."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process.stdout, process.stderr:
        printed, complaint = process.stdout.read(), process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failure(f"{' '.join(command)}: exit code {process.returncode}: {complaint.strip()}")
    return printed, used.ru_utime + used.ru_stime


def train(program, task, way, sigma, rate, seed, folder):
    """One run on one thread; what it came to."""
    population, generations, episodes = BUDGETS[task]
    shutil.rmtree(folder, ignore_errors=True)
    command = [program, "train", "--task", "control", "--env", task, "--run", str(folder),
               "--population", str(population), "--generations", str(generations), "--episodes", str(episodes),
               "--episode-seeds", "population", "--sigma", f"{sigma:.4g}", "--learning-rate", f"{rate:.4g}",
               "--seed", str(seed), "--validate-every", str(max(1, generations // 20)), "--threads", "1",
               *WAYS[way]]
    _, seconds = run(command)
    curve, steps = [], 0
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        steps += record.get("steps", 0)
        if record.get("return") is not None:
            curve.append((steps, record["return"]))
    printed, _ = run([program, "evaluate", "--checkpoint", str(folder), "--json", "--threads", "1"])
    evaluated = json.loads(printed)
    # Where every episode failed there is none: the worst there is.
    value = -math.inf if evaluated["return"] is None else evaluated["return"]
    return {"way": way, "sigma": sigma, "learning_rate": rate, "seed": seed, "cpu_s": seconds,
            "steps": steps, "return": value, "curve": curve}


def experiment(program, task, trials, seeds, folder, pool):
    """The trials of each way, and the seeds of its best one."""
    draws = random.Random(task)

    def log_uniform(low, high):
        return math.exp(draws.uniform(math.log(low), math.log(high)))

    settings = [(log_uniform(*SIGMA), log_uniform(*LEARNING_RATE)) for _ in range(trials)]
    jobs = {(way, t): pool.submit(train, program, task, way, *settings[t], 1000, folder / f"{task}-{way}-{t}".replace(" ", ""))
            for way in WAYS for t in range(trials)}
    found = {}
    for way in WAYS:
        results = [jobs[way, t].result() for t in range(trials)]
        best = max(results, key=lambda each: each["return"])
        print(f"{task}, {way}: best of {trials}: sigma {best['sigma']:.3f}, learning rate {best['learning_rate']:.3f}, "
              f"return {best['return']:.1f}", flush=True)
        found[way] = {"trials": results,
                      "jobs": [pool.submit(train, program, task, way, best["sigma"], best["learning_rate"], seed,
                                           folder / f"{task}-{way}-seed{seed}".replace(" ", ""))
                               for seed in range(1, seeds + 1)]}
    for way in WAYS:
        found[way]["runs"] = [job.result() for job in found[way].pop("jobs")]
    return found


def mean_and_error(values):
    return statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def table(results):
    rows = ["| task | way | sigma | learning rate | return | standard error | steps | CPU s | CPU s / r = 1 |", "|" + "---|" * 9]
    for task, found in results.items():
        base = statistics.fmean(run["cpu_s"] for run in found["r = 1"]["runs"])
        for way in WAYS:
            runs = found[way]["runs"]
            mean, error = mean_and_error([run["return"] for run in runs])
            seconds = statistics.fmean(run["cpu_s"] for run in runs)
            steps = statistics.fmean(run["steps"] for run in runs)
            rows.append(f"| {task} | {way} | {runs[0]['sigma']:.3f} | {runs[0]['learning_rate']:.3f} | {mean:.1f} | "
                        f"{error:.1f} | {steps:.2e} | {seconds:.1f} | {seconds / base:.2f} |")
    return "\n".join(rows)


def verdict(results):
    """Low rank against full rank: apart by more than two standard errors of the difference, or not."""
    counts = {"better": [], "equal": [], "worse": []}
    for task, found in results.items():
        full, full_error = mean_and_error([run["return"] for run in found["full"]["runs"]])
        low, low_error = max(mean_and_error([run["return"] for run in found[way]["runs"]]) for way in WAYS if way != "full")
        margin = 2 * math.hypot(full_error, low_error)
        counts["better" if low > full + margin else "worse" if low < full - margin else "equal"].append(task)
    return "\n".join(f"low rank (the better of r = 1, 4) is {word} on {len(tasks)}: {', '.join(tasks)}"
                     for word, tasks in counts.items() if tasks)


def draw(results, path):
    columns = min(3, len(results))
    figure, axes = pyplot.subplots(-(-len(results) // columns), columns, squeeze=False,
                                 figsize=(5 * columns, 3.6 * -(-len(results) // columns)))
    for axis, (task, found) in zip(axes.flat, results.items()):
        for way in WAYS:
            for n, run in enumerate(found[way]["runs"]):
                steps, values = zip(*run["curve"])
                axis.plot(steps, values, color=f"C{list(WAYS).index(way)}", alpha=0.6, label=way if n == 0 else None)
        axis.set_title(task)
        axis.set_xlabel("environment steps")
        axis.set_ylabel("return of the unperturbed policy")
    for axis in axes.flat[len(results):]:
        axis.remove()
    axes.flat[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    print(path)


def main():
    sys.stdout.reconfigure(errors="surrogateescape")  # a name of a file is bytes
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("folder", type=pathlib.Path, help="runs, and results as JSON; what is there of a task is taken as it is")
    parser.add_argument("tasks", nargs="*", default=CLASSIC, help=f"default: {' '.join(CLASSIC)}; also {' '.join(list(BUDGETS)[5:])}")
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    for task in arguments.tasks:
        if task not in BUDGETS:
            parser.error(f"{task}: allowed are {', '.join(BUDGETS)}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    results = {}
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for task in arguments.tasks:
            path = arguments.folder / f"{task}.json"
            if not path.exists():
                try:
                    found = experiment(arguments.program, task, arguments.trials, arguments.seeds, arguments.folder, pool)
                except Failure as failure:
                    pool.shutdown(cancel_futures=True)
                    print(f"control: {failure}", file=sys.stderr)
                    return 1
                path.write_text(json.dumps(found))
            results[task] = json.loads(path.read_text())
    print(table(results))
    print(verdict(results))
    if pyplot:
        draw(results, arguments.folder / "control.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
