"""A folder that one command at a time works in."""

import pytest

from search.config_errors import ConfigError
from search.session.folder import alone_in, id_of


def test_a_second_command_in_a_folder_is_refused_until_the_first_has_ended(tmp_path):
    with alone_in(tmp_path / "a" / "retrain"):
        refused = pytest.raises(ConfigError, match="another command is at work there .process .*wait, or choose another name")
        with refused, alone_in(tmp_path / "a" / "retrain"):
            pytest.fail("two were let in")
        with alone_in(tmp_path / "a" / "other"):
            pass
    with alone_in(tmp_path / "a" / "retrain"):
        pass


def test_a_folder_keeps_its_id_and_one_of_the_same_name_has_another(tmp_path):
    first = id_of(tmp_path / "a" / "retrain")
    assert id_of(tmp_path / "a" / "retrain") == first
    assert id_of(tmp_path / "b" / "retrain") != first
