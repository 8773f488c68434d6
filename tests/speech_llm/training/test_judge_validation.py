"""A judge whose score follows what is right is told from one whose score does not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from earwitness.cli.judge_validation import validate
from earwitness.core.errors import DataError
from earwitness.speech_llm.training.judge_validation import read_judged, validate_judge

LABELS = ("angry", "happy", "sad", "neutral")


def canned(path: Path, shuffled: bool = False) -> Path:
    """240 answers of two systems: right ones score higher on average; every tenth answer names no label."""
    rng = np.random.default_rng(4)
    records = []
    for number in range(240):
        label, right = LABELS[number % 4], bool(rng.random() < 0.3 + 0.3 * (number % 2))
        said = label if right else LABELS[(number + 1) % 4]
        other = LABELS[(number + 2) % 4]
        answer = "It is hard to tell." if number % 10 == 9 else f"The speaker sounds {said}, not {other}."
        right = right and number % 10 != 9
        score = float(np.clip((75 if right else 35) + 22 * rng.normal(), 0, 100))
        judged = {"id": str(number), "clip_id": str(number // 3), "system": f"S{number % 2}", "score": score}
        records.append({**judged, "label": label, "answer": answer})
    if shuffled:
        scores = rng.permutation([record["score"] for record in records])
        records = [{**record, "score": float(score)} for record, score in zip(records, scores, strict=True)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def printed(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(validate)
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


@pytest.mark.shows("paralinguistic-training:6.7")
def test_a_canned_file_is_validated(tmp_path: Path) -> None:
    path = canned(tmp_path / "judged.jsonl")
    found = validate_judge(read_judged(path), resamples=200)
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    right = [record["answer"].startswith(f"The speaker sounds {record['label']},") for record in records]
    assert found.wa == pytest.approx(np.mean(right))
    assert found.unmapped == pytest.approx(0.1)
    assert found.ambiguous == 0.0
    assert sum(one.correct for one in found.bins) == sum(right)
    assert sum(one.correct + one.incorrect for one in found.bins) == 240
    assert found.monotone
    assert found.significant
    assert 0.4 < found.rank.value < 0.9
    text = printed(str(path), "--resamples", "200")
    for expected in ("WA", "macro-F1", "unmapped", "Spearman(judge, correct)", "correct : incorrect"):
        assert expected in text
    assert "ratio of correct to incorrect is monotone in the score; the correlation is significant" in text
    assert text.index("S1") < text.index("S0")  # the better system, by the judge and by labels
    told = json.loads(printed(str(path), "--json", "--resamples", "200"))
    assert told["wa"] == found.wa
    assert [row["system"] for row in told["systems"]] == ["S1", "S0"]


@pytest.mark.shows("paralinguistic-training:6.7")
def test_shuffled_scores_show_nothing(tmp_path: Path) -> None:
    text = printed(str(canned(tmp_path / "shuffled.jsonl", shuffled=True)), "--resamples", "200")
    assert "not monotone in the score; the correlation is not significant" in text


def test_macro_f1_is_over_the_true_classes(tmp_path: Path) -> None:
    rows = [("angry", "angry"), ("angry", "sad"), ("sad", "sad"), ("sad", "who knows")]
    lines = [{"id": str(n), "label": true, "answer": said, "score": 50 + n} for n, (true, said) in enumerate(rows)]
    (tmp_path / "j.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = validate_judge(read_judged(tmp_path / "j.jsonl"), resamples=100)
    assert found.macro_f1 == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found.wa == 0.5


@pytest.mark.parametrize(
    ("change", "what"),
    [({"score": 120}, "no score"), ({"label": ""}, "'label' is missing"), ({"score": True}, "no score")],
)
def test_what_is_no_judged_answer_is_refused(tmp_path: Path, change: dict[str, object], what: str) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text(json.dumps({"id": "a", "answer": "x", "label": "sad", "score": 1, **change}), encoding="utf-8")
    with pytest.raises(DataError, match=f"line 1.*{what}"):
        read_judged(path)
    path.write_text(json.dumps({"id": "a", "answer": "x", "label": "sad", "score": 1}) * 1, encoding="utf-8")
    with pytest.raises(DataError, match="not among those given"):
        validate_judge(read_judged(path), ("angry",))
