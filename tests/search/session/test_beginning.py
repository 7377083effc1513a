"""How a study begins: anew, from its journal, or from another search's; and what it refuses."""

import pytest

from search.config_errors import ConfigError
from search.deciding.space import CellSpace, PointwiseConvs
from search.journal.events import SearchOpened
from search.journal.folder import JOURNAL, open_search
from search.journal.journal import Journal
from search.journal.study import Study
from search.session.beginning import Beginning
from search.views.report.searched import searched
from tests.search.journal.studies import plan, run

BEGUN = {
    "scoring_code": "0ld",
    "search_code": "same",
    "proxy": {"rungs": [10, 20, 40], "eval_batch_size": 8},
    "seed": 0,
    "deterministic": False,
    "window": 16,
}


def searched_in(folder, changes=(), **options):
    """A whole search that is begun so, its trials evaluated here."""
    opened = SearchOpened(folder.name, BEGUN | dict(changes), {"from": "parent"}, 0.0)
    beginning = Beginning(plan=plan(6), opened=opened, cure="another name=...", **options)
    with Journal(folder / JOURNAL) as journal:
        record, opened = beginning.begin(journal)
        run(Study(journal, record, beginning.plan, opened))
    return open_search(folder).record


@pytest.mark.parametrize("changes", [{"proxy": BEGUN["proxy"] | {"eval_batch_size": 1}}, {"window": 64}], ids=str)
def test_what_changes_no_result_may_change_under_one_name(tmp_path, changes):
    searched_in(tmp_path)
    assert searched_in(tmp_path, changes).num_ended == 6


def test_a_window_that_decides_may_not(tmp_path):
    searched_in(tmp_path, {"deterministic": True})
    with pytest.raises(ConfigError, match="window was 16 and is 64"):
        searched_in(tmp_path, {"deterministic": True, "window": 64})


def test_other_code_is_refused_with_the_way_on_until_somebody_says_that_it_changes_no_result(tmp_path):
    searched_in(tmp_path)
    with pytest.raises(ConfigError, match=r"scoring_code was 0ld and is new.*accept=\[scoring_code\]\."):
        searched_in(tmp_path, {"scoring_code": "new"})
    accepted = searched_in(tmp_path, {"scoring_code": "new"}, accept=["scoring_code"])
    assert accepted.accepted == {"scoring_code": ("0ld", "new")}
    facts = {fact.label: fact.text for fact in searched(accepted.opened, accepted.accepted)}
    assert facts["Changes of code that were accepted"] == "scoring_code from 0ld to new"
    assert searched_in(tmp_path, {"scoring_code": "new"}).accepted == accepted.accepted
    with pytest.raises(ConfigError, match="scoring_code was new and is 0ld"):
        searched_in(tmp_path)


def test_settings_are_not_accepted_with_the_code(tmp_path):
    searched_in(tmp_path)
    with pytest.raises(ConfigError, match=r"holds a search with other settings \(seed was 0 and is 1\)"):
        searched_in(tmp_path, {"scoring_code": "new", "seed": 1}, accept=["scoring_code"])


@pytest.mark.parametrize("accept", [(), ("scoring_code",)], ids=["", "accepted"])
def test_a_fork_ranks_its_parents_cells_where_their_scoring_code_is_accepted_and_writes_it_down(tmp_path, accept):
    parent = searched_in(tmp_path / "parent")
    child = searched_in(tmp_path / "child", {"scoring_code": "new"}, accept=accept, parent=tmp_path / "parent")
    inherited = [trial for trial in child.trials.values() if trial.source]
    assert len(inherited) == parent.num_ended
    assert {trial.is_comparable for trial in inherited} == {bool(accept)}
    assert child.accepted == ({"scoring_code": ("0ld", "new")} if accept else {})


def test_a_fork_of_cells_none_of_which_is_in_its_space_is_refused(tmp_path):
    searched_in(tmp_path / "parent")
    opened = SearchOpened("child", BEGUN, {"from": "parent"}, 0.0)
    pointwise = plan(6, space=CellSpace(1, {"pointwise": PointwiseConvs()}))
    elsewhere = Beginning(plan=pointwise, opened=opened, cure="", parent=tmp_path / "parent")
    with (
        Journal(tmp_path / "child" / JOURNAL) as journal,
        pytest.raises(ConfigError, match="none of the 6 finished cells of parent"),
    ):
        elsewhere.begin(journal)
