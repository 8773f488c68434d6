"""A claim's result run again from its record: every arm, every seed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from earwitness.claims.catalogue import find_claim
from earwitness.claims.ledger import read_result
from earwitness.claims.running import run_claim
from earwitness.core.errors import DataError
from earwitness.core.plain_files import read_plain
from earwitness.core.records import versions
from earwitness.evaluation.results.reproducing import Reproduction, differences

FRAMES = Path("runs/claims/frames")


def is_claim(path: str | Path) -> bool:
    """Whether a file says of itself that it is a claim's result."""
    try:
        data = json.loads(read_plain(path))
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and {"source", "statement", "seeds", "judgement"} <= data.keys()


def reproduce_claim(path: str | Path, data_root: str | Path | None = None, frames: Path = FRAMES) -> Reproduction:
    """Run a claim again, with the seeds and threads of its record; the manifest lies where the record says, or in
    `data_root`. Raises `DataError` for a file that is no result, and whatever the claim raises today."""
    before = read_result(path)
    try:
        settings = before["record"]["settings"]
        name, seeds, threads, data = (settings[key] for key in ("claim", "seeds", "threads", "data"))
        known = before["record"]["inputs"], before["record"]["versions"]
    except (KeyError, TypeError):
        raise DataError("its record cannot be run", where=path, fix="Make it with `earwitness claim run`.") from None
    manifest = Path(data) if data_root is None else Path(data_root) / Path(data).name
    torch.set_num_threads(int(threads))
    with tempfile.TemporaryDirectory() as folder:
        claim = find_claim(name)
        after = run_claim(claim, [int(seed) for seed in seeds], claim.read(manifest, frames), Path(folder))
    old = dict(_flat(before["judgement"]))
    new = dict(_flat(json.loads(json.dumps(asdict(after.judgement)))))
    return Reproduction(
        len(old),
        tuple(differences(old, new)),
        tuple(differences(known[0], after.record.inputs)),
        tuple(differences(known[1], versions())),
    )


def _flat(data: Any, place: str = "judgement") -> Iterator[tuple[str, Any]]:
    """Every number and word of plain data with its place."""
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _flat(value, f"{place}.{key}")
    else:
        yield place, data
