"""The index on disk: built in steps, killed, copied, altered; heard by other weights; asked about recordings."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.core.errors import AudioError, DataError, ModelError, RecipeError, UsageError
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake.retrieval.building import build_index
from earwitness.deepfake.retrieval.database import Database
from earwitness.deepfake.retrieval.guard import Identity
from earwitness.deepfake.retrieval.hearing import Features, Hearing
from earwitness.deepfake.retrieval.index import Index, contents
from earwitness.deepfake.retrieval.layers import LayersConfig, weights_sha256
from earwitness.deepfake.retrieval.store import IndexInfo, IndexWriter, Recording

RATE = 16_000
LOG_MEL = LayersConfig.of("log_mel")


@dataclass(frozen=True)
class Corpus:
    """Six genuine recordings of three speakers (the fourth of 2.4 s, the others of 1 s), one spoof, one bad file."""

    manifest: Path

    def read(self, *which: pl.Expr) -> Manifest:
        return Manifest.read(self.manifest).filter(*which)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, speechlike: Any) -> Corpus:
    home = tmp_path_factory.mktemp("speech")
    rows = []
    for n in range(7):
        soundfile.write(home / f"{n}.wav", speechlike(2.4 if n == 3 else 1.0, RATE, n), RATE)
        rows.append({"path": f"{n}.wav", "label": "spoof" if n == 6 else "bonafide", "speaker": f"s{n % 3}"})
    (home / "bad.wav").write_bytes(b"no sound")
    rows.append({"path": "bad.wav", "label": "bonafide", "speaker": "s0"})
    pl.DataFrame(rows).write_csv(home / "manifest.csv")
    return Corpus(home / "manifest.csv")


@pytest.fixture(scope="module")
def hearing() -> Hearing:
    """One layer of mel frames, segments of a second."""
    return Hearing.begin(LOG_MEL, tau=10, segment_s=1.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "genuine.index"


def whole(folder: Path) -> tuple[list[str], bytes, bytes]:
    """What an index holds, but for the version in index.json."""
    lines = [json.loads(line)["id"] for line in (folder / "segments.jsonl").read_text().splitlines()]
    return lines, (folder / "embeddings.f16").read_bytes(), (folder / "shorts.f16").read_bytes()


def test_genuine_rows_are_added_once_and_bad_ones_listed(corpus: Corpus, hearing: Hearing, folder: Path) -> None:
    steps: list[int] = []
    built = build_index(corpus.read(), folder, hearing, step=lambda: steps.append(1))
    assert (built.added, built.segments, built.spoofs_left_out, built.already_there) == (6, 8, 1, 0)
    assert [problem.id for problem in built.problems] == ["bad.wav"]
    assert json.loads((folder / "problems.jsonl").read_text())["id"] == "bad.wav"
    assert len(steps) == 8
    before = whole(folder)
    assert before[0] == ["0.wav", "1.wav", "2.wav", "3.wav", "3.wav", "3.wav", "4.wav", "5.wav"]
    again = build_index(corpus.read(pl.col("path") != "bad.wav"), folder, hearing)
    assert (again.added, again.already_there, again.problems) == (0, 6, ())
    assert whole(folder) == before


def test_adding_in_steps_is_adding_at_once(corpus: Corpus, hearing: Hearing, tmp_path: Path) -> None:
    rows = corpus.read(pl.col("path") != "bad.wav")
    build_index(rows, tmp_path / "once", hearing)
    first = rows.with_table(rows.table[:3])
    build_index(first, tmp_path / "steps", hearing)

    class Deaf(Hearing):
        """Refuses to read again what is there."""

        def file(self, path: Any, *stretch: Any) -> Any:
            assert Path(path).name not in ("0.wav", "1.wav", "2.wav")
            return super().file(path, *stretch)

    build_index(rows, tmp_path / "steps", Deaf(hearing.source, hearing.recipe))
    assert whole(tmp_path / "steps") == whole(tmp_path / "once")


def test_another_recording_of_the_same_id_is_no_silent_loss(
    corpus: Corpus, hearing: Hearing, folder: Path, tmp_path: Path
) -> None:
    build_index(corpus.read(pl.col("path") == "0.wav"), folder, hearing)
    for name, source in (("moved", "0.wav"), ("other", "1.wav")):
        (tmp_path / name).mkdir()
        shutil.copy(corpus.manifest.parent / source, tmp_path / name / "0.wav")
    same, other = (Manifest(pl.DataFrame({"path": ["0.wav"]}), tmp_path / name) for name in ("moved", "other"))
    assert build_index(same, folder, hearing).already_there == 1
    (problem,) = build_index(other, folder, hearing).problems
    assert "another recording of the id '0.wav'" in problem.what
    assert len(Database.open(folder)) == 1


@pytest.mark.parametrize("torn", ["inside of a line", "between a recording's lines", "features without lines"])
def test_a_killed_build_goes_on(corpus: Corpus, hearing: Hearing, folder: Path, torn: str) -> None:
    rows = corpus.read(pl.col("path") != "bad.wav")
    build_index(rows, folder, hearing)
    complete = whole(folder)
    lines = (folder / "segments.jsonl").read_bytes().splitlines(keepends=True)
    kept = {"inside of a line": 7, "between a recording's lines": 5, "features without lines": 6}[torn]
    left = b"".join(lines[: kept - 1]) + (lines[kept - 1][:20] if torn != "features without lines" else b"")
    (folder / "segments.jsonl").write_bytes(left)
    held = len(Database.open(folder))
    assert held == {"inside of a line": 6, "between a recording's lines": 3, "features without lines": 3}[torn]
    built = build_index(rows, folder, hearing)
    assert built.already_there == len({json.loads(line)["id"] for line in lines[:held]})
    assert whole(folder) == complete


def test_a_failure_half_way_adds_nothing(hearing: Hearing, folder: Path, speechlike: Any) -> None:
    def failing(parts: list[Features]) -> Any:
        yield from parts
        raise AudioError("ends too early")

    from earwitness.audio.windows import cut

    parts = list(hearing.windows(cut(speechlike(3.0, RATE, 1), RATE, hearing.recipe.windows)))
    known = Recording("a", "a.wav", None, None, None, "0")
    with IndexWriter(folder, IndexInfo(recipe=hearing.recipe)) as writer:
        with pytest.raises(AudioError):
            writer.add(known, failing(parts))
        assert writer.count == 0
        assert writer.add(known, parts) == 3
        with pytest.raises(UsageError, match="another process"):
            IndexWriter(folder, IndexInfo(recipe=hearing.recipe))
    assert [origin.segment for origin in Database.open(folder).origins] == [0, 1, 2]


def test_features_that_are_cut_short_are_refused_and_made_again(corpus: Corpus, hearing: Hearing, folder: Path) -> None:
    rows = corpus.read(pl.col("path") != "bad.wav")
    build_index(rows, folder, hearing)
    complete = whole(folder)
    shorts = folder / "shorts.f16"
    shorts.write_bytes(shorts.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"fewer segments than the 8 of segments\.jsonl"):
        Database.open(folder)
    build_index(rows, folder, hearing)
    assert whole(folder) == complete


def test_other_weights_and_recipes_are_refused_by_both_hashes(corpus: Corpus, hearing: Hearing, folder: Path) -> None:
    build_index(corpus.read(pl.col("path") == "0.wav"), folder, hearing)
    other = Hearing(hearing.source, hearing.recipe.model_copy(update={"weights": "ff" * 32}))
    with pytest.raises(ModelError) as refused:
        build_index(corpus.read(), folder, other)
    assert hearing.recipe.weights[:16] in str(refused.value)
    assert "ff" * 8 in str(refused.value)
    slower = Hearing.begin(LOG_MEL, tau=5, segment_s=1.0)
    with pytest.raises(ModelError) as refused:
        build_index(corpus.read(), folder, slower)
    assert hearing.recipe.sha256[:16] in str(refused.value)
    assert slower.recipe.sha256[:16] in str(refused.value)
    info = json.loads((folder / "index.json").read_text())
    info["recipe"]["weights"] = "ee" * 32
    (folder / "index.json").write_text(json.dumps(info))
    with pytest.raises(ModelError, match="eeeeeeee"):
        Index.open(folder)


def test_weights_are_told_apart() -> None:
    import torch

    layer = torch.nn.Linear(3, 2)
    before = weights_sha256({"a": layer})
    assert before == weights_sha256({"a": layer})
    assert before != weights_sha256({"b": layer})
    with torch.no_grad():
        layer.bias[0] += 1e-6
    assert before != weights_sha256({"a": layer})


def test_what_is_no_index(tmp_path: Path, corpus: Corpus, hearing: Hearing) -> None:
    with pytest.raises(DataError, match="is no index"):
        Database.open(tmp_path / "nowhere")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="is no index"):
        build_index(corpus.read(), tmp_path / "mine", hearing)
    with pytest.raises(DataError, match="no genuine row"):
        build_index(corpus.read(pl.col("label") == "spoof"), tmp_path / "new", hearing)
    with IndexWriter(tmp_path / "new", IndexInfo(recipe=hearing.recipe)):
        pass
    with (tmp_path / "new" / "segments.jsonl").open("a") as lines:
        lines.write('{"id": 3}\n')
    with pytest.raises(DataError, match="line 1 is no segment"):
        Database.open(tmp_path / "new")


@pytest.mark.shows("rad:6.7")
def test_training_files_find_themselves_without_the_guard(corpus: Corpus, hearing: Hearing, folder: Path) -> None:
    rows = corpus.read(pl.col("path") != "bad.wav", pl.col("label") == "bonafide")
    build_index(rows, folder, hearing)
    held = Database.open(folder)
    heard = [hearing.first(rows.resolve(row), None) for row in rows.rows()]
    queries = np.concatenate([features.embeddings for features in heard])
    asking = [
        Identity(row.id, row.source_recording, None, features.sounds)
        for row, features in zip(rows.rows(), heard, strict=True)
    ]
    off = held.retrieve(queries, asking, 1, guard=False).nearest.rows[:, 0, 0]
    assert [held.origins[row].id for row in off] == [row.id for row in rows.rows()]  # 100 %
    on = held.retrieve(queries, asking, 1)
    assert all(held.origins[found].id != who.id for found, who in zip(on.nearest.rows[:, 0, 0], asking, strict=True))
    assert [len(excluded) for excluded in on.excluded] == [1, 1, 1, 3, 1, 1]


def test_an_index_is_asked_about_recordings(
    corpus: Corpus, hearing: Hearing, folder: Path, tmp_path: Path, speechlike: Any
) -> None:
    rows = corpus.read(pl.col("path") != "bad.wav")
    build_index(rows, folder, hearing)
    index = Index.open(folder)
    copy = tmp_path / "copy.flac"  # the same samples in another file
    sound, _ = soundfile.read(corpus.manifest.parent / "3.wav", dtype="int16")
    soundfile.write(copy, sound, RATE)
    answer = index.nearest(copy, 10)
    assert answer.excluded.same_audio == 3
    assert answer.segments == 3
    assert answer.candidates == 5
    assert {found.origin.id for found in answer.neighbours} == {"0.wav", "1.wav", "2.wav", "4.wav", "5.wav"}
    similarities = [found.similarity for found in answer.neighbours]
    assert similarities == sorted(similarities, reverse=True)
    assert all(found.layers == (1,) for found in answer.neighbours)
    assert answer.same_speaker is None  # nobody said who speaks
    row = rows.row(0)
    known = index.nearest(rows.resolve(row), 2, row)
    assert known.same_speaker is not None
    assert known.excluded.same_id == 1
    assert index.nearest(rows.resolve(row), 7, row).same_speaker == pytest.approx((3 / 7,))  # the three of 3.wav
    with pytest.raises(AudioError):
        index.nearest(corpus.manifest.parent / "bad.wav", 3)
    clip = index.clip(known.neighbours[0].origin)
    assert clip.duration_s == pytest.approx(1.0)


def test_a_clip_of_an_altered_recording_is_not_played(corpus: Corpus, hearing: Hearing, tmp_path: Path) -> None:
    home = tmp_path / "speech"
    shutil.copytree(corpus.manifest.parent, home)
    build_index(Manifest.read(home / "manifest.csv"), tmp_path / "i", hearing)
    index = Index(tmp_path / "i", hearing)
    origin = index.database.origins[0]
    shutil.copy(home / "1.wav", home / "0.wav")
    with pytest.raises(AudioError, match="another file than the one that was indexed"):
        index.clip(origin)
    (home / "0.wav").unlink()
    with pytest.raises(AudioError, match="no longer where the index says"):
        index.clip(origin)


def test_what_an_index_says_of_itself(corpus: Corpus, hearing: Hearing, folder: Path) -> None:
    build_index(corpus.read(), folder, hearing, approximate=True)
    info, held = contents(folder)
    assert info.approximate
    assert (held.recordings, held.segments, held.speakers, held.unnamed) == (6, 8, 3, 0)
    assert held.seconds == pytest.approx(8.0)
    assert held.bytes > 8 * hearing.recipe.width * 2 * (1 + hearing.recipe.frames)


def test_silence_is_not_indexed(hearing: Hearing, folder: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE, np.float32), RATE)
    rows = Manifest(pl.DataFrame({"path": ["silent.wav"]}), tmp_path)
    built = build_index(rows, folder, hearing)
    assert [problem.what for problem in built.problems] == ["holds no sound"]
    assert built.total_segments == 0
    with pytest.raises(DataError, match="holds no segment"):
        Index.open(folder).database.retrieve(np.zeros((1, 1, hearing.recipe.width), np.float16), [Identity()], 1)


def test_a_trained_detector_hears_by_its_own_encoder(tmp_path: Path, corpus: Corpus) -> None:
    from tiny_models import make_detector

    model = make_detector(tmp_path / "model")
    hearing = Hearing.begin(LayersConfig.of(str(model)), segment_s=1.0)
    assert hearing.recipe.layers == 1
    assert hearing.recipe.encoder.model == str(model)
    with pytest.raises(ModelError, match="no such model"):
        LayersConfig.of("wisper")
    with pytest.raises(UsageError, match="needs the encoder's folder"):
        LayersConfig.of("pretrained")
    with pytest.raises((RecipeError, ValueError)):
        LayersConfig()


def test_all_transformer_layers_of_whisper(shared_whisper: None, samples_folder: Path, tmp_path: Path) -> None:
    hearing = Hearing.begin(LayersConfig.of("whisper"))
    recipe = hearing.recipe
    assert (recipe.layers, recipe.frames, recipe.width) == (4, 20, 384)
    features = hearing.first(samples_folder / "reference-1.flac", None)
    assert features.embeddings.shape == (1, 4, 384)
    np.testing.assert_allclose(
        features.embeddings.astype(np.float32), features.shorts.astype(np.float32).mean(2), atol=2e-2
    )


@pytest.fixture
def shared_whisper() -> None:
    from earwitness.nn.pretrained.whisper import encoder_available

    if not encoder_available():
        pytest.skip("the shared encoder is not installed")
