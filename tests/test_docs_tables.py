"""The tables of the pages are what `docs/tables.py` makes of the run records today, and those can be run again."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from earwitness.evaluation.results.files import read_result
from earwitness.evaluation.results.reproducing import reproduce

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", DOCS / "tables.py")
    assert spec
    assert spec.loader
    sys.path.insert(0, str(DOCS))  # as for a script
    module = importlib.util.module_from_spec(spec)
    sys.modules["tables"] = module
    spec.loader.exec_module(module)
    return module


def test_no_page_is_stale(tables: ModuleType) -> None:
    pages = {page: page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md")}
    with_tables = {page: text for page, text in pages.items() if tables.PLACE.search(text)}
    assert len(with_tables) >= 2
    assert [page.name for page, text in with_tables.items() if tables.filled(text) != text] == []


def test_a_changed_figure_is_noticed(tables: ModuleType) -> None:
    text = "<!-- table: shipped-models -->\n| typed | in |\n<!-- end of table -->"
    assert "speaker-small" in tables.filled(text)
    with pytest.raises(KeyError):
        tables.filled(text.replace("shipped-models", "wishes"))


def test_published_scores_come_out_again() -> None:
    """One of the recorded results, from the published files themselves."""
    path = DOCS / "results" / "asvspoof2019-la-ocsoftmax.json"
    scores = path.parent / str(read_result(path).record.settings["scores"])
    if not scores.is_file():
        pytest.skip("the published score files are not where the record names them")
    found = reproduce(path)
    assert found.same, found.differences[:3]


def test_the_mutation_figures_are_those_of_the_run() -> None:
    found = json.loads((DOCS.parent / "benchmarks" / "results" / "mutation.json").read_text(encoding="utf-8"))
    rate, (low, high) = found["rate"], found["interval_95"]
    told = (
        f"**{found['noticed']} of {found['sampled']} were noticed: {100 * rate:.1f} %, "
        f"95 % interval {100 * low:.1f} to {100 * high:.1f} %**"
    )
    assert told in (DOCS / "trust.md").read_text(encoding="utf-8")
    assert f"out of {found['possible']}" in (DOCS / "trust.md").read_text(encoding="utf-8")
    assert found["noticed"] + len(found["survivors"]) == found["sampled"]
