"""What deploy/plot.py draws of a run: plot_test.py, with the Python that has matplotlib.

Pictures are SVG whose texts are text, so a legend is read from them.
"""

import html
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

PLOT = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "plot.py"


def plot_module():
    spec = importlib.util.spec_from_file_location("plot", PLOT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Plots(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = scratch.name
        self.write("matplotlibrc", "svg.fonttype: none\n")

    def write(self, name, text):
        path = os.path.join(os.fsencode(self.folder), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def write_run(self, name):
        records = [{"generation": n, "elapsed_s": 0.5 * n, "generation_s": 0.5, "train_integer_bits_per_byte": 9 - n,
                    "validation_bits_per_byte": 8.5 - n} for n in range(1, 4)]
        self.write(os.path.join(os.fsencode(name), b"metrics.jsonl"), "".join(json.dumps(r) + "\n" for r in records))

    def texts(self, *arguments):
        """Of the picture, in their order."""
        done = subprocess.run([sys.executable, str(PLOT), *arguments, "-o", "picture.svg"], cwd=self.folder, text=True,
                              capture_output=True, env=os.environ | {"MATPLOTLIBRC": self.folder}, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, "picture.svg\n"), done.stderr)
        svg = pathlib.Path(self.folder, "picture.svg").read_text(encoding="utf-8")
        inside = [html.unescape(re.sub(r"<[^>]*>", "", text)) for text in re.findall(r"<text\b.*?</text>", svg, re.DOTALL)]
        return [text.strip("\n") for text in inside]

    def test_names_of_runs_are_drawn_as_they_are(self):
        names = ["_baseline", "lr$0.1$", "50%_\\frac{1", "a<b>&c", "base"]
        for name in names:
            self.write_run(name)
        expected = [f"{name}: {curve}" for name in names for curve in ("training (integer score)", "validation")]
        self.assertEqual(self.texts(*names)[-len(expected):], expected)

    def test_the_byte_order_mark_of_an_editor_is_skipped(self):
        self.write_run("base")
        for name in ("metrics.jsonl", "config.ini"):
            path = pathlib.Path(self.folder, "base", name)
            text = path.read_text(encoding="utf-8") if path.exists() else "population = 64\ntokens-per-update = 8\n"
            path.write_text(text, encoding="utf-8-sig")
        self.assertEqual(self.texts("base", "--x", "tokens")[-1], "base: validation")

    def test_references_are_named_as_they_are(self):
        self.write_run("base")
        self.assertEqual(self.texts("base", "--reference", "_gzip $9$=2.5")[-1], "_gzip $9$: 2.5")

    def test_what_is_no_text_in_a_name_is_replaced(self):
        self.write_run(b"caf\xe9")
        self.write_run("two\nlines")
        texts = self.texts(b"caf\xe9", "two\nlines")
        self.assertEqual(texts[-4], "caf\N{REPLACEMENT CHARACTER}: training (integer score)")
        self.assertEqual(texts[-2], "two\N{REPLACEMENT CHARACTER}lines: training (integer score)")

    def test_tokens_of_a_run_whose_text_has_a_name_of_other_bytes(self):
        self.write_run("base")
        with open(os.path.join(self.folder, "base", "config.ini"), "wb") as file:
            file.write(b"data = caf\xe9.txt\npopulation = 64\ntokens-per-update = 8\n")
        self.assertEqual(self.texts("base", "--x", "tokens")[-1], "base: validation")

    def test_a_picture_has_any_name(self):
        self.write_run("base")
        done = subprocess.run([sys.executable, str(PLOT), "base", "-o", b"caf\xe9.svg"], cwd=self.folder, capture_output=True,
                              check=False)
        self.assertEqual((done.returncode, done.stdout), (0, b"caf\xe9.svg\n"), done.stderr)
        self.assertIn(b"caf\xe9.svg", os.listdir(os.fsencode(self.folder)))

    def test_seconds_of_parts_add_up(self):
        def seconds(*records):
            return plot_module().positions([{"generation_s": taken, "elapsed_s": elapsed} for taken, elapsed in records], "seconds", "")

        self.assertEqual(seconds((0.5, 0.75), (0.5, 1.5), (0.5, 2.5)), [0.75, 1.5, 2.5])
        # A clock that starts anew, also where its first reading is later than the last one before it.
        self.assertEqual(seconds((0.5, 0.75), (0.5, 1.5), (0.5, 0.625), (0.5, 1.25)), [0.75, 1.5, 2.125, 2.75])
        self.assertEqual(seconds((0.25, 0.25), (0.5, 0.5), (1.0, 1.25)), [0.25, 0.75, 2.0])


if __name__ == "__main__":
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("not tested, this Python has no matplotlib; deploy/setup.sh installs it")
        sys.exit(77)
    unittest.main()
