"""Metric: what codes know of the factors, or what a model's q(z) is like; numbers by name, rows are samples."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from disvae.statistics.chance import simulated
from disvae.statistics.checked_codes import checked

if TYPE_CHECKING:
    from disvae.encoding import Encoding


class NotApplicable(ValueError):
    """This metric is not for this model or these data, and nothing is wrong with either."""


class Metric(ABC):
    """Scores of codes (N, D), against factors (N, K) where it reads them: numpy arrays from any model.

    A name with a slash is a detail of what stands before it (`histogram/posX` of `histogram`). Where no `NAME_se`, the
    standard error, comes with a score, who calls can have one from half-samples. Codes that say nothing score 0.
    Higher is better, but for the scores that the metric's YAML names: `better: {jemmig: lower, count: neither}`. A
    metric that reads no factors has `factors = 0` here and `unsupervised: true` there.
    """

    factors: ClassVar[int] = 2
    """Fewest factors it reads: 0 for codes alone, 1 for labels, 2 where factors are told from one another."""

    samples: ClassVar[int] = 100
    """Fewest rows that give a score."""

    labels: ClassVar[bool] = False
    """Meant for one factor, the class; with several it is computed only when it is asked for by name."""

    slow: bool = False
    """Minutes rather than seconds: computed only when it is asked for by name."""

    chance_rows: ClassVar[int] = 200_000
    """How many rows of random codes the chance level is simulated with: fewer for a score that takes long."""

    def __call__(
        self, codes: np.ndarray, factors: np.ndarray | None = None, *, seed: int = 0, names: Sequence[str] = ()
    ) -> dict[str, float]:
        """The scores; `names` are the factors', numbered where not given.

        Raises:
            ValueError: codes or factors that no score can be had from, naming what was got and what is needed.
        """
        return self.score(*checked(codes, factors, names, self.factors, self.samples), seed)

    def rows(self, N: int, name: str) -> float:
        """How many of N rows the score `name` is read from: fewer where others are learnt from, or where some do."""
        return N

    @abstractmethod
    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """Scores of finite float64 codes (N, D) and factors (N, K) int64, column k in [0, its number of values)."""

    def chance(self, codes: np.ndarray, factors: np.ndarray) -> dict[str, float]:
        """Return the mean undetailed scores of standard normal codes of this shape, which ignore the factors.

        They are simulated: a level near 0 is known to about a tenth of itself. A metric whose levels are known exactly,
        or that is too slow for a simulation, overrides this.
        """
        return simulated(self.score, codes, factors, self.chance_rows)


class ModelMetric(ABC):
    """Scores of a model itself: of its posteriors, its prior, its likelihood. Estimates come with `NAME_se`."""

    needs: ClassVar[tuple[str, ...]] = ("posterior",)
    """What of an Encoding must not be None."""

    factors: ClassVar[int] = 0
    labels: ClassVar[bool] = False
    slow: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, encoding: "Encoding", *, seed: int = 0) -> dict[str, float]:
        """The scores; the random state outside is left as it was found.

        Raises:
            NotApplicable: prior or posterior are of the wrong kind, saying what to type instead.
        """


class RunsMetric(ABC):
    """Scores of each run among others like it, from their codes of the same images."""

    slow: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, encodings: "Sequence[Encoding]", *, seed: int = 0) -> list[dict[str, float]]:
        """The scores of each encoding, in order.

        Raises:
            ValueError: fewer than two encodings, or encodings of different images.
        """
