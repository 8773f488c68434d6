"""What must be known of a recording that is to stand for a speaker: does it hold speech, of one voice, and enough?"""

from __future__ import annotations

from pathlib import Path

from earwitness.audio.facts import SignalFacts, file_facts
from earwitness.audio.reading import stream
from earwitness.audio.silero import SILERO_RATE
from earwitness.audio.speech import SileroRule, SpeechTracker
from earwitness.core.errors import MissingPartError
from earwitness.speaker.diarisation import Diarised
from earwitness.speaker.embedder import VoicePrint
from earwitness.speaker.voices import several_voices
from earwitness.training.conditions import SHORT_S
from earwitness.training.model_folder import ModelInfo

LEAST_SPEECH_S = 0.2  # below it there is no speech to speak of
NO_SPEECH = "no speech is found in it, by silero-vad"
TOO_LITTLE = "it holds too little speech"
BETTER = "Give one with more speech, of this speaker alone"  # what to do about any doubt
UNFIT = (NO_SPEECH, TOO_LITTLE)  # how doubts begin after which nothing can be settled


def speech_seconds(
    path: str | Path, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
) -> float:
    """Seconds of speech by the Silero network, which tells speech from other sound; by the energy rule, which does
    not, where it is not installed. Raises `AudioError`."""
    try:
        tracker = SpeechTracker(SILERO_RATE, SileroRule())
    except MissingPartError:
        return file_facts(path, channel, start_s, end_s).speech_s
    for block in stream(path, SILERO_RATE, channel, start_s, end_s):
        tracker.push(block)
    return sum(segment.duration_s for segment in tracker.finish())


def reference_doubts(
    print_: VoicePrint, speech_s: float, facts: SignalFacts, info: ModelInfo, voices: Diarised | None = None
) -> list[str]:
    """In words, why a reference may mislead: no speech or little of it, or several voices.

    `speech_s` is what `speech_seconds` finds, `facts` what was measured; `voices`, where they were told apart, show
    what the windows of the print are too long for.
    """
    several = several_voices(print_, info) or (voices is not None and voices.count > 1)
    said = ["more than one voice is probably heard in it"] if several else []
    if speech_s < LEAST_SPEECH_S:
        return [*said, f"{NO_SPEECH} ({print_.seconds_total:.1f} s in all)"]
    least, found = info.tested.min_speech_s or 0.0, min(facts.speech_s, print_.seconds_used)
    if found < least:
        said.append(f"{TOO_LITTLE} ({found:.1f} s; the model's tests begin at {least:g} s)")
    elif found < SHORT_S:
        said.append(f"it holds only {found:.1f} s of speech")
    return said
