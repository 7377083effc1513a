"""What one trial reserves of a machine."""

from dataclasses import dataclass


class ResourcesError(ValueError):
    """A trial asks for more than any machine has."""


@dataclass(frozen=True, slots=True)
class Resources:
    """CPUs and GPUs of one trial. A fraction of a GPU packs several trials on it."""

    cpu: float = 1.0
    gpu: float = 0.0

    def __post_init__(self) -> None:
        if self.cpu <= 0:
            raise ValueError(f"resources.cpu must be above 0, got {self.cpu}.")
        if self.gpu < 0:
            raise ValueError(f"resources.gpu must be at least 0, got {self.gpu}.")

    def check_fits(self, cpu: float, gpu: float, where: str) -> None:
        """Raise a ResourcesError if a machine with ``cpu`` and ``gpu`` cannot hold one trial."""
        for name, wanted, there in (("cpu", self.cpu, cpu), ("gpu", self.gpu, gpu)):
            if wanted > there:
                raise ResourcesError(f"resources.{name}: a trial asks for {wanted:g}, {where} has {there:g}.")
