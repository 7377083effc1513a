"""Which places are held and which nodes avoided, without Ray; tests/search/running/test_attempts.py has it on a cluster."""

import pytest

from search.running.faults import held_places
from search.running.faults.diagnosis import LocalFault, Location
from search.running.faults.held_places import HeldPlaces, Verdict
from search.running.resources import Node, Resources

DIED = "The actor died unexpectedly before finishing this task."


@pytest.fixture
def there(monkeypatch):
    """Nodes of four places; a test may add some, and take some away."""
    nodes = [Node({"CPU": 4}, id=name) for name in ("a", "b", "c")]
    monkeypatch.setattr(held_places, "nodes", lambda: nodes)
    monkeypatch.setattr(held_places, "is_growing", lambda: False)
    monkeypatch.setattr(held_places.ray, "kill", lambda actor: None)
    return nodes


def places(left_out, cpu=1):
    return HeldPlaces(3, Resources(cpu=cpu), lambda location, reason: left_out.append((location.node, reason)))


def node(name):
    return Location(name, f"10.0.0.{name}")


def die(places, trial, name):
    places.suspect(trial, LocalFault(node(name), DIED), places.num_faults)


def test_a_trial_whose_process_died_avoids_the_node_and_others_do_not(there):
    held = places([])
    assert held.avoided(1) == ()
    die(held, 1, "a")
    assert held.avoided(1) == ("a",)
    assert held.avoided(2) == ()
    held.settle(1, node("b"))
    assert held.avoided(1) == ()


def test_a_node_on_which_as_many_died_as_it_holds_is_avoided_until_one_has_gone_well_elsewhere(there):
    held = places([], cpu=2)
    die(held, 1, "a")
    die(held, 2, "a")
    assert held.avoided(3) == ("a",)
    held.drop(1)  # it died everywhere
    assert held.avoided(3) == ()


def test_a_node_is_left_out_after_two_deaths_of_trials_that_went_well_elsewhere(there):
    left_out = []
    held = places(left_out)
    for trial in (1, 2):
        die(held, trial, "a")
        held.settle(trial, node("b"))
    assert left_out == [("a", DIED)]
    assert held.avoided(3) == ("a",)
    there[:] = there[1:]
    assert held.avoided(3) == ()  # it has gone


def test_a_node_is_avoided_only_where_another_has_room(there):
    held = places([])
    die(held, 1, "a")
    die(held, 1, "b")
    assert held.avoided(1) == ("a", "b")
    there[:] = there[:2]
    assert held.avoided(1) == ()
    held.give_up()
    there[:] = [Node({"CPU": 4}, id=name) for name in ("a", "b")]
    die(held, 1, "a")
    assert held.avoided(1) == ()


def test_while_nodes_are_about_to_join_the_only_one_there_is_held(there, monkeypatch):
    there[:] = [Node({"CPU": 0}, id="head"), Node({"CPU": 4}, id="a")]
    fault = LocalFault(node("a"), "NoGpuError: no driver")
    assert places([]).hold(1, fault, "actor", 0) == Verdict.MAY_PASS
    monkeypatch.setattr(held_places, "is_growing", lambda: True)
    assert places([]).hold(1, fault, "actor", 0) == Verdict.ELSEWHERE
