"""What counts as another code, and what does not."""

import pytest

from training.source_code import source_digest

PACKAGE = {
    "__init__.py": "",
    "root.py": """
"What it is."
from {name}.near import double
def twice(x):
    return double(x)
""",
    "near.py": """
from . import far
def double(x):
    return x + far.same(x)
""",
    "far.py": """
def same(x):
    "Equals x."
    from importlib import import_module
    return import_module("{name}.late").one * x
""",
    "late.py": "one = 1",
    "other.py": "from {name}.root import twice",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that was never imported, as files: its name, and its folder."""
    name = f"code_{tmp_path.name}"
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / name).mkdir()
    for file, text in PACKAGE.items():
        (tmp_path / name / file).write_text(text.format(name=name))
    return name, tmp_path / name


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("root.py", "double(x)", "double(2 * x)"),
        ("near.py", "x + far", "x - far"),
        ("far.py", "* x", "* -x"),
        ("late.py", "1", "2"),
    ],
)
def test_code_that_does_something_else_is_another_wherever_it_is_imported(package, file, old, new):
    name, folder = package
    before = source_digest(f"{name}.root")
    change(folder / file, old, new)
    assert source_digest(f"{name}.root") != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("root.py", "What it is.", "Something else."),
        ("root.py", "    return double(x)", "    # as often as there are two\n    return double(\n        x,\n    )"),
        ("far.py", '    "Equals x."\n', ""),
        ("late.py", "one = 1", "one = (1)"),
        ("other.py", "import twice", "import twice as again"),
    ],
    ids=["docstring", "comment and layout", "no docstring", "brackets", "not imported"],
)
def test_comments_docstrings_layout_and_what_is_not_imported_do_not_count(package, file, old, new):
    name, folder = package
    before = source_digest(f"{name}.root")
    change(folder / file, old, new)
    assert source_digest(f"{name}.root") == before
