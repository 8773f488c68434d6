"""The vocoders that twins can be made with, by name."""

from __future__ import annotations

from collections.abc import Mapping

from earwitness.corpora.twins.base import Vocoder
from earwitness.corpora.twins.codec2 import Codec2
from earwitness.corpora.twins.griffin_lim import GriffinLim
from earwitness.corpora.twins.lpc import Lpc
from earwitness.corpora.twins.world import World

VOCODERS: Mapping[str, type[Vocoder]] = {"world": World, "griffin-lim": GriffinLim, "codec2": Codec2, "lpc": Lpc}
