"""A full disk, a folder that may not be written, ctrl-C, files that vanish, pipes, circles of links, headers that lie:
an exit code, one line, and results that can be gone on with."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import yaml
from forked_commands import Forked, Outcome

from tiny_models import make_detector, make_embedder

CALLS = 24
Run = Callable[..., Outcome]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the commands run in forked processes")
modes_bind = pytest.mark.skipif(sys.platform != "linux" and os.geteuid() == 0, reason="modes do not bind root here")


@pytest.fixture(scope="module")
def run(forked: Forked, home: Path) -> Run:
    """run(*words, **faults): a command line in the folder `home`; the faults stand in `fault_server.py`."""
    return partial(forked, cwd=home)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, speechlike: Callable[..., Any]) -> Path:
    """Two models, recordings in `calls`, a corpus with a recipe, and recordings of which one can be read in `bad`."""
    home = tmp_path_factory.mktemp("home")
    make_detector(home / "detector")
    make_embedder(home / "embedder")
    for folder in ("calls", "corpus", "bad"):
        (home / folder).mkdir()
    for number in range(CALLS):
        soundfile.write(home / "calls" / f"{number:02}.wav", speechlike(1.2, seed=number), 16_000)
    write_corpus(home / "corpus", speechlike)
    write_bad(home / "bad", (home / "calls" / "00.wav").read_bytes())
    return home


def write_corpus(folder: Path, speechlike: Callable[..., Any]) -> None:
    """Sixteen recordings of four speakers and four systems, and a recipe that learns them in a moment."""
    rows = []
    for number in range(16):
        human = number % 2 == 0
        sound = speechlike(0.7, seed=number)
        soundfile.write(folder / f"{number:02}.wav", sound if human else np.round(sound * 16) / 16, 16_000)
        who = {"label": "bonafide", "speaker": f"s{number % 8}", "system": "", "family": ""}
        what = {"label": "spoof", "speaker": "", "system": f"tts{number % 8}", "family": f"f{number % 4}"}
        rows.append({"path": f"{number:02}.wav", "corpus": "c", "licence": "CC0-1.0", **(who if human else what)})
    pl.DataFrame(rows).write_csv(folder / "manifest.csv")
    branch = {"frontend": {"kind": "log_mel", "n_mels": 20}, "pooling": {"kind": "statistics"}}
    recipe = {
        "name": "tiny",
        "task": "deepfake",
        "data": {"manifests": ["corpus/manifest.csv"]},
        "split": {"dev_families": ["f1"], "dev_share": 0.5},
        "audio": {"crop_s": 0.5, "trim_silence": False},
        "network": {"branches": [branch], "embedding": {"dim": 8}, "outputs": 2},
        "optimiser": {"kind": "adamw", "lr": 0.01},
        "loop": {"epochs": 20, "batch_size": 4, "accelerator": "cpu", "select": {"metric": "eer"}},
        "windows": {"kind": "sliding", "length_s": 0.5, "hop_s": 0.5},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))


def write_bad(folder: Path, whole: bytes) -> None:
    (folder / "good.wav").write_bytes(whole)
    (folder / "gone.wav").symlink_to(folder / "nowhere.wav")
    (folder / "loop.wav").symlink_to("loop.wav")
    os.mkfifo(folder / "pipe.wav")
    size = whole.index(b"data") + 4
    (folder / "lie.wav").write_bytes(whole[:size] + struct.pack("<I", 0x7FFFFFFF) + whole[size + 4 :])
    (folder / "round").symlink_to(".")
    (folder / "and round").symlink_to(".")


BAD = {
    "gone": "there is no such file",
    "loop": "Too many levels of symbolic links",
    "pipe": "is a pipe or device, not a file",
    "lie": "is cut short: its header declares 67108.86 s, 1.20 s are there",
}
SCORE = ("score", "calls", "--task", "deepfake", "--model", "detector", "-o")
EXAMINE = ("examine", "--no-manner", "--model", "deepfake=detector", "--model", "speaker=embedder")
TRAIN = ("train", "corpus/recipe.yaml", "-o")
IMPORT = ("corpus", "import", "folder", "calls", "-o")
INDEX = ("index", "build", "calls", "--encoder", "log_mel", "--segment", "1", "-o")


@pytest.fixture(scope="module")
def undisturbed(run: Run, home: Path) -> Path:
    """What the commands make where nothing goes wrong."""
    for words in ((*SCORE, "whole/s.csv"), (*TRAIN, "whole/run"), (*IMPORT, "whole/m.csv"), (*INDEX, "whole/index")):
        assert run(*words).code == 0
    return home / "whole"


def same_index(one: Path, other: Path) -> bool:
    names = ("segments.jsonl", "embeddings.f16", "shorts.f16")
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def same_run(one: Path, other: Path) -> bool:
    names = ("model/weights.safetensors", "fit/checkpoint.safetensors", "fit/log.jsonl")
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


class TestAFullDisk:
    def test_score_keeps_its_rows_and_goes_on(self, run: Run, home: Path, undisturbed: Path) -> None:
        full = run(*SCORE, "full.csv", largest=2_000)
        full.one_line(2, "full.csv: cannot be written (File too large)", "add --resume: the rows so far are kept")
        assert not (home / "full.csv").exists()
        part = (home / "full.csv.part.jsonl").read_bytes()
        assert 2 < part.count(b"\n") < CALLS
        resumed = run(*SCORE, "full.csv", "--resume")
        assert resumed.code == 0
        assert f"{part.count(bytes([10]))} already there" in resumed.err
        assert (home / "full.csv").read_bytes() == (undisturbed / "s.csv").read_bytes()

    def test_examine_says_so_and_leaves_no_half_report(self, run: Run, home: Path) -> None:
        for option, name in (("--json", "full.json"), ("--html", "full.html")):
            full = run(*EXAMINE, "calls/00.wav", option, name, largest=500, stdout=os.devnull)
            full.one_line(2, f"{name}: cannot be written (File too large). Free space")
            assert not list(home.glob(f"*{name}*"))

    def test_train_goes_on_to_the_same_weights(self, run: Run, home: Path, undisturbed: Path) -> None:
        size = (undisturbed / "run" / "fit" / "checkpoint.safetensors").stat().st_size
        for largest in (1_000, size // 2, size - 1):
            run(*TRAIN, "full-run", "--resume", largest=largest).one_line(2, "cannot be written (File too large)")
            assert not (home / "full-run" / "model").exists()
        assert run(*TRAIN, "full-run", "--resume").code == 0
        assert same_run(home / "full-run", undisturbed / "run")

    def test_a_log_that_fills_the_disk(self, run: Run, home: Path, undisturbed: Path) -> None:
        size = (undisturbed / "run" / "fit" / "log.jsonl").stat().st_size
        checkpoint = (undisturbed / "run" / "fit" / "checkpoint.safetensors").stat().st_size
        words = (*TRAIN, "full-log", "--set", "loop.log_every=1", "--set", "loop.epochs=200")
        assert checkpoint < 40 * size
        run(*words, largest=max(checkpoint * 2, 12_000)).one_line(2, "File too large")
        assert (home / "full-log" / "fit" / "checkpoint.safetensors").exists()

    def test_import_leaves_no_half_table(self, run: Run, home: Path, undisturbed: Path) -> None:
        for name in ("m.csv", "m.parquet", "m.jsonl"):
            run(*IMPORT, name, largest=200).one_line(2, f"{name}: cannot be written (File too large")
        assert not list(home.glob("*m.*"))
        assert run(*IMPORT, "m.csv").code == 0

    def test_index_goes_on_after_what_is_there(self, run: Run, home: Path, undisturbed: Path) -> None:
        for largest in (1_500, 20_000):
            full = run(*INDEX, "full/index", largest=largest)
            full.one_line(2, "full/index: cannot be written (File too large)", "give the command again")
        assert run(*INDEX, "full/index").code == 0
        assert same_index(home / "full/index", undisturbed / "index")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
    def test_standard_output(self, run: Run) -> None:
        run("model", "list", stdout="/dev/full").one_line(2, "No space left on device")
        run(*EXAMINE, "calls/00.wav", "--json", "-", stdout="/dev/full").one_line(2, "No space left on device")

    def test_a_disk_that_is_really_full(self, run: Run, home: Path, undisturbed: Path, small_disk: Path) -> None:
        filler = small_disk / "filler"
        filler.write_bytes(bytes(small_disk_bytes(small_disk) - 4096))
        full = run(*SCORE, small_disk / "s.csv")
        full.one_line(2, "s.csv: cannot be written (No space left on device)", "add --resume")
        filler.unlink()
        assert run(*SCORE, small_disk / "s.csv", "--resume").code == 0
        assert (small_disk / "s.csv").read_bytes() == (undisturbed / "s.csv").read_bytes()
        filler.write_bytes(bytes(small_disk_bytes(small_disk) - 4096))
        run(*TRAIN, small_disk / "run").one_line(2, "No space left on device")
        run(*INDEX, small_disk / "index").one_line(2, "No space left on device")
        run(*IMPORT, small_disk / "m.csv").one_line(2, "No space left on device")
        run(*EXAMINE, "calls/00.wav", "--json", small_disk / "r.json").one_line(2, "No space left on device")


def small_disk_bytes(disk: Path) -> int:
    told = os.statvfs(disk)
    return told.f_bavail * told.f_frsize


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB in memory; only who may mount one can make it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False).returncode
    except OSError:
        done = 1
    if done:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@modes_bind
class TestAFolderThatMayNotBeWritten:
    @pytest.fixture
    def closed(self, tmp_path: Path) -> Iterator[Path]:
        folder = tmp_path / "closed"
        folder.mkdir(mode=0o555)
        yield folder
        assert list(folder.iterdir()) == []
        folder.chmod(0o755)

    @pytest.mark.parametrize("words", [(*SCORE, "s.csv"), (*TRAIN, "run"), (*IMPORT, "m.csv"), (*INDEX, "index")])
    def test_is_one_line(self, run: Run, closed: Path, words: tuple[str, ...]) -> None:
        run(*words[:-1], closed / words[-1], bound=True).one_line(2, str(closed), "Permission denied")

    @pytest.mark.parametrize("option", ["--json", "--html"])
    def test_examine_says_so_before_the_work(self, run: Run, closed: Path, option: str) -> None:
        done = run(*EXAMINE, "calls/00.wav", option, closed / "report", bound=True)
        done.one_line(2, "report: cannot be written (Permission denied)")
        assert done.out == ""


class TestControlC:
    """Exit code 130, one line, and what was finished is there when it goes on."""

    SAID = "interrupted; what was finished is kept"

    def test_score(self, run: Run, home: Path, undisturbed: Path) -> None:
        part = home / "stopped.csv.part.jsonl"
        run(*SCORE, "stopped.csv", interrupt=[part, 2, 0]).one_line(130, self.SAID)
        assert 2 <= part.read_bytes().count(b"\n") < CALLS
        assert run(*SCORE, "stopped.csv", "--resume").code == 0
        assert (home / "stopped.csv").read_bytes() == (undisturbed / "s.csv").read_bytes()

    def test_examine(self, run: Run, home: Path) -> None:
        recordings = sorted((home / "calls").iterdir()) * 20
        done = run(*EXAMINE, *recordings, "--json", "stopped.json", interrupt=[None, 0, 0.3])
        done.one_line(130, self.SAID)
        assert not (home / "stopped.json").exists()

    def test_train(self, run: Run, home: Path, undisturbed: Path) -> None:
        for lines in (1, 9):
            stop = [home / "stopped-run" / "fit" / "log.jsonl", lines, 0]
            run(*TRAIN, "stopped-run", "--resume", interrupt=stop).one_line(130, self.SAID)
        assert run(*TRAIN, "stopped-run", "--resume").code == 0
        assert same_run(home / "stopped-run", undisturbed / "run")

    def test_import(self, run: Run, home: Path) -> None:
        rows = pl.DataFrame({"id": [str(n) for n in range(20_000)], "path": "calls/00.wav"})
        rows.write_csv(home / "many.csv")
        stopped = run("corpus", "import", "manifest", "many.csv", "-o", "stopped-m.csv", interrupt=[None, 0, 0.3])
        stopped.one_line(130, self.SAID)
        assert not list(home.glob("*stopped-m*"))

    def test_index(self, run: Run, home: Path, undisturbed: Path) -> None:
        stop = [home / "stopped/index" / "segments.jsonl", 4, 0]
        run(*INDEX, "stopped/index", interrupt=stop).one_line(130, self.SAID)
        assert run(*INDEX, "stopped/index").code == 0
        assert same_index(home / "stopped/index", undisturbed / "index")


class TestRecordingsThatAreNone:
    """Links to nothing and in a circle, a pipe that nobody writes to, and a header that promises 2 GB."""

    def test_score(self, run: Run, home: Path) -> None:
        done = run("score", "bad", "--task", "deepfake", "--model", "detector", "-o", "bad.csv")
        done.listed(*(f"{name}.wav: " for name in BAD))
        rows = {row["path"]: row for row in pl.read_csv(home / "bad.csv").to_dicts()}
        assert rows.keys() == {"good.wav", *(f"{name}.wav" for name in BAD)}
        for name, said in BAD.items():
            assert said in rows[f"{name}.wav"]["error"]
            assert rows[f"{name}.wav"]["score"] is None
        assert rows["good.wav"]["error"] is None

    def test_one_that_vanishes_while_others_are_scored(self, run: Run, home: Path, speechlike) -> None:
        (home / "going").mkdir()
        for number in range(30):
            soundfile.write(home / "going" / f"{number:02}.wav", speechlike(2, seed=number), 16_000)
        done = run(
            *("score", "going", "--task", "deepfake", "--model", "detector", "-o", "going.csv"),
            vanish=[home / "going.csv.part.jsonl", 1, home / "going" / "29.wav"],
        )
        done.listed("29.wav: there is no such file")
        assert pl.read_csv(home / "going.csv")["score"].null_count() == 1

    def test_a_glob_in_a_circle_of_links_names_each_file_once(self, run: Run, home: Path) -> None:
        run("score", "bad/**/*.wav", "--task", "deepfake", "--model", "detector", "-o", "glob.csv")
        assert sorted(pl.read_csv(home / "glob.csv")["path"]) == sorted(f"bad/{n}.wav" for n in ("good", *BAD))
        done = run(*EXAMINE, "bad/**/goo*.wav", "--json", "glob.json")
        assert done.code == 0
        assert json.loads((home / "glob.json").read_text())["path"] == "bad/good.wav"

    def test_examine(self, run: Run, home: Path) -> None:
        done = run(*EXAMINE, *(f"bad/{name}.wav" for name in ("good", *BAD)), "--json", "bad.json")
        done.listed(*(f"{name}.wav: {said}" if name == "gone" else said for name, said in BAD.items()))
        assert [report["path"] for report in json.loads((home / "bad.json").read_text())] == ["bad/good.wav"]

    def test_import(self, run: Run, home: Path) -> None:
        run("corpus", "import", "folder", "bad", "-o", "bad-m.csv").listed(*BAD.values())
        rows = dict(pl.read_csv(home / "bad-m.csv").select("path", "duration_s").iter_rows())
        assert rows == {"bad/good.wav": 1.2} | dict.fromkeys((f"bad/{name}.wav" for name in BAD), None)

    def test_index(self, run: Run) -> None:
        words = ("index", "build", "bad", "--encoder", "log_mel", "--segment", "1", "-o", "bad.index")
        done = run(*words)
        done.listed(*BAD.values())
        assert "1 recording(s) added" in done.err

    @pytest.mark.parametrize("name", BAD)
    def test_train_names_it_and_makes_no_model(self, run: Run, home: Path, name: str) -> None:
        table = pl.read_csv(home / "corpus" / "manifest.csv")
        path = pl.when(pl.col("path") == "06.wav").then(pl.lit(f"../bad/{name}.wav")).otherwise(pl.col("path"))
        table.with_columns(path.alias("path")).write_csv(home / "corpus" / f"{name}.csv")
        done = run(*TRAIN, f"run-{name}", "--set", f"data.manifests=[corpus/{name}.csv]")
        done.one_line(2, f"{name}.wav")
        assert not (home / f"run-{name}" / "model").exists()


class TestTablesThatArePipes:
    """A named pipe without a writer would be waited for: refused at once."""

    @pytest.mark.parametrize(
        "words",
        [
            ("corpus", "check", "table.csv"),
            ("corpus", "check", "table.parquet"),
            ("corpus", "describe", "table.jsonl"),
            ("corpus", "import", "asvspoof5", "table.txt", "-o", "from-a-pipe.csv"),
            ("train", "table.yaml", "-o", "run-of-a-pipe"),
            ("score", "calls", "--task", "speaker", "--model", "embedder", "--trials", "table.txt", "-o", "p.csv"),
            ("score", "calls", "--task", "deepfake", "--calibration", "table.txt", "-o", "p.csv"),
            ("evaluate", "deepfake", "table.csv"),
            ("reproduce", "table.json"),
            ("index", "build", "table.csv", "-o", "index-of-a-pipe"),
        ],
    )
    def test_is_one_line(self, run: Run, home: Path, words: tuple[str, ...]) -> None:
        for suffix in ("csv", "parquet", "jsonl", "txt", "yaml", "json"):
            if not (home / f"table.{suffix}").exists():
                os.mkfifo(home / f"table.{suffix}")
        done = run(*words)
        assert done.code in (1, 2), done
        assert "table." in done.err
        assert "Traceback" not in done.err
        assert "defect" not in done.err
