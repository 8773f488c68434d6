"""`earwitness bench` from questions to a page, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from earwitness.cli.main import exit_code
from earwitness.speech_llm.bench.selfcheck import write_tone
from earwitness.speech_llm.clients.fake_server import FakeServer, Reply, hearing
from earwitness.speech_llm.items import Item, read_items, write_items


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    (tmp_path / "audio").mkdir()
    items = []
    for number in range(6):
        write_tone(tmp_path / "audio" / f"{number}.wav", 300, 0.1 + number / 10)
        items.append(Item(f"i{number}", f"c{number}", f"{number}.wav", "What is it?", f"tone of {number}", "DE"))
    items.append(Item("i9", "c9", "absent.wav", "What is it?", "a tone", "DE"))
    write_items(tmp_path / "items.jsonl", items)
    return tmp_path / "items.jsonl"


def client(path: Path, server: FakeServer, **more: object) -> str:
    path.write_text(json.dumps({"kind": "openai", "server": "vllm", "base_url": server.base_url, "model": "m", **more}))
    return str(path)


def test_from_questions_to_a_page(tmp_path: Path, questions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, page = str(tmp_path / "run"), tmp_path / "page.html"
    with FakeServer(hearing) as model, FakeServer('{"rationale": "so", "rating": 3}') as judge:
        words = [str(questions), "--client", client(tmp_path / "m.yaml", model), "--data-root", str(tmp_path / "audio")]
        asking = ["bench", "run", *words, "-o", run, "--controls", "silence,text-only"]
        assert exit_code(asking) == 1  # one recording is not there
        told = capsys.readouterr().err
        assert "i9 (real): error: absent.wav" in told
        assert model.count == 6 * 3 + 1
        assert exit_code(asking) == 1
        assert model.count == 6 * 3 + 1
        judging = ["bench", "judge", run, "--judge", client(tmp_path / "j.yaml", judge, max_audios=0), "--runs", "2"]
        assert exit_code(judging) == 0
        assert judge.count == 2 * 19
    capsys.readouterr()
    assert exit_code(["bench", "report", run, "--html", str(page), "--form", str(tmp_path / "form.csv")]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[0].startswith("The audio seems unused: answers are no better with it")
    assert "The judge was not validated against people." in told
    assert "UAS_DP (without DG, DS)" in told
    assert page.read_text().startswith("<!doctype html>")
    assert exit_code(["bench", "report", run, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "1.0"
    assert exit_code(["bench", "report", run, "--compare", run]) == 0
    assert exit_code(["bench", "readers"]) == 0
    assert "mmau: MMAU's JSON list" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["report", "absent"], "is no folder of a run"),
        (["judge", "absent", "--judge", "absent.yaml"], "no such"),
        (["run", "absent.jsonl", "--client", "absent.yaml", "--data-root", ".", "-o", "x"], "no such"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    words: list[str], what: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_code(["bench", *words]) == 2
    told = capsys.readouterr().err
    assert what in told
    assert len(told.splitlines()) == 1


def test_failures_say_why_and_how_to_go_on(tmp_path: Path, questions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "run")
    root = ["--data-root", str(tmp_path / "audio")]
    with FakeServer("a tone") as model, FakeServer("I would rather not say") as judge:
        words = ["--client", client(tmp_path / "m.yaml", model), *root]
        assert exit_code(["bench", "run", str(questions), *words, "-o", run]) == 1
        assert "--retry-failed" in capsys.readouterr().err
        judging = ["bench", "judge", run, "--judge", client(tmp_path / "j.yaml", judge, max_audios=0), "--runs", "1"]
        assert exit_code(judging) == 1
    told = capsys.readouterr().err
    assert "6 judgement(s): unparsed: the reply holds no rating" in told
    assert "--retry-failed" in told
    other = tmp_path / "other.jsonl"
    write_items(other, read_items(questions)[:2])
    assert exit_code(["bench", "run", str(other), *words, "-o", run]) == 2
    assert "holds answers to other questions" in capsys.readouterr().err


def test_where_everything_failed_the_report_does_not_ask_for_a_judge(
    tmp_path: Path, questions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    with FakeServer(Reply("the model has crashed", status=400)) as model:
        words = ["--client", client(tmp_path / "m.yaml", model), "--data-root", str(tmp_path / "audio")]
        assert exit_code(["bench", "run", str(questions), *words, "-o", run]) == 1
    assert exit_code(["bench", "report", run]) == 0
    told = capsys.readouterr().out
    assert "No answer could be judged" in told
    assert "bench judge" not in told


def test_recordings_lie_under_the_working_folder_unless_another_is_given(
    tmp_path: Path, questions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "audio")
    write_items(questions, read_items(questions)[:6])
    with FakeServer(hearing) as model:
        words = ["--client", client(tmp_path / "m.yaml", model), "-o", str(tmp_path / "run")]
        assert exit_code(["bench", "run", str(questions), *words]) == 0
