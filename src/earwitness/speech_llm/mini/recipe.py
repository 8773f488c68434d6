"""What a small benchmark asks: which corpus, which sentences, which emotions are told apart, how often."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from earwitness.core.config import Config, parse_config, read_yaml


class Topic(Config):
    """A sentence of the corpus, and what it is about in the language of the questions."""

    transcript: str
    about: str


class Sets(Config):
    """How many sets of each type. A set of C, DE and DG is two recordings, one of CE and CG four."""

    C: int = Field(12, ge=0)
    DE: int = Field(24, ge=0)
    DG: int = Field(12, ge=0)
    CE: int = Field(16, ge=0)
    CG: int = Field(8, ge=0)


class MiniRecipe(Config):
    """`corpus` None: all recordings of the manifest. Without `topics`, sentences are quoted in the questions.
    `emotions` gives an adjective for each label that is asked about; without it labels stand for themselves.
    `contrasts` are the pairs of emotions that are told apart; without them all pairs.
    """

    name: str = Field("mini", pattern=r"^[a-z0-9-]+$")
    corpus: str | None = None
    topics: tuple[Topic, ...] = ()
    emotions: dict[str, str] = Field(default_factory=dict)
    contrasts: tuple[tuple[str, str], ...] = ()
    sets: Sets = Sets()
    seed: int = Field(1, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> MiniRecipe:
        said = [topic.transcript for topic in self.topics]
        about = [topic.about for topic in self.topics]
        if len(set(said)) != len(said) or len(set(about)) != len(about):
            raise ValueError("two topics have the same sentence or the same words")
        for pair in self.contrasts:
            if pair[0] == pair[1] or (self.emotions and not set(pair) <= set(self.emotions)):
                raise ValueError(f"{pair} are not two of the emotions")
        return self


def read_recipe(path: str | Path) -> MiniRecipe:
    """From a YAML file. Raises `RecipeError`."""
    recipe: MiniRecipe = parse_config(MiniRecipe, read_yaml(path), where=path)
    return recipe
