"""Records golden/NAME.txt of the MuJoCo environments, in the form that record.py describes. Physics is that
of the version that the program has from its distribution:

    python3.10 -m venv VENV && VENV/bin/pip install "gymnasium[mujoco]==1.4.0" numpy==1.26.4 mujoco==2.2.2
    VENV/bin/python tests/gymnasium/record_mujoco.py [NAME ...]

NAME-full.txt is an environment with all the observations it can have. HalfCheetah is cut short at 50 steps:
MuJoCo's sines differ in last bits between processors with and without FMA, and from there a gait is chaos
(1e-7 after 70 steps, 3e-4 after 80).
"""

import pathlib
import sys

import numpy

from episode_random import EpisodeRandom
from record import Row, any_action, beyond, mostly, record


def gently(space, observation, random):
    return any_action(space, observation, random, reach=0.1)


def balancing(gain):
    """Pushes the cart to where its pole leans to, within reach of the motor."""
    return mostly(lambda o: numpy.clip(gain(o), -1, 1))


def squat(space, observation, random):
    """Hopper goes down upright, and ends for its height."""
    lean, turn = observation[1], observation[7]
    wish = [-3.3 * lean - 0.4 * turn, 0.2 - 1.7 * lean + 0.2 * turn, 0.5 + 2.8 * lean - 2.6 * turn]
    return numpy.clip(wish, -1, 1).astype(numpy.float32)


def held(seed):
    """The same action always: of this seed Walker2d goes down upright, too."""
    return lambda space, observation, random: any_action(space, observation, EpisodeRandom(seed))


SMALL_ANT = {"include_cfrc_ext_in_observation": False}
SMALL_HUMANOID = {
    f"include_{what}_in_observation": False for what in ("cinert", "cvel", "qfrc_actuator", "cfrc_ext")
}
ROWS = {
    "InvertedPendulum-v5": Row(
        "InvertedPendulum-v5", [(1, balancing(lambda o: 8 * o[1] + 2 * o[3])), (2, any_action)], 100
    ),
    "InvertedDoublePendulum-v5": Row(
        "InvertedDoublePendulum-v5", [(1, any_action), (2, balancing(lambda o: o[1] + 0.2 * o[6]))], 100
    ),
    "Reacher-v5": Row("Reacher-v5", [(1, any_action), (2, beyond), (6, any_action)], 50),
    "Swimmer-v5": Row("Swimmer-v5", [(1, any_action), (2, beyond)], 100),
    "Hopper-v5": Row("Hopper-v5", [(1, any_action), (2, gently), (3, squat)], 100),
    "HalfCheetah-v5": Row("HalfCheetah-v5", [(1, any_action), (2, beyond)], 50),
    "Walker2d-v5": Row("Walker2d-v5", [(1, any_action), (2, gently), (22, held(122))], 100),
    "Ant-v5": Row("Ant-v5", [(1, any_action), (2, beyond)], 50, make=SMALL_ANT),
    "Ant-v5-full": Row("Ant-v5", [(1, any_action), (2, gently)], 50, every=5),
    "Humanoid-v5": Row("Humanoid-v5", [(1, any_action), (2, beyond)], 50, make=SMALL_HUMANOID),
    "Humanoid-v5-full": Row("Humanoid-v5", [(1, any_action), (2, gently)], 50, every=10),
    "HumanoidStandup-v5": Row("HumanoidStandup-v5", [(1, any_action), (2, beyond)], 50, every=2, make=SMALL_HUMANOID),
}


def main():
    folder = pathlib.Path(__file__).parent / "golden"
    for name in sys.argv[1:] or ROWS:
        lines = record(ROWS[name])
        text = "\n".join(" ".join(line) for line in lines) + "\n"
        (folder / f"{name}.txt").write_text(text)
        print(f"{name}: {len(lines)} lines, {len(text)} bytes")


if __name__ == "__main__":
    main()
