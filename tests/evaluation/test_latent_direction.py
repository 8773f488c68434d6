"""The measured direction of a latent entropy: against sums by hand, over units, with and without quiet frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from earwitness.audio.windows import Sliding, cut
from earwitness.cli.main import run
from earwitness.core.errors import DataError, ModelError
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake.detector import Detector
from earwitness.deepfake.latent_entropy import latent_encoder
from earwitness.deepfake.latent_trace import Trace, levels, traces_of
from earwitness.evaluation import latent_direction
from earwitness.evaluation.latent_direction import ALL, LOUD, measure_direction
from tiny_models import make_latent_detector

FILES = 12


@pytest.fixture(scope="module")
def latent(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector.load(make_latent_detector(tmp_path_factory.mktemp("models") / "latent"))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory, speechlike: Callable[..., Any]) -> Manifest:
    """Six human recordings of three speakers, six spoofs of three systems; all with half a second of zeros."""
    folder = tmp_path_factory.mktemp("recordings")
    rows = []
    for number in range(FILES):
        sound = np.concatenate([speechlike(1.2, seed=number), np.zeros(8_000, np.float32)])
        soundfile.write(folder / f"{number}.wav", sound, 16_000, subtype="FLOAT")
        human = number < FILES // 2
        unit = number % 3
        rows.append(
            {
                "path": f"{number}.wav",
                "label": "bonafide" if human else "spoof",
                "speaker": f"s{unit}" if human else None,
                "system": None if human else f"tts{unit}",
            }
        )
    return Manifest(pl.DataFrame(rows), folder)


class TestTraces:
    def test_a_trace_is_what_the_network_hears(self, latent: Detector, speechlike: Callable[..., Any]) -> None:
        samples = speechlike(2.0)
        windows = cut(samples, 16_000, latent.info.windows)
        traces = list(traces_of(latent, windows))
        assert [(trace.start_s, trace.end_s) for trace in traces] == [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)]
        encoder = latent_encoder(latent.network)
        assert encoder is not None
        with torch.inference_mode(), encoder.listening() as heard:
            latent.network(torch.from_numpy(windows[1].samples)[None])
        log_variance = heard[0].log_variance[0].double()
        expected = 1.418938533 + log_variance.mean(-1) / 2
        np.testing.assert_allclose(traces[1].entropy, expected.numpy(), atol=1e-5)
        mean = heard[0].mean[0].double()
        kl = (0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)).sum(-1)
        np.testing.assert_allclose(traces[1].divergence, kl.numpy(), rtol=1e-4)
        assert not any(trace.repeated for trace in traces)

    def test_levels_are_in_decibels_of_full_scale(self) -> None:
        samples = np.concatenate([np.full(100, 0.1), np.full(100, -1e-4), np.zeros(100)]).astype(np.float32)
        np.testing.assert_allclose(levels(samples, 3), [-20.0, -80.0, -np.inf], atol=1e-4)
        loud = Trace(0, 1, np.zeros(3), np.zeros(3), levels(samples, 3), False).loud
        assert loud.tolist() == [True, False, False]

    def test_a_repeated_recording_is_traced_once(self, latent: Detector, speechlike: Callable[..., Any]) -> None:
        windows = cut(speechlike(0.6), 16_000, Sliding(length_s=1, hop_s=0.5))
        (trace,) = traces_of(latent, windows)
        assert trace.repeated
        assert trace.end_s == pytest.approx(0.6)
        assert 0.55 <= len(trace.entropy) / 100 <= 0.65

    def test_silent_windows_have_none(self, latent: Detector) -> None:
        assert not list(traces_of(latent, cut(np.zeros(16_000, np.float32), 16_000, latent.info.windows)))

    def test_another_detector_has_none(self, detector: Detector) -> None:
        with pytest.raises(ModelError, match="has no latent entropy"):
            list(traces_of(detector, []))


class TestDirection:
    @pytest.mark.shows("f-infoed:6.7")
    def test_means_and_ranks_are_those_of_the_recordings(self, latent: Detector, manifest: Manifest) -> None:
        found = measure_direction(latent, manifest, n_resamples=50)
        assert (found.bonafide, found.spoof, found.failed, found.silent) == (6, 6, (), 0)
        assert [(one.quantity.split(",")[0], one.frames) for one in found.directions] == [
            ("H/D", ALL),
            ("KL", ALL),
            ("H/D", LOUD),
            ("KL", LOUD),
        ]
        for one in found.directions:
            values = np.array([by_hand(latent, manifest, row, one.quantity, one.frames) for row in manifest.rows()])
            human, made = values[:6], values[6:]
            assert one.bonafide.value == pytest.approx(human.mean())
            assert one.spoof.value == pytest.approx(made.mean())
            assert one.auc.value == pytest.approx(np.mean(human[:, None] > made[None, :]))
            for interval in (one.bonafide, one.spoof, one.auc):
                assert interval.low <= interval.value <= interval.high
                assert (interval.unit, interval.n_units) == ("speaker x system", 3)
        assert found.directions[0].bonafide.value != found.directions[2].bonafide.value  # the zeros at the end

    @pytest.mark.shows("f-infoed:6.7")
    def test_the_direction_is_measured_not_known(
        self, latent: Detector, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It follows the labels, and where nothing differs it says so."""
        number = {row.id: index for index, row in enumerate(manifest.rows())}

        def traced(offset: Callable[[int], float]) -> None:
            def means(detector: Detector, manifest: Manifest, row: Any) -> dict[str, float]:
                value = offset(number[row.id])
                return {
                    f"{quantity} {frames}": value for quantity in latent_direction.QUANTITIES for frames in (ALL, LOUD)
                }

            monkeypatch.setattr(latent_direction, "_means", means)

        swap = pl.when(pl.col("label") == "spoof").then(pl.lit("bonafide")).otherwise(pl.lit("spoof"))
        flipped = manifest.with_table(
            manifest.table.with_columns(label=swap, speaker=pl.col("system"), system=pl.col("speaker"))
        )
        traced(lambda place: place / 100 + (1.0 if place < 6 else 0.0))
        assert {one.answer for one in measure_direction(latent, manifest, 50).directions} == {
            "higher in bona fide speech"
        }
        assert {one.answer for one in measure_direction(latent, flipped, 50).directions} == {"higher in spoofs"}
        traced(lambda place: float(place % 3))
        assert {one.answer for one in measure_direction(latent, manifest, 50).directions} == {
            "no direction can be told"
        }

    def test_what_cannot_be_heard_is_named(self, latent: Detector, manifest: Manifest) -> None:
        rows = manifest.table.with_columns(
            path=pl.when(pl.col("id") == "3.wav").then(pl.lit("no.wav")).otherwise("path")
        )
        found = measure_direction(latent, manifest.with_table(rows), 10)
        assert found.failed == ("3.wav",)
        assert found.bonafide == 5

    def test_refuses(self, latent: Detector, manifest: Manifest) -> None:
        unlabelled = manifest.with_table(manifest.table.with_columns(label=pl.lit(None, pl.String)))
        with pytest.raises(DataError, match="without a label"):
            measure_direction(latent, unlabelled, 10)
        with pytest.raises(DataError, match="no row of one class"):
            measure_direction(latent, manifest.filter(pl.col("label") == "spoof"), 10)


@pytest.mark.shows("f-infoed:6.7")
def test_the_command_prints_it(
    tmp_path: Path, manifest: Manifest, capsys: pytest.CaptureFixture[str], latent: Detector
) -> None:
    model = make_latent_detector(tmp_path / "model")
    manifest.write(tmp_path / "test.csv")
    out = tmp_path / "direction.json"
    with pytest.raises(SystemExit) as stop:
        run(["model", "direction", str(model), str(tmp_path / "test.csv"), "--resamples", "20", "--json", str(out)])
    assert not stop.value.code
    said = capsys.readouterr().out
    assert said.count("H/D, nats per dimension") == said.count("KL, nats a frame") == 2
    assert said.count("without frames below -60 dBFS") == 2
    assert said.count("AUC    ") == 4
    assert "no probability" in said
    told = json.loads(out.read_text())[str(tmp_path / "test.csv")]
    expected = measure_direction(latent, manifest, 20)
    assert told["directions"][0]["auc"]["value"] == expected.directions[0].auc.value
    assert told["directions"][0]["answer"] == expected.directions[0].answer


def by_hand(latent: Detector, manifest: Manifest, row: Any, quantity: str, frames: str) -> float:
    samples = soundfile.read(manifest.resolve(row), dtype="float32")[0]
    traces = list(traces_of(latent, cut(samples, 16_000, latent.info.windows)))
    whole = [replace(trace, level=np.zeros_like(trace.level)) if frames == ALL else trace for trace in traces]
    values = [(one.entropy if quantity.startswith("H/D") else one.divergence)[one.loud] for one in whole]
    return float(np.concatenate(values).mean())
