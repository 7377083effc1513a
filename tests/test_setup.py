"""Set-up: uv gets what pip is configured with, and pip takes over where uv cannot."""

import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = str(ROOT / ".ci" / "install")
LISTING = r"""
:env:.find-links='/nowhere/wheels https://mirror.example/wheels/'
:env:.timeout='60'
download.index-url='https://not.for.install/simple'
global.extra-index-url='\nhttps://one.example/simple\nhttps://two.example/simple'
global.find-links='https://replaced.example/wheels/'
global.index-url='https://replaced.example/simple'
global.trusted-host='one.example two.example'
install.index-url='https://user:it%27s@mirror.example/simple'
"""


@pytest.fixture
def install():
    spec = spec_from_loader("install", SourceFileLoader("install", SCRIPT))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def commands(install, monkeypatch):
    """What is run instead of the commands: each is noted, and fails if its name is among `failing`."""
    noted, failing, listing = [], set(), [""]

    def run(command, **options):
        name = "uv" if "uv" in command[:3] else "config" if "config" in command else "get uv" if command[-1] == "uv" else "pip"
        noted.append(name)
        stdout = listing[0] if name == "config" else ""
        return subprocess.CompletedProcess(command, int(name in failing), stdout, f"error: of {name}\n  cause: no way\n")

    monkeypatch.setattr(install, "run", run)
    return noted, failing, listing


def test_the_environment_goes_before_a_section_for_install_and_that_before_the_global_one(install):
    options = install.pip_options(LISTING)
    assert options["index-url"] == "https://user:it%27s@mirror.example/simple"
    assert options["find-links"] == "/nowhere/wheels https://mirror.example/wheels/"


def test_uv_is_told_of_every_place_that_pip_looks_at(install):
    told = install.uv_environment(install.pip_options(LISTING), {})
    assert told == {
        "UV_DEFAULT_INDEX": "https://user:it%27s@mirror.example/simple",
        "UV_INDEX": "https://one.example/simple https://two.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "https://mirror.example/wheels/",
        "UV_INSECURE_HOST": "one.example two.example",
        "UV_HTTP_TIMEOUT": "60",
        "UV_SYSTEM_CERTS": "true",
    }


def test_a_folder_of_wheels_is_found_from_home_and_a_missing_one_is_left_out_as_pip_does(install, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "wheels").mkdir()
    told = install.uv_environment({"find-links": "~/wheels ~/missing"}, {})
    assert told["UV_FIND_LINKS"] == str(tmp_path / "wheels")


@pytest.mark.parametrize(
    ("options", "environ", "told"),
    [
        ({"cert": "a.pem"}, {"REQUESTS_CA_BUNDLE": "b.pem"}, {"SSL_CERT_FILE": "a.pem"}),
        ({}, {"REQUESTS_CA_BUNDLE": "b.pem"}, {"SSL_CERT_FILE": "b.pem"}),
        ({"client-cert": "me.pem"}, {}, {"SSL_CLIENT_CERT": "me.pem"}),
        ({"proxy": "http://proxy:3128"}, {}, {"HTTP_PROXY": "http://proxy:3128", "HTTPS_PROXY": "http://proxy:3128"}),
        ({"index-url": "https://a/simple"}, {"UV_DEFAULT_INDEX": "https://b/simple"}, {"UV_DEFAULT_INDEX": "https://b/simple"}),
        ({}, {"PYTHONDONTWRITEBYTECODE": "1"}, {"UV_COMPILE_BYTECODE": "true"}),
    ],
)
def test_certificates_proxies_and_what_uv_itself_is_told_are_kept(install, options, environ, told):
    assert install.uv_environment(options, environ) == {"UV_SYSTEM_CERTS": "true"} | environ | told


def test_a_plain_machine_is_set_up_by_uv_and_pip_only_brings_it(install, commands):
    assert install.main() == 0
    assert commands[0] == ["config", "get uv", "uv"]


@pytest.mark.parametrize(
    ("listing", "failing", "run", "reason"),
    [
        ("", "get uv", ["config", "get uv", "pip"], "uv could not be had (cause: no way)"),
        ("", "uv", ["config", "get uv", "uv", "pip"], "uv failed (cause: no way)"),
        ("global.only-binary=':all:'", "", ["config", "pip"], "pip is configured with only-binary, which uv does not read"),
    ],
)
def test_pip_installs_where_uv_cannot_and_one_line_says_why(install, commands, capsys, listing, failing, run, reason):
    noted, fails, configured = commands
    fails.add(failing)
    configured[0] = listing
    assert install.main() == 0
    assert noted == run
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "instead" in line]
    assert line == f"setup: {reason}; pip installs instead, which takes 5 to 10 minutes"


def test_set_up_fails_when_pip_fails_too(install, commands):
    commands[1].update({"uv", "pip"})
    assert install.main() == 1


@pytest.fixture
def make_setup(tmp_path):
    """Runs `make setup` in a folder of its own, with a program in place of Python."""
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()

    def run(python):
        command = ["make", "-f", ROOT / "Makefile", "setup", f"PYTHON={program(tmp_path / 'python3', python)}"]
        return subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False)

    return run


def program(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return path


def test_an_older_python_is_refused_with_the_command_for_a_newer_one(make_setup, tmp_path):
    of_3_10 = f'exec {sys.executable} -c "import sys; sys.version_info = (3, 10, 4); exec(sys.argv[1])" "$2"'
    done = make_setup(of_3_10)
    assert done.returncode == 2
    said = done.stderr.splitlines()[0]
    assert said.startswith(f"setup: Python 3.11 or newer is needed, {tmp_path}/python3 is 3.10; ")
    assert said.endswith("name it: make setup PYTHON=python3.11")
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(("there", "options"), [("3.11.9", ""), ("3.10.4", "--clear")])
def test_an_environment_of_another_python_is_made_anew(make_setup, tmp_path, there, options):
    program(tmp_path / ".venv" / "bin" / "python", f'[ "$1" = -V ] && echo Python {there}; exit 0')
    done = make_setup('[ "$1" = -V ] && echo Python 3.11.9; [ "$1" = -m ] && echo "$@" > made; exit 0')
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "made").read_text().split() == ["-m", "venv", *options.split(), ".venv"]
