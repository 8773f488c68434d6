"""What a model folder says of its training: the run record, the data with licences, and how it hears."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from earwitness.core.records import RunRecord
from earwitness.nn.frontends import VoiceConfig
from earwitness.nn.network import NetworkConfig
from earwitness.training.complementary import ALONE
from earwitness.training.data import SplitData
from earwitness.training.model_folder import DataSource, ModelInfo, read_model_info
from earwitness.training.recipe import UtteranceRecipe
from earwitness.training.shipped import find_model

Polarity = Literal["higher = bona fide", "higher = same speaker", "none"]


def describe(recipe: UtteranceRecipe, data: SplitData, metrics: Mapping[str, float], polarity: Polarity) -> ModelInfo:
    """The description of a model that was trained by a recipe; `metrics` are those of its weights on dev."""
    record = RunRecord.make(
        f"train {recipe.name}",
        recipe.model_dump(mode="json"),
        seed=recipe.seed,
        inputs={"train": data.train.sha256, "dev": data.dev.sha256, "test": data.test.sha256, **_members(recipe)},
        definitions=dict.fromkeys(metrics, f"over dev windows, {_crop(recipe)}"),
        licences=sorted({source.licence for source in sources_of(data)}),
        seconds_heard=_seconds(data),
        notes=[*data.notes, *(f"dev window {name} {value:.4f}" for name, value in metrics.items())],
    )
    return ModelInfo(
        name=recipe.name,
        task=recipe.task,
        summary=recipe.notes,
        network=pinned(recipe.network).model_dump(mode="json"),
        rate=recipe.audio.rate,
        windows=recipe.windows,
        polarity=polarity,
        licence=recipe.licence,
        data=sources_of(data),
        limits=() if recipe.complementary is None else (ALONE,),
        training=record.plain(),
    )


def pinned(network: NetworkConfig) -> NetworkConfig:
    """With the weights named that its front-ends of voice prints took: what learnt beside them reads no others."""
    branches = [
        branch.model_copy(update={"frontend": branch.frontend.pinned()})
        if isinstance(branch.frontend, VoiceConfig)
        else branch
        for branch in network.branches
    ]
    return network.model_copy(update={"branches": branches})


def _members(recipe: UtteranceRecipe) -> dict[str, str]:
    """The weights beside which a complementary model was trained."""
    names = () if recipe.complementary is None else recipe.complementary.members
    return {f"member {name}": read_model_info(find_model(name)).sha256 for name in names}


def _crop(recipe: UtteranceRecipe) -> str:
    return "whole" if recipe.audio.crop_s is None else f"{recipe.audio.crop_s:g} s each"


def _seconds(data: SplitData) -> float | None:
    """How much different sound was learnt from; None where the manifest does not say how long its rows are."""
    lengths = data.train.table["duration_s"]
    return None if lengths.null_count() else round(float(lengths.sum()), 1)


def sources_of(data: SplitData) -> tuple[DataSource, ...]:
    """Which corpora were learnt from and calibrated on, each with its licences."""
    found: dict[tuple[str, str], set[str]] = {}
    for use, side in (("training", data.train), ("calibration", data.dev)):
        corpora = side.table["corpus"].to_list() if "corpus" in side.table.columns else ["unnamed"] * len(side)
        for corpus, licence in zip(corpora, side.table["licence"].to_list(), strict=True):
            found.setdefault((corpus or "unnamed", licence or "unknown"), set()).add(use)
    return tuple(
        DataSource(name=name, licence=licence, use=" and ".join(sorted(uses, reverse=True)))
        for (name, licence), uses in sorted(found.items())
    )
