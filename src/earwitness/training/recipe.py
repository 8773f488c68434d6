"""A recipe: one YAML that says everything about a training run. Domains subclass `Recipe` with `task`, `network`,
`loss`; those that learn from single utterances subclass `UtteranceRecipe`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import Field, model_validator

from earwitness.audio.perturb import PerturbationConfig
from earwitness.audio.windows import Sliding, WindowPolicy
from earwitness.core.config import Config, parse_config, read_yaml
from earwitness.core.errors import RecipeError, UsageError
from earwitness.corpora.splits import NON_COMMERCIAL
from earwitness.nn.network import NetworkConfig
from earwitness.training.complementary import ComplementaryConfig
from earwitness.training.gradient_alignment import AlignmentConfig
from earwitness.training.optimisers import AdamWConfig, OptimiserConfig
from earwitness.training.schedules import ConstantConfig, ScheduleConfig

R = TypeVar("R", bound="Recipe")


class DataConfig(Config):
    """Which recordings a run learns from; paths are relative to the data root that the command is given.

    The sides train, dev and test are drawn by the domain's split rule, or stand in `split_file`, a table with the
    columns `id` and `split`.
    """

    manifests: tuple[Path, ...] = Field(min_length=1)  # tables, or folders that the reader understands
    reader: str = "manifest"  # one of corpora.readers.READERS
    exclude_licences: tuple[str, ...] = NON_COMMERCIAL  # regular expressions
    split_file: Path | None = None


class AudioConfig(Config):
    """How utterances become training examples; what perturbs them is the domain's choice."""

    rate: int = Field(16_000, ge=8_000)  # Hz
    crop_s: float | None = Field(4.0, gt=0)  # None: the whole utterance
    crop_from: Literal["anywhere", "start"] = "anywhere"
    perturb: Literal["crop", "file"] = "crop"  # what perturbations hear: the crop, or the whole file before it is cut
    trim_silence: bool = True


class SelectConfig(Config):
    """The dev metric by which epochs are compared."""

    metric: str
    mode: Literal["min", "max"] = "min"


class AverageConfig(Config):
    """Which epochs' weights are averaged at the end; 'best' needs a `select`.

    `as_released` weighs the best epochs as the released code of DPDA (arXiv 2509.20682) and of others does: its
    accumulator is the live network, so that the second best counts twice and the best not at all.
    """

    of: Literal["last", "best"]
    count: int = Field(gt=0)
    accumulator: Literal["correct", "as_released"] = "correct"

    @model_validator(mode="after")
    def _released_for_the_best(self) -> AverageConfig:
        if self.accumulator == "as_released" and self.of != "best":
            raise ValueError("`as_released` says how the `best` epochs were averaged")
        return self


class LoopConfig(Config):
    """How the loop runs. Without `select` the last epoch's weights are kept, with it the best epoch's, or their
    average.
    """

    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    accumulate: int = Field(1, gt=0)  # batches an optimiser step
    clip_norm: float | None = Field(None, gt=0)
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "bf16-true"] = "32-true"
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int | Literal["auto"] = 1
    strategy: Literal["auto", "ddp"] = "auto"
    workers: int = Field(0, ge=0)
    select: SelectConfig | None = None
    early_stop: int | None = Field(None, gt=0)  # epochs without a better dev metric
    average: AverageConfig | None = None
    log_every: int = Field(50, gt=0)  # steps
    checkpoint_every_steps: int | None = Field(None, gt=0)  # besides the one after each epoch
    tensorboard: bool = False

    @model_validator(mode="after")
    def _needs_a_metric(self) -> LoopConfig:
        best = self.average is not None and self.average.of == "best"
        if self.select is None and (self.early_stop or best):
            raise ValueError(
                "early_stop and the average of the best epochs need `select`, the dev metric to compare by"
            )
        return self


class Recipe(Config):
    """What every recipe has. A domain's subclass adds `task: Literal[...]`, `network`, `loss`."""

    name: str
    seed: int = Field(0, ge=0)
    data: DataConfig
    audio: AudioConfig = AudioConfig()
    optimiser: OptimiserConfig = AdamWConfig()
    schedule: ScheduleConfig = ConstantConfig()
    alignment: AlignmentConfig | None = None  # of the loss terms' gradients; None: one backward pass of their sum
    loop: LoopConfig
    notes: str = ""


class UtteranceRecipe(Recipe):
    """A recipe that learns from crops of single utterances, and whose model hears recordings by `windows`.

    `perturbations` are applied one after the other, each with its own probability, to all classes alike. `balance`
    names the columns whose values are drawn equally often, each within the one before. With `paths: dual` every
    utterance is heard twice in a batch, as it is and perturbed; `loop.batch_size` counts utterances. `complementary`
    names trained models that the network shall add to (`training.complementary`).
    """

    task: str
    network: NetworkConfig
    perturbations: tuple[PerturbationConfig, ...] = ()
    paths: Literal["single", "dual"] = "single"
    dev_audio: Literal["both", "clean"] = "both"  # how dev is heard where epochs are compared: also perturbed, or not
    balance: tuple[str, ...] = Field(("speaker",), min_length=1)
    draws: int | None = Field(None, ge=1)  # rows an epoch; None: as many as there are
    windows: WindowPolicy = Sliding(length_s=4.0, hop_s=4.0)
    licence: str = "Apache-2.0"  # SPDX, of the weights
    complementary: ComplementaryConfig | None = None

    @model_validator(mode="after")
    def _opposed_on_purpose(self) -> UtteranceRecipe:
        if self.complementary is not None and self.alignment is not None:
            raise ValueError("`alignment` would repair the conflict that `complementary` is made of; give one of them")
        return self

    @model_validator(mode="after")
    def _two_paths_differ(self) -> UtteranceRecipe:
        if self.paths == "dual" and not self.perturbations:
            raise ValueError("`paths: dual` needs `perturbations`, which make the second path")
        return self


def read_recipe(path: str | Path, kind: type[R] | Any, overrides: Iterable[str] = ()) -> R:
    """The recipe of a YAML file as a `kind` (a `Recipe` class, or a union of them discriminated by `task`).

    `overrides` are `key.sub=value` texts, the value in YAML; a number addresses an item of a list. Raises
    `RecipeError` for what is not a valid recipe, naming the field and the nearest allowed value, and `UsageError` for
    a text of another form.

    >>> assign({"loop": {"epochs": 5}}, "loop.epochs=7")
    {'loop': {'epochs': 7}}
    """
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise RecipeError("a recipe is a mapping of names to values", where=path)
    for text in overrides:
        data = assign(data, text)
    recipe: R = parse_config(kind, data, where=path)
    return recipe


def assign(data: dict[str, Any], text: str) -> dict[str, Any]:
    """Plain data with one `key.sub=value` put in; the given data is not changed. Raises `UsageError`, `RecipeError`."""
    key, equals, value = text.partition("=")
    keys = key.strip().split(".")
    if not equals or not all(keys):
        raise UsageError(f"'{text}' is not of the form key.sub=value", fix="For example: --set loop.epochs=5")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UsageError(f"the value of '{text}' is not valid YAML") from None
    placed: dict[str, Any] = _place(data, keys, parsed, text)
    return placed


def _place(node: Any, keys: list[str], value: Any, text: str) -> Any:
    """A copy of `node` with `value` at the path `keys`; mappings that are missing on the way are made."""
    if not keys:
        return value
    first, rest = keys[0], keys[1:]
    if isinstance(node, list):
        if not first.isdigit() or int(first) >= len(node):
            raise RecipeError(f"'{text}': '{first}' is no item of a list of {len(node)}", fix="Items count from 0.")
        place = int(first)
        return [*node[:place], _place(node[place], rest, value, text), *node[place + 1 :]]
    if node is not None and not isinstance(node, dict):
        raise RecipeError(f"'{text}': '{first}' cannot be set inside of the value {node!r}")
    known = node or {}
    return {**known, first: _place(known.get(first), rest, value, text)}
