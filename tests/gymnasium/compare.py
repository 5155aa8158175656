"""Plays episodes in the program and in an installed Gymnasium, and says how far they are apart: all that the
program has and Gymnasium can make here.

    python3.11 -m venv VENV && VENV/bin/pip install swig
    VENV/bin/pip install "gymnasium[box2d]==1.4.0" numpy==1.26.4             classic control, Box2D
    python3.10 -m venv VENV
    VENV/bin/pip install "gymnasium[mujoco]==1.4.0" numpy==1.26.4 mujoco==2.2.2             MuJoCo

    VENV/bin/python tests/gymnasium/compare.py [--eggroll FILE] [--episodes N] [--steps N] [NAME ...]

Of each environment it makes a checkpoint (a run of one generation), asks `eggroll rollout` for the seed of
an episode, plays that in Gymnasium by the rules of record*.py, and has `eggroll rollout --actions --steps`
play the same actions. Compared are observations (Gymnasium's as fp32), rewards, terminations, truncations:
N episodes, and more until N steps were compared. Box2D is another one, so landers end before their first
contact, and the walker, which stands from the start on, after ten steps without torque. Ends with 1 where
a bound is passed or an end differs, with 77 where nothing can be compared.
"""

import argparse
import itertools
import json
import pathlib
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

try:
    import gymnasium
    import numpy
except ImportError as absent:
    print(f"skipped: {absent}")
    sys.exit(77)

import record
import record_box2d
import record_mujoco
from episode_random import EpisodeRandom

ROOT = pathlib.Path(__file__).parents[2]


@dataclass
class Bounds:
    observation: float
    reward: float


# Those of unit/box2d_environments, but for the lander's reward: in sixty episodes 0.21 was seen, a speed's
# difference of 1e-3 times 100 after a hundred steps. Doubled, as there.
LANDER, WALKER = Bounds(1.6e-2, 0.42), Bounds(8e-2, 2.6e-3)
# With NumPy 2 an action of fp32 stays so where it enters a sum, and the state follows.
NUMPY_1 = int(numpy.__version__.split(".")[0]) < 2
EXACT, WIDER = Bounds(0, 0), Bounds(1e-5, 1e-4)
PENDULUM = Bounds(0, 1e-11)  # its reward, in double, shows whose sines they are
MUJOCO = Bounds(2e-6, 2e-6)


@dataclass
class Row:
    label: str  # in the table
    name: str
    rules: list  # of the episodes in turn
    bounds: Bounds
    steps: int | None = None  # fewer than others
    make: dict = field(default_factory=dict)
    train: list = field(default_factory=list)  # options of the run
    is_lander: bool = False
    is_mujoco: bool = False


def rows():
    rules = lambda of: [rule for _, rule in of.episodes]
    for of in record.ROWS:
        bounds = PENDULUM if of.name == "Pendulum-v1" else EXACT
        rounds = of.name in ("Pendulum-v1", "MountainCarContinuous-v0")
        yield Row(of.name, of.name, rules(of), WIDER if rounds and not NUMPY_1 else bounds)
    for of in record_box2d.ROWS:
        if "Lander" in of.name:
            yield Row(of.name, of.name, rules(of), LANDER, is_lander=True)
        else:  # its legs stand from the start: without torque
            yield Row(of.name, of.name, [record_box2d.gentle(0)], WALKER, of.steps)
    for label, of in record_mujoco.ROWS.items():
        full = ["--full-observations"] if label.endswith("-full") else []
        yield Row(label, of.name, rules(of), MUJOCO, None, of.make, full, is_mujoco=True)


class Program:
    def __init__(self, file, folder):
        self.file, self.folder = file, folder

    def run(self, *arguments):
        result = subprocess.run([self.file, *arguments], capture_output=True, text=True)
        if result.returncode != 0:
            sys.exit(f"compare.py: eggroll {' '.join(arguments)}: {result.stderr.strip()}")
        return result.stdout

    def environments(self):
        """Names, as the line says them that refuses another."""
        words = [self.file, "train", "--task", "control", "--env", "none", "--dry-run"]
        line = subprocess.run(words, capture_output=True, text=True).stderr
        return re.search(r"allowed are ([^;\n]*)", line).group(1).strip().split(", ")

    def mujoco_version(self):
        """Of the library that it loads."""
        loaded = subprocess.run(["ldd", self.file], capture_output=True, text=True).stdout
        found = re.search(r"libmujoco\.so\.([\d.]+\d)", loaded)
        return found and found.group(1)

    def checkpoint(self, row):
        run = self.folder / row.label
        small = "--population 2 --generations 1 --layers 0 --validate-episodes 1".split()
        self.run("train", "--task", "control", "--env", row.name, "--run", str(run), *small, *row.train)
        return str(run)

    def rollout(self, run, episode, steps, *more):
        """Its seed, and the records of its steps."""
        text = self.run(
            "rollout", "--checkpoint", run, "--episode", str(episode), "--steps", str(steps), *more
        )
        start, *records = map(json.loads, text.splitlines())
        return start["episode_seed"], records


@dataclass
class Played:
    observation: numpy.ndarray
    action: list | int | None = None
    reward: float = 0
    ends: tuple = (False, False)  # terminated, truncated


def play(row, rule, seed, steps):
    """The episode in Gymnasium: a record of its start and one a step."""
    environment = gymnasium.make(row.name, disable_env_checker=True, **row.make)
    environment.unwrapped.np_random = EpisodeRandom(seed)
    random = EpisodeRandom(seed ^ record.ACTIONS)
    observation, _ = environment.reset()
    played = [Played(numpy.asarray(observation, numpy.float32))]
    while len(played) <= steps and not any(played[-1].ends):
        action = rule(environment.unwrapped.action_space, observation, random)
        observation, reward, terminated, truncated, _ = environment.step(action)
        written = action if isinstance(action, int) else [float(each) for each in action]
        ends = bool(terminated), bool(truncated) and not terminated
        played.append(Played(numpy.asarray(observation, numpy.float32), written, float(reward), ends))
    environment.close()
    return played


def is_in_contact(observation):
    return any(leg != 0 for leg in observation[record_box2d.LEGS :])


def distance(a, b):
    apart = numpy.abs(numpy.asarray(a, float) - numpy.asarray(b, float))
    return float(numpy.where(numpy.isnan(apart), numpy.inf, apart).max())


@dataclass
class Result:
    episodes: int = 0
    steps: int = 0
    observation: float = 0
    reward: float = 0
    differs: str = "equal"  # or where an end first is not the same

    def take(self, row, episode, theirs, ours):
        self.episodes += 1
        for step, (their, our) in enumerate(zip(theirs, ours)):
            seen = [numpy.nan if number is None else number for number in our["observation"]]
            ends = our.get("terminated", False), our.get("truncated", False)
            if row.is_lander and step > 0:
                if is_in_contact(their.observation) or is_in_contact(seen) or any(their.ends) or any(ends):
                    return
            self.observation = max(self.observation, distance(their.observation, seen))
            if step > 0:
                assert our["action"] == their.action, "the actions that were asked for"
                self.steps += 1
                self.reward = max(self.reward, distance(their.reward, our["reward"]))
            if ends != their.ends and self.differs == "equal":
                self.differs = f"episode {episode} step {step}"
        if len(theirs) != len(ours) and self.differs == "equal":
            self.differs = f"episode {episode} step {min(len(theirs), len(ours))}"

    def is_within(self, bounds):
        return bounds is None or (
            self.differs == "equal"
            and self.observation <= bounds.observation
            and self.reward <= bounds.reward
        )


def compare(row, program, episodes, steps):
    run = program.checkpoint(row)
    actions = program.folder / "actions"
    result = Result()
    wanted, steps = steps, min(steps, row.steps or steps)
    for episode in itertools.count():
        if episode >= episodes and result.steps >= wanted:
            return result
        seed, _ = program.rollout(run, episode, 1)
        theirs = play(row, row.rules[episode % len(row.rules)], seed, steps)
        # Where ours goes on longer, it needs more actions: the last one, again and again.
        given = [each.action for each in theirs[1:]]
        given += given[-1:] * (steps - len(given))
        actions.write_text("".join(json.dumps(action) + "\n" for action in given))
        _, ours = program.rollout(run, episode, steps, "--actions", str(actions))
        result.take(row, episode, theirs, ours)


def versions():
    text = f"Gymnasium {gymnasium.__version__}, NumPy {numpy.__version__}"
    try:
        import mujoco

        return f"{text}, MuJoCo {mujoco.__version__}", mujoco.__version__
    except ImportError:
        return text, None


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--eggroll", default=str(ROOT / "build/eggroll"), metavar="FILE")
    words.add_argument("--episodes", type=int, default=6, metavar="N")
    words.add_argument("--steps", type=int, default=200, metavar="N", help="of an episode at most, of all at least")
    words.add_argument("names", nargs="*", metavar="NAME", help="environments; all without")
    options = words.parse_args()
    text, mujoco_version = versions()
    print(text)
    within, compared, absent = True, 0, []
    with tempfile.TemporaryDirectory() as folder:
        program = Program(options.eggroll, pathlib.Path(folder))
        there = program.environments()
        is_same_physics = mujoco_version == program.mujoco_version()
        if mujoco_version and not is_same_physics:
            print(f"no bounds of MuJoCo: the program has {program.mujoco_version()}")
        known = {row.name for row in rows()}
        if unknown := sorted(set(options.names) - known) + sorted(set(there) - known):
            sys.exit(f"compare.py: no row of the name {', '.join(unknown)}")
        print("| environment | episodes | steps | observations apart | rewards apart | ends |")
        print("|---|---|---|---|---|---|")
        for row in rows():
            if row.name not in (options.names or there):
                continue
            try:
                gymnasium.make(row.name, disable_env_checker=True, **row.make).close()
            except (gymnasium.error.DependencyNotInstalled, gymnasium.error.NameNotFound) as why:
                absent.append(row.label)
                continue
            result = compare(row, program, options.episodes, options.steps)
            is_good = result.is_within(row.bounds if is_same_physics or not row.is_mujoco else None)
            compared += 1
            within = within and is_good
            apart = f"{result.observation:.2g} | {result.reward:.2g} | {result.differs}"
            remark = "" if is_good else "  beyond its bound"
            print(f"| {row.label} | {result.episodes} | {result.steps} | {apart} |{remark}", flush=True)
    if absent:
        print(f"not here: {', '.join(absent)}")
    sys.exit(77 if compared == 0 else 0 if within else 1)


if __name__ == "__main__":
    main()
