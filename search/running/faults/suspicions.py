"""Whether a fault is its location's or its cell's, told from all that trials have met."""

from collections import Counter

from search.running.faults.diagnosis import Location

MOST_FAULTS = 2
"""Of one location, in trials that went well at another."""


class Suspicions:
    """A fault alone tells nothing: a trial that then goes well elsewhere blames the location, one that fails at several
    locations blames its cell.

    Args:
        most_locations: at so many a trial fails before its cell is to blame.

    Attributes:
        broken: locations that are to blame.
    """

    def __init__(self, most_locations: int) -> None:
        self.broken: set[Location] = set()
        self._most_locations = most_locations
        self._suspected: dict[int, list[Location]] = {}
        self._confirmed: Counter[Location] = Counter()

    def add(self, trial: int, location: Location) -> None:
        """Suspect ``location``, where a trial met a fault, or the trial's cell."""
        self._suspected.setdefault(trial, []).append(location)

    def blames_cell(self, trial: int) -> bool:
        """Whether the trial has failed at too many locations."""
        return len(set(self._suspected.get(trial, ()))) >= self._most_locations

    def resolve(self, trial: int, location: Location) -> list[Location]:
        """Blame the locations that a trial failed at before it was scored at another; returns those found broken by that."""
        for suspected in self._suspected.pop(trial, ()):
            if suspected not in (location, location.whole_node):
                self._confirmed[suspected] += 1
        found = [one for one, faults in self._confirmed.items() if faults >= MOST_FAULTS and one not in self.broken]
        self.broken.update(found)
        return found

    def drop(self, trial: int) -> None:
        """Blame no location for the faults of a trial: it has ended without a score."""
        self._suspected.pop(trial, None)

    def clear(self) -> None:
        """Give all locations another chance."""
        self.broken.clear()
        self._suspected.clear()
        self._confirmed.clear()
