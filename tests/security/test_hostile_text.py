"""Names, labels, cards and transcripts that hold markup and control characters reach no page or terminal as such."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import soundfile

from earwitness.cli.main import exit_code
from earwitness.core.hashing import sha256_file
from tiny_models import make_detector, make_embedder

EVIL = "<script>alert(1)</script>\x1b]0;owned\x07\u202ecod.\x9b2J"
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")
NAME = EVIL.replace("/", "\u2215")


class Tags(HTMLParser):
    """The tags and the attributes that a browser would see."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attributes]


def harmless(page: str, scripts: int) -> None:
    """Only our own scripts, no handler, nothing to follow or to load, and no character that cannot be seen."""
    assert not UNSEEN.search(page.replace("\n", "").replace("\r", ""))
    seen = Tags(page)
    assert seen.tags.count("script") == scripts
    assert {"iframe", "object", "embed", "link", "base", "form"} & set(seen.tags) == set()
    assert [name for name in seen.attributes if name.startswith("on")] == []
    assert "Content-Security-Policy" in page
    assert "owned" in page  # the name is there, as text


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speechlike: Callable[..., Any]) -> Path:
    """Recordings whose names, speakers, labels and models' cards all hold the same."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "cache"))
    rows = []
    for number in range(4):
        name = f"{number}{NAME}.wav"
        soundfile.write(tmp_path / name, speechlike(1.5, seed=number), 16_000)
        rows.append({"path": name, "speaker": f"{EVIL}{number % 2}", "label": ["bonafide", "spoof"][number % 2]})
        rows[-1] |= {"system": EVIL if number % 2 else None, "language": EVIL, "licence": EVIL, "transcript": EVIL}
    pl.DataFrame(rows).write_csv(tmp_path / "rows.csv")
    for make in (make_detector, make_embedder):
        folder = make(tmp_path / make.__name__.removeprefix("make_"))
        card = folder / "CARD.md"
        card.write_text(
            f"# {EVIL}\n\n[x](javascript:alert(1)) {EVIL} <img src=x onerror=alert(1)>\n\n| a |\n|---|\n| {EVIL} |\n",
            encoding="utf-8",
        )
        described = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        described["files"]["CARD.md"] = sha256_file(card)
        (folder / "model.json").write_text(json.dumps(described), encoding="utf-8")
    return tmp_path


def test_the_page_of_examine(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["examine", f"0{NAME}.wav", f"1{NAME}.wav", "--reference", f"2{NAME}.wav", "--model", "deepfake=detector"]
    assert exit_code([*words, "--model", "speaker=embedder", "--html", "page.html", "--json", "out.json"]) == 0
    harmless((home / "page.html").read_text(encoding="utf-8"), scripts=1)
    shown = capsys.readouterr()
    assert not UNSEEN.search((shown.out + shown.err).replace("\n", ""))
    assert "owned" in shown.out


def test_the_page_of_clusters(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "score rows.csv --task speaker --model embedder --cluster --html page.html -o c.csv"
    assert exit_code(words.split()) == 0
    harmless((home / "page.html").read_text(encoding="utf-8"), scripts=0)
    assert not UNSEEN.search(capsys.readouterr().err.replace("\n", ""))


@pytest.mark.parametrize(
    "words",
    [
        "corpus describe rows.csv",
        "corpus describe rows.csv --json",
        "corpus check rows.csv --json",
        "corpus check rows.csv",
        "model info detector",
        "model info detector --json",
        "score rows.csv --task speaker --model embedder --known rows.csv -o k.csv",
    ],
)
def test_the_terminal(home: Path, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(words.split()) in (0, 1)
    shown = capsys.readouterr()
    assert not UNSEEN.search((shown.out + shown.err).replace("\n", ""))


def test_tables_of_judged_scores(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["score", "rows.csv", "--task", "deepfake", "--model", "detector", "-o", "s.csv"]) == 0
    judged = "evaluate deepfake s.csv --key rows.csv --by language --resamples 10 --control none"
    assert exit_code(judged.split()) == 0
    shown = capsys.readouterr()
    assert "owned" in shown.out
    assert not UNSEEN.search((shown.out + shown.err).replace("\n", ""))


def test_every_template_escapes(request: pytest.FixtureRequest) -> None:
    """Each is rendered with escaping on, and none says that a value is safe."""
    source = Path(__file__).resolve().parents[2] / "src" / "earwitness"
    templates = sorted(source.rglob("*.j2"))
    assert len(templates) >= 3
    assert [path.name for path in templates if re.search(r"\|\s*safe\b|autoescape\s+false", path.read_text())] == []
    environments = [path.read_text() for path in source.rglob("*.py") if "Environment(" in path.read_text()]
    assert environments
    assert all("autoescape=True" in text and "finalize=" in text for text in environments)
