"""What the experiments' scripts share: from a file of figures to a table on the terminal and a picture."""

import os
import sys

try:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
except ImportError:  # the table needs none
    pyplot = None


def show(usage, read, print_table, draw):
    """The command FIGURES.json PICTURE: read(path) gives what print_table(figures) and draw(figures, picture) show. Returns its exit
    code."""
    sys.stdout.reconfigure(errors="surrogateescape")  # a name of a file is bytes
    name = os.path.basename(sys.argv[0]).removesuffix(".py")
    if len(sys.argv) != 3:
        print(usage, file=sys.stderr)
        return 2
    figures = read(sys.argv[1])
    print_table(figures)
    if pyplot is None:
        print(f"{name}: this Python has no matplotlib, so there is no picture; deploy/setup.sh installs it", file=sys.stderr)
        return 0
    try:
        draw(figures, sys.argv[2])
    except (OSError, ValueError) as error:
        print(f"{name}: {sys.argv[2]}: {error}", file=sys.stderr)
        return 2
    print(sys.argv[2])
    return 0
