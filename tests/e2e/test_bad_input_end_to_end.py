"""Bad recordings are rows with an error and no score; bad tables, recipes and models are one line. Never a trace."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

ODD_NAMES = ("new\nline.wav", "quo\"te's.wav", "<script>alert(1)<script>.wav", "a,b;c.wav", " .wav", "語 ß.wav")
RECIPE = """
name: tiny
task: deepfake
data: {manifests: [none.csv]}
network:
  branches: [{frontend: {kind: log_mel, n_mels: 20}, pooling: {kind: statistics}}]
  outputs: 2
loop: {epochs: 1, batch_size: 2}
"""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory, speechlike: Callable[..., Any]) -> Path:
    """Recordings that can be judged, under `fine`, and such that cannot, under `bad`."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "fine").mkdir()
    (folder / "bad").mkdir()
    speech = speechlike(1.5)
    write_fine(folder / "fine", speech, speechlike)
    write_bad(folder / "bad", speech)
    return folder


def write_fine(folder: Path, speech: Any, speechlike: Callable[..., Any]) -> None:
    for name in ODD_NAMES:
        soundfile.write(folder / name, speech, 16_000)
    soundfile.write(folder / "eight channels.wav", np.stack([speech] * 8, axis=1), 16_000)
    soundfile.write(folder / "192 kHz.wav", speechlike(1.5, rate=192_000), 192_000)
    soundfile.write(folder / "8 bit.wav", speech, 16_000, subtype="PCM_U8")
    soundfile.write(folder / "a flac.flac", speech, 16_000)
    (folder / "a flac.flac").rename(folder / "wrong extension.mp3")
    soundfile.write(folder / "above full scale.wav", 3 * speech, 16_000, subtype="FLOAT")


def write_bad(folder: Path, speech: Any) -> None:
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        spoilt = np.where(np.arange(len(speech)) == 9_000, value, speech)
        soundfile.write(folder / f"{name}.wav", spoilt, 16_000, "FLOAT")
    soundfile.write(folder / "zeros.wav", 0 * speech, 16_000)
    soundfile.write(folder / "one sample.wav", speech[:1], 16_000)
    soundfile.write(folder / "no samples.wav", speech[:0], 16_000)
    soundfile.write(folder / "whole.wav", speech, 16_000)
    whole = (folder / "whole.wav").read_bytes()
    (folder / "whole.wav").unlink()
    (folder / "truncated.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "header only.wav").write_bytes(whole[:44])
    (folder / "half a header.wav").write_bytes(whole[:20])
    (folder / "impossible rate.wav").write_bytes(whole[:24] + struct.pack("<I", 0) + whole[28:])
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("This is a text.\n" * 500)
    (folder / "gone.wav").symlink_to(folder / "nowhere.wav")
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    (folder / os.fsdecode(b"not utf-8 \xe9.wav")).write_bytes(whole)


def test_recordings_are_scored_or_have_an_error(cli, models: Path, recordings: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    code, said = cli("score", recordings, "--task", "deepfake", "--model", models / "detector", "-o", output)
    assert code == 1, said
    rows = {row["path"]: row for row in read(output).to_dicts()}
    expected = {f"fine/{path.name}" for path in (recordings / "fine").iterdir()}
    names = [os.fsencode(path.name).decode("utf-8", "backslashreplace") for path in (recordings / "bad").iterdir()]
    bad = {f"bad/{name}" for name in names if name != "folder.wav"}  # a folder is looked into, not heard
    assert rows.keys() == expected | bad
    for path, row in rows.items():
        if path in bad:
            assert (row["score"], row["llr"], row["seconds_used"]) == (None, None, None), path
            assert row["error"], path
            assert "\n" not in row["error"]
        else:
            assert row["error"] is None, row
            assert np.isfinite(row["score"])
            assert np.isfinite(row["llr"])
            assert 1.4 < row["seconds_used"] <= row["seconds_total"] < 1.6
    assert len(said.splitlines()) == len(bad) + 1  # each failure listed on a line, and the count
    assert f"{len(rows)} done, 0 already there, {len(bad)} with an error" in said
    for other in (tmp_path / "out.parquet", tmp_path / "out.jsonl"):
        cli("score", recordings, "--task", "deepfake", "--model", models / "detector", "-o", other)
        assert {row["path"]: row["error"] for row in read(other).to_dicts()} == {p: r["error"] for p, r in rows.items()}


def read(path: Path) -> pl.DataFrame:
    return {"csv": pl.read_csv, "parquet": pl.read_parquet, "jsonl": pl.read_ndjson}[path.suffix[1:]](path)


def test_each_bad_recording_alone_is_a_row_too(cli, models: Path, recordings: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted((recordings / "bad").iterdir())):
        if path.is_dir():
            continue
        output = tmp_path / f"{number}.jsonl"
        code, said = cli("score", path, "--task", "deepfake", "--model", models / "detector", "-o", output)
        assert code == 1, said
        (row,) = read(output).to_dicts()
        assert row["error"]
        assert row["score"] is None


def test_bad_recordings_in_trials(cli, models: Path, recordings: Path, tmp_path: Path) -> None:
    trials = tmp_path / "trials.txt"
    pairs = ("1\tfine/語 ß.wav\tfine/8 bit.wav", "0\tfine/語 ß.wav\tbad/nan.wav", "0\tbad/empty.wav\tbad/zeros.wav")
    trials.write_text("\n".join(pairs))
    output = tmp_path / "out.csv"
    code, said = cli(
        "score", recordings, "--task", "speaker", "--model", models / "embedder", "--trials", trials, "-o", output
    )
    assert code == 1, said
    rows = pl.read_csv(output)
    assert rows["score"].is_null().to_list() == [False, True, True]
    assert "not finite" in rows["error"][1]
    assert "enrolment: is an empty file" in rows["error"][2]


class TestOneLine:
    @pytest.fixture
    def score(self, cli, models: Path, tmp_path: Path):
        def run(given: object, *more: object, model: str = "detector") -> tuple[int, str]:
            return cli(
                "score", given, "--task", "deepfake", "--model", models / model, "-o", tmp_path / "out.csv", *more
            )

        return run

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("id,path\na,x.wav\nb,y.wav\na,z.wav\n", "row 3, column `id`: 'a' is the id of row 1 too"),
            ("path,label\nx.wav,bonafide\ny.wav,fake\n", "row 2, column `label`: unknown label 'fake'"),
            ("id,label\na,spoof\n", "the column `path` is missing"),
            ("path,speker\nx.wav,a\n", "unknown column `speker`; did you mean `speaker`? Rename"),
            ("path,start\nx.wav,soon\n", "row 1, column `start`: 'soon' is not a number"),
            ("path,start,end\nx.wav,3,2\n", "row 1, column `end`: is not after `start`"),
            ("path\n", "has no rows"),
            ("", "is empty"),
        ],
    )
    def test_manifests(self, score, tmp_path: Path, content: str, said: str) -> None:
        (tmp_path / "list.csv").write_text(content)
        code, shown = score(tmp_path / "list.csv")
        assert code == 2
        assert f"list.csv: {said}" in shown
        assert shown.count("\n") == 1
        assert not (tmp_path / "out.csv").exists()

    def test_a_recording_that_is_not_there(self, score, tmp_path: Path) -> None:
        code, shown = score(tmp_path / "missing\n<script>.wav")
        assert code == 2
        assert "missing\\n<script>.wav: there is no such file" in shown
        assert shown.count("\n") == 1

    def test_models(self, cli, models: Path, recordings: Path, tmp_path: Path) -> None:
        for number, (change, said) in enumerate(
            [
                (lambda folder: flip(folder / "weights.safetensors"), "was altered: its sha256 is"),
                (lambda folder: (folder / "CARD.md").write_text("better results"), "was altered"),
                (lambda folder: (folder / "weights.safetensors").unlink(), "is missing from the model folder"),
                (lambda folder: (folder / "weights.pth").write_bytes(b"pickled"), "is not part of the model"),
                (lambda folder: (folder / "model.json").write_text("{"), "cannot be read as JSON"),
                (lambda folder: (folder / "model.json").unlink(), "is no model folder"),
            ]
        ):
            folder = tmp_path / f"model {number}"
            shutil.copytree(models / "detector", folder)
            change(folder)
            code, shown = cli(
                "score", recordings / "fine", "--task", "deepfake", "--model", folder, "-o", tmp_path / "out.csv"
            )
            assert code == 2, shown
            assert said in shown
            assert shown.count("\n") == 1
        assert not (tmp_path / "out.csv").exists()

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("kind: log_mel", "kind: log_mle", "unknown kind 'log_mle'"),
            ("kind: log_mel", "kind: log_mle", "Did you mean 'log_mel'?"),
            ("epochs: 1", "epoch: 1", "did you mean 'epochs'?"),
            ("task: deepfake", "task: deepfaek", "Did you mean 'deepfake'?"),
            ("epochs: 1", "epochs: many", "loop.epochs"),
            ("name: tiny", "", "name: is required"),
            ("name: tiny", "name: [", "is not valid YAML"),
            ("none.csv", "none.csv", "none.csv"),  # the recipe is right, its data are not there
        ],
    )
    def test_recipes(self, cli, tmp_path: Path, old: str, new: str, said: str) -> None:
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(RECIPE.replace(old, new))
        code, shown = cli("train", recipe, "-o", tmp_path / "run")
        assert code == 2, shown
        assert said in shown
        assert shown.count("\n") == 1


def flip(path: Path) -> None:
    """Change one byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]):
    """cli(*words): exit code and standard error, in this process; no error may leave a trace or escape."""
    from earwitness.cli.main import exit_code

    def run(*words: object) -> tuple[int, str]:
        code = exit_code([str(word) for word in words])
        shown = capsys.readouterr().err
        assert "Traceback" not in shown
        return code, shown

    return run


def test_a_folder_without_recordings(cli, tmp_path: Path) -> None:
    code, shown = cli("score", tmp_path, "--task", "deepfake", "-o", tmp_path / "out.csv")
    assert code == 2
    assert "holds no recording" in shown
    assert shown.count("\n") == 1


def test_a_refusal_in_a_process_of_its_own(earwitness, models: Path, tmp_path: Path) -> None:
    """What the tests above see in this process is what a shell sees: one line, and nothing on standard output."""
    shutil.copytree(models / "detector", tmp_path / "model")
    flip(tmp_path / "model" / "weights.safetensors")
    (tmp_path / "x.wav").write_bytes(b"")
    output = tmp_path / "out.csv"
    done = earwitness("score", tmp_path, "--task", "deepfake", "--model", tmp_path / "model", "-o", output)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("earwitness: ")
    assert "weights.safetensors: was altered" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
