"""How many small changes to the metrics their own tests notice: a seeded sample of mutants, each in its own process.

    python benchmarks/mutation.py --count 200           # goes on where it was stopped; prints the rate and who survived

A mutant is one changed node of one module: a comparison, an operator of arithmetic or logic, a constant, or what a
function returns. The tree is copied, so the checkout is never touched. The tests run once to learn which of them reach
which line and how long each takes; a mutant then faces those that reach it, the quickest first, until one fails.
Processes are forked from one that has imported the libraries but nothing of ours. A mutant that runs out of time is
noticed. Mutants that cannot be told from the original by any test are not taken out: the rate is a lower bound.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROOM, TESTS = "src/earwitness/metrics", "tests/metrics"
LIBRARIES = ("numpy", "scipy.optimize", "scipy.special", "scipy.stats", "sklearn.metrics", "sklearn.linear_model")
LIBRARIES += ("torch", "polars", "hypothesis", "pytest", "coverage")
OUT_OF_TIME = -1

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.MatMult: ast.Mult,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """The `place`-th possible change of a module; `lines` are those of its statement (of a compound one, its head)."""

    module: str
    place: int
    kind: str
    change: str
    lines: tuple[int, int]


@dataclass(frozen=True)
class Reach:
    """Seconds of each test, and which tests run which lines of a module; line 0: any line of it."""

    seconds: dict[str, float]
    tests: dict[str, dict[int, set[str]]]

    def of(self, mutant: Mutant) -> list[str]:
        """The tests that can notice it, the quickest first; those that reach the module where it runs at import."""
        by_line = self.tests.get(mutant.module, {})
        first, last = mutant.lines
        found = set().union(*(by_line.get(line, set()) for line in range(first, last + 1))) or by_line.get(0, set())
        return sorted(found, key=lambda test: (self.seconds[test], test))


def changes(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], ast.AST]]]:
    """What may be changed at a node: the kind, and a function that changes a copy of it."""
    match node:
        case ast.Compare(ops=[one]) if type(one) in COMPARED:
            yield "comparison", lambda n: _with(n, ops=[COMPARED[type(n.ops[0])]()])
        case ast.BinOp(op=one) | ast.AugAssign(op=one) if type(one) in CALCULATED:
            yield "arithmetic", lambda n: _with(n, op=CALCULATED[type(n.op)]())
        case ast.BoolOp():
            yield "logic", lambda n: _with(n, op=ast.Or() if isinstance(n.op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            yield "logic", lambda n: n.operand
        case ast.Constant(value=bool()):
            yield "constant", lambda n: _with(n, value=not n.value)
        case ast.Constant(value=int() | float()):
            yield "constant", lambda n: _with(n, value=n.value + 1)
        case ast.Return(value=ast.expr()):
            yield "return", lambda n: _with(n, value=ast.Constant(None))


def _with(node: ast.AST, **fields: object) -> ast.AST:
    for name, value in fields.items():
        setattr(node, name, value)
    return node


class Mutator(ast.NodeTransformer):
    """Counts the places of a module; changes the `chosen` one. Annotations, decorators and messages stay."""

    def __init__(self, module: str, chosen: int | None = None) -> None:
        self.module, self.chosen = module, chosen
        self.found: list[Mutant] = []
        self._lines = (1, 1)

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.JoinedStr | ast.Raise):
            return node
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            self._lines = (node.lineno, body[0].lineno - 1 if body else node.end_lineno or node.lineno)
            self._lines = (self._lines[0], max(self._lines))
        changed = node
        lines = self._lines
        for kind, change in changes(node):
            place = len(self.found)
            after = change(copy.deepcopy(node))
            told = f"{_short(node)} -> {_short(after)}"
            self.found.append(Mutant(self.module, place, kind, told, lines))
            if place == self.chosen:
                changed = ast.copy_location(after, node)
        return changed if changed is not node else self._visit_rest(node)

    def _visit_rest(self, node: ast.AST) -> ast.AST:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            if isinstance(value, list):
                setattr(node, name, [self.visit(one) if isinstance(one, ast.AST) else one for one in value])
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
        return node


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else text[:87] + "..."


def mutants(folder: Path) -> list[Mutant]:
    """All that there are, module by module."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        mutator = Mutator(path.relative_to(folder).as_posix())
        mutator.visit(ast.parse(path.read_text(encoding="utf-8")))
        found += mutator.found
    return found


def mutated(source: str, mutant: Mutant) -> str:
    """The module's source with that one change."""
    tree = Mutator(mutant.module, mutant.place).visit(ast.parse(source))
    return ast.unparse(ast.fix_missing_locations(tree))


def in_a_fork(work: Callable[[], int], limit_s: float) -> int:
    """The exit code of the work in a process of its own, or `OUT_OF_TIME`."""
    pid = os.fork()
    if pid == 0:
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silent, stream)
        try:
            os._exit(int(work()))
        except BaseException:
            os._exit(70)
    ends = time.monotonic() + limit_s
    while not (done := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > ends:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return OUT_OF_TIME
        time.sleep(0.02)
    return os.waitstatus_to_exitcode(done[1])


def run_tests(tests: list[str], *more: str, plugins: tuple[object, ...] = ()) -> int:
    """pytest in this process."""
    import pytest

    words = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not soak", "--hypothesis-seed=0"]
    return int(pytest.main([*words, *more, *tests], plugins=list(plugins)))


class Recorder:
    """A plugin: how long each test took, and which lines it ran."""

    def __init__(self, output: Path) -> None:
        from coverage import Coverage

        self.output, self.seconds = output, dict[str, float]()
        self.coverage = Coverage(source=[str(Path(ROOM).resolve())], data_file=None, config_file=False)
        self.coverage.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.coverage.switch_context(nodeid)
        self.seconds[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.seconds[nodeid] = time.monotonic() - self.seconds[nodeid]
        self.coverage.switch_context("")

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        data, lines = self.coverage.get_data(), {}
        for file in sorted(data.measured_files()):
            name = Path(file).relative_to(Path(ROOM).resolve()).as_posix()
            lines[name] = {line: sorted(filter(None, tests)) for line, tests in data.contexts_by_lineno(file).items()}
        self.output.write_text(json.dumps({"seconds": self.seconds, "lines": lines}), encoding="utf-8")


def learn_reach(output: Path, limit_s: float) -> Reach:
    """Run the tests once on the source as it is. Exits where they fail: then nothing can be said of mutants."""
    code = in_a_fork(lambda: run_tests([TESTS], plugins=(Recorder(output),)), limit_s)
    if code != 0:
        sys.exit(f"the tests do not pass on the source as it is (exit code {code})")
    told = json.loads(output.read_text(encoding="utf-8"))
    tests = {
        name: {0: set().union(*map(set, lines.values())), **{int(line): set(found) for line, found in lines.items()}}
        for name, lines in told["lines"].items()
    }
    return Reach(told["seconds"], tests)


def fate(mutant: Mutant, tests: list[str], limit_s: float) -> str:
    """ "noticed", "out of time", "survived" or "not reached" (by any test: survived too)."""
    if not tests:
        return "not reached"
    path = Path(ROOM) / mutant.module
    source = path.read_text(encoding="utf-8")
    path.write_text(mutated(source, mutant), encoding="utf-8")
    try:
        code = in_a_fork(lambda: run_tests(tests), limit_s)
    finally:
        path.write_text(source, encoding="utf-8")
    return {0: "survived", OUT_OF_TIME: "out of time"}.get(code, "noticed")


def copied_tree(folder: Path) -> None:
    """What the tests of the room need, in a folder that may be changed; it becomes the current one."""
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("models", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    os.chdir(folder)
    sys.path[:0] = [str(folder / "src"), str(folder / "tests")]


def import_libraries() -> None:
    """Once, for all forks; nothing of ours, which is what changes."""
    for name in LIBRARIES:
        __import__(name)
    import torch

    torch.set_num_threads(1)
    assert not any(name.split(".")[0] == "earwitness" for name in sys.modules)


def wilson(noticed: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (E. B. Wilson 1927)."""
    z, share = 1.959964, noticed / count
    middle, half = share + z * z / (2 * count), z * ((share * (1 - share) + z * z / (4 * count)) / count) ** 0.5
    return (middle - half) / (1 + z * z / count), (middle + half) / (1 + z * z / count)


def summary(done: list[dict[str, Any]], possible: int, seed: int) -> dict[str, Any]:
    """The figures, by kind of change, and everyone who survived."""
    alive = ("survived", "not reached")
    noticed = sum(one["fate"] not in alive for one in done)
    low, high = wilson(noticed, len(done))
    kinds = sorted({one["kind"] for one in done})
    return {
        "possible": possible,
        "sampled": len(done),
        "seed": seed,
        "noticed": noticed,
        "out_of_time": sum(one["fate"] == "out of time" for one in done),
        "rate": noticed / len(done),
        "interval_95": [low, high],
        "by_kind": {
            kind: [sum(o["fate"] not in alive for o in done if o["kind"] == kind), sum(o["kind"] == kind for o in done)]
            for kind in kinds
        },
        "survivors": [one for one in done if one["fate"] in alive],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit-s", type=float, default=120.0, help="of one mutant")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "mutation.json")
    parser.add_argument(
        "--kept", type=Path, default=ROOT / "out" / "mutation.jsonl", help="fates so far, to go on from"
    )
    arguments = parser.parse_args()
    output, kept = arguments.output.resolve(), arguments.kept.resolve()
    kept.parent.mkdir(parents=True, exist_ok=True)
    os.nice(10)
    os.environ |= {"OMP_NUM_THREADS": "1"}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False  # the copied tests are compiled once
    with tempfile.TemporaryDirectory() as folder:
        copied_tree(Path(folder))
        import_libraries()
        everything = mutants(Path(ROOM))
        sample = random.Random(arguments.seed).sample(everything, min(arguments.count, len(everything)))
        known = [json.loads(line) for line in kept.read_text("utf-8").splitlines()] if kept.exists() else []
        fates = {(one["module"], one["place"], one["change"]): one for one in known}
        reach = learn_reach(Path(folder) / "reach.json", 3600)
        for number, mutant in enumerate(sample, 1):
            key = (mutant.module, mutant.place, mutant.change)
            if key not in fates:
                fates[key] = {**asdict(mutant), "fate": fate(mutant, reach.of(mutant), arguments.limit_s)}
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(fates[key]) + "\n")
            one = fates[key]
            print(
                f"{number}/{len(sample)} {one['fate']}: {mutant.module}:{mutant.lines[0]} {mutant.change}", flush=True
            )
        done = [fates[(one.module, one.place, one.change)] for one in sample]
        result = summary(done, len(everything), arguments.seed)
        os.chdir(ROOT)
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    low, high = result["interval_95"]
    print(
        f"{result['noticed']} of {len(done)} noticed: {100 * result['rate']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
    )


if __name__ == "__main__":
    main()
