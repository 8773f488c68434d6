"""Where phone tracks come from: one small interface for files and for what hears."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

from earwitness.audio.reading import RATE
from earwitness.audio.recording import Samples
from earwitness.audio.windows import Sliding, stream_windows
from earwitness.core.errors import AudioError
from earwitness.speaker.phones.inventory import ARPABET, Inventory
from earwitness.speaker.phones.symbols import of_ipa
from earwitness.speaker.phones.track import Maker, PhoneTrack, joined

PIECE_S = 20.0  # of long recordings; a phone at a seam may be missed or heard twice
SHORTEST_S = 0.1

Mark = tuple[float, float, str | None]
"""Start and end in seconds, and a symbol (None: a sound without a name)."""


class PhoneSource(ABC):
    """Gives the phone track of a recording. `maker` says what it is, `inventory` which names it uses."""

    maker: Maker
    inventory: Inventory = ARPABET

    @abstractmethod
    def of_file(
        self, path: Path, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
    ) -> PhoneTrack:
        """The track of a stretch of a file, in seconds from the stretch's start. Raises `AudioError`, `DataError`."""


class Recogniser(PhoneSource):
    """Hears phones in audio alone."""

    @abstractmethod
    def marks(self, samples: Samples) -> Iterable[Mark]:
        """What is heard in samples [N] at 16 kHz."""

    def reading(self, symbol: str) -> str | None:
        """The phone of a symbol; by default an IPA symbol's."""
        return of_ipa(symbol)

    def recognise(self, samples: Samples) -> PhoneTrack:
        """The track of samples [N] at 16 kHz, heard as one piece."""
        return PhoneTrack.of_symbols(self.marks(samples), self.reading, self.inventory, self.maker)

    def of_file(
        self, path: Path, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
    ) -> PhoneTrack:
        """Heard in pieces of 20 s, streamed."""
        windows = stream_windows(
            path, Sliding(length_s=PIECE_S, hop_s=PIECE_S, repeat=False), RATE, channel, start_s, end_s
        )
        parts: list[tuple[float, PhoneTrack]] = []
        heard_s = start_s
        for window in windows:
            new = window.samples[round((heard_s - window.start_s) * RATE) :]  # the last window begins before its turn
            if len(new) >= SHORTEST_S * RATE:
                parts.append((heard_s - start_s, self.recognise(new)))
            heard_s = window.end_s
        if not parts:
            raise AudioError(f"holds less than {SHORTEST_S} s, too short for phones", where=path)
        return joined(parts)
