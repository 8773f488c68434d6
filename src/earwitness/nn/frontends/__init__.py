"""Front-ends: a waveform becomes frames. A recipe names one by its `kind`; `FrontendConfig` is the list of all."""

from typing import Annotated

from pydantic import Field

from earwitness.nn.frontends.base import Frontend
from earwitness.nn.frontends.carried import CarriedConfig
from earwitness.nn.frontends.encoder import EncoderFrontend, run_together
from earwitness.nn.frontends.fbank import FbankConfig
from earwitness.nn.frontends.fine_structure import FineStructureConfig
from earwitness.nn.frontends.kept import KeptConfig
from earwitness.nn.frontends.lfcc import LFCCConfig
from earwitness.nn.frontends.log_mel import DVECTOR_MEL, LogMelConfig
from earwitness.nn.frontends.pretrained import PretrainedConfig
from earwitness.nn.frontends.sinc import SincConfig
from earwitness.nn.frontends.voice import VoiceConfig
from earwitness.nn.frontends.waveform import WaveformConfig
from earwitness.nn.frontends.whisper import WhisperConfig

FrontendConfig = Annotated[
    LFCCConfig
    | LogMelConfig
    | FbankConfig
    | FineStructureConfig
    | WaveformConfig
    | KeptConfig
    | SincConfig
    | PretrainedConfig
    | CarriedConfig
    | WhisperConfig
    | VoiceConfig,
    Field(discriminator="kind"),
]

__all__ = [
    "DVECTOR_MEL",
    "CarriedConfig",
    "EncoderFrontend",
    "FbankConfig",
    "FineStructureConfig",
    "Frontend",
    "FrontendConfig",
    "KeptConfig",
    "LFCCConfig",
    "LogMelConfig",
    "PretrainedConfig",
    "SincConfig",
    "VoiceConfig",
    "WaveformConfig",
    "WhisperConfig",
    "run_together",
]
