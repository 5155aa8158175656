#!/usr/bin/env python3
"""Whether our MJCF files say the same physics as Gymnasium's: both are compiled, and all numbers of the
compiled models that a simulation depends on are compared, bit by bit with MuJoCo 2.2.2 and to within
rounding with others, which diagonalise inertias otherwise. Ends with 77 where packages are absent:

    python3.10 -m venv VENV && VENV/bin/pip install "gymnasium[mujoco]==1.4.0" numpy==1.26.4 mujoco==2.2.2

    compare_models.py [FOLDER]     FOLDER: worker/control/mujoco/models
"""
import pathlib
import sys

try:
    import gymnasium
    import mujoco
    import numpy as np
except ImportError as absent:
    print(f"skipped: {absent}")
    sys.exit(77)

# What is only looked at or named, and tendons, which in Gymnasium's humanoids pull at nothing.
OF_NO_EFFECT = ("cam_", "light_", "mat_", "tex_", "name", "vis", "numeric_", "ten", "wrap_", "text_", "paths",
                "geom_rgba", "geom_matid", "site_rgba", "site_matid", "site_size", "geom_user", "key_", "stat", "signature")
COUNTS = ("nq", "nv", "nu", "na", "nbody", "njnt", "ngeom", "nsite", "neq", "nmocap", "nsensor", "npair", "nexclude")


def numbers(model):
    """Name and value of each field that counts, as arrays."""
    for name in dir(model):
        value = getattr(model, name, None)
        if isinstance(value, np.ndarray) and not name.startswith(OF_NO_EFFECT + ("_",)):
            yield name, value
    for name in COUNTS:
        yield name, np.array(getattr(model, name))
    for name in dir(model.opt):
        value = getattr(model.opt, name)
        if not name.startswith("_") and isinstance(value, (int, float, np.ndarray)):
            yield "opt." + name, np.array(value)


def are_equal(ours, theirs):
    if ours.shape != theirs.shape or mujoco.__version__ == "2.2.2":
        return ours.shape == theirs.shape and ours.tobytes() == theirs.tobytes()
    return np.allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2] / "worker/control/mujoco/models")
    theirs = pathlib.Path(gymnasium.__file__).parent / "envs/mujoco/assets"
    different = 0
    for file in sorted(folder.glob("*.xml")):
        ours = mujoco.MjModel.from_xml_path(str(file))
        other = dict(numbers(mujoco.MjModel.from_xml_path(str(theirs / file.name))))
        compared = 0
        for name, value in numbers(ours):
            compared += 1
            if not are_equal(value, other[name]):
                different += 1
                print(f"{file.name}: {name} differs\n  ours   {value.tolist()}\n  theirs {other[name].tolist()}")
        print(f"{file.name}: {compared} fields compared with mujoco {mujoco.__version__}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
