"""What a command may write over."""

import pytest

from data.system.errors import UserError
from data.system.outputs import check_free, note_begun, note_made


def test_what_is_not_there_and_what_the_command_made_before_is_free(tmp_path):
    file, folder = tmp_path / "model.onnx", tmp_path / "labels"
    check_free("output", file, "export", overwrite=False)
    check_free("output", folder, "predict", overwrite=False)
    file.write_text("first")
    folder.mkdir()
    note_made(file, "export")
    note_begun(folder, "predict")
    (folder / "0001.png").touch()
    check_free("output", file, "export", overwrite=False)
    check_free("output", folder, "predict", overwrite=False)  # it was killed
    note_made(folder, "predict")
    check_free("output", folder, "predict", overwrite=False)


def test_what_somebody_else_made_is_refused_unless_it_shall_be_replaced(tmp_path):
    (tmp_path / "labels").mkdir()
    check_free("output", tmp_path / "labels", "predict", overwrite=False)  # an empty folder holds nothing of anybody's
    (tmp_path / "labels" / "truth.png").touch()
    with pytest.raises(UserError, match="output: .*labels is there and was not made by dpc predict, .*overwrite=true"):
        check_free("output", tmp_path / "labels", "predict", overwrite=False)
    check_free("output", tmp_path / "labels", "predict", overwrite=True)


def test_what_another_command_made_or_a_person_changed_since_is_somebody_elses(tmp_path):
    file = tmp_path / "scores.json"
    file.write_text("made")
    note_made(file, "evaluate")
    with pytest.raises(UserError, match="not made by dpc cell"):
        check_free("picture", file, "cell", overwrite=False)
    file.write_text("edited by hand")
    with pytest.raises(UserError, match="not made by dpc evaluate"):
        check_free("json", file, "evaluate", overwrite=False)


@pytest.mark.parametrize(
    "change", [lambda labels: (labels / "a.png").write_text("y"), lambda labels: (labels / "b.png").touch()]
)
def test_labels_that_a_person_corrected_in_a_folder_of_predictions_are_the_persons(change, tmp_path):
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "a.png").write_text("x")
    note_made(labels, "predict")
    change(labels)
    with pytest.raises(UserError, match="not made by dpc predict, or was changed since; overwrite=true"):
        check_free("output", labels, "predict", overwrite=False)
