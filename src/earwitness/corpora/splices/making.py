"""From a plan of splices to recordings, a manifest and the places: made by workers, kept row by row."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from earwitness.audio.recording import Samples
from earwitness.core.errors import AudioError, DataError, UsageError
from earwitness.core.writing import ResumableRows, read_rows, write_atomically
from earwitness.corpora.inspection import Problem
from earwitness.corpora.making import FAILURES, in_words, worked, write_flac
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.splices.planning import Splice, SpliceOptions, plan, recording_of
from earwitness.corpora.splices.signal import (
    MARGIN_S,
    Place,
    around,
    find_place,
    gain_to,
    joined,
    speech_rms,
    spliced,
    trimmed,
)
from earwitness.corpora.twins.base import resampled
from earwitness.corpora.twins.making import matched

TABLE, MANIFEST, PLACES = "splices.csv", "manifest.csv", "splices.rttm"  # in the output folder
JOIN_FADE_S = 0.01
LEVEL_REACH_S = 1.0  # an insert gets the level of the host's speech so far around it
CONTEXT_S = 0.5  # a vocoder hears so much more on either side of what it makes anew
_COLUMNS = {
    "path": str, "kind": str, "hosts": str, "insert": str, "system": str, "family": str, "setting": str,
    "made_with": str, "start_s": float, "end_s": float, "cross_fade_ms": float, "gain_db": float, "joints": str,
    "duration_s": float, "sample_rate": int, "drawn": str, "error": str,
}  # fmt: skip
_CARRIED = ("speaker", "sex", "age", "emotion", "language", "codec", "split_group", "split")


@dataclass(frozen=True)
class Made:
    """The splices; what could not be made, and what was left out as a whole, in words."""

    manifest: Manifest
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def expand(
    manifest: Manifest,
    folder: str | Path,
    options: SpliceOptions | None = None,
    *,
    resume: bool = False,
    workers: int = 1,
    progress: Callable[[int], Callable[[], None]] = lambda total: lambda: None,
) -> Made:
    """Make the splices of every host as 16-bit FLAC under `folder`, `manifest.csv` of them, and `splices.rttm`.

    A splice has the speaker and the side of its host, whose first recording it names as `source_recording`;
    `recordings` are all in it (a JSON list), `insert` the inserted row and `insert_speaker` its voice. Its label
    is spoof where a part is, then with the insert's system and family. `splice` is the kind, `splice_start` and
    `splice_end` the replaced stretch in seconds, exact to the sample, `segments` the synthetic ones (empty where none
    is), `joints` where recordings of the host meet. Hosts and inserts come from the same side of a split, which splices
    keep.

    What cannot be made is a row with an error in `splices.csv`. A run that was killed goes on with `resume`.
    `progress(total)` gives a function that is called after each splice. Raises what `plan` and `ResumableRows` raise.
    """
    options, folder = options or SpliceOptions(), Path(folder)
    planned = plan(manifest, options)
    step = progress(len(planned.splices))
    drawn = f"{options}, rows {manifest.sha256[:12]}"  # which inserts there are depends on all rows
    with ResumableRows(folder / TABLE, "path", _COLUMNS, resume=resume, same={"drawn": drawn}) as table:
        todo = [splice for splice in planned.splices if splice.path not in table.done]
        for _ in range(len(planned.splices) - len(todo)):
            step()
        for row in worked(todo, partial(make_splice, folder=folder), workers, folder):
            table.add({**row, "drawn": drawn})
            step()
    return _described(manifest, folder, planned.splices, planned.notes)


def make_splice(splice: Splice, folder: Path) -> dict[str, Any]:
    """Make one splice and its row in the table; what cannot be made is a row with an error."""
    told: dict[str, Any] = {
        "path": splice.path,
        "kind": splice.kind,
        "hosts": json.dumps([row.id for row in splice.rows], ensure_ascii=False),
        "insert": splice.insert_row.id if splice.insert_row else None,
    }
    if splice.kind == "spoof" and splice.insert_row:
        told |= {"system": splice.insert_row.system, "family": splice.insert_row.family or splice.insert_row.system}
    if splice.vocoder:
        told |= {"system": splice.vocoder.system, "family": splice.vocoder.family, "setting": repr(splice.vocoder)}
        told |= {"made_with": splice.vocoder.made_with}
    try:
        samples, rate, facts = _made(splice)
        write_flac(folder / splice.path, samples, rate)
    except UsageError:
        raise  # the output cannot be written: that is no fault of the recording
    except FAILURES as error:
        return told | {"error": in_words(error, "cannot be spliced")}
    return told | facts | {"duration_s": round(len(samples) / rate, 6), "sample_rate": rate}


def _made(splice: Splice) -> tuple[Samples, int, dict[str, Any]]:
    """The samples, their rate, and what is written of the place. Raises `AudioError`."""
    if splice.trouble:
        raise AudioError(splice.trouble)
    host, rate, joints = _host(splice)
    facts: dict[str, Any] = {"joints": json.dumps([round(joint / rate, 6) for joint in joints])}
    if splice.kind == "none":
        return host, rate, facts
    rng = splice.rng()
    low, high = splice.options.insert_s
    longest = min(high, len(host) / rate / 2, len(host) / rate - 2 * MARGIN_S)
    if longest < low:
        what = f"the host lasts {len(host) / rate:.2f} s: an insert of {low:g} s is longer than half of it"
        raise AudioError(what, fix="Join recordings (host_s), or ask for shorter inserts.")
    wanted = round(rng.uniform(low, longest) * rate)
    fade = round(rng.uniform(*splice.options.cross_fade_ms) / 1000 * rate)
    if splice.vocoder is not None:
        place = find_place(host, rate, wanted, fade, rng)
        insert, level = _anew(splice, host, rate, place, rng), speech_rms(host[place.start : place.end], rate)
    else:
        insert = _insert(splice, rate, wanted, round(low * rate), rng)
        place = find_place(host, rate, len(insert), fade, rng)
        level = speech_rms(host[around(host, place, round(LEVEL_REACH_S * rate))], rate)
    gain = gain_to(level, insert, rate)
    facts |= {"start_s": round(place.start / rate, 6), "end_s": round(place.end / rate, 6)}
    facts |= {"cross_fade_ms": round(1000 * place.fade / rate, 3), "gain_db": round(20 * float(np.log10(gain)), 3)}
    return spliced(host, (insert * gain).astype(np.float32), place), rate, facts


def _host(splice: Splice) -> tuple[Samples, int, tuple[int, ...]]:
    """The host's samples and rate, and the samples where its recordings meet."""
    loaded = [piece.load() for piece in splice.host]
    rates = {rate for _, rate in loaded}
    if len(rates) > 1:
        raise AudioError(f"the host's recordings have several rates: {sorted(rates)}", fix="Correct `sample_rate`.")
    rate = rates.pop()
    samples, joints = joined([samples for samples, _ in loaded], rate, round(JOIN_FADE_S * rate))
    return samples, rate, joints


def _insert(splice: Splice, rate: int, wanted: int, shortest: int, rng: np.random.Generator) -> Samples:
    """A stretch of the insert's recording at the host's rate, from within its speech: `wanted` samples, or all there
    are. Raises `AudioError` for less than `shortest`."""
    assert splice.insert is not None
    samples, own_rate = splice.insert.load()
    speech = trimmed(resampled(samples, own_rate, rate).astype(np.float32), rate)
    if len(speech) < shortest:
        raise AudioError(f"the insert has {len(speech) / rate:.2f} s from first to last speech, too little")
    first = int(rng.integers(max(1, len(speech) - wanted + 1)))
    return speech[first : first + wanted]


def _anew(splice: Splice, host: Samples, rate: int, place: Place, rng: np.random.Generator) -> Samples:
    """The host's own stretch, resynthesised with what is around it."""
    assert splice.vocoder is not None
    near = around(host, place, round(CONTEXT_S * rate))
    context = host[near]
    signal = context.astype(np.float64) / max(1.0, float(np.abs(context).max()))
    made = matched(context, splice.vocoder.resynthesise(signal, rate, rng), rate)
    return made[place.start - near.start :][: place.length]


def _described(manifest: Manifest, folder: Path, splices: Sequence[Splice], notes: tuple[str, ...]) -> Made:
    """The manifest and the places of what was made, written to the folder."""
    done = {row["path"]: row for row in read_rows(folder / TABLE, _COLUMNS).iter_rows(named=True)}
    problems, rows, places = [], [], []
    corpus = (
        dict(zip(manifest.table["id"], manifest.table["corpus"], strict=True))
        if "corpus" in manifest.table.columns
        else {}
    )
    for splice in splices:
        row = done[splice.path]
        if row["error"]:
            problems.append(Problem(", ".join(host.id for host in splice.rows), f"{splice.kind}: {row['error']}"))
            continue
        rows.append(_row(splice, row) | {"corpus": corpus.get(splice.rows[0].id)})
        places += _lines(splice.path, row, synthetic=splice.kind in ("spoof", "twin"))
    if not rows:
        fix = "See splices.csv for the reasons."
        raise DataError(f"none of {len(splices)} splice(s) could be made: {problems[0].what}", where=folder, fix=fix)
    found = Manifest(pl.DataFrame(rows, infer_schema_length=None), folder, manifest.data_root)
    found.write(folder / MANIFEST)
    write_atomically(folder / PLACES, "".join(places))
    return Made(found, tuple(problems), notes)


def _row(splice: Splice, made: dict[str, Any]) -> dict[str, Any]:
    """The row of a splice in the manifest."""
    every = (*splice.rows, *([splice.insert_row] if splice.insert_row else []))
    synthetic = splice.kind in ("spoof", "twin")
    start_s, end_s = made["start_s"], made["end_s"]
    return {
        "path": splice.path,
        "duration_s": made["duration_s"],
        "sample_rate": made["sample_rate"],
        "label": "spoof" if synthetic else "bonafide",
        "system": made["system"],
        "family": made["family"],
        **{name: _common(splice.rows, name) for name in _CARRIED},
        "source_recording": recording_of(splice.rows[0]),
        "licence": _licence(every, made["made_with"]),
        "splice": splice.kind,
        "splice_start": start_s,
        "splice_end": end_s,
        "segments": f"{start_s:.6f}-{end_s:.6f}" if synthetic else None,
        "joints": made["joints"],
        "insert": made["insert"],
        "insert_speaker": splice.insert_row.speaker if splice.insert_row else None,
        "recordings": json.dumps(list(dict.fromkeys(map(recording_of, every))), ensure_ascii=False),
        "setting": made["setting"],
    }


def _common(rows: Sequence[Row], name: str) -> Any:
    """What all rows of a host agree on; None where they don't."""
    values = {getattr(row, name) for row in rows}
    return values.pop() if len(values) == 1 else None


def _licence(rows: Sequence[Row], made_with: str | None) -> str:
    said = " and ".join(dict.fromkeys(row.licence or "licence not known" for row in rows))
    return f"{said}; changed: spliced" + (f", a part resynthesised by {made_with}" if made_with else "")


def _lines(name: str, made: dict[str, Any], *, synthetic: bool) -> list[str]:
    """RTTM: the regions of one splice."""
    cuts = [0.0, made["start_s"], made["end_s"], made["duration_s"]] if synthetic else [0.0, made["duration_s"]]
    labels = ("bonafide", "spoof", "bonafide")
    return [
        f"SPEAKER {name} 1 {start:.6f} {end - start:.6f} <NA> <NA> {label} <NA> <NA>\n"
        for start, end, label in zip(cuts, cuts[1:], labels, strict=False)
    ]
