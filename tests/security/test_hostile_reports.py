"""Reports whose every word is hostile: questions, replies, labels, names of models and files come out as text alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from test_hostile_text import EVIL, NAME, UNSEEN, Tags, harmless

from earwitness.cli.main import exit_code
from earwitness.examine.examiner import examine
from earwitness.examine.finding import Report
from earwitness.examine.report_html import render_html
from earwitness.examine.report_json import report_from_json, report_to_json
from earwitness.speech_llm.clients.fake_server import FakeServer
from earwitness.speech_llm.items import Item, write_items
from tiny_models import make_detector, make_embedder

# After a quote, in an attribute, as a template, as an entity, and as an address that runs.
HOSTILE = f"""\"'><img src=x onerror=alert(1)><a href=javascript:alert(1)>{{{{7*7}}}}{{%x%}}&lt;b{EVIL}"""
SAID_BY_US = ("verdict", "tone", "schema", "sha256", "created")  # words of ours, and what we have measured


def defiled(value: Any) -> Any:
    """The same with hostile text at the end of each word that comes from outside or may one day."""
    if isinstance(value, str):
        return value + HOSTILE
    if isinstance(value, tuple):
        return tuple(defiled(one) for one in value)
    if isinstance(value, dict):
        return {defiled(key): defiled(one) for key, one in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **{key: defiled(one) for key, one in fields.items() if key not in SAID_BY_US})
    return value


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, speechlike: Callable[..., Any]) -> tuple[Report, Report]:
    """A report with all questions, also those of age and emotion, as it is and with hostile words throughout."""
    home = tmp_path_factory.mktemp("home")
    for number in range(2):
        soundfile.write(home / f"{number}.wav", speechlike(2.5, seed=number), 16_000)
    models = {"deepfake": make_detector(home / "detector"), "speaker": make_embedder(home / "embedder")}
    given = {task: str(folder) for task, folder in models.items()}
    (report,) = examine(home / "0.wav", [home / "1.wav"], given)
    questions = " ".join(finding.question for finding in report.findings)
    assert "old" in questions
    assert "emotion" in questions
    assert any(finding.tables for finding in report.findings)
    drawn = dataclasses.replace(
        report,
        findings=tuple(
            dataclasses.replace(one, tables=tuple(dataclasses.replace(table, drawn=None) for table in one.tables))
            for one in report.findings
        ),
    )  # the column that is drawn is named by a word that must stand among the columns
    return report, defiled(drawn)


def test_the_page_of_a_report_holds_the_words_as_text(reports: tuple[Report, Report]) -> None:
    plain, hostile = reports
    page = render_html([hostile], [None])
    harmless(page, scripts=1)
    assert "{{7*7}}" in page
    assert "<img" not in page
    assert "javascript:alert(1)&gt;" in page
    before, after = Tags(render_html([plain], [None])), Tags(page)
    assert set(after.tags) <= set(before.tags) | {"br", "p", "li", "ul"}
    assert set(after.attributes) <= set(before.attributes)
    assert page.count("owned") > 50


def test_the_data_of_a_report_come_back_as_they_were(reports: tuple[Report, Report]) -> None:
    told = report_to_json(reports[1])
    assert not UNSEEN.search(told.replace("\n", ""))
    assert report_from_json(told).findings == reports[1].findings


def test_the_page_of_a_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Questions, references, file names, the model's name, its replies and the judge's reasons are all hostile."""
    (tmp_path / "audio").mkdir()
    items = []
    for number in range(6):
        name = f"{number}{NAME}.wav"
        soundfile.write(tmp_path / "audio" / name, [0.1] * 16_000, 16_000)
        items.append(Item(f"{HOSTILE}{number}", f"{HOSTILE}{number}", name, HOSTILE, f"{HOSTILE}{number}", "DE"))
    write_items(tmp_path / "items.jsonl", items)
    reply = json.dumps({"rationale": HOSTILE, "rating": 3})
    run, page = tmp_path / "run", tmp_path / "page.html"
    with FakeServer(HOSTILE, model=HOSTILE) as model, FakeServer(reply, model=HOSTILE) as judge:
        for name, server in (("m", model), ("j", judge)):
            client = {"kind": "openai", "server": "vllm", "base_url": server.base_url, "model": HOSTILE}
            (tmp_path / f"{name}.yaml").write_text(json.dumps(client | ({"max_audios": 0} if name == "j" else {})))
        asking = [tmp_path / "items.jsonl", "--client", tmp_path / "m.yaml", "--data-root", tmp_path / "audio"]
        for words in (
            ["run", *asking, "-o", run, "--controls", "silence"],
            ["judge", run, "--judge", tmp_path / "j.yaml", "--runs", "1"],
            ["report", run, "--html", page],
        ):
            assert exit_code(["bench", *map(str, words)]) == 0
    text = page.read_text(encoding="utf-8")
    harmless(text, scripts=0)
    assert "Answered alike for different clips" in text  # with the question and the reply
    assert text.count("{{7*7}}") >= 4
    assert set(Tags(text).tags).isdisjoint({"a", "img", "b"})
    shown = capsys.readouterr()
    assert "owned" in shown.out
    assert not UNSEEN.search((shown.out + shown.err).replace("\n", ""))
