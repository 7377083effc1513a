"""How many trials there are at once, where a person bounds it."""

from data.system.disk import DiskPatience
from search.deciding.outcomes import Status
from search.journal.journal import Journal
from search.running.attempts import Attempts
from search.running.faults.tolerance import FaultTolerance
from search.running.resources import Resources
from tests.search.journal.studies import open_study, plan


def test_no_more_trials_than_the_bound_are_handed_out_until_one_ends(tmp_path):
    with Journal(tmp_path / "journal.jsonl", patience=DiskPatience()) as journal:
        study = open_study(journal, plan(4))
        attempts = Attempts(study, FaultTolerance(), Resources(), tmp_path, lambda line: None, 2)
        begun = [attempts.next(name) for name in ("a", "b", "c")]
        assert [attempt is not None for attempt in begun] == [True, True, False]
        attempts.fail(0, Status.FAILED, "for the test")
        assert attempts.next("c")["trial"] == 2
        assert attempts.next("d") is None
