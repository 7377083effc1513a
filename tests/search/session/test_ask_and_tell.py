"""``dpc.study``: ask for cells, tell their scores, stop anywhere and go on."""

import errno
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from unittest.mock import Mock

import pytest

import dpc
from search.journal.folder import JOURNAL

SPACE = dpc.CellSpace(2, {"conv": dpc.PointwiseConvs(), "atrous": dpc.AtrousConvs([1, 3, 6])})


def study(folder, **changes):
    return dpc.study(SPACE, **{"rungs": (1, 3), "trials": 12, "output_dir": folder} | changes)


def score_all(study):
    while asked := study.ask():
        worth = int(asked.cell.digest, 16) / 2**64
        if study.tell(asked, worth / 2):
            study.tell(asked, worth)


def search(folder, **changes):
    return dpc.search(SPACE, lambda cell, seed: [], **{"output_dir": folder} | changes)


@pytest.mark.parametrize("begin", [study, search])
@pytest.mark.parametrize("argument", ["output_dir", "latency"])
def test_a_place_in_the_home_of_nobody_is_refused_by_the_name_of_its_argument(tmp_path, begin, argument):
    with pytest.raises(ValueError, match=f"^{argument}: must lie in the home of a user of this machine, got '~no one/x'"):
        begin(tmp_path, **{argument: "~no one/x"})


def test_cells_that_were_asked_for_and_not_told_are_asked_for_again(tmp_path):
    with study(tmp_path) as begun:
        asked, other = begun.ask(), begun.ask()
        assert begun.tell(asked, 0.9)
    with study(tmp_path) as again:
        assert [(one.trial, one.cell, one.seed) for one in (again.ask(), again.ask())] == [
            (one.trial, one.cell, one.seed) for one in (asked, other)
        ]
        assert again.tell(asked, 0.9)  # from its first rung
        assert not again.tell(asked, 0.7)
        assert not again.tell(other, 0.1)
        score_all(again)
        assert again.ask() is None
    assert {row["status"] for row in dpc.leaderboard(dpc.load(tmp_path / "default"))} == {"completed", "stopped"}
    assert '"search_closed"' in (tmp_path / "default" / JOURNAL).read_text()
    assert dpc.load(tmp_path / "default").best.miou == dpc.leaderboard(again.record)[0]["miou"]
    assert (tmp_path / "default" / "best.json").is_file()


def test_a_loss_that_nobody_told_is_absent_from_the_journal_and_none_when_it_is_read(tmp_path):
    with study(tmp_path, trials=2) as begun:
        score_all(begun)
    assert '"rung_reached"' in (tmp_path / "default" / JOURNAL).read_text()
    assert '"loss"' not in (tmp_path / "default" / JOURNAL).read_text()
    assert {rung.loss for trial in dpc.load(tmp_path / "default").trials.values() for rung in trial.rungs} == {None}


def test_a_cell_can_fail_or_diverge_without_a_score(tmp_path):
    with study(tmp_path, trials=2) as begun:
        begun.fail(begun.ask(), "no room\non the node")
        assert not begun.tell(begun.ask(), float("nan"))
    ends = [trial.ended for trial in begun.record.trials.values()]
    assert [(end.status, end.reason) for end in ends] == [
        ("failed", "no room on the node"),
        ("diverged", "the score is not a number"),
    ]


def test_what_is_told_must_be_a_score_of_a_cell_that_was_asked_for(tmp_path):
    with study(tmp_path, scheduler=dpc.NoStopping()) as begun:
        asked = begun.ask()
        with pytest.raises(ValueError, match="a score must be from 0 to 1, got 75; divide a percentage by 100"):
            begun.tell(asked, 75)
        assert [begun.tell(asked, 0.5), begun.tell(asked, 0.5)] == [True, False]
        with pytest.raises(ValueError, match="tell: trial 0 has ended, or was not asked for"):
            begun.tell(asked, 0.5)
        with pytest.raises(ValueError, match="^fail: trial 0 has ended, or was not asked for"):
            begun.fail(asked, "too late")


def test_a_study_that_waits_for_a_score_has_more_and_one_that_is_over_has_not(tmp_path):
    with study(tmp_path, rungs=(1,), window=1, trials=2) as begun:
        asked = begun.ask()
        assert (begun.ask(), begun.has_more) == (None, True)
        begun.tell(asked, 0.5)
        last = begun.ask()
        assert (begun.ask(), begun.has_more) == (None, False)
        begun.tell(last, 0.5)
    with study(tmp_path, rungs=(1,), window=1, trials=2) as again:
        assert not again.has_more


def test_workers_that_wait_in_a_window_score_all_cells(tmp_path):
    def work(begun):
        while begun.has_more:
            if asked := begun.ask():
                time.sleep(0.01)
                begun.tell(asked, 0.5)
            else:
                time.sleep(0.001)

    with study(tmp_path, rungs=(1,), window=2) as begun, ThreadPoolExecutor(4) as workers:
        list(workers.map(work, [begun] * 4))
    assert len(dpc.load(tmp_path / "default").finished) == 12


def test_one_process_at_a_time_has_a_study_and_other_settings_need_another_name(tmp_path):
    with study(tmp_path), pytest.raises(ValueError, match="this search is already running"):
        study(tmp_path)
    with pytest.raises(ValueError, match=r"holds a search with other settings \(seed was 0 and is 1\); choose another name"):
        study(tmp_path, seed=1)
    with study(tmp_path, trials=13):
        pass


def test_a_prior_cell_is_asked_for_first_and_another_one_is_another_study(tmp_path):
    prior = dpc.Prior(SPACE.members[7], strength=3)
    with study(tmp_path, prior=prior) as begun:
        assert begun.ask().cell == prior.cell
        score_all(begun)
    for other in (None, dpc.Prior(SPACE.members[7], strength=4), dpc.Prior(SPACE.members[8], strength=3)):
        with pytest.raises(ValueError, match=r"holds a search with other settings \(prior"):
            study(tmp_path, prior=other)
    with study(tmp_path, prior=prior, trials=13) as again:
        score_all(again)
    with pytest.raises(ValueError, match="prior.cell: this space has cells of 2 branches, got 1"):
        study(tmp_path, prior=dpc.Prior(dpc.CellSpec((dpc.Branch(-1, dpc.Conv1x1()),))))


@dataclass(frozen=True)
class OwnNames:
    """Fields that algorithms of this project have, too, and that say something else here."""

    prior: float = 0.3
    cost: str = "latency_ms"
    attempts: float = 0.5

    def propose(self, space, finished, pending, rng):
        while True:
            yield space.sample(rng)


@pytest.mark.parametrize("prior", [None, dpc.Prior(SPACE.members[7])])
def test_the_fields_of_an_algorithm_of_ones_own_may_be_called_anything(tmp_path, prior):
    with study(tmp_path, algorithm=OwnNames(), prior=prior) as begun:
        score_all(begun)
    assert len(dpc.load(tmp_path / "default").finished) == 12


def test_a_full_disk_loses_nothing_that_is_told_again(tmp_path, monkeypatch):
    with study(tmp_path) as begun:
        asked = begun.ask()
        with monkeypatch.context() as full:
            full.setattr("os.fsync", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
            with pytest.raises(OSError, match="No space left"):
                begun.tell(asked, 0.9)
            with pytest.raises(OSError, match="No space left"):
                begun.fail(asked, "no room")
        assert begun.tell(asked, 0.9)
        assert not begun.tell(asked, 0.8)
    assert [rung.miou for rung in dpc.load(tmp_path / "default").trials[0].rungs] == [0.9, 0.8]


def test_after_an_interrupt_within_a_write_the_study_is_opened_again(tmp_path, monkeypatch):
    with study(tmp_path) as begun:
        asked = begun.ask()
        with monkeypatch.context() as interrupted:
            interrupted.setattr("os.fsync", Mock(side_effect=KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                begun.tell(asked, 0.9)
        with pytest.raises(ValueError, match="open it again"):
            begun.ask()
    with study(tmp_path) as again:
        score_all(again)
    assert len(dpc.load(tmp_path / "default").finished) == 12


def test_threads_may_tell(tmp_path):
    with study(tmp_path, rungs=(1,), trials=60) as begun, ThreadPoolExecutor(20) as threads:
        asked = [begun.ask() for _ in range(60)]
        list(threads.map(begun.tell, asked, [0.5] * 60))
    assert len(dpc.load(tmp_path / "default").finished) == 60


def test_the_search_is_closed_once(tmp_path):
    with study(tmp_path) as begun:
        score_all(begun)
        assert begun.ask() is begun.ask() is None
    assert (tmp_path / "default" / JOURNAL).read_text().count('"search_closed"') == 1
