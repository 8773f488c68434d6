"""Phone tracks: which sound is heard when, from files or from recognisers, always with who says so.

A recipe names a source by its `kind`, a command line by `hama`, `pocketsphinx`, `ctc:FOLDER`, `frames:FOLDER` or
`files:FOLDER`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from earwitness.core.config import Config, nearest
from earwitness.core.errors import UsageError
from earwitness.speaker.phones.files import PhoneFiles
from earwitness.speaker.phones.inventory import ARPABET, NONE, Inventory
from earwitness.speaker.phones.keeping import kept, tracks_of
from earwitness.speaker.phones.pseudo import PseudoPhones
from earwitness.speaker.phones.recognisers import CtcModel, Hama, Pocketsphinx
from earwitness.speaker.phones.source import PhoneSource, Recogniser
from earwitness.speaker.phones.track import Maker, PhoneSegment, PhoneTrack, frame_labels, in_random_order, seconds_of


class HamaConfig(Config):
    """Recognised by hama."""

    kind: Literal["hama"] = "hama"

    def build(self) -> Hama:
        """Raises `MissingPartError` where it is not installed."""
        return Hama()


class PocketsphinxConfig(Config):
    """Recognised by pocketsphinx."""

    kind: Literal["pocketsphinx"] = "pocketsphinx"

    def build(self) -> Pocketsphinx:
        """Raises `MissingPartError` where it is not installed."""
        return Pocketsphinx()


class CtcConfig(Config):
    """Recognised by a model of transformers in a local `folder`; with `frames` each frame is named by it."""

    kind: Literal["ctc"] = "ctc"
    folder: Path
    frames: bool = False
    language: str = "not stated"

    def build(self) -> CtcModel:
        """Raises `ModelError` where it cannot be loaded."""
        return CtcModel(self.folder, self.language, frames=self.frames)


class FilesConfig(Config):
    """Read from files in `folder`, or from beside the recordings where it is None."""

    kind: Literal["files"] = "files"
    folder: Path | None = None
    language: str = "not stated"

    def build(self) -> PhoneFiles:
        """Files are looked for when they are needed."""
        return PhoneFiles(self.folder, self.language)


class PseudoConfig(Config):
    """`clusters` of spectra, learnt from the training rows; a model keeps them. Not phones."""

    kind: Literal["pseudo"] = "pseudo"
    clusters: int = Field(40, ge=2, le=100)


FoundPhones = HamaConfig | PocketsphinxConfig | CtcConfig | FilesConfig
"""Sources that are there before any training."""

PhonesConfig = Annotated[FoundPhones | PseudoConfig, Field(discriminator="kind")]


def phones_named(text: str) -> FoundPhones:
    """A source by the words of a command line. Raises `UsageError`."""
    kind, _, place = text.partition(":")
    if kind in ("hama", "pocketsphinx") and not place:
        return HamaConfig() if kind == "hama" else PocketsphinxConfig()
    if kind in ("ctc", "frames") and place:
        return CtcConfig(folder=Path(place), frames=kind == "frames")
    if kind == "files":
        return FilesConfig(folder=Path(place) if place else None)
    allowed = ("hama", "pocketsphinx", "ctc:FOLDER", "frames:FOLDER", "files:FOLDER")
    guess = nearest(text, allowed)
    hint = f" Did you mean '{guess}'?" if guess else ""
    raise UsageError(
        f"no source of phones is called '{text}'", where="--phones", fix=f"Use {', '.join(allowed)}.{hint}"
    )


__all__ = [
    "ARPABET",
    "NONE",
    "CtcConfig",
    "FilesConfig",
    "FoundPhones",
    "HamaConfig",
    "Inventory",
    "Maker",
    "PhoneFiles",
    "PhoneSegment",
    "PhoneSource",
    "PhoneTrack",
    "PhonesConfig",
    "PocketsphinxConfig",
    "PseudoConfig",
    "PseudoPhones",
    "Recogniser",
    "frame_labels",
    "in_random_order",
    "kept",
    "phones_named",
    "seconds_of",
    "tracks_of",
]
