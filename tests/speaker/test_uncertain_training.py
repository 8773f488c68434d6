"""Training with a variance: what is learnt from what, exact resume, and a model folder whose prints are uncertain."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
from torch import Tensor

from earwitness.audio.facts import file_facts
from earwitness.core.errors import ModelError, RecipeError, UsageError
from earwitness.corpora.batch import Batch, Targets
from earwitness.evaluation.scoring.cohorts import CohortOptions
from earwitness.evaluation.scoring.inputs import read_input
from earwitness.evaluation.scoring.scorers import score_references
from earwitness.evaluation.scoring.trial_scores import score_trials
from earwitness.examine.enrolment import enrol_references
from earwitness.examine.finding import ModelCredit
from earwitness.examine.questions import Channel
from earwitness.examine.same_voice import judge_voice
from earwitness.nn.losses import ClassCentroids
from earwitness.speaker.embedder import COHORT_FILE, Embedder
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.score_draws import VARIANCE_SCALE, score_interval
from earwitness.speaker.task import SpeakerTask, SpeakerTrainee
from earwitness.speaker.training import margin_trainee, train_embedder
from earwitness.speaker.uncertain_task import UncertainSpeakerTask
from earwitness.training.calibration import Calibration, ConditionCalibration
from earwitness.training.loop import fit, seed_run
from earwitness.training.model_folder import load_arrays, verify_model

HELD = {"first_epoch": 2, "full_epoch": 3, "weight": 0.5}
NETWORK = {
    "branches": [
        {
            "frontend": {"kind": "fbank", "n_mels": 20},
            "encoder": {"kind": "lstm", "hidden": 8, "layers": 1},
            "pooling": {"kind": "posterior", "hidden": 8},
        }
    ],
    "embedding": {"dim": 6},
}


def recipe_of(**more: Any) -> SpeakerRecipe:
    return SpeakerRecipe.model_validate(
        {
            "name": "tiny",
            "task": "speaker",
            "data": {"manifests": ["-"]},
            "network": NETWORK,
            "margin": {"kind": "aam"},
            "loop": {"epochs": 4, "batch_size": 6, "accelerator": "cpu", "log_every": 1, "checkpoint_every_steps": 1},
            **more,
        }
    )


class Noises:
    """Three batches an epoch of six noises of three speakers, drawn from (epoch, place)."""

    def __init__(self, speakers: int = 3) -> None:
        self.speakers = speakers
        self.asked: list[tuple[int, list[int]]] = []

    def count(self, epoch: int) -> int:
        return 3

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        self.asked.append((epoch, list(places)))
        for place in places:
            generator = torch.Generator().manual_seed(100 * epoch + place)
            speaker = torch.arange(6) % self.speakers
            waves = 0.05 * torch.randn(6, 3200, generator=generator) * (1 + speaker.unsqueeze(1))
            yield Batch(waves, torch.full((6,), 3200), Targets(speaker=speaker), tuple("abcdef"))


def built(recipe: SpeakerRecipe, data: Noises) -> tuple[SpeakerTrainee, SpeakerTask]:
    seed_run(0, "init")
    return margin_trainee(recipe, recipe.network.build(), 3, data)


def epochs_of(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == "epoch"]


def test_the_loss_waits_for_its_epoch_and_its_centroids(tmp_path: Path) -> None:
    recipe, data = recipe_of(variance_loss=HELD), Noises()
    trainee, task = built(recipe, data)
    fit(trainee, task, data, None, recipe, tmp_path)
    epochs = epochs_of(tmp_path)
    assert [epoch["note/variance_weight"] for epoch in epochs] == pytest.approx([0, 1 / 3, 0.5, 0.5])
    assert epochs[0]["loss/variance"] == 0
    assert all(epoch["loss/variance"] > 0 for epoch in epochs[1:])
    assert all(epoch["note/centroids"] == 3 for epoch in epochs)
    # every epoch's own batches are gone through once more: the first pass is that after epoch 1, before the loss acts
    assert data.asked == [(epoch, [0, 1, 2]) for epoch in range(4) for _ in range(2)]


def test_centroids_are_what_the_network_makes_of_the_epoch(tmp_path: Path) -> None:
    recipe, data = recipe_of(variance_loss=HELD), Noises()
    trainee, task = built(recipe, data)
    fit(trainee, task, data, None, recipe, tmp_path)
    expected = ClassCentroids(3, 6)
    with torch.no_grad():
        last = [(trainee(batch.waveforms, batch.lengths), batch.targets.speaker) for batch in data.load(3, [0, 1, 2])]
    expected.replace(last)  # type: ignore[arg-type]
    assert trainee.centroids is not None
    torch.testing.assert_close(trainee.centroids.weight, expected.weight)


class KilledError(Exception):
    pass


def killed_after(task: SpeakerTask, steps: int) -> SpeakerTask:
    """The same task, which dies at a step."""
    loss, left = task.loss, [steps]

    def dying(model: torch.nn.Module, batch: Batch) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KilledError
        return loss(model, batch)

    task.loss = dying  # type: ignore[method-assign]
    return task


@pytest.mark.parametrize(("centroids", "steps"), [("pass", 4), ("pass", 6), ("moving", 4)])  # in epoch 2, at its end
def test_a_killed_run_ends_with_the_same_weights_and_centroids(tmp_path: Path, centroids: str, steps: int) -> None:
    recipe = recipe_of(variance_loss={**HELD, "centroids": centroids}, margin={"kind": "uncertain_aam"})
    whole, task = built(recipe, Noises())
    fit(whole, task, Noises(), None, recipe, tmp_path / "whole")
    first, task = built(recipe, Noises())
    with pytest.raises(KilledError):
        fit(first, killed_after(task, steps), Noises(), None, recipe, tmp_path / "cut")
    again, task = built(recipe, Noises())
    fit(again, task, Noises(), None, recipe, tmp_path / "cut", resume=True)
    before, after = whole.state_dict(), again.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(name.startswith("centroids.") for name in before)


def one_batch(recipe: SpeakerRecipe, epochs: float) -> tuple[SpeakerTrainee, dict[str, Tensor]]:
    data = Noises()
    trainee, task = built(recipe, data)
    if trainee.centroids is not None:
        trainee.centroids.known[:2] = True
    task.set_progress(epochs)
    batch = next(iter(data.load(0, [0])))
    trainee.eval()
    return trainee, task.loss(trainee, batch).terms


def test_speakers_without_a_centroid_are_left_out() -> None:
    """Speaker 2 has none: the loss is the mean over the four other items."""
    recipe = recipe_of(variance_loss={**HELD, "reduction": "sum", "alpha": 2.0})
    trainee, terms = one_batch(recipe, 5.0)
    batch = next(iter(Noises().load(0, [0])))
    found = trainee(batch.waveforms, batch.lengths, give="both")[[0, 1, 3, 4]]
    by_hand = (2 * found[:, 1].sqrt() - found[:, 0].abs()).square().sum(1).mean()
    torch.testing.assert_close(terms["variance"], 0.5 * by_hand, atol=1e-5, rtol=1e-4)


def test_both_paths_of_a_batch_carry_both_terms() -> None:
    recipe = recipe_of(variance_loss=HELD, perturbations=[{"kind": "telephone_band"}], paths="dual")
    data = Noises()
    trainee, task = built(recipe, data)
    task.set_progress(5.0)
    single = next(iter(data.load(0, [0])))
    assert trainee.centroids is not None
    trainee.centroids.known[:] = True
    trainee.eval()
    alone = sum(task.loss(trainee, single).terms.values())
    twice = Batch(
        torch.cat([single.waveforms] * 2),
        torch.cat([single.lengths] * 2),
        Targets(speaker=torch.cat([single.targets.speaker] * 2)),  # type: ignore[list-item]
        single.ids * 2,
        paths=2,
    )
    terms = task.loss(trainee, twice).terms
    assert list(terms) == ["clean", "augmented"]
    torch.testing.assert_close(terms["clean"], alone / 2)
    torch.testing.assert_close(terms["augmented"], alone / 2)


def test_the_clamps_of_the_uncertain_margin_are_logged(tmp_path: Path) -> None:
    recipe, data = recipe_of(margin={"kind": "uncertain_aam", "offset": 0.01}), Noises()
    trainee, task = built(recipe, data)
    assert isinstance(task, UncertainSpeakerTask)
    fit(trainee, task, data, None, recipe, tmp_path)
    for epoch in epochs_of(tmp_path):
        assert epoch["note/brackets"] == 3 * 6 * 6
        assert 0 <= epoch["note/clamped_brackets"] <= epoch["note/brackets"]


def test_the_margin_grows_with_the_epochs() -> None:
    recipe = recipe_of(margin_rise={"begins": 1, "fixed": 3})
    trainee, task = built(recipe, Noises())
    margins = []
    for epochs in (0.0, 1.5, 4.0):
        task.set_progress(epochs)
        task.loss(trainee, next(iter(Noises().load(0, [0]))))
        margins.append(trainee.head.margin)
    assert margins == pytest.approx([0, 0.1644, 0.2], abs=1e-4)


def plain_network() -> dict[str, Any]:
    return {**NETWORK, "branches": [{**NETWORK["branches"][0], "pooling": {"kind": "mean"}}]}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "more",
    [
        {"variance_loss": HELD},
        {"margin": {"kind": "uncertain_aam"}},
        {"comparison": "conservative"},
        {"fused": "posterior", "windows": {"kind": "whole"}},
    ],
)
def test_a_network_without_variance_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="states none"):
        built(recipe_of(network=plain_network(), **more), Noises())
    trainee, _ = built(recipe_of(network=plain_network()), Noises())
    with pytest.raises(ModelError, match="no variance"):
        trainee.eval()(0.1 * torch.randn(1, 3200), None, give="both")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"fused": "posterior"}, "overlap"),
        ({"fused": "posterior", "windows": {"kind": "sliding", "length_s": 2, "hop_s": 2}}, "repeat"),
        ({"margin": None, "distillation": {}, "start_from": "resemblyzer", "variance_loss": HELD}, "margin"),
    ],
)
def test_recipes_that_cannot_be_meant(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        recipe_of(**more)


@pytest.fixture(scope="module")
def uncertain_run(recipe: SpeakerRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that compares conservatively, from recordings to folder."""
    data = recipe.model_dump(mode="json")
    data |= {"network": NETWORK, "margin": {"kind": "uncertain_aam"}, "variance_loss": HELD}
    data |= {"comparison": "conservative", "loop": {**data["loop"], "epochs": 3}}
    folder = tmp_path_factory.mktemp("uncertain")
    train_embedder(SpeakerRecipe.model_validate(data), folder)
    return folder


@pytest.fixture(scope="module")
def uncertain(uncertain_run: Path) -> Embedder:
    return Embedder.load(uncertain_run / "model")


def test_the_folder_keeps_what_scoring_needs(uncertain_run: Path, uncertain: Embedder) -> None:
    info = verify_model(uncertain_run / "model")
    assert info.calibration is not None
    assert float(info.extra[VARIANCE_SCALE]) > 0  # type: ignore[arg-type]
    assert uncertain.comparator.use == "conservative"
    assert "conservative" in uncertain.comparator.statement
    variances = load_arrays(uncertain_run / "model" / COHORT_FILE)["variances"]
    assert variances.shape == (4, 6)
    assert (variances > 0).all()


def test_a_print_states_its_variance(uncertain: Embedder, speechlike: Callable[..., Any]) -> None:
    sound = speechlike(2.0, seed=5)
    whole = uncertain.embed(sound, 16_000)
    assert whole.variance is not None
    assert whole.variance.shape == (6,)
    assert whole.mean_variance == pytest.approx(whole.variance.mean(), rel=1e-6)
    window = uncertain.embed(sound[:8000], 16_000)
    with torch.no_grad():
        raw = uncertain.network.embed(torch.from_numpy(sound[None, :8000]))
    assert raw.variance is not None
    assert window.variance == pytest.approx(raw.variance[0].numpy(), rel=1e-5)
    assert window.norm * window.vector == pytest.approx(raw.mean[0].numpy(), abs=1e-5)


def fused(embedder: Embedder, length_s: float) -> Embedder:
    windows = {"kind": "sliding", "length_s": length_s, "hop_s": length_s, "repeat": False}
    info = embedder.info.model_validate(
        {**embedder.info.model_dump(), "windows": windows, "extra": {**embedder.info.extra, "fused": "posterior"}}
    )
    return Embedder(embedder.network, info, embedder.comparator.cohort)


def test_a_long_recording_by_the_exact_posterior(uncertain: Embedder, speechlike: Callable[..., Any]) -> None:
    """Twice as long, half as uncertain; the harmonic mean of the released code does not fall."""
    sound = speechlike(0.8, seed=5)
    exact, released = fused(uncertain, 0.8), uncertain
    once, often = exact.embed(sound, 16_000), exact.embed(np.tile(sound, 8), 16_000)
    assert once.variance is not None
    assert often.variance is not None
    assert once.variance / often.variance == pytest.approx(8, rel=0.2)  # the prior is 1 of its observations
    assert often.vector @ once.vector > 0.99
    short, long = released.embed(sound[:8000], 16_000), released.embed(np.tile(sound[:8000], 8), 16_000)
    assert (long.mean_variance or 0) / (short.mean_variance or 1) == pytest.approx(1, rel=0.2)


def test_what_a_last_window_repeats_counts_once(uncertain: Embedder, speechlike: Callable[..., Any]) -> None:
    sound = speechlike(1.2, seed=6)
    found = fused(uncertain, 0.8).embed(sound, 16_000)  # windows 0-0.8 and 0.4-1.2 s
    pool = uncertain.network.pool
    with torch.no_grad():
        parts = [pool(torch.from_numpy(sound[None, cut])) for cut in (slice(0, 12_800), slice(12_800, 19_200))]
        expected = uncertain.network.project(uncertain.network.fuse(parts))
    assert expected.variance is not None
    assert found.variance == pytest.approx(expected.variance[0].numpy(), rel=1e-5)
    assert len(found.windows) == 2


def test_the_spread_of_draws(uncertain: Embedder, speechlike: Callable[..., Any]) -> None:
    a, b = (uncertain.embed(speechlike(1.0, seed=seed), 16_000) for seed in (1, 2))
    assert a.variance is not None
    assert b.variance is not None
    widths = []
    for share in (0.0, 0.25, 1.0):
        prints = [replace(p, variance=share * p.variance) for p in (a, b)]  # type: ignore[operator]
        low, high = score_interval(uncertain, prints[:1], prints[1]) or (0, 0)
        score = uncertain.compare(prints[:1], prints[1])
        assert low <= score <= high
        widths.append(high - low)
    assert widths[0] == pytest.approx(0, abs=1e-6)
    assert widths[0] < widths[1] < widths[2]
    assert score_interval(uncertain, [a], b) == score_interval(uncertain, [a], b)
    assert score_interval(uncertain, [replace(a, variance=None)], b) is None


@pytest.fixture
def scored(tmp_path: Path, speechlike: Callable[..., Any]) -> Path:
    rows = []
    for number in range(4):
        seconds = 0.6 * (1 + number)
        soundfile.write(tmp_path / f"{number}.wav", speechlike(seconds, seed=number), 16_000)
        rows.append({"path": f"{number}.wav", "speaker": f"p{number // 2}"})
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    rows.append({"path": "silent.wav", "speaker": "p1"})
    pl.DataFrame(rows).write_csv(tmp_path / "rows.csv")
    lines = ["1 0.wav 1.wav", "0 0.wav 2.wav", "1 3.wav 2.wav", "1 silent.wav 2.wav"]
    (tmp_path / "trials.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_trial_tables_have_the_variance_beside_the_seconds(scored: Path, uncertain: Embedder) -> None:
    manifest = read_input(scored / "rows.csv")
    score_trials(manifest, scored / "trials.txt", uncertain, scored / "out.csv")
    table = pl.read_csv(scored / "out.csv")
    place = table.columns.index("variance_enrol")
    assert table.columns[place - 2 : place + 2] == [
        "seconds_used_enrol",
        "seconds_used_test",
        "variance_enrol",
        "variance_test",
    ]
    expected = uncertain.embed_file(scored / "0.wav").mean_variance
    assert table["variance_enrol"][:2].to_list() == pytest.approx([expected] * 2, rel=1e-5)
    assert table["variance_enrol"][3] is None  # silent
    assert table["score"].null_count() == 1
    assert table["llr"].null_count() == 1


def test_another_use_of_the_variance_has_no_ratio(scored: Path, uncertain: Embedder) -> None:
    manifest = read_input(scored / "rows.csv")
    found = {}
    for use in ("up_cos", "conservative"):
        score_trials(manifest, scored / "trials.txt", uncertain, scored / f"{use}.csv", use=use)  # type: ignore[arg-type]
        found[use] = pl.read_csv(scored / f"{use}.csv")
    assert found["up_cos"]["llr"].null_count() == 4
    assert set(found["up_cos"]["calibration"]) == {"none"}
    assert "uncalibrated" in found["up_cos"]["comparison"][0]
    assert found["conservative"]["llr"].null_count() == 1  # the model's own
    again = score_trials(manifest, scored / "trials.txt", uncertain, scored / "up_cos.csv", use="up_cos", resume=True)
    assert again.skipped == 4


def test_a_cohort_of_ones_own_has_variances_too(scored: Path, uncertain: Embedder) -> None:
    manifest = read_input(scored / "rows.csv")
    others = manifest.filter(pl.col("path") != "silent.wav")
    options = CohortOptions(others, top=2)
    score_trials(
        manifest, scored / "trials.txt", uncertain, scored / "own.csv", cohort=options, use="up_cos", allow_leak=True
    )
    table = pl.read_csv(scored / "own.csv")
    assert "uncertainty-aware AS-norm" in table["comparison"][0]
    assert table["score"].null_count() == 1


def test_references_have_it_and_other_models_have_no_such_column(scored: Path, uncertain: Embedder, run: Path) -> None:
    plain, manifest = Embedder.load(run / "model"), read_input(scored / "rows.csv")
    for embedder, name in ((uncertain, "with"), (plain, "without")):
        score_references(manifest, [scored / "0.wav"], embedder, scored / f"{name}.csv")
        score_trials(manifest, scored / "trials.txt", embedder, scored / f"{name}-trials.csv")
        table, trials = pl.read_csv(scored / f"{name}.csv"), pl.read_csv(scored / f"{name}-trials.csv")
        assert ("variance" in table.columns) is (name == "with")
        assert ("variance_enrol" in trials.columns) is (name == "with")
    assert pl.read_csv(scored / "with.csv")["variance"].null_count() == 2  # the silent one and the reference itself
    with pytest.raises(UsageError, match="no variance"):
        score_trials(manifest, scored / "trials.txt", plain, scored / "no.csv", use="up_cos")


def test_an_uncertain_print_widens_the_answers_interval(scored: Path, uncertain: Embedder) -> None:
    """The same score and ratio; the more a print leaves open, the wider what is said."""
    channel = Channel(scored / "3.wav", None, file_facts(scored / "3.wav"))
    enrolment = enrol_references([scored / "2.wav"], uncertain)
    assert enrolment is not None
    credit = ModelCredit("m", "1", "0" * 64, "CC0-1.0", "")
    findings = []
    for scale in (1.0, 20.0):
        info = uncertain.info.model_copy(
            update={
                "extra": {**uncertain.info.extra, VARIANCE_SCALE: scale},
                "calibration": Calibration(fitted_on="made up", conditions=(wide_calibration(),)),
            }
        )
        embedder = Embedder(uncertain.network, info)  # without a cohort, scores are between -1 and 1
        findings.append(judge_voice(channel, enrolment, embedder, credit))
    near, far = findings
    assert near.llr is not None
    assert near.llr == far.llr
    assert near.llr_low is not None
    assert near.llr_high is not None
    assert far.llr_low is not None
    assert far.llr_high is not None
    own = wide_calibration().interval(near.score or 0.0)
    assert far.llr_low < near.llr_low < own[0]
    assert far.llr_high > near.llr_high > own[1]
    (table,) = near.tables
    assert table.columns == ("voice print", "mean variance", "seconds heard")
    assert [row[0] for row in table.rows] == ["this recording", "2.wav"]
    assert [row[2] for row in table.rows] == pytest.approx([2.4, 1.8], abs=0.01)


def wide_calibration() -> ConditionCalibration:
    spread = ((0.9, 0.0), (1.1, 0.0))
    return ConditionCalibration(
        condition="clean", scale=1, offset=0, low=-50, high=50, spread=spread, positives=9, negatives=9
    )


def test_a_print_without_variance_says_nothing_of_it(scored: Path, run: Path) -> None:
    plain = Embedder.load(run / "model")
    enrolment = enrol_references([scored / "2.wav"], plain)
    assert enrolment is not None
    channel = Channel(scored / "3.wav", None, file_facts(scored / "3.wav"))
    assert judge_voice(channel, enrolment, plain, ModelCredit("m", "1", "0" * 64, "CC0-1.0", "")).tables == ()
