"""A recorded table, continued to every cell of its space by a regression."""

from collections.abc import Sequence
from random import Random

import numpy as np
import numpy.typing as npt

from models.spec import CellSpec
from search.deciding.algorithms.predictor import encode_paths
from search.deciding.policy import Plan
from search.simulation.recorded import RecordedTable
from training.score import RungScore

TREES = 100
FOLDS = 5


class SurrogateTable:
    """Scores by a random forest (Breiman 2001) over cells' paths, and noise between seeds as in the table.

    NAS-Bench-301 (Zela et al. 2022) continues its table likewise. What the forest cannot tell is smoothed away: like cells
    differ less than they do. How far early scores are from last ones is drawn from the errors for cells that it did not see.

    Args:
        noise: standard deviation of a cell's last score between seeds.

    Attributes:
        recorded, predicted: the cells' last scores, and those of forests that did not see them (cross-validation).
    """

    def __init__(self, table: RecordedTable, noise: float) -> None:
        from sklearn.ensemble import RandomForestRegressor  # noqa: PLC0415  # half a second
        from sklearn.model_selection import KFold, cross_val_predict  # noqa: PLC0415

        self.rungs, self.noise = table.rungs, noise
        encoded = encode_paths(table.cells)
        trials = [table.recorded(cell) for cell in table.cells]
        mious_CR = np.array([np.mean([[rung.miou for rung in one.rungs] for one in of_cell], axis=0) for of_cell in trials])
        forest = RandomForestRegressor(TREES, min_samples_leaf=2, max_features=0.3, random_state=0, n_jobs=1)
        folds = KFold(min(FOLDS, len(table.cells)), shuffle=True, random_state=0)
        wanted = mious_CR if len(self.rungs) > 1 else mious_CR[:, 0]
        predicted_CR = cross_val_predict(forest, encoded, wanted, cv=folds).reshape(mious_CR.shape)
        self.recorded: Sequence[float] = mious_CR[:, -1].tolist()
        self.predicted: Sequence[float] = predicted_CR[:, -1].tolist()
        errors_CR = mious_CR - predicted_CR
        self._early_errors_CR = errors_CR - errors_CR[:, -1:]
        self._trees = [tree.tree_ for tree in forest.fit(encoded, wanted).estimators_]
        self._elapsed_s = np.mean([[rung.elapsed_s for rung in of_cell[0].rungs] for of_cell in trials], axis=0)
        self._known: dict[str, npt.NDArray[np.float64]] = {}

    def quality(self, cell: CellSpec) -> float:
        """The forest's prediction of the last score."""
        return float(self._predicted(cell)[-1])

    def scores(self, cell: CellSpec, seed: int) -> list[RungScore]:
        """Predictions, with the luck of a seed."""
        rng = Random(f"surrogate {seed}")
        luck = rng.gauss(0, self.noise) + rng.choice(self._early_errors_CR)
        mious = np.clip(self._predicted(cell) + luck, 0.0, 1.0)
        return [
            RungScore(rung, iteration, float(miou), 1.0, float(elapsed_s))
            for rung, (iteration, miou, elapsed_s) in enumerate(zip(self.rungs, mious, self._elapsed_s, strict=True), start=1)
        ]

    def searched_by(self, plan: Plan) -> Plan:
        """Every cell has a score, so the plan is as it was."""
        return plan

    def _predicted(self, cell: CellSpec) -> npt.NDArray[np.float64]:
        if cell.digest not in self._known:  # by the trees themselves: the forest's own checks take ten times as long
            encoded = encode_paths([cell])
            self._known[cell.digest] = np.mean([tree.predict(encoded) for tree in self._trees], axis=0).reshape(-1)
        return self._known[cell.digest]
