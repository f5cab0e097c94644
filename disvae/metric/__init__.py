"""Metrics: numbers that say what codes know of the factors, or what a model's q(z) is like; rows are samples."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from disvae.statistics.chance import simulated
from disvae.statistics.checked_codes import checked

if TYPE_CHECKING:
    from disvae.encoding import Encoding


class NotApplicable(ValueError):
    """An error for a metric that does not suit this model or these data, with which nothing is wrong."""


class Metric(ABC):
    """A score of codes (N, D), against factors (N, K) if it reads them: numpy arrays from any model.

    A name with a slash is a detail of the score before it (`histogram/posX` of `histogram`). A score may come with its
    standard error `NAME_se`; for other scores the caller can compute one from random halves. Codes that say nothing
    score 0. Higher is better unless the metric's YAML says otherwise: `better: {jemmig: lower, count: neither}`. A
    metric that reads no factors has `factors = 0` here and `unsupervised: true` in its YAML.
    """

    factors: ClassVar[int] = 2
    """The fewest factors it reads: 0 for codes alone, 1 for labels, 2 where factors are told from one another."""

    samples: ClassVar[int] = 100
    """The fewest rows that give a score."""

    labels: ClassVar[bool] = False
    """True if it is meant for one factor, the class; with several it is computed only when asked for by name."""

    slow: bool = False
    """True if it takes minutes rather than seconds; it is then computed only when asked for by name."""

    chance_rows: ClassVar[int] = 200_000
    """How many rows of random codes the chance level is simulated with; fewer for a slow score."""

    def __call__(
        self, codes: np.ndarray, factors: np.ndarray | None = None, *, seed: int = 0, names: Sequence[str] = ()
    ) -> dict[str, float]:
        """Return the scores; `names` are the factors' names, by default their numbers.

        Raises:
            ValueError: no score can be had from such codes or factors; the message says what is needed and what was
                given.
        """
        if self.factors == 0:
            factors, names = None, ()  # which need not be classes
        return self.score(*checked(codes, factors, names, self.factors, self.samples), seed)

    def rows(self, N: int, name: str) -> float:
        """Return how many of N rows the score `name` is read from, without rows to learn from and those left out."""
        return N

    @abstractmethod
    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """Return the scores of finite float64 codes (N, D) and int64 factors (N, K), class indices from 0."""

    def chance(self, codes: np.ndarray, factors: np.ndarray) -> dict[str, float]:
        """Return the mean scores, without details, of standard normal codes of this shape, which ignore the factors.

        They are simulated: a level near 0 is known to about a tenth of itself. A metric overrides this if its levels
        are known exactly or if it is too slow for a simulation.
        """
        return simulated(self.score, codes, factors, self.chance_rows)


class ModelMetric(ABC):
    """A score of a model itself: its posteriors, its prior, its likelihood; estimates come with `NAME_se`."""

    needs: ClassVar[tuple[str, ...]] = ("posterior",)
    """The fields of an Encoding that must not be None."""

    variational: ClassVar[bool] = True
    """True if it reads densities of q(z|x) or p(x|z) that mean something only in a model trained by an ELBO."""

    factors: ClassVar[int] = 0
    labels: ClassVar[bool] = False
    slow: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, encoding: "Encoding", *, seed: int = 0) -> dict[str, float]:
        """Return the scores; the global random state is kept.

        Raises:
            NotApplicable: prior or posterior are of the wrong kind; the message says what to type instead.
        """


class RunsMetric(ABC):
    """A score of each run among others like it, from their codes of the same images."""

    slow: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, encodings: "Sequence[Encoding]", *, seed: int = 0) -> list[dict[str, float]]:
        """Return the scores of each encoding, in order.

        Raises:
            ValueError: there are fewer than two encodings, or they are of different images.
        """
