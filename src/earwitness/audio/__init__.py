"""A recording becomes samples: read, cut into windows, searched for speech, measured."""

from earwitness.audio.decoding import AudioInfo
from earwitness.audio.facts import FactsAccumulator, SignalFacts, file_facts, signal_facts
from earwitness.audio.reading import AudioStream, from_samples, load, probe, stream
from earwitness.audio.recording import Recording, Samples, Segment, Source
from earwitness.audio.speech import (
    EnergyRule,
    SileroRule,
    SpeechRule,
    SpeechTracker,
    speech_rule,
    speech_segments,
    trim_silence,
)
from earwitness.audio.windows import (
    First,
    Sliding,
    Tile,
    Whole,
    Window,
    WindowPolicy,
    cut,
    heard_seconds,
    stream_windows,
    windows_of,
)

__all__ = [
    "AudioInfo",
    "AudioStream",
    "EnergyRule",
    "FactsAccumulator",
    "First",
    "Recording",
    "Samples",
    "Segment",
    "SignalFacts",
    "SileroRule",
    "Sliding",
    "Source",
    "SpeechRule",
    "SpeechTracker",
    "Tile",
    "Whole",
    "Window",
    "WindowPolicy",
    "cut",
    "file_facts",
    "from_samples",
    "heard_seconds",
    "load",
    "probe",
    "signal_facts",
    "speech_rule",
    "speech_segments",
    "stream",
    "stream_windows",
    "trim_silence",
    "windows_of",
]
