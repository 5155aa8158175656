"""Records what Gymnasium gives for stated seeds and actions: golden/NAME.txt, which tests of ours replay.

    python3.11 -m venv VENV && VENV/bin/pip install gymnasium==1.4.0 numpy==1.26.4
    VENV/bin/python tests/gymnasium/record.py [NAME ...]          all the rows below without a NAME

A file is lines of words. `episode SEED` and the first observation begin an episode; each further line is
a step: its action, its reward, 1 if it terminated or else 0, the observation. Actions and observations
are fp32, rewards double, all as hexadecimal floats. Where a row's `every` is n, only each n-th step and
the last have an observation. An episode ends with its row's `steps` or where it terminates.
"""

import pathlib
import sys
from dataclasses import dataclass, field
from typing import Callable

import gymnasium
import numpy

from episode_random import EpisodeRandom

# Actions are drawn with the seed of the episode and this one added, so that they are not its start.
ACTIONS = 1 << 32


def any_action(space, observation, random, reach=1.0):
    """Of a choice each alike; of numbers uniform in `reach` times their range."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(random.integers(int(space.n)))
    low, high = space.low.astype(float), space.high.astype(float)
    middle, half = (low + high) / 2, (high - low) / 2
    return (middle + reach * half * random.uniform(-1.0, 1.0, space.shape)).astype(numpy.float32)


def beyond(space, observation, random):
    """Half of the numbers are out of range."""
    return any_action(space, observation, random, reach=2.0)


def mostly(wish):
    """What is wished four times of five, and any action else: it gets somewhere."""

    def rule(space, observation, random):
        if random.uniform() < 0.2:
            return any_action(space, observation, random)
        action = wish(observation)
        if isinstance(space, gymnasium.spaces.Discrete):
            return int(action)
        return numpy.full(space.shape, action, dtype=numpy.float32)

    return rule


@dataclass
class Row:
    name: str
    # An episode each: a seed, and actions by a rule (space, observation, EpisodeRandom) -> action.
    episodes: list[tuple[int, Callable]]
    steps: int = 200
    every: int = 1
    make: dict = field(default_factory=dict)  # further arguments of gymnasium.make


ROWS = [
    Row(
        "CartPole-v1",
        [
            (1, mostly(lambda o: o[2] + 0.5 * o[3] > 0)),
            (2, any_action),
            (2**63 + 3, mostly(lambda o: o[2] + 0.5 * o[3] + 0.1 * o[1] > 0)),
        ],
    ),
    Row("Pendulum-v1", [(1, any_action), (2, mostly(lambda o: 2 * numpy.sign(o[2]))), (3, beyond)]),
    Row("Acrobot-v1", [(1, any_action), (2, mostly(lambda o: 1 + numpy.sign(o[5]))), (3, any_action)]),
    Row(
        "MountainCar-v0",
        [(1, any_action), (2, mostly(lambda o: 1 + numpy.sign(o[1]))), (3, mostly(lambda o: 0))],
    ),
    Row(
        "MountainCarContinuous-v0",
        [(1, any_action), (2, mostly(lambda o: numpy.sign(o[1]))), (3, beyond)],
    ),
]


def hexadecimal(number):
    """float.hex without the zeros at its end."""
    digits, exponent = float(number).hex().split("p") if numpy.isfinite(number) else (None, None)
    if digits is None:
        return repr(float(number))
    return (digits.rstrip("0").rstrip(".") if "." in digits else digits) + "p" + exponent


def words(numbers):
    return [hexadecimal(n) for n in numpy.atleast_1d(numpy.asarray(numbers, dtype=numpy.float32))]


def record(row):
    environment = gymnasium.make(row.name, disable_env_checker=True, **row.make).unwrapped
    lines = []
    for seed, rule in row.episodes:
        environment.np_random = EpisodeRandom(seed)
        random = EpisodeRandom(seed ^ ACTIONS)
        observation, _ = environment.reset()
        lines.append([f"episode {seed}"] + words(observation))
        for step in range(1, row.steps + 1):
            action = rule(environment.action_space, observation, random)
            observation, reward, terminated, _, _ = environment.step(action)
            line = words(action) + [hexadecimal(reward), str(int(terminated))]
            is_last = terminated or step == row.steps
            lines.append(line + (words(observation) if step % row.every == 0 or is_last else []))
            if terminated:
                break
    environment.close()
    return lines


def main():
    folder = pathlib.Path(__file__).parent / "golden"
    unknown = set(sys.argv[1:]) - {row.name for row in ROWS}
    if unknown:
        sys.exit(f"record.py: no row of the name {', '.join(sorted(unknown))}")
    for row in ROWS:
        if len(sys.argv) > 1 and row.name not in sys.argv[1:]:
            continue
        lines = record(row)
        text = "\n".join(" ".join(line) for line in lines) + "\n"
        (folder / f"{row.name}.txt").write_text(text)
        print(f"{row.name}: {len(lines)} lines, {len(text)} bytes")


if __name__ == "__main__":
    main()
