"""Refusals name the field and what was probably meant."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from earwitness.core.config import Config, nearest, parse_config, read_yaml
from earwitness.core.errors import RecipeError


class Mean(Config):
    kind: Literal["mean"] = "mean"


class Attentive(Config):
    kind: Literal["attentive"] = "attentive"
    bottleneck: int = Field(8, ge=1)


class Net(Config):
    pooling: Annotated[Mean | Attentive, Field(discriminator="kind")] = Mean()
    width: int = Field(ge=1)


def refusal(data: object) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_config(Net, data, where="net.yaml")
    text = str(caught.value)
    assert text.startswith("net.yaml: ")
    assert "\n" not in text
    return text


def test_what_is_valid_is_built() -> None:
    net = parse_config(Net, {"width": 3, "pooling": {"kind": "attentive"}})
    assert net == Net(width=3, pooling=Attentive())
    with pytest.raises(ValidationError, match="frozen"):
        net.width = 4


def test_an_unknown_kind_gets_the_allowed_and_the_nearest() -> None:
    said = refusal({"width": 3, "pooling": {"kind": "atentive"}})
    assert "unknown kind 'atentive'" in said
    assert "allowed: mean, attentive" in said
    assert "Did you mean 'attentive'?" in said


def test_a_missing_kind_is_asked_for() -> None:
    assert "pooling: needs a `kind`" in refusal({"width": 3, "pooling": {}})


def test_an_unknown_field_gets_the_nearest() -> None:
    assert "there is no such field; did you mean 'width'?" in refusal({"width": 3, "widht": 3})
    said = refusal({"width": 3, "pooling": {"kind": "attentive", "botleneck": 3}})
    assert "botleneck" in said
    assert "did you mean 'bottleneck'?" in said


def test_further_problems_are_counted() -> None:
    said = refusal({"pooling": {"kind": "attentive", "bottleneck": 0}})
    assert "pooling.bottleneck: input should be greater than or equal to 1 (got 0) (and 1 more problem(s))" in said


def test_a_typo_comes_before_the_field_that_it_leaves_missing() -> None:
    assert "widht: there is no such field; did you mean 'width'? (and 1 more problem(s))" in refusal({"widht": 3})


def test_fields_are_named_as_they_stand_in_the_data() -> None:
    """Without the kinds that pydantic puts between: `pooling.attentive.bottleneck` is not to be found in a recipe."""
    assert "pooling.bottleneck: input" in refusal({"width": 3, "pooling": {"kind": "attentive", "bottleneck": 0}})


def test_a_wrong_value_is_shown_in_short() -> None:
    assert "width: input should be greater than or equal to 1 (got 0)" in refusal({"width": 0})
    said = refusal({"width": "x" * 10_000})
    assert len(said) < 300
    assert "'xxx" in said


def test_nearest() -> None:
    assert nearest("whsper", ["whisper", "wavlm"]) == "whisper"
    assert nearest("quite different", ["whisper", "wavlm"]) is None


def test_yaml_is_data_only(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: [1, x]\n")
    assert read_yaml(path) == {"a": [1, "x"]}
    made = tmp_path / "made"
    path.write_text(f"!!python/object/apply:os.mkdir ['{made}']\n")
    with pytest.raises(RecipeError, match="not valid YAML"):
        read_yaml(path)
    assert not made.exists()


def test_what_cannot_be_read_as_yaml(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        read_yaml(tmp_path / "missing.yaml")
    with pytest.raises(RecipeError, match="cannot be read"):
        read_yaml(tmp_path)
    path = tmp_path / "a.yaml"
    for content in (b"a: [1", b"\xff\xfe\x00", b"[" * 5_000):
        path.write_bytes(content)
        with pytest.raises(RecipeError, match="not valid YAML"):
            read_yaml(path)
    if os.geteuid():
        path.chmod(0)
        with pytest.raises(RecipeError, match="Permission denied"):
            read_yaml(path)
