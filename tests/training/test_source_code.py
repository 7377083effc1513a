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


@pytest.mark.parametrize(("beside", "file"), [("", "{}.py"), ("", "{}/__init__.py"), (".model", "{}/model.py")])
def test_code_that_lies_beside_counts_where_it_is_imported(package, beside, file):
    name, folder = package

    def write(module, text):
        path = folder.parent / file.format(f"{name}_{module}")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def digest():
        return source_digest(f"{name}_task")

    (folder.parent / f"{name}_task.py").write_text(f"from {name}_near{beside} import depth")
    write("near", f"from {name}_far{beside} import depth")
    write("far", "depth = 1")
    before = digest()
    write("not_imported", "depth = 1")
    assert digest() == before
    write("far", "depth = 20")
    assert digest() != before


def test_what_is_installed_beside_does_not_count(tmp_path, monkeypatch):
    name, folder = f"code_{tmp_path.name}", tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    (folder / f"{name}.py").write_text(f"import {name}_other")
    (folder / f"{name}_other.py").write_text("one = 1")
    before = source_digest(name)
    change(folder / f"{name}_other.py", "1", "2")
    assert source_digest(name) == before
