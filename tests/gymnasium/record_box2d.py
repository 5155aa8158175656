"""Records Gymnasium's tasks of Box2D as record.py does the others, each episode in an environment of its
own: BipedalWalker keeps a world, and so hidden state, from one to the next.

    python3.11 -m venv VENV && VENV/bin/pip install swig
    VENV/bin/pip install "gymnasium[box2d]==1.4.0" numpy==1.26.4
    VENV/bin/python tests/gymnasium/record_box2d.py [FOLDER STEPS]

Its Box2D is 2.3 and ours 2.4.1, and contacts are where they part. So an episode of a lander ends before its
first contact; the walker stands from the start on, and has ten steps of little torque. With a folder,
STEPS steps of each episode go there instead.
"""

import pathlib
import sys

from record import Row, any_action, beyond, mostly, record


def gentle(reach):
    return lambda space, observation, random: any_action(space, observation, random, reach)


ROWS = [
    Row("LunarLander-v3", [(1, any_action), (2**63 + 2, mostly(lambda o: 2)), (3, any_action)], 200, every=5),
    Row("LunarLanderContinuous-v3", [(1, any_action), (2, beyond), (3, any_action)], 200, every=5),
    Row("BipedalWalker-v3", [(1, gentle(0)), (2, gentle(0.3)), (3, gentle(0.3))], 10),
]
LEGS = -2  # a lander's observation ends with 1 for each leg that stands


def before_contact(lines, every):
    """Without the step of the first contact and what follows, and of observations each so many-th."""
    start, steps = lines[0], lines[1:]
    is_free = [line[LEGS:] == ["0x0p+0", "0x0p+0"] for line in steps]
    steps = steps[: is_free.index(False)] if False in is_free else steps
    size = len(start) - 1  # of an observation: `episode SEED` is one
    return [start] + [
        line if number % every == 0 or number == len(steps) else line[:-size]
        for number, line in enumerate(steps, 1)
    ]


def main():
    folder, steps = pathlib.Path(__file__).parent / "golden", None
    if len(sys.argv) == 3:
        folder, steps = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    for row in ROWS:
        lines = []
        for episode in row.episodes:
            one = record(Row(row.name, [episode], steps or row.steps))
            lines += before_contact(one, row.every) if steps is None and "Lander" in row.name else one
        text = "\n".join(" ".join(line) for line in lines) + "\n"
        (folder / f"{row.name}.txt").write_text(text)
        print(f"{row.name}: {len(lines)} lines, {len(text)} bytes")


if __name__ == "__main__":
    main()
