"""Early stopping by Ray Tune: every trial is scored at the same iterations, so decisions compare equal rungs."""

from collections.abc import Sequence
from typing import Any

from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    HyperBandForBOHB,
    MedianStoppingRule,
    TrialScheduler,
)

from search.schedulers import Asha, Hyperband, MedianStopping, NoStopping, Scheduler


def build_scheduler(scheduler: Scheduler, rungs: Sequence[int]) -> TrialScheduler:
    """Ray Tune's scheduler for ours. Every trial is scored at the same iterations, so decisions compare equal rungs."""
    match scheduler:
        case Asha(grace_iterations, reduction_factor):
            return _LiveAsha(
                time_attr="iteration",
                max_t=rungs[-1],
                grace_period=min(grace_iterations, rungs[-1]),
                reduction_factor=reduction_factor,
            )
        case Hyperband(reduction_factor):
            return HyperBandForBOHB(  # the plain one halves a bracket before it is full when trials come one by one
                time_attr="training_iteration", max_t=len(rungs), reduction_factor=reduction_factor
            )
        case MedianStopping(grace_iterations, min_trials):
            return _LiveMedianStopping(time_attr="iteration", grace_period=grace_iterations, min_samples_required=min_trials)
        case NoStopping():
            return _LiveFifo()
    raise TypeError(f"no Ray Tune scheduler for {scheduler!r}")


class _LiveFifo(FIFOScheduler):
    """Chooses among live trials only: Tune's own scans every trial ever run, at every event."""

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        live = tune_controller.get_live_trials()
        by_status = {trial.status: trial for trial in reversed(list(live))}
        return by_status.get("PENDING") or by_status.get("PAUSED")


class _LiveAsha(_LiveFifo, AsyncHyperBandScheduler):
    """ASHA that scans live trials only."""


class _LiveMedianStopping(_LiveFifo, MedianStoppingRule):
    """Median stopping that scans live trials only."""
