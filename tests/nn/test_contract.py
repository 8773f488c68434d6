"""One contract over every front-end, encoder, pooling and loss that a recipe can name: who joins a union is tested."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from earwitness.core.config import Config, parse_config
from earwitness.core.errors import RecipeError
from earwitness.nn.encoders import EncoderConfig
from earwitness.nn.frontends import FrontendConfig
from earwitness.nn.losses import ClassificationLossConfig, MarginLossConfig
from earwitness.nn.pooling import PoolingConfig
from earwitness.nn.types import Frames

WIDTH = 16  # values a frame in these tests
SMALL: dict[str, dict[str, Any]] = {  # where the default is large; a kind that is not named here is tested as it is
    "voice": {"model": "speaker-small"},
    "nes2net": {"nes_ratio": (4, 2)},
    "nes2net_x": {"nes_ratio": (4, 2)},
    "nes2net_x_selu": {"nes_ratio": (4, 2)},
    "ecapa": {"channels": 16, "outputs": 24, "se_hidden": 4},
    "resnet": {"widths": (4, 8), "blocks": (1, 1), "strides": (1, 2)},
    "conv_transformer": {"dim": 16, "blocks": 1, "heads": 2, "block": "conformer"},
    "lstm": {"hidden": 8, "layers": 2},
    "camplus": {
        "head": 4,
        "channels": 8,
        "growth": 4,
        "bottleneck": 8,
        "layers": (2, 2),
        "dilations": (1, 2),
        "segment": 5,
    },
    "latent_entropy": {"latent": 4, "hidden": 8, "outputs": 8},
    "aasist": {"projection": 12, "widths": (4, 4, 6), "dims": (6, 4)},
    "aasist_raw": {"widths": (4, 6), "dims": (6, 4)},
    "conformer_tcm": {"dim": 16, "heads": 4, "blocks": 2, "kernel": 7, "positions": 64},
    "oc_resnet18": {"stem": 4, "widths": (4, 6, 6, 8), "collapsed": 8, "dim": 8},
    "rawnet_lite": {"width": 4, "steps": 8, "hidden": 4, "dim": 5, "length": 30},
    "lcnn": {"widths": (4, 4, 6, 4)},
    "carried": {
        "settings": {
            "model_type": "wavlm",
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "conv_dim": (8,) * 7,
            "conv_bias": False,
            "feat_extract_norm": "layer",
            "do_stable_layer_norm": True,
            "num_conv_pos_embeddings": 8,
            "num_conv_pos_embedding_groups": 2,
        },
        "aggregation": "sea",
    },
    "pretrained": {"source": "a/folder"},
}
NEEDS_ENCODER = {"whisper", "pretrained"}  # front-ends that read weights: given a tiny folder of random ones


@dataclass(frozen=True)
class Case:
    """A kind of one family, and how it is built and run on a batch."""

    union: Any
    member: type[Config]
    kind: str
    options: dict[str, Any] = field(default_factory=dict)

    def config(self, **more: Any) -> Any:
        return self.member.model_validate({"kind": self.kind, **self.options, **more})

    def __str__(self) -> str:
        return self.kind


def cases(union: Any, *, small: bool = True) -> list[Case]:
    """Every kind of every member of a discriminated union."""
    members = get_args(get_args(union)[0])
    kinds = [(member, kind) for member in members for kind in get_args(member.model_fields["kind"].annotation)]
    return [Case(union, member, kind, SMALL.get(kind, {}) if small else {}) for member, kind in kinds]


ENCODERS, POOLINGS, FRONTENDS = cases(EncoderConfig), cases(PoolingConfig), cases(FrontendConfig)
LOSSES = cases(MarginLossConfig) + cases(ClassificationLossConfig)


@pytest.fixture(scope="session")
def tiny_encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders with a tiny Whisper and a tiny wav2vec 2.0 of random weights."""
    import transformers

    torch.manual_seed(0)
    whisper = transformers.WhisperConfig(
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_mel_bins=80,
        vocab_size=40,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    wav2vec2 = transformers.Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer",
    )
    folder = tmp_path_factory.mktemp("encoders")
    transformers.WhisperModel(whisper).save_pretrained(folder / "whisper")
    transformers.Wav2Vec2Model(wav2vec2).save_pretrained(folder / "pretrained")
    return {kind: str(folder / kind) for kind in NEEDS_ENCODER}


@dataclass(frozen=True)
class Part:
    """A built part in eval mode: `run` maps a batch to one tensor, `batch` makes one of some items and frames."""

    case: Case
    build: Callable[[], nn.Module]
    run: Callable[[nn.Module, Tensor], Tensor]
    batch: Callable[[int, int], Tensor]

    def module(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        module = self.build().eval()
        if self.case.kind == "latent_entropy":  # starts with one entropy for all that it hears
            nn.init.normal_(module.log_variance.weight)  # type: ignore[union-attr, arg-type]
        return module


@pytest.fixture(params=[*ENCODERS, *POOLINGS, *FRONTENDS], ids=str)
def part(request: pytest.FixtureRequest) -> Part:
    """Every encoder, pooling and front-end."""
    case: Case = request.param
    if case in FRONTENDS:
        needs = {"source": request.getfixturevalue("tiny_encoders")[case.kind]} if case.kind in NEEDS_ENCODER else {}
        return Part(
            case,
            case.config(**needs).build,
            lambda m, x: m(x).values,
            lambda items, n: 0.1 * torch.randn(items, 400 * n),
        )
    pooled = case in POOLINGS
    return Part(
        case,
        lambda: case.config().build(WIDTH),
        lambda m, x: m(Frames(x)).mean if pooled else m(Frames(x)).values,
        lambda items, frames: torch.randn(items, frames, WIDTH),
    )


@pytest.mark.parametrize("case", [*ENCODERS, *POOLINGS, *FRONTENDS, *LOSSES], ids=str)
def test_configuration_survives_a_round_trip(case: Case) -> None:
    config = case.config()
    assert parse_config(case.union, json.loads(config.model_dump_json())) == config
    with pytest.raises(RecipeError, match="no such field"):
        parse_config(case.union, {**config.model_dump(), "no_such_option": 1})


@pytest.mark.parametrize("case", [*cases(EncoderConfig, small=False), *cases(PoolingConfig, small=False)], ids=str)
def test_builds_from_its_defaults(case: Case) -> None:
    part = case.member.model_validate({"kind": case.kind}).build(128)  # type: ignore[attr-defined]
    assert part.dim > 0


def test_a_typo_is_answered_with_the_nearest_kind() -> None:
    with pytest.raises(RecipeError, match="Did you mean 'nes2net_x'"):
        parse_config(EncoderConfig, {"kind": "nes2netx"})


def test_shapes(part: Part) -> None:
    module, x = part.module(), part.batch(3, 24)
    out = part.run(module, x)
    assert out.dtype == torch.float32
    assert (out.shape[0], out.shape[-1]) == (3, module.dim)
    assert bool(out.isfinite().all())


def test_lengths_may_vary(part: Part) -> None:
    module = part.module()
    with torch.no_grad():
        outputs = [part.run(module, part.batch(2, frames)) for frames in (9, 24, 61)]
    assert len({out.shape[-1] for out in outputs}) == 1
    if part.case not in POOLINGS and part.case.kind != "voice":  # one print, however long
        frames = [out.shape[1] for out in outputs]
        assert 1 <= frames[0] < frames[1] < frames[2]


def test_a_seed_decides_everything(part: Part) -> None:
    first, second, x = part.module(3), part.module(3), part.batch(2, 24)
    with torch.no_grad():
        assert torch.equal(part.run(first, x), part.run(second, x))
        assert torch.equal(part.run(first, x), part.run(first, x))


def test_weights_survive_a_file(part: Part, tmp_path: Path) -> None:
    saved, loaded, x = part.module(1), part.module(2), part.batch(2, 24)
    safetensors.torch.save_file(saved.state_dict(), tmp_path / "weights.safetensors")
    loaded.load_state_dict(safetensors.torch.load_file(tmp_path / "weights.safetensors"), strict=True)
    with torch.no_grad():
        assert torch.equal(part.run(saved, x), part.run(loaded, x))


def test_batches_of_1_16_and_64_agree(part: Part) -> None:
    module, x = part.module(), part.batch(64, 24)
    with torch.no_grad():
        whole = part.run(module, x)
        for size in (1, 16):
            pieces = torch.cat([part.run(module, piece) for piece in x.split(size)])
            torch.testing.assert_close(pieces, whole, atol=1e-4, rtol=1e-4)


def test_nothing_leaks_between_items(part: Part) -> None:
    module, x = part.module(), part.batch(4, 24)
    changed = x.clone()
    changed[1:] = 3 * part.batch(3, 24)
    with torch.no_grad():
        before, after = part.run(module, x), part.run(module, changed)
    torch.testing.assert_close(before[0], after[0], atol=1e-6, rtol=1e-6)
    assert not torch.allclose(before[1:], after[1:], atol=1e-3)


def test_trained_parts_learn_from_every_parameter(part: Part) -> None:
    module = part.module().train()
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters:
        return  # spectra, mean and the like
    with getattr(module, "listening", nullcontext)() as latents:  # what only its own loss terms learn from
        loss = part.run(module, part.batch(4, 24)).square().sum()
    (loss + sum(latent.error.sum() + latent.divergence.sum() for latent in latents or ())).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in parameters)
    assert sum(bool(p.grad.any()) for p in parameters) >= 0.5 * len(parameters)


@pytest.fixture(params=LOSSES, ids=str)
def loss(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor, Tensor]:
    """Every loss, with a batch of 64 that it takes."""
    case: Case = request.param
    torch.manual_seed(0)
    n_classes = 2 if case.kind == "binary_focal" else 5
    width = {"binary_focal": 1}.get(case.kind, 8 if case.union is MarginLossConfig else n_classes)
    return case.config().build(width, n_classes), torch.randn(64, width), torch.arange(64) % n_classes


def test_losses_are_finite_scalars_with_gradients(loss: tuple[nn.Module, Tensor, Tensor]) -> None:
    module, inputs, targets = loss
    inputs.requires_grad_()
    value = module(inputs, targets)
    assert value.shape == ()
    value.backward()
    assert inputs.grad is not None
    assert bool(inputs.grad.isfinite().all())
    assert bool(inputs.grad.abs().sum(1).gt(0).all())


def test_losses_are_means_over_their_items(loss: tuple[nn.Module, Tensor, Tensor]) -> None:
    module, inputs, targets = loss
    whole = module(inputs, targets)
    for size in (1, 16):
        pieces = [module(x, y) for x, y in zip(inputs.split(size), targets.split(size), strict=True)]
        torch.testing.assert_close(torch.stack(pieces).mean(), whole, atol=1e-4, rtol=1e-4)


def test_losses_fall_when_followed(loss: tuple[nn.Module, Tensor, Tensor]) -> None:
    module, inputs, targets = loss
    inputs.requires_grad_()
    optimiser = torch.optim.Adam([inputs, *module.parameters()], lr=0.05)
    first = module(inputs, targets).item()
    for _ in range(30):
        optimiser.zero_grad()
        module(inputs, targets).backward()
        optimiser.step()
    assert module(inputs, targets).item() < 0.7 * first


@pytest.mark.parametrize("case", LOSSES, ids=str)
def test_loss_weights_survive_a_file_and_a_seed(case: Case, tmp_path: Path) -> None:
    shape = (1, 2) if case.kind == "binary_focal" else (4, 4)
    built = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        built.append(case.config().build(*shape))
    inputs, targets = torch.randn(8, shape[0]), torch.arange(8) % shape[1]
    assert torch.equal(built[0](inputs, targets), built[1](inputs, targets))
    safetensors.torch.save_file(built[0].state_dict(), tmp_path / "loss.safetensors")
    built[2].load_state_dict(safetensors.torch.load_file(tmp_path / "loss.safetensors"), strict=True)
    assert torch.equal(built[0](inputs, targets), built[2](inputs, targets))
