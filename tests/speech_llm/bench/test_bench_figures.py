"""UAS, intervals, judge noise, gains and comparisons on runs whose figures are known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from bench_runs import Row, item, shuffle_lines, write_run

from earwitness.core.errors import DataError
from earwitness.speech_llm.bench.labels import write_judged
from earwitness.speech_llm.bench.page import render_html
from earwitness.speech_llm.bench.report import Asked, Report, family, make_report
from earwitness.speech_llm.bench.scores import read_run
from earwitness.speech_llm.bench.selfcheck import width_ratio
from earwitness.speech_llm.bench.statements import statements
from earwitness.speech_llm.items import QUESTION_TYPES, QuestionType, Tag

BY_HAND: list[tuple[QuestionType, int]] = [
    ("C", 5), ("C", 0), ("DE", 4), ("DG", 2), ("DG", 3), ("CE", 1), ("CG", 3), ("CS", 5)
]  # fmt: skip


def report_of(folder: Path, **more: object) -> Report:
    return make_report(folder, Asked(resamples=300, **more))  # type: ignore[arg-type]


def groups(report: Report) -> dict[str, float | None]:
    return {one.name: one.score.value for one in report.real.groups}


@pytest.mark.shows("cp-bench:6.1")
def test_uas_by_hand(tmp_path: Path) -> None:
    rows = [Row(kind, (rating,) * 5) for kind, rating in BY_HAND]
    report = report_of(write_run(tmp_path / "a", rows))
    assert {one.type: one.score.value for one in report.real.types} == {
        "C": 50, "DE": 80, "DG": 50, "DS": None, "CE": 20, "CG": 60, "CS": 100
    }  # fmt: skip
    assert groups(report) == {"UAS_C": 50.0, "UAS_DP": 65.0, "UAS_CP": 60.0, "UAS_all": 60.0}
    assert report.real.groups[1].absent == ("DS",)
    assert any("No scored question of type DS" in one.text for one in statements(report))
    doubled = report_of(write_run(tmp_path / "b", [*rows, *[row for row in rows if row.type == "C"]]))
    assert groups(doubled) == groups(report)
    assert report.real.micro.value == pytest.approx(20 * 23 / 8)
    assert doubled.real.micro.value == pytest.approx(20 * 28 / 10)


@pytest.mark.shows("cp-bench:6.2")
@pytest.mark.shows("speech-llm-landscape:7.8")
def test_the_order_of_lines_changes_no_byte(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        Row(kind, tuple(int(r) for r in rng.integers(0, 6, 3)), clip=f"c{n % 9}", text=f"words {n % 4} of it")
        for n, kind in enumerate(QUESTION_TYPES * 6)
    ]
    controls = [
        Row(row.type, row.ratings, item=item(n, row.type, row.clip), condition="silence") for n, row in enumerate(rows)
    ]
    folder = write_run(tmp_path / "run", [*rows, *controls])
    first = report_of(folder)
    for seed in range(3):
        shuffle_lines(folder / "answers.jsonl", seed)
        shuffle_lines(folder / "judgements.jsonl", seed + 10)
        again = report_of(folder)
        assert again.json() == first.json()
        assert render_html(again) == render_html(first)
    assert json.loads(first.json())["statements"][0]["text"].startswith("The audio seems unused")


@pytest.mark.shows("cp-bench:6.6")
def test_questions_of_one_clip_widen_the_interval_by_the_root_of_three() -> None:
    assert np.mean([width_ratio(seed) for seed in range(10)]) == pytest.approx(math.sqrt(3), rel=0.1)


@pytest.mark.shows("cp-bench:6.7")
def test_noise_of_the_judge_is_measured_and_its_share_told(tmp_path: Path) -> None:
    """Ratings 2, 3, 4 with chances 1/8, 3/4, 1/8 deviate by 10; all answers are equally good."""
    rng = np.random.default_rng(3)
    count, runs = 100, 40
    noise = rng.choice([2, 3, 4], (count, runs), p=[1 / 8, 3 / 4, 1 / 8])
    report = report_of(write_run(tmp_path / "noise", [Row("C", tuple(map(int, row))) for row in noise]))
    assert report.real.types[0].noise.sd == pytest.approx(10 / math.sqrt(count), rel=0.25)
    assert report.real.types[0].noise.share == pytest.approx(1.0, abs=0.1)
    truth = rng.choice([1, 4], count)
    quiet = [Row("C", (int(value),) * 5) for value in truth]
    noise = report_of(write_run(tmp_path / "quiet", quiet)).real.types[0].noise
    assert (noise.sd, noise.share) == (0.0, 0.0)
    mixed = [Row("C", tuple(int(value + shift) for shift in rng.choice([-1, 0, 1], 2))) for value in truth]
    share = report_of(write_run(tmp_path / "mixed", mixed)).real.types[0].noise.share
    assert share is not None
    assert 0.05 < share < 0.5


def test_a_type_of_one_clip_has_a_score_and_no_interval(tmp_path: Path) -> None:
    report = report_of(write_run(tmp_path / "a", [Row("C", (4,), clip="only"), Row("C", (2,), clip="only")]))
    assert report.real.types[0].score.value == 60.0
    assert report.real.types[0].score.low is None
    assert "[no interval]" in render_html(report)
    rare = report_of(write_run(tmp_path / "b", [Row("DE", (2,)), *[Row("C", (n % 6,)) for n in range(40)]])).real
    assert (rare.types[1].score.value, rare.types[1].score.low) == (40.0, None)
    assert rare.types[0].score.low is not None
    assert rare.uas.score.low is None  # it rests on that clip as well


def test_the_interval_of_a_rare_type_knows_that_it_rests_on_few_clips(tmp_path: Path) -> None:
    ratings = [1, 4, 2, 5]
    few = [Row("DE", (rating,)) for rating in ratings]
    alone = report_of(write_run(tmp_path / "a", few)).real.types[1].score
    among = report_of(write_run(tmp_path / "b", [*few, *[Row("C", (3,)) for _ in range(60)]])).real.types[1].score
    assert alone.low is not None
    assert alone.high is not None
    assert among.low is not None
    assert among.high is not None
    assert among.high - among.low > 0.8 * (alone.high - alone.low)


def test_failures_have_no_score_and_refusals_have_zero(tmp_path: Path) -> None:
    rows = [Row("C", (5,)), Row("C", (None,)), *[Row("C", status=one) for one in ("error", "timeout", "refused")]]
    real = report_of(write_run(tmp_path, rows)).real
    assert (real.types[0].items, real.types[0].score.value) == (2, 50.0)
    assert (real.naive_micro, real.unrefused_uas) == (20.0, 100.0)
    assert (real.counts.refused, real.counts.unparsed, real.counts.failed["error"]) == (1, 1, 1)


def test_more_than_two_percent_without_a_rating_make_a_run_invalid(tmp_path: Path) -> None:
    for bad, said in ((2, False), (3, True)):
        rows = [Row("C", (4,) if n >= bad else (None,)) for n in range(100)]
        texts = [one.text for one in statements(report_of(write_run(tmp_path / str(bad), rows)))]
        assert any("The run is invalid" in text for text in texts) is said


def test_gains_are_paired_and_against_the_best_control(tmp_path: Path) -> None:
    rows = []
    for n in range(20):
        one = item(n, "DE", "")
        rows += [
            Row("DE", (4,), item=one, text=f"real {n}"),
            Row("DE", (1,), item=one, condition="silence", text=f"silent {n}"),
            Row("DE", (2,), item=one, condition="text-only", text=f"unheard {n}"),
            Row("DE", (3,), item=one, condition="transcript", text=f"read {n}"),
        ]
    lost = item(99, "DE", "")
    rows += [Row("DE", (0,), item=lost), Row("DE", status="error", item=lost, condition="silence")]
    report = report_of(write_run(tmp_path, rows))
    gain, words = report.audio_gain, report.beyond_transcript
    assert gain is not None
    assert words is not None
    assert (gain.items, gain.types[0].difference.value) == (20, 40.0)
    assert words.uas.value == 20.0
    assert gain.p < 0.01
    assert statements(report)[0].text.startswith("The audio is used")
    assert [one.share for one in report.same_as_controls] == [0.0, 0.0]


def test_two_models_are_compared_on_the_same_items_with_holm_over_types(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    kinds = [kind for kind in QUESTION_TYPES for _ in range(25)]
    weak = [Row(kind, (int(rng.integers(0, 4)),)) for kind in kinds]
    strong = [
        Row(row.type, (row.ratings[0] + (2 if row.type == "DE" else 0),)) for row in weak if row.ratings[0] is not None
    ]
    first, second = write_run(tmp_path / "strong", strong), write_run(tmp_path / "weak", weak)
    found = report_of(first, compare=(second,)).comparisons[0]
    by_type = {one.type: one for one in found.types}
    assert by_type["DE"].difference.value == 40.0
    assert by_type["DE"].p_holm == pytest.approx(7 * by_type["DE"].p)
    assert by_type["C"].p == by_type["C"].p_holm == 1.0
    assert found.uas.value == pytest.approx(40 / 7)
    with pytest.raises(DataError, match="no question has a score in both"):
        report_of(first, compare=(write_run(tmp_path / "other", [Row("C", (1,), clip="elsewhere")]),))


def test_items_that_every_model_fails_are_named(tmp_path: Path) -> None:
    zero, lost, refused = Row("C", (0,)), Row("C", status="error"), Row("C", status="refused")
    first = write_run(tmp_path / "a", [zero, zero, Row("C", (5,)), lost, refused])
    second = write_run(tmp_path / "b", [zero, Row("C", (3,)), zero, zero, zero])
    assert report_of(first, compare=(second,)).suspects == ("i0",)


def test_identical_answers_alarm_only_where_the_references_differ(tmp_path: Path) -> None:
    def rows(answers: list[str]) -> list[Row]:
        return [
            Row("DG", (5,), item=item(n, "DG", "", question="Who?", answer=answers[n]), text="A  man")
            for n in range(10)
        ]

    alarmed = report_of(write_run(tmp_path / "a", rows(["man"] * 5 + ["woman"] * 5)))
    assert [(one.clips, one.share, one.answer) for one in alarmed.identical] == [(10, 1.0, "a man")]
    assert statements(alarmed)[0].text.startswith("The audio seems unused")
    assert report_of(write_run(tmp_path / "b", rows(["man"] * 10))).identical == ()


def test_what_was_not_heard_is_said(tmp_path: Path) -> None:
    unheard = report_of(write_run(tmp_path / "a", [Row("C", (3,), heard=0.0)] * 1 + [Row("C", (3,), heard=0.0)]))
    assert "heard 0 seconds" in statements(unheard)[0].text
    cut = report_of(write_run(tmp_path / "b", [Row("C", (3,), heard=1.0), Row("C", (3,))]))
    assert any("1 of 2 recordings were not heard whole: 3 of 4 s" in one.text for one in statements(cut))


def test_direct_questions_are_scored_by_label_too(tmp_path: Path) -> None:
    def row(n: int, label: str, text: str, rating: int) -> Row:
        one = item(n, "DG", "", label=label, choices=("male", "female"), answer=label)
        return Row("DG", (rating,), item=one, text=text)

    rows = [row(0, "male", "A man speaks", 5), row(1, "female", "It's not a woman but a man", 0),
            row(2, "female", "A woman and a man", 3), row(3, "male", "I can't say", 0)]  # fmt: skip
    report = report_of(write_run(tmp_path, rows))
    shown, judge = report.labels[0], report.judge_against_labels
    assert (shown.items, shown.accuracy.value, shown.unmapped, shown.ambiguous) == (4, 25.0, 0.25, 0.25)
    assert judge is not None
    assert (judge.agreement, judge.sensitivity, judge.specificity) == (0.75, 1.0, round(2 / 3, 6))
    assert write_judged(tmp_path / "judged.jsonl", read_run(tmp_path)) == 4
    first = json.loads((tmp_path / "judged.jsonl").read_text().splitlines()[0])
    found = [first[name] for name in ("answer", "label", "score", "clip_id")]
    assert found == ["A man speaks", "male", 100.0, "clip0"]


def test_length_of_answers_and_families_of_models(tmp_path: Path) -> None:
    rows = [Row("C", (n % 6,), text="word " * (1 + n % 6), model="llama-3-audio") for n in range(30)]
    report = report_of(write_run(tmp_path, rows))
    assert report.length_bias is not None
    assert report.length_bias.correlation.value == pytest.approx(1.0)
    assert report.judge_like_model == "llama"
    assert report.judge_like_generator is None
    assert family("Qwen/Qwen2-Audio-7B") == family("qwen2.5-omni") == "qwen"


def test_questions_by_a_model_of_the_judge_s_family_and_with_its_labels_are_told(tmp_path: Path) -> None:
    tags = (Tag("generator", "Llama-3-70B-abc"), Tag("labels", "pseudo"))
    rows = [Row("CE", (3,), item=item(n, "CE", "", tags=tags)) for n in range(3)]
    report = report_of(write_run(tmp_path, rows))
    texts = [one.text for one in statements(report)]
    assert (report.judge_like_generator, report.judge_like_model, report.pseudo_labelled) == ("llama", None, 3)
    assert any("written by a model of the judge's family" in text for text in texts)
    assert any("3 of 3 questions rest on labels that a model gave" in text for text in texts)


def test_several_judges_are_not_mixed(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", [Row("C", (1,)), Row("C", (2,))])
    other = write_run(tmp_path / "b", [Row("C", (4,)), Row("C", (4,))], judge="other")
    lines = (other / "judgements.jsonl").read_text().replace('"key": "', '"key": "x')
    lines = lines.replace('"answer_key": "x', '"answer_key": "')
    with (folder / "judgements.jsonl").open("a") as file:
        file.write(lines)
    with pytest.raises(DataError, match="several judges"):
        report_of(folder)
    assert report_of(folder, judge="other").real.types[0].score.value == 80.0
    assert report_of(folder, judge="llama").real.types[0].score.value == 30.0


def test_text_from_models_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\u202e"
    rows = [
        Row("DE", (0,), item=item(n, "DE", "", question=evil, answer=f"a{n}"), text=evil, model=evil) for n in range(6)
    ]
    page = render_html(report_of(write_run(tmp_path, rows)))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page


@pytest.mark.parametrize(
    ("change", "what"),
    [('"rating": 4', "'rating' is missing"), ('"run": 0', "'run' is missing")],
)
def test_an_altered_record_is_refused_with_its_line(tmp_path: Path, change: str, what: str) -> None:
    folder = write_run(tmp_path, [Row("C", (4,)), Row("C", (4,))])
    path = folder / "judgements.jsonl"
    path.write_text(path.read_text().replace(change, f"{change.split(':')[0]}: true"))
    with pytest.raises(DataError, match=f"line 1: {what}"):
        report_of(folder)
