#!/usr/bin/python3
"""The diffs of docs/adding.md: applied to a copy of the tree, built and run; and whether that page and the README show what
the runs print.

  run.py BUILD MPIRUN       BUILD: where the tree is built with Ninja, tests included; MPIRUN: Open MPI's mpirun

What the diffs do not touch is not compiled again: the sources that include something they change are, with the
flags that BUILD has for them, and are linked in front of its libraries.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(sys.argv[1]).resolve()
MPIRUN = sys.argv[2]
ROOMS = ["common", "kernels", "worker", "coordinator"]


def run(*command, cwd, **more):
    done = subprocess.run([str(word) for word in command], cwd=cwd, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **more)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(str(word) for word in command)}\n{done.stdout}\nexit code {done.returncode}")
    return done.stdout


def expect(claim, what):
    if not claim:
        sys.exit(f"FAILED: {what}")
    print(f"ok: {what}")


def apply_diffs(tree):
    """Applies each diff, and holds the page to it: its text, piece by piece, and what it touches."""
    page = (ROOT / "docs/adding.md").read_text()
    run("git", "init", "--quiet", cwd=tree)
    run("git", "add", "--all", cwd=tree)
    for name in ["task", "optimizer", "fitness"]:
        diff = ROOT / f"tests/examples/{name}.diff"
        quoted = re.findall(rf"<!-- {name}\.diff -->\n```diff\n(.*?)```\n", page, re.DOTALL)
        expect("".join(quoted) == diff.read_text(), f"docs/adding.md quotes {name}.diff")
        run("git", "apply", diff, cwd=tree)
        run("git", "add", "--all", "--intent-to-add", cwd=tree)
        stat = run("git", "diff", "--stat=100", cwd=tree)
        expect(stat in page, f"docs/adding.md says what {name}.diff touches\n{stat}")
        run("git", "add", "--all", cwd=tree)


def included_by(path):
    return re.findall(r'^#include "(.*)"', path.read_text(), re.MULTILINE)


def depends_on_changes(tree, path, changed, known):
    """Whether a source is changed, or includes one that is."""
    if path not in known:
        known[path] = path in changed  # as long as it is open; there are no circles
        known[path] = known[path] or any(depends_on_changes(tree, each, changed, known)
                                         for each in included_by(tree / path) if (tree / each).exists())
    return known[path]


def compile_changes(tree):
    """Compiles what the diffs change; returns object in BUILD -> new object. A source that only the changed
    CMakeLists.txt names takes the place in BUILD that one of the same room has, with its own name."""
    changed = {str(path.relative_to(tree)) for path in tree.rglob("*.[ch]pp")
               if not (ROOT / path.relative_to(tree)).exists()
               or (ROOT / path.relative_to(tree)).read_bytes() != path.read_bytes()}
    sources, commands, known = set(), {}, {}
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        path = pathlib.Path(entry["file"])
        if not path.is_relative_to(ROOT) or not (tree / path.relative_to(ROOT)).exists():
            continue
        source = str(path.relative_to(ROOT))
        sources.add(source)
        words = shlex.split(entry["command"])
        commands[words[words.index("-o") + 1]] = (source, words)
    listed = re.findall(r"^\s+((?:%s)/\S+\.cpp)" % "|".join(ROOMS), (tree / "CMakeLists.txt").read_text(), re.M)
    for new in set(listed) - sources:
        room = new.split("/")[0]
        if new not in changed:
            continue
        old, words = next(each for each in commands.values() if each[0].startswith(room + "/"))
        commands[words[words.index("-o") + 1].replace(old, new)] = (new, [word.replace(old, new) for word in words])

    objects, jobs = {}, []
    for at, (source, words) in commands.items():
        is_of_examples = at.startswith("CMakeFiles/eggroll") or "/kernels_step.dir/" in at or "/mpi_promises.dir/" in at
        if not is_of_examples or not depends_on_changes(tree, source, changed, known):
            continue
        objects[at] = tree / "objects" / at
        objects[at].parent.mkdir(parents=True, exist_ok=True)
        words = [str(tree) + word[len(str(ROOT)):] if word.startswith(str(ROOT)) else
                 word.replace(f"-I{ROOT}", f"-I{tree}") for word in words]
        words[words.index("-o") + 1] = objects[at]
        jobs.append(words)
    print(f"compiling {len(jobs)} of {len(commands)} sources")
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for done in [pool.submit(run, *words, cwd=BUILD) for words in jobs]:
            done.result()
    return objects


def link(tree, target, objects):
    """The program of BUILD, with the new objects in place of the old ones or in front of their libraries."""
    command = run("ninja", "-t", "commands", target, cwd=BUILD).splitlines()[-1]
    words = shlex.split(command[command.index("&&") + 2:command.rindex("&&")] if "&&" in command else command)
    linked, placed = [], set()
    for word in words:
        library = re.fullmatch(r"lib(eggroll_\w+)\.a", word)
        if library and library[1] not in placed:
            placed.add(library[1])
            linked += [path for at, path in objects.items() if at.startswith(f"CMakeFiles/{library[1]}.dir/")]
        linked.append(objects.get(word, word))
    program = tree / target
    linked[linked.index("-o") + 1] = program
    run(*linked, cwd=BUILD)
    return program


def train(program, ranks, folder, options):
    """What a person is shown at the end but for times: the last generation's figures, and the digest."""
    output = run(MPIRUN, "-np", ranks, program, "train", *options.split(), "--threads", 1, "--run", folder,
                 cwd=folder.parent, timeout=60)
    figures = re.search(r"^generation 0: loss (\S+).*^(generation (\d+)/\3  .* changed \S+)  .*^(parameters digest +\S+)", output,
                        re.M | re.S)
    return float(figures[1]), figures[2], figures[4]


def expect_learning(program, scratch, name, options, most, page):
    results = [train(program, ranks, scratch / f"{name}-{ranks}", options) for ranks in [1, 2]]
    before, generation, digest = results[0]
    expect(results[1] == results[0], f"{options}: the same digest on 1 and 2 ranks, {digest}")
    after = float(re.search(r"  loss (\S+)", generation)[1])
    expect(after < most < before, f"{options}: loss {before} falls to {after}, below {most}")
    text = (ROOT / page).read_text()
    expect(generation in text and digest in text, f"{page} shows what this printed: {generation}, {digest}")


def main():
    with tempfile.TemporaryDirectory(prefix="eggroll-examples-") as folder:
        scratch = pathlib.Path(folder)
        tree = scratch / "tree"
        tree.mkdir()
        for each in ROOMS + ["tests"]:
            shutil.copytree(ROOT / each, tree / each,
                            ignore=lambda at, names: [name for name in names if name in ["seeds", "damaged"]])
        shutil.copy(ROOT / "CMakeLists.txt", tree)
        apply_diffs(tree)
        objects = compile_changes(tree)
        eggroll, step, promises = [link(tree, name, objects) for name in ["eggroll", "kernels_step", "mpi_promises"]]

        expect_learning(eggroll, scratch, "quadratic", "--task quadratic", 0.1, "README.md")
        for name, options, most in [("xor", "--task xor", 0.01), ("rmsprop", "--task quadratic --update rmsprop", 0.1),
                                    ("absolute", "--task quadratic --loss absolute", 1)]:
            expect_learning(eggroll, scratch, name, options, most, "docs/adding.md")
        run(step, "--gtest_filter=Step.*", cwd=scratch, timeout=120)
        print("ok: each step of rmsprop is its formula's")
        run(MPIRUN, "-np", 2, promises, "--gtest_filter=*/xor", cwd=scratch, timeout=120)
        print("ok: task xor keeps the promises")


main()
