"""The course of a training is read as it was written."""

import pytest

from data.system.errors import UserError
from search.findings.training_course import COURSE, CoursePoint, read_course, write_course


def test_a_course_comes_back_with_names_of_any_kind_and_classes_that_do_not_occur(tmp_path):
    steps = [
        CoursePoint(100, 1.25, 0.25, {'a, "b"': 0.5, "道路": None}),
        CoursePoint(200, 0.75, 0.5, {'a, "b"': 0.75, "道路": 0.125}),
    ]
    write_course(tmp_path, steps[:1])
    write_course(tmp_path, steps)
    assert read_course(tmp_path) == steps


def test_a_folder_without_one_has_none(tmp_path):
    assert read_course(tmp_path) == []


@pytest.mark.parametrize(
    "text", ["", "iteration,loss\n1,2\n", "iteration,loss,miou,a\n1,2,x,3\n", "iteration,loss,miou\n1,2,3,4\n"]
)
def test_another_file_is_named(text, tmp_path):
    (tmp_path / COURSE).write_text(text)
    with pytest.raises(UserError, match=COURSE):
        read_course(tmp_path)
