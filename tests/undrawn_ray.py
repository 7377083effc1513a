"""Ray and Ray Tune, imported so that this process may be forked."""

import os
from types import SimpleNamespace

import ray
from ray import actor

# ray.data draws a random number of Ray's for an actor's class. All processes that are forked afterwards would draw the same
# numbers after it, and workers, objects and leases of theirs would be taken for each other.
_drawn = actor.ActorClassID
actor.ActorClassID = SimpleNamespace(from_random=lambda: _drawn(os.urandom(_drawn.size())))
import ray.tune  # noqa: E402

actor.ActorClassID = _drawn


def random_identity() -> bytes:
    return ray.ObjectID.from_random().binary()
