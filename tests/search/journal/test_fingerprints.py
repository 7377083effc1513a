"""What differs between the settings of two searches."""

from search.journal.fingerprints import differences


def test_what_was_written_down_and_read_back_is_no_change():
    new = {"backbone": {"mean": (0.5, 0.5, 0.5)}, "rungs": [1, 2]}
    assert differences({"backbone": {"mean": [0.5, 0.5, 0.5]}, "rungs": [1, 2]}, new) == ""


def test_a_change_is_named_with_both_values_and_a_kind_comes_first():
    old, new = {"a": {"x": 1, "kind": "Uniform"}, "b": 2}, {"a": {"x": 3, "kind": "NearBest"}, "b": 2}
    assert differences(old, new) == "a.kind was Uniform and is NearBest, a.x was 1 and is 3"


def test_what_changes_no_result_is_no_change():
    old, new = ({"training": {"iterations": 9, "workers": number, "activation_checkpointing": number > 1}} for number in (1, 2))
    assert differences(old, new) == ""


def test_a_setting_that_a_journal_is_too_old_to_hold_differs_only_where_it_changes_something():
    old, as_before, other = (
        {"proxy": {"optimizer": {"power": 1, **given}}} for given in ({}, {"bias_rate": 1.0}, {"bias_rate": 2.0})
    )
    assert differences(old, as_before) == ""
    assert differences(as_before, other) == "proxy.optimizer.bias_rate was None and is 2.0"


def test_weights_are_known_by_their_digest_and_where_there_is_one_not_by_where_they_lie():
    was, moved, other = (
        {"backbone": {"weights": path}, "weights": digest} for path, digest in (("/a/w", "1f"), ("/b/w", "1f"), ("/a/w", "2f"))
    )
    assert differences(was, moved) == ""
    assert differences(was, other) == "weights was 1f and is 2f"
    assert differences({"backbone": {"weights": "/a/w"}}, {"backbone": {"weights": "/b/w"}}) != ""
