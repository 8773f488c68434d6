"""The house itself: its rooms, what may import what, its public face, and that its pages tell the truth."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import earwitness

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "earwitness"
GOLDEN = Path(__file__).resolve().parent / "golden"
TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if path.name != Path(__file__).name)
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "samples").glob("*.md")])
MODULES = sorted(SOURCE.rglob("*.py"))
WRITTEN = (".py", ".md", ".yaml", ".yml", ".toml", ".json", ".txt", ".cff", ".j2", ".css", ".js")
ROOMS = sorted(path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file())


def written_files() -> list[Path]:
    """Every text file of the project."""
    inside = (
        path
        for folder in ("src", "tests", "docs", "benchmarks", "recipes", "samples")
        for path in (ROOT / folder).rglob("*")
        if not any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(ROOT).parts)
    )
    return [path for path in [*inside, *ROOT.glob("*")] if path.is_file() and path.suffix in WRITTEN]


def python(code: str) -> str:
    """Standard output of a fresh interpreter."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ["PYTHONPATH"]])}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_imports_go_downwards_only() -> None:
    pytest.importorskip("importlinter")
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"
    assert "1 kept, 0 broken" in python(code)


@pytest.mark.parametrize(
    ("imports", "heavy"),
    [
        ("earwitness", ["torch", "transformers", "polars", "numpy", "scipy", "av", "onnxruntime"]),
        ("earwitness.cli.main", ["torch", "transformers", "polars", "numpy", "scipy", "av", "onnxruntime"]),
        ("earwitness.metrics", ["torch", "transformers", "polars"]),
        ("earwitness.core.records, earwitness.core.config, earwitness.core.writing", ["torch", "transformers"]),
        ("earwitness.evaluation.loading", ["transformers", "matplotlib", "onnx", "tensorboard"]),
        ("earwitness.examine.examiner", ["transformers", "matplotlib", "lightning_fabric", "sklearn"]),
    ],
)
def test_what_an_import_does_not_bring(imports: str, heavy: list[str]) -> None:
    loaded = python(f"import sys, {imports}; print(*sorted(sys.modules))").split()
    assert imports.split(",")[0] in loaded
    assert [name for name in heavy if name in loaded] == []


def test_every_room_stands_in_the_architecture() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert len(ROOMS) == 15
    assert [room for room in ROOMS if f"\n  {room}/" not in page] == []


def test_the_table_of_systems_says_what_is_built() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| (built|not yet) \|", page, re.MULTILINE)
    assert len(rows) >= 19
    for rooms, status in rows:
        there = [(SOURCE / path).exists() for path in re.findall(r"`([^`]+)`", rooms)]
        assert there, rooms
        assert all(there) if status == "built" else not all(there), f"{rooms} is not '{status}'"


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_every_module_says_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    assert len(docstring.split()) >= 3


def test_the_room_is_called_like_its_function() -> None:
    """`earwitness.examine` is the function at first, and the room of that name once it is imported."""
    room = importlib.import_module("earwitness.examine")
    function = importlib.import_module("earwitness.examine.examiner").examine
    assert inspect.signature(room) == inspect.signature(function)


def test_the_package_offers_what_it_names() -> None:
    assert [name for name in earwitness.__all__ if not hasattr(earwitness, name)] == []
    assert not hasattr(earwitness, "no_such_name")


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    local = [target for target in targets if target and not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (path.parent / target).exists()] == []


def test_every_page_can_be_found() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert "architecture.md" in pages
    assert [page for page in pages if f": {page}\n" not in navigation] == []


def test_no_path_of_a_machine_and_no_tab() -> None:
    files = written_files()
    assert len(files) > 200
    machine = re.compile(r"(?<![\w.])/(?:work|root|home|Users)/|[A-Z]:\\\\Users")
    assert [named(path) for path in files if machine.search(path.read_text(encoding="utf-8"))] == []
    assert [named(path) for path in files if "\t" in path.read_text(encoding="utf-8")] == []


def shown_items() -> set[str]:
    return {item for path in TESTS for item in re.findall(r'shows\("([^"]+)"\)', path.read_text(encoding="utf-8"))}


def known_items() -> list[str]:
    lines = (GOLDEN / "items.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_markers_name_items_that_exist() -> None:
    known = known_items()
    assert len(known) == len(set(known)) > 180
    assert sorted(shown_items() - set(known)) == []


def test_no_merge_was_left_half_done() -> None:
    marks = tuple(7 * mark + " " for mark in "<>")
    for path in written_files():
        lines = path.read_text(encoding="utf-8").splitlines()
        assert not [line for line in lines if line.startswith(marks)], named(path)


BUILT = {
    **dict.fromkeys(("accon", "acorl", "expo", "f-infoed", "frami", "inside", "nes2net", "rawboost", "svvad"), 8),
    **dict.fromkeys(("dpda", "qamo", "rad", "speecheq"), 9),
    **dict.fromkeys(
        ("cp-bench", "cpqa", "paralinguistic-metrics", "paralinguistic-training", "speaker-metrics", "xi-plus"), 8
    ),
    **{"audio-flan": 9, "detection-metrics": 4, "speech-llm-landscape": 9, "svldl": 10},
}


@pytest.mark.parametrize(("sheet", "items"), BUILT.items(), ids=BUILT)
def test_every_item_of_a_built_system_is_shown(sheet: str, items: int) -> None:
    required = {item for item in known_items() if re.match(rf"{sheet}:[679]\.", item)}
    assert len(required) == items
    assert sorted(required - shown_items()) == []
