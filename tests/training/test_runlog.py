"""What a run tells: JSON that any reader takes, TensorBoard where it is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from earwitness.core.errors import MissingPartError, UsageError
from earwitness.training.runlog import Bar, Event, JsonLines, TensorBoard


def test_lines_are_every_nth_step_and_all_epochs_in_strict_json(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "log.jsonl", every=3)
    for step in range(1, 8):
        log.hear(Event("step", step, 0, {"loss": float("nan") if step == 6 else 0.5}))
    log.hear(Event("epoch", 7, 0, {"dev/eer": 0.1}))
    log.close()
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=pytest.fail)["step"] for line in lines] == [3, 6, 7]
    assert json.loads(lines[1])["loss"] is None


def test_what_lies_after_the_checkpoint_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = JsonLines(path, every=1)
    log.hear(Event("step", 1, 0, {"loss": 1.0}))
    kept = log.size()
    log.hear(Event("step", 2, 0, {"loss": 1.0}))
    log.close()
    path.write_bytes(path.read_bytes() + b'{"event": "st')  # torn by a kill
    again = JsonLines(path, every=1, keep=kept)
    again.hear(Event("step", 2, 0, {"loss": 1.0}))
    again.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(UsageError, match=r"log\.jsonl"):
        JsonLines(tmp_path / "log.jsonl", every=1)


def test_a_missing_extra_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingPartError, match=r"earwitness\[tensorboard\]"):
        TensorBoard(tmp_path, every=1)


def test_tensorboard_gets_the_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    board = TensorBoard(tmp_path, every=1)
    board.hear(Event("step", 1, 0, {"loss": 1.0}))
    board.hear(Event("epoch", 1, 0, {"dev/eer": 0.1}))
    board.close()
    assert any(path.stat().st_size for path in tmp_path.glob("events*"))


def test_no_bar_is_drawn_into_a_pipe(capfd: pytest.CaptureFixture[str]) -> None:
    bar = Bar(steps=10)
    bar.hear(Event("step", 1, 0, {"loss": 1.0}))
    bar.hear(Event("epoch", 1, 0, {"loss": 1.0, "dev/eer": 0.1}))
    bar.close()
    assert "".join(capfd.readouterr()) == ""
