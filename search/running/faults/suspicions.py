"""Whether a fault is its location's or its cell's, told from all that trials have met."""

from collections import Counter

from search.running.faults.diagnosis import Location

MOST_FAULTS = 2
"""Of one location, in trials that went well at another."""


class Suspicions:
    """A fault alone tells nothing: a trial that then goes well elsewhere blames the location, one that fails at several
    locations blames its cell.

    One event may fail all trials of a location: of those that ran there at the time, one counts against it.

    Args:
        most_locations: at so many a trial fails before its cell is to blame.

    Attributes:
        broken: locations that are to blame.
        num_faults: of all locations and trials so far.
    """

    def __init__(self, most_locations: int) -> None:
        self.broken: set[Location] = set()
        self.num_faults = 0
        self._most_locations = most_locations
        self._failed_at: dict[int, set[Location]] = {}
        self._suspected: dict[int, list[Location]] = {}
        self._last: dict[Location, int] = {}
        self._confirmed: Counter[Location] = Counter()

    def add(self, trial: int, location: Location, began: int) -> None:
        """Suspect ``location``, where a trial met a fault, or the trial's cell.

        Args:
            began: ``num_faults`` when the attempt that met it began.
        """
        self.num_faults += 1
        self._failed_at.setdefault(trial, set()).add(location)
        if began >= self._last.get(location, 0):
            self._last[location] = self.num_faults
            self._suspected.setdefault(trial, []).append(location)

    def blames_cell(self, trial: int) -> bool:
        """Whether the trial has failed at too many locations."""
        return len(self._failed_at.get(trial, ())) >= self._most_locations

    def resolve(self, trial: int, location: Location) -> list[Location]:
        """Blame the locations that a trial failed at before it was scored at another; returns those found broken by that."""
        self._failed_at.pop(trial, None)
        for suspected in self._suspected.pop(trial, ()):
            if suspected not in (location, location.whole_node):
                self._confirmed[suspected] += 1
        found = [one for one, faults in self._confirmed.items() if faults >= MOST_FAULTS and one not in self.broken]
        self.broken.update(found)
        return found

    def drop(self, trial: int) -> None:
        """Blame no location for the faults of a trial: it has ended without a score."""
        self._failed_at.pop(trial, None)
        self._suspected.pop(trial, None)

    def clear(self) -> None:
        """Give all locations another chance."""
        self.broken.clear()
        self._failed_at.clear()
        self._suspected.clear()
        self._confirmed.clear()
