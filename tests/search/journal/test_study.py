"""A search without Ray: what is proposed, journalled, decided and resumed."""

import json
import re
import subprocess
import zlib
from dataclasses import replace
from random import Random

import pytest

from data.system.errors import UserError
from models.cost import CellCost
from search.deciding.algorithms.base import proposal_seed
from search.deciding.algorithms.evolution import RegularizedEvolution
from search.deciding.algorithms.predictor import Predictor
from search.deciding.algorithms.uniform import Uniform
from search.deciding.budget import Budget
from search.deciding.outcomes import Finished, Status
from search.deciding.schedulers import Asha, NoStopping
from search.deciding.space import AtrousConvs, CellSpace
from search.findings.anytime import anytime
from search.findings.course import course
from search.journal.events import CellProposed, RungReached, SearchClosed, TrialEnded, TrialInherited, TrialsReopened
from search.journal.journal import Journal
from search.journal.lines import JournalError, read_events
from search.journal.record import SearchRecord
from search.journal.replay import replay
from search.journal.resumed import to_resume
from search.journal.study import Study
from tests.search.journal.studies import OPENED, RUNGS, SPACE, journalled, open_study, plan, run, score, table
from training.score import RungScore


@pytest.mark.parametrize("die_after", [0, 1, 2, 3, 9, 14])
def test_a_search_cut_anywhere_goes_on_to_the_same_table(tmp_path, die_after):
    journalled(tmp_path / "whole.jsonl", plan(10))
    journalled(tmp_path / "cut.jsonl", plan(10), die_after=die_after)
    assert journalled(tmp_path / "cut.jsonl", plan(10)).is_complete
    assert table(tmp_path / "cut.jsonl") == table(tmp_path / "whole.jsonl")


def test_a_deterministic_search_has_one_table_whatever_the_timing_and_however_often_it_is_cut(tmp_path):
    of_plan = plan(40, window=6)
    journalled(tmp_path / "one.jsonl", of_plan)
    expected = table(tmp_path / "one.jsonl")
    for seed in range(5):
        path = tmp_path / f"{seed}.jsonl"
        timing = Random(seed)
        while not journalled(path, of_plan, timing=timing, slots=5, die_after=timing.randrange(2, 40)).is_complete:
            pass
        assert table(path) == expected
    statuses = {status for _, status, _ in expected.values()}
    assert statuses == {Status.COMPLETED, Status.STOPPED}


def test_repeats_follow_when_all_cells_are_scored_and_train_through_under_another_seed(tmp_path):
    record = journalled(tmp_path / "journal.jsonl", plan(20, repeats=3), timing=Random(0), slots=4).record
    assert [*record.repeats] == [20, 21, 22]
    for again in record.repeats.values():
        first = record.trials[again.proposed.repeats]
        assert (again.cell, again.status, len(again.rungs)) == (first.cell, Status.COMPLETED, len(RUNGS))
        assert again.proposed.seed != first.proposed.seed
        assert first.status == Status.COMPLETED
    assert len({again.cell.digest for again in record.repeats.values()}) == 3
    assert (record.num_proposed, record.num_ended, record.closed.reason) == (20, 20, "20 trials, 3 of them scored twice")
    assert len(record.ranked()) == len(record.finished) == record.ends.total() == 20


def test_a_search_whose_repeats_were_cut_goes_on_to_the_same_table_and_its_replay_agrees(tmp_path):
    of_plan = plan(12, window=4, repeats=3)
    journalled(tmp_path / "whole.jsonl", of_plan)
    for seed in range(4):
        path, timing = tmp_path / f"{seed}.jsonl", Random(seed)
        while not journalled(path, of_plan, timing=timing, slots=3, die_after=timing.randrange(3, 12)).is_complete:
            pass
        assert table(path) == table(tmp_path / "whole.jsonl")
    events, _ = read_events(tmp_path / "whole.jsonl")
    assert replay(events, of_plan).differences == ()
    moved = [replace(event, repeats=0) if getattr(event, "repeats", None) else event for event in events]
    assert any("repeated trial 0, now trial" in text for text in replay(moved, of_plan).differences)


@pytest.mark.parametrize("window", [None, 4])
def test_repeats_change_no_proposal_of_a_search_that_goes_on_after_them(tmp_path, window):
    """But for the numbers of its trials, from which their seeds follow."""
    path = tmp_path / "journal.jsonl"
    journalled(path, plan(10, window=window, repeats=2))
    record = journalled(path, plan(16, window=window, repeats=2)).record
    assert (record.num_ended, len(record.repeats)) == (16, 2)
    assert len({trial.cell.digest for trial in record.finished}) == 16
    assert replay(read_events(path)[0], plan(16, window=window, repeats=2)).differences == ()


def test_a_finished_search_can_be_given_repeats_later_and_where_nothing_completed_there_are_none(tmp_path):
    path = tmp_path / "journal.jsonl"
    assert not journalled(path, plan(6)).record.repeats
    assert len(journalled(path, plan(6, repeats=2)).record.repeats) == 2
    with Journal(tmp_path / "failing.jsonl") as journal:
        study = open_study(journal, plan(2, repeats=2))
        while (proposed := study.propose()) is not None:
            study.failed(proposed.trial, Status.FAILED, "for the test")
        study.close()
    assert study.is_complete
    assert not study.record.repeats


def test_without_it_the_table_depends_on_timing_or_the_test_above_would_show_nothing(tmp_path):
    tables = []
    for seed in range(3):
        journalled(tmp_path / f"{seed}.jsonl", plan(40), timing=Random(seed), slots=5)
        tables.append(table(tmp_path / f"{seed}.jsonl"))
    assert tables[0] != tables[1] or tables[0] != tables[2]


LARGE = CellSpace(4, {"atrous": AtrousConvs([1, 3, 6, 9, 12, 15, 18, 21])})


@pytest.mark.parametrize("window", [None, 6])
def test_replaying_a_journal_reproduces_each_proposal_and_each_decision(tmp_path, window):
    of_plan, path, timing = plan(40, window=window), tmp_path / "journal.jsonl", Random(0)
    while not journalled(path, of_plan, timing=timing, slots=5, die_after=25).is_complete:
        pass
    events, _ = read_events(path)
    replayed = replay(events, of_plan)
    assert replayed.proposals == 40
    assert replayed.decisions == sum(isinstance(event, RungReached) for event in events)
    assert replayed.differences == ()


def test_a_replay_under_another_plan_says_what_differs(tmp_path):
    path = tmp_path / "journal.jsonl"
    journalled(path, plan(20))
    events, _ = read_events(path)
    differences = replay(events, replace(plan(20), seed=1, scheduler=Asha(40))).differences
    assert any(difference.startswith("trial 0: proposed ") for difference in differences)
    assert any("at rung 1 it was stopped" in difference for difference in differences)


def test_a_trial_that_had_its_last_score_but_not_its_end_is_ended_and_not_run_again(tmp_path):
    path = tmp_path / "journal.jsonl"
    journalled(path, plan(2))
    lines = path.read_bytes().splitlines(keepends=True)
    last_score = max(index for index, line in enumerate(lines) if b'"rung_reached"' in line)
    path.write_bytes(b"".join(lines[: last_score + 1]))
    with Journal(path) as journal:
        study = open_study(journal, plan(2))
        assert study.propose() is None
        assert study.record.num_ended == 2


def test_an_interrupted_trial_comes_first_under_its_number_and_its_rungs_count_once(tmp_path):
    journalled(tmp_path / "journal.jsonl", plan(5), die_after=1)
    with Journal(tmp_path / "journal.jsonl") as journal:
        study = open_study(journal, plan(5))
        proposed = study.propose()
        assert proposed is not None
        assert proposed.trial == 0
        assert study.reached(0, score(proposed.cell, 1))
        assert len(study.record.trials[0].rungs) == 1


def test_seconds_of_a_trial_count_across_interruptions_also_where_its_clock_begins_anew(tmp_path):
    for lives in range(3):
        with Journal(tmp_path / "j") as journal:
            study = open_study(journal, replace(plan(1), scheduler=NoStopping()))
            trial = study.propose()
            for rung in range(1, lives + 2):
                is_told_again = rung <= lives
                study.reached(trial.trial, replace(score(trial.cell, rung), elapsed_s=0.1 if is_told_again else 5.1))
    (record,) = study.record.trials.values()
    assert [rung.elapsed_s for rung in record.rungs] == pytest.approx([5.1, 10.1, 15.1])
    assert record.ended.elapsed_s == pytest.approx(15.1)


def test_seconds_of_a_trial_that_was_opened_again_are_those_of_its_new_training(tmp_path):
    path, of_plan = tmp_path / "journal.jsonl", replace(plan(1), scheduler=NoStopping())
    with Journal(path) as journal:
        study = open_study(journal, of_plan)
        cell = study.propose().cell
        study.reached(0, replace(score(cell, 1), elapsed_s=100.0))
        study.failed(0, Status.FAILED, "no room")
    with Journal(path) as journal:
        open_study(journal, of_plan, retry_failed=True).failed(0, Status.FAILED, "no room at once")
    with Journal(path) as journal:
        study = open_study(journal, of_plan, retry_failed=True)
        study.propose()
        for rung, elapsed_s in enumerate((25.0, 50.0, 100.0), start=1):
            study.reached(0, replace(score(cell, rung), elapsed_s=elapsed_s))
    events, _ = read_events(path)
    assert [event.elapsed_s for event in events if isinstance(event, TrialEnded)] == [100.0, 0.0, 100.0]
    assert 3600 * anytime(events).hours[-1] == course(events, study.record).trial_s == 200.0


def test_raising_the_number_of_trials_goes_on(tmp_path):
    for trials in (4, 7):
        study = journalled(tmp_path / "journal.jsonl", plan(trials))
        assert study.is_complete
        assert study.record.num_ended == trials


def test_a_search_that_is_given_fewer_trials_than_it_has_says_how_many_it_has(tmp_path):
    for trials in (6, 3):
        study = journalled(tmp_path / "journal.jsonl", plan(trials))
    assert study.record.closed.reason == "6 trials"


def test_a_reason_with_bytes_of_a_file_name_that_are_no_text_can_be_written_and_printed(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        study = open_study(journal, plan(1))
        study.failed(study.propose().trial, Status.FAILED, "bad label in caf\udce9.png")
    (ended,) = [event for event in read_events(tmp_path / "journal.jsonl")[0] if isinstance(event, TrialEnded)]
    assert ended.reason.encode() == "bad label in caf\N{REPLACEMENT CHARACTER}.png".encode()


def test_a_tiny_space_ends_complete_and_says_that_it_is_exhausted(tmp_path):
    space = CellSpace(1, {"atrous": AtrousConvs([1, 6])})
    study = journalled(tmp_path / "journal.jsonl", plan(100, space))
    events, _ = read_events(tmp_path / "journal.jsonl")
    assert study.record.num_ended == 4
    assert isinstance(events[-1], SearchClosed)
    assert "all 4 different cells" in events[-1].reason


def test_a_cell_over_the_budget_is_never_proposed(tmp_path):
    def cost_of(cell):
        params = sum(branch.operator.to_json()["kernel"] for branch in cell.branches)
        return CellCost(params, params, params, params)

    of_plan = replace(plan(60), cost_of=cost_of, budget=Budget(params=5))
    study = journalled(tmp_path / "journal.jsonl", of_plan)
    assert study.is_complete
    assert {cost_of(trial.cell).params for trial in study.record.trials.values()} == {3, 5}


def test_an_event_is_in_the_journal_before_anyone_is_told(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:

        def is_on_disk(event):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            assert any(line["time_s"] == event.time_s for line in lines)

        run(Study(journal, SearchRecord(), plan(3), OPENED, on_event=is_on_disk))


def test_a_trial_that_hangs_or_waits_for_memory_does_not_turn_a_search_into_a_random_one(tmp_path):
    """Evolution and predictor learn from settled trials; one early trial never ends here while 150 others do."""
    for algorithm in (RegularizedEvolution(20, 10), Predictor(num_initial=20)):
        with Journal(tmp_path / f"{type(algorithm).__name__}.jsonl") as journal:
            study = open_study(journal, replace(plan(150, space=LARGE), algorithm=algorithm, scheduler=NoStopping()))
            hung = study.propose()
            run(study, slots=3)
        late = [trial.cell for trial in study.record.trials.values() if trial.number > 100]
        uniform = [next(Uniform().propose(LARGE, Finished(), (), Random(proposal_seed(0, n)))) for n in range(101, 150)]
        assert not study.record.trials[hung.trial].ended
        assert len({cell.canonical().digest for cell in uniform} & {cell.digest for cell in late}) < 10


@pytest.mark.parametrize(("field", "value"), [("miou", 75.0), ("miou", float("nan")), ("loss", float("inf"))])
def test_a_score_that_is_none_is_refused_where_it_is_made(field, value):
    with pytest.raises(ValueError, match=f"RungScore: {field} must be"):
        replace(RungScore(1, 10, 0.5, 1.0, 1.0), **{field: value})


def test_a_journal_that_an_older_version_wrote_such_a_score_into_names_the_line_and_the_way_on(tmp_path):
    journalled(tmp_path / "journal.jsonl", plan(2))
    lines = (tmp_path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    poisoned = next(index for index, line in enumerate(lines) if b"rung_reached" in line)
    body = json.loads(lines[poisoned])
    body.pop("crc32")
    text = json.dumps(body | {"miou": 75.0})
    lines[poisoned] = f'{text[:-1]}, "crc32": "{zlib.crc32(text.encode()):08x}"}}\n'.encode()
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines))
    way_on = rf"line {poisoned + 1} .*miou must be from 0 to 1, got 75.0.* after `sed -i '{poisoned + 1},\$d' "
    with pytest.raises(JournalError, match=way_on) as refused:
        Journal(tmp_path / "journal.jsonl")
    (cure,) = re.findall("`(.*)`", str(refused.value))
    subprocess.run(cure, shell=True, check=True)
    assert journalled(tmp_path / "journal.jsonl", plan(2)).is_complete


def test_paired_trainings_have_the_seed_of_the_study_and_others_one_of_their_cell(tmp_path):
    for paired in (True, False):
        with Journal(tmp_path / f"{paired}.jsonl") as journal:
            study = open_study(journal, plan(4, paired=paired))
            run(study)
            seeds = {trial.proposed.seed for trial in study.record.trials.values()}
        assert seeds == {0} if paired else len(seeds) == 4


def test_a_search_whose_trials_all_fail_alike_begins_no_more_of_them_and_goes_on_when_it_is_resumed(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        study = open_study(journal, plan(20), give_up_after=3)
        for attempt in range(3):
            study.failed(study.propose().trial, Status.FAILED, f"no such folder /data, process {attempt}")
        assert study.trouble == "no such folder /data, process 2"
        assert study.propose() is None
        study.close()
        assert not study.is_complete
    with Journal(tmp_path / "journal.jsonl") as journal:
        study = open_study(journal, plan(20), give_up_after=3)
        run(study)
        assert study.is_complete
        assert study.record.num_ended == 20


def test_failures_that_differ_and_cells_that_score_between_them_are_no_reason_to_stop(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        study = open_study(journal, plan(40), give_up_after=2)
        for reason in ("no memory", "no disk", "no memory"):
            study.failed(study.propose().trial, Status.FAILED, reason)
        for _ in range(4):
            study.failed(study.propose().trial, Status.FAILED, "no luck")
            proposed = study.propose()
            study.reached(proposed.trial, score(proposed.cell, 1))
        assert not study.trouble


def fail_third(study):
    """Every third trial fails, some of them after their first rung."""
    while (proposed := study.propose()) is not None:
        number = proposed.trial
        if number % 3 == 0:
            if number % 2 == 0:
                study.reached(number, score(proposed.cell, 1))
            if study.record.trials[number].status == "running":
                study.failed(number, Status.FAILED, "no such folder /data")
            continue
        rung = 1
        while study.reached(number, score(proposed.cell, rung)):
            rung += 1
    study.close()


@pytest.mark.parametrize("window", [None, 6])
def test_failed_trials_are_tried_again_when_asked_and_the_whole_journal_replays(tmp_path, window):
    path, of_plan = tmp_path / "journal.jsonl", plan(24, window=window)
    with Journal(path) as journal:
        study = open_study(journal, of_plan)
        fail_third(study)
        failed = study.record.failed
        assert len(failed) > 4
        assert study.is_complete
    assert journalled(path, of_plan).record.failed == failed  # unless asked
    with Journal(path) as journal:
        study = open_study(journal, of_plan, retry_failed=True)
        assert not study.is_complete
        assert (study.record.num_ended, study.record.num_proposed) == (24 - len(failed), 24)
        assert study.propose().trial == failed[0]
    more = plan(40, window=window)
    with Journal(path) as journal:  # it was killed: they stay open without being asked for again
        study = open_study(journal, more)
        run(study, timing=Random(1), slots=4)
        assert study.is_complete
        assert study.record.ends[Status.FAILED] == 0
        assert len(study.record.ranked()) == study.record.num_ended == 40
        assert all(trial.miou is not None for trial in study.record.ranked())
    events, _ = read_events(path)
    replayed = replay(events, more)
    assert (replayed.proposals, replayed.differences) == (40, ())


def failed_after_its_first_rung(path):
    """The only cell of a search of one trial."""
    with Journal(path) as journal:
        study = open_study(journal, plan(1))
        cell = study.propose().cell
        study.reached(0, score(cell, 1))
        study.failed(0, Status.FAILED, "no space")
    return cell


def test_a_trial_that_is_tried_again_keeps_the_rungs_that_it_reached(tmp_path):
    path = tmp_path / "journal.jsonl"
    cell = failed_after_its_first_rung(path)
    with Journal(path) as journal:
        study = open_study(journal, plan(1), retry_failed=True)
        assert study.propose().cell == cell
        for rung in (1, 2, 3):
            study.reached(0, score(cell, rung))
        study.close()
    events, _ = read_events(path)
    assert [event.rung for event in events if isinstance(event, RungReached)] == [1, 2, 3]
    assert [event.trials for event in events if isinstance(event, TrialsReopened)] == [(0,)]
    assert [event.status for event in events if isinstance(event, TrialEnded)] == [Status.FAILED, Status.COMPLETED]


@pytest.mark.parametrize("window", [None, 6])
def test_a_trial_that_was_stopped_or_failed_goes_on_to_the_full_budget_when_asked_and_the_journal_replays(tmp_path, window):
    path, of_plan = tmp_path / "journal.jsonl", plan(24, window=window)
    with Journal(path) as journal:
        study = open_study(journal, of_plan)
        fail_third(study)
        stopped = next(number for number, trial in study.record.trials.items() if trial.status == Status.STOPPED)
        failed = study.record.failed[0]
        before = {number: list(trial.rungs) for number, trial in study.record.trials.items()}
    with Journal(path) as journal:
        study = open_study(journal, of_plan, resume=to_resume(study.record, [failed, study.record.trials[stopped].cell.digest]))
        assert not study.is_complete
        assert {study.propose().trial, study.propose().trial} == {stopped, failed}
    more = plan(40, window=window)
    with Journal(path) as journal:  # it was killed: they still go on, and nobody stops them
        study = open_study(journal, more)
        run(study, timing=Random(1), slots=4)
        record = study.record
        assert study.is_complete
        for number in (stopped, failed):
            assert record.trials[number].status == Status.COMPLETED
            assert record.trials[number].rungs[: len(before[number])] == before[number]
            assert len(record.trials[number].rungs) == len(RUNGS)
        assert "resumed to the full budget" in {rung.reason for rung in record.trials[stopped].rungs}
        assert to_resume(record, [stopped, failed]) == []
    replayed = replay(read_events(path)[0], more)
    assert (replayed.proposals, replayed.differences) == (40, ())


def test_a_resumed_trial_that_had_its_last_score_before_a_kill_is_ended_and_not_run_again(tmp_path):
    path = tmp_path / "journal.jsonl"
    cell = failed_after_its_first_rung(path)
    with Journal(path) as journal:
        study = open_study(journal, plan(1), resume=[0])
        study.reached(0, score(cell, 2))
        study.reached(0, score(cell, 3))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    with Journal(path) as journal:
        study = open_study(journal, plan(1))
        assert study.propose() is None
        assert study.record.trials[0].status == Status.COMPLETED


def test_what_cannot_go_on_is_said_by_its_name(tmp_path):
    with Journal(tmp_path / "j") as journal:
        study = open_study(journal, plan(2))
        cell = study.propose().cell
        study.failed(0, Status.DIVERGED, "nan")
        study.propose()
        for name, said in {
            0: "trial 0 diverged, and would do so again under its seed",
            cell.digest: f"trial {cell.digest} diverged",
            1: "trial 1 is still running",
            9: "trial 9: there is none",
        }.items():
            with pytest.raises(UserError, match=f"resume: {said}"):
                to_resume(study.record, [name])
    rungs = ((10, 0.5, 1.0, 1.0),)
    inherited = TrialInherited(0, "parent", True, SPACE.sample(Random(0)), 0, 1, 1, rungs, Status.STOPPED, "", 1.0, 1.0)
    with pytest.raises(UserError, match="resume: trial 0 was trained by parent; resume it there"):
        to_resume(SearchRecord([OPENED, inherited]), [0])


def test_a_cell_that_was_scored_twice_is_named_by_its_first_trial(tmp_path):
    study = journalled(tmp_path / "j", plan(1, repeats=1))
    assert to_resume(study.record, [study.record.trials[0].cell.digest]) == []
    with pytest.raises(UserError, match="resume: trial 1: repeats another trial's cell, and is never stopped early"):
        to_resume(study.record, [1])


def test_a_trial_that_has_not_ended_cannot_be_tried_again(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        open_study(journal, plan(2)).propose()
        journal.append(TrialsReopened((0,), 1.0))
    with pytest.raises(JournalError, match="line 3 tries trial 0 again, which has not ended"):
        read_events(path)


def test_trials_that_trouble_leaves_behind_keep_no_search_from_ending(tmp_path):
    with Journal(tmp_path / "j") as journal:
        study = open_study(journal, plan(20))
        for _ in range(5):
            study.propose()
    with Journal(tmp_path / "j") as journal:
        study = open_study(journal, plan(20), give_up_after=2)
        for _ in range(2):
            study.failed(study.propose().trial, Status.FAILED, "the disk is not mounted")
        assert study.trouble
        assert study.is_over
        study.close()
        assert not study.is_complete


def test_a_study_that_is_stopped_hands_out_no_more_and_is_not_complete(tmp_path):
    with Journal(tmp_path / "j") as journal:
        study = open_study(journal, plan(20))
        running = study.propose()
        study.stop("enough")
        assert study.propose() is None
        assert not study.is_over
        study.failed(running.trial, Status.DIVERGED, "")
        study.close()
        assert (study.is_over, study.is_complete) == (True, False)
    with Journal(tmp_path / "j") as journal:
        study = open_study(journal, plan(20))
        run(study)
        assert study.is_complete


def test_a_study_that_is_stopped_with_its_last_trial_is_complete(tmp_path):
    def stop(study, event):
        if study.record.num_ended == 5:
            study.stop("the time is up")

    with Journal(tmp_path / "j") as journal:
        study = open_study(journal, plan(5), callbacks=[stop])
        run(study)
        assert (study.stopped, study.is_complete) == ("the time is up", True)
    with Journal(tmp_path / "repeats") as journal:
        study = open_study(journal, plan(5, repeats=1), callbacks=[stop])
        run(study)
        assert (study.is_over, study.is_complete) == (True, False)


@pytest.mark.parametrize("window", [None, 3])
def test_cells_that_come_first_are_proposed_in_their_order_and_the_journal_replays(tmp_path, window):
    first = [SPACE.sample(Random(number)) for number in range(4)]
    of_plan = plan(12, first=first, window=window)
    journalled(tmp_path / "j", of_plan)
    events, _ = read_events(tmp_path / "j")
    assert [event.cell.digest for event in events if isinstance(event, CellProposed)][:4] == [one.digest for one in first]
    assert replay(events, of_plan).differences == ()
    assert "trial 0: proposed" in replay(events, plan(12, window=window)).differences[0]


def test_a_trial_that_goes_on_to_the_full_budget_does_so_where_it_failed_on_the_way(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        run(open_study(journal, plan(30)))
    stopped = next(
        number for number, trial in SearchRecord(read_events(path)[0]).trials.items() if trial.status == Status.STOPPED
    )
    with Journal(path) as journal:
        study = open_study(journal, plan(30), resume=[stopped])
        assert study.propose().trial == stopped
        study.failed(stopped, Status.FAILED, "out of memory")
    with Journal(path) as journal:
        study = open_study(journal, plan(30), retry_failed=True)
        run(study)
        assert study.record.trials[stopped].status == Status.COMPLETED
