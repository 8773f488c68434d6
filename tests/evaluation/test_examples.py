"""Which wrongly answered recordings are put beside a card: the most misleading ones, of what may be passed on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from earwitness.core.errors import AudioError
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake.committee import ROWS, scores_path
from earwitness.deepfake.left_out import Finished
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.evaluation.assessing.examples import Example, choose, write_examples
from earwitness.evaluation.assessing.outcome import Outcome, write_card
from earwitness.training.data import SplitData
from earwitness.training.describing import describe
from earwitness.training.model_folder import save_model

RATE = 16_000
PROMPTS = {"label": "bonafide", "corpus": "telephone_prompts", "licence": "CC-BY-SA-3.0"}
ESPEAK = {"label": "spoof", "corpus": "tts-espeak-ng", "system": "espeak-ng", "licence": "CC0-1.0 (generated)"}
# id, what it is, fold, judged, score, ratio
ROWS_OF = (
    ("prompt-mild", {**PROMPTS, "speaker": "ann"}, 0, "yes", -1.0, -0.5),
    ("prompt-worst", {**PROMPTS, "speaker": "<b>|"}, 1, "yes", -3.0, -2.0),
    ("prompt-bound", {**PROMPTS, "speaker": "ann"}, 0, "yes", -2.0, -2.0),
    ("prompt-right", {**PROMPTS, "speaker": "ann"}, 1, "yes", 3.0, 1.0),
    ("prompt-gpl", {**PROMPTS, "licence": "GPL-2.0", "speaker": "bob"}, 0, "yes", -9.0, -4.0),
    ("read", {**PROMPTS, "corpus": "librispeech_excerpt", "speaker": "eve"}, 1, "yes", -9.0, -4.0),
    ("espeak", ESPEAK, 0, "yes", 2.0, 1.5),
    ("kokoro", {**ESPEAK, "corpus": "tts-kokoro", "system": "kokoro", "licence": "Apache-2.0"}, 1, "yes", 9.0, 4.0),
    ("espeak-right", ESPEAK, 0, "yes", -4.0, -2.0),
)
OWN = {"label": "spoof", "corpus": "own-hibari", "system": "hibari", "licence": "CC0-1.0"}


@pytest.fixture(scope="module")
def recipe() -> DetectionRecipe:
    branch = {"frontend": {"kind": "log_mel", "n_mels": 8}, "pooling": {"kind": "statistics"}}
    return DetectionRecipe.model_validate(
        {
            "name": "tiny",
            "task": "deepfake",
            "data": {"manifests": ["m.csv"]},
            "split": {"kind": "folds", "families": [["a"], ["b"]]},
            "views": ["clean"],
            "audio": {"crop_s": 0.5, "trim_silence": False},
            "network": {"branches": [branch], "outputs": 2, "votes": {"hidden": 2, "copies": 2}},
            "loop": {"epochs": 1, "batch_size": 2, "accelerator": "cpu"},
        }
    )


Make = Callable[..., Path]


@pytest.fixture
def make(recipe: DetectionRecipe, tmp_path: Path, speechlike: Any) -> Make:
    """make(*rows): the folder of a run with such rows and left-out scores, and a model of random weights."""

    def run(*rows: tuple[str, dict[str, str], int, str, float | None, float | None]) -> Path:
        table = []
        for number, (name, told, fold, judged, _, _) in enumerate(rows):
            soundfile.write(tmp_path / f"{name}.wav", speechlike(0.4 if number else 0.8, seed=number), RATE)
            table.append({"id": name, "path": f"{name}.wav", **told, "fold": str(fold), "judged": judged})
        manifest = Manifest(pl.DataFrame(table, infer_schema_length=None), tmp_path)
        manifest.write(tmp_path / ROWS)
        scored = [
            {"id": name, "score": score, "llr": llr} for name, _, _, judged, score, llr in rows if judged == "yes"
        ]
        pl.DataFrame(scored).write_csv(scores_path(tmp_path, "clean"))
        torch.manual_seed(0)
        info = describe(recipe, SplitData(manifest, manifest, manifest), {}, "higher = bona fide")
        save_model(tmp_path / "model", info, recipe.network.build().trainable_state())
        return tmp_path

    return run


def chosen(run: Path) -> dict[str, Example]:
    return {example.id: example for example in choose(run / "model", run, Manifest.read(run / ROWS))}


def test_the_most_misleading_rows_that_may_be_passed_on_are_chosen(make: Make) -> None:
    found = chosen(make(*ROWS_OF))
    assert [(name, example.file) for name, example in found.items()] == [
        ("prompt-worst", "human-1.flac"),  # of equal ratios the worse score
        ("prompt-bound", "human-2.flac"),
        ("espeak", "synthetic-1.flac"),
    ]
    assert (found["espeak"].score, found["espeak"].llr) == (2.0, 1.5)


def test_our_own_speech_fills_up_by_the_member_that_left_its_family_out(make: Make) -> None:
    """Random weights score about 0, which is made the score of genuine voices here."""
    human, made = ({**ROWS_OF[5][1]}, {**ROWS_OF[7][1]})
    tried = [(f"h{k}", human, k % 2, "yes", -1.0 - k / 20, 0.5) for k in range(20)]
    tried += [(f"s{k}", made, k % 2, "yes", -9.0 - k / 20, -0.5) for k in range(20)]
    own = [(f"own{k}", OWN, k % 2, "no", None, None) for k in range(4)]
    run = make(*tried, ROWS_OF[6], *own, ("own-nowhere", OWN, -1, "no", None, None))
    finished = Finished.load(run / "model", run)
    places = np.flatnonzero([name.startswith("own") and name[3:].isdigit() for name in finished.rows.table["id"]])
    scores = dict(zip(finished.rows.table["id"][places], finished.scores(places, "clean"), strict=True))
    found = list(chosen(run).values())
    assert [example.file for example in found] == ["synthetic-1.flac", "synthetic-2.flac"]
    assert found[0].id == "espeak"  # judged rows first, whatever the ratio of the others
    assert found[1].id in scores
    assert found[1].score == pytest.approx(scores[found[1].id], abs=1e-5)
    assert found[1].llr > found[0].llr


def test_examples_are_sound_and_say_what_they_are(make: Make) -> None:
    run = make(*ROWS_OF)
    paths = write_examples(run / "model", run, run / "results")
    assert [path.name for path in paths] == ["human-1.flac", "human-2.flac", "synthetic-1.flac"]
    seconds = [soundfile.info(path).duration for path in paths]
    assert all(soundfile.info(path).samplerate == RATE for path in paths)
    assert seconds == pytest.approx([0.4, 0.4, 0.4])  # short ones are not repeated
    page = (run / "results" / "examples" / "README.md").read_text()
    first = next(line for line in page.splitlines() if "human-1.flac" in line)
    assert "Digium" in first
    assert "&lt;b>\\|" in first  # a name from a table is no HTML and breaks no table
    assert "| synthetic | -3.00 | -2.00 |" in first
    last = page.splitlines()[-1]
    assert "espeak-ng" in last
    assert "CC0-1.0 (generated): no attribution is asked for" in last
    assert str(run) not in page


def test_long_recordings_are_cut_as_they_were_heard(make: Make) -> None:
    run = make(ROWS_OF[1], *ROWS_OF[6:])  # the first recording is the longer one
    paths = write_examples(run / "model", run, run / "results")
    assert soundfile.info(paths[0]).duration == pytest.approx(0.5)
    heard, _ = soundfile.read(paths[0], dtype="float32")
    original, _ = soundfile.read(run / "prompt-worst.wav", dtype="float32")
    np.testing.assert_allclose(heard, original[: len(heard)], atol=1 / 32_000)


def test_what_stands_there_is_kept_and_nothing_makes_no_folder(make: Make) -> None:
    run = make(*ROWS_OF)
    before = write_examples(run / "model", run, run / "results")
    for path in run.glob("*.wav"):
        path.unlink()
    assert write_examples(run / "model", run, run / "results") == before
    with pytest.raises(AudioError, match=r"\.wav"):
        write_examples(run / "model", run, run / "elsewhere")
    right = make(ROWS_OF[3], ROWS_OF[8])
    assert write_examples(right / "model", right, right / "none") == ()
    assert not (right / "none").exists()


def test_the_card_names_examples_where_there_are_some(make: Make) -> None:
    model = make(*ROWS_OF) / "model"
    assert write_card(model, Outcome(examples=True)).extra["examples"] == "samples/known-failures/README.md"
    failures = (model / "CARD.md").read_text().split("## Known failures")[1]
    assert "- Examples to listen to: samples/known-failures/README.md" in failures
    assert "examples" not in write_card(model, Outcome()).extra
    assert "Examples to listen to" not in (model / "CARD.md").read_text()
