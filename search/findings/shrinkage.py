"""What scores are worth under fresh seeds: the best of many is partly luck, and luck does not come twice (empirical Bayes)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

from search.findings.estimates import Estimate

GRID = 120
"""Places that worth may have: from below the lowest score to above the highest."""
MARGIN = 3
"""Standard deviations that it may lie beyond them."""
ROUNDS = 2
"""Of expectation and maximisation. More come nearer to the likeliest distribution, which is a few points, and too sure."""
MOST_ROUNDS = 30
"""Where scores are mostly luck, two leave a distribution that is wider than the scores, and half of the luck in them."""
QUANTILES = 9
"""Values of the noise, equally likely, that its own uncertainty is made of."""
LEARNT = 500
"""Cells, evenly by rank, that the distribution of worth is learnt from at most."""


@dataclass(frozen=True)
class Noise:
    """How much a cell's score differs between seeds, as a standard deviation known from so many degrees of freedom."""

    sd: float
    degrees: int

    def quantile(self, share: float) -> float:
        """What it is below with such a probability, by the chi-square distribution of variances."""
        from scipy.special import chdtri  # noqa: PLC0415  # loaded when a number is asked for

        return self.sd * sqrt(self.degrees / float(chdtri(self.degrees, share)))

    @property
    def estimate(self) -> Estimate:
        """With its 95 % interval."""
        return Estimate(self.sd, self.quantile(0.025), self.quantile(0.975), self.degrees)


class Shrunk:
    """The worth of cells whose scores are known under a few seeds each.

    How worth is distributed over the cells is not assumed but estimated, from an even start by a few rounds of expectation and
    maximisation (Laird and Louis 1991, "smoothing by roughening"): cells of a search pile up below a bound, which a normal
    distribution would not say. Where noise is more than the spread of worth, rounds go on until the distribution is no wider
    than scores are without noise; where it is less, that would be too narrow for the best. Each cell's own distribution follows
    from its score by Bayes' rule, mixed over what the noise may be.

    Args:
        means: each cell's mean score.
        counts: of the seeds that it is the mean of.
    """

    def __init__(self, means: Sequence[float], counts: Sequence[int], noise: Noise) -> None:
        self._means_C = np.asarray(means, float)
        self._grid_G = np.linspace(self._means_C.min() - MARGIN * noise.sd, self._means_C.max() + MARGIN * noise.sd, GRID)
        self._learnt = np.argsort(self._means_C)[:: max(len(means) // LEARNT, 1)]
        seeds_C = np.sqrt(np.asarray(counts, float))
        shares = (np.arange(QUANTILES) + 0.5) / QUANTILES
        posteriors = [self._posterior(noise.quantile(share) / seeds_C) for share in shares]
        self._posterior_CG: npt.NDArray[np.float64] = np.mean(posteriors, axis=0)

    def worth(self, cell: int) -> Estimate:
        """What a cell's score under a fresh seed is expected to be, and where its worth lies with 95 %."""
        weights_G = self._posterior_CG[cell]
        below_G = np.cumsum(weights_G)
        low, high = (float(self._grid_G[min(int(np.searchsorted(below_G, share)), GRID - 1)]) for share in (0.025, 0.975))
        return Estimate(float(weights_G @ self._grid_G), low, high, 1)

    def chance_to_beat(self, cell: int, other: int) -> float:
        """The probability that ``cell`` is worth more than ``other``; equal worth counts half."""
        below_G = np.cumsum(self._posterior_CG[other]) - self._posterior_CG[other] / 2
        return float(self._posterior_CG[cell] @ below_G)

    def _posterior(self, sd_C: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Over the grid, for each cell."""
        distance_CG = (self._means_C[:, None] - self._grid_G) / sd_C[:, None]
        likelihood_CG = np.exp(-0.5 * (distance_CG**2 - (distance_CG**2).min(axis=1, keepdims=True)))
        weights_G = np.full(len(self._grid_G), 1 / len(self._grid_G))
        by_noise = float((sd_C**2).mean())
        by_worth = float(self._means_C.var(ddof=1)) - by_noise
        for done in range(MOST_ROUNDS if by_worth < by_noise else ROUNDS):
            if done >= ROUNDS and self._variance(weights_G) <= by_worth:
                break
            weights_G = _given(likelihood_CG[self._learnt], weights_G).mean(axis=0)
        return _given(likelihood_CG, weights_G)

    def _variance(self, weights_G: npt.NDArray[np.float64]) -> float:
        """Of worth that is distributed so over the grid."""
        return float(weights_G @ (self._grid_G - weights_G @ self._grid_G) ** 2)


def _given(likelihood_CG: npt.NDArray[np.float64], weights_G: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Bayes' rule, cell by cell."""
    posterior_CG = likelihood_CG * weights_G
    return np.asarray(posterior_CG / posterior_CG.sum(axis=1, keepdims=True))
