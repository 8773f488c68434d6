"""The file names that recordings have."""

from __future__ import annotations

AUDIO_SUFFIXES = frozenset(
    f".{name}"
    for names in ("wav flac mp3 ogg oga opus m4a mp4 aac amr webm", "wma aif aiff au caf mkv mov 3gp w64 rf64 sph")
    for name in names.split()
)
