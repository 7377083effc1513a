"""`dpc` commands sent to a real Ray head: of a checkout whose `search/cli.py` a test writes, and a search as users send it."""

import hashlib
import http.server
import io
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit
from zipfile import ZipFile

import pytest
import requests
from ray.job_submission import JobStatus, JobSubmissionClient

import cluster.environment
import cluster.submit
from cluster.errors import SubmitError
from cluster.jobs_api import DEFAULT_ADDRESS, connect
from cluster.package import files_to_upload, pack
from cluster.submit import DETACHED, logs, status, stop, submit
from search.cli import main
from search.conf_files import CONF
from search.config import load
from search.journal.events import CellProposed
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from search.settings.submit import read

pytestmark = pytest.mark.filterwarnings("ignore:ssl=None is deprecated:DeprecationWarning")  # Ray with aiohttp 3.14

MakeCheckout = Callable[..., Path]


@pytest.fixture
def checkout(tmp_path: Path) -> MakeCheckout:
    def make(cli: str, *of_cluster: str) -> Path:
        folder = tmp_path / "checkout"
        (folder / "search").mkdir(parents=True)
        (folder / "search/__init__.py").touch()
        (folder / "search/cli.py").write_text(cli)
        for name in of_cluster:
            (folder / "cluster").mkdir(exist_ok=True)
            shutil.copy(Path(cluster.environment.__file__).with_name(name), folder / "cluster")
        return folder

    return make


def test_a_failing_job_gives_the_exit_code_of_its_command_and_says_so(ray_head, checkout):
    shown: list[str] = []
    working_dir = checkout("import sys; print('no such space'); sys.exit(2)")
    assert submit(["search"], ray_head.dashboard_url, working_dir=working_dir, write=shown.append) == 2
    assert "failed: Job entrypoint command failed with exit code 2\n" in shown[-1]
    assert "".join(shown).count("no such space") == 1


def test_arguments_arrive_unchanged_whatever_a_shell_makes_of_them(ray_head, checkout):
    command = ["search", "space.rates=[1, 6]", "name='a b'", 'x="$(id)"', "y=`id`;exit 3", "z=$HOME", "*", "", "é\n&"]
    shown: list[str] = []
    working_dir = checkout("import json, sys; print(json.dumps(sys.argv[1:]))")
    assert submit(command, ray_head.dashboard_url, working_dir=working_dir, write=shown.append) == 0
    arrived = next(line for line in "".join(shown).splitlines() if line.startswith("["))
    assert json.loads(arrived) == command


PRINTS_ITS_VARIABLE = """
import hashlib, os
import ray

def digest():
    return hashlib.sha256(os.environ["DPC_NOTE"].encode()).hexdigest()

ray.init(log_to_driver=False)
print("driver", digest(), "worker", ray.get(ray.remote(digest).remote()))
"""


def test_a_secret_variable_reaches_driver_and_workers_and_is_shown_nowhere(ray_head, checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "scratch").mkdir()
    secret = "sentinel $HOME 'quoted' 7c1e; é"
    shown: list[str] = []
    working_dir = checkout(PRINTS_ITS_VARIABLE, "__init__.py", "environment.py")
    submitted = submit(
        ["search"],
        ray_head.dashboard_url,
        working_dir=working_dir,
        job="secretive",
        env_vars={"DPC_NOTE": secret},
        write=shown.append,
    )
    output = "".join(shown)
    assert submitted == 0, output
    digest = hashlib.sha256(secret.encode()).hexdigest()
    assert f"driver {digest} worker {digest}" in output

    for what in ("", "secretive"):
        described = requests.get(f"{ray_head.dashboard_url}/api/jobs/{what}", timeout=10).text
        assert "secretive" in described
        assert '"RAY_JOB_STOP_SIGNAL": "SIGINT"' in described, "Ray shows what is passed as env_vars"
        assert "sentinel" not in described
    assert "sentinel" not in output
    logged = [path for path in (ray_head.folder / "session_latest" / "logs").rglob("*") if path.is_file()]
    assert any("secretive" in path.name for path in logged)
    assert [path for path in logged if b"sentinel" in path.read_bytes()] == []
    ours = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in ours if b"sentinel" in path.read_bytes()] == []
    assert list((tmp_path / "scratch").iterdir()) == []
    (kept,) = ray_head.folder.glob("session_latest/runtime_resources/working_dir_files/*/environment.json")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_job_knows_its_cluster_holds_the_packages_alone_and_is_followed_to_its_end(ray_head, checkout, capsys):
    working_dir = checkout(
        "import os, pathlib\n"
        "print(os.environ['RAY_ADDRESS'], sorted(map(str, pathlib.Path().rglob('*.*'))))\n"
        "print('last line')"
    )
    for path in ("conf/root.yaml", "conf/.hidden", "search/__pycache__/old.pyc", "outputs/a/b.bin", "tests/test_it.py"):
        (working_dir / path).parent.mkdir(parents=True, exist_ok=True)
        (working_dir / path).write_text("text")
    assert submit([], ray_head.dashboard_url, working_dir=working_dir) == 0
    shown = capsys.readouterr().out
    gcs_port = ray_head.gcs_address.rpartition(":")[2]  # Ray names the machine by its own address, not 127.0.0.1
    assert f":{gcs_port} ['conf/root.yaml', 'search/__init__.py', 'search/cli.py']" in shown
    assert shown.count("last line\n") == 1
    assert shown.index("Sending 3 files") < shown.index("is accepted") < shown.index("last line")


def test_a_log_that_breaks_off_is_taken_up_without_a_line_twice_or_lost(ray_head, checkout):
    lines = [f"trial {n} done" for n in range(40)]
    working_dir = checkout("import time\nfor n in range(40):\n    print(f'trial {n} done'); time.sleep(0.1)")
    shown: list[str] = []
    with breaking_proxy(ray_head.dashboard_url) as (url, break_connections):

        def write(text: str) -> None:
            shown.append(text)
            if "trial 9 done\n" in text:
                break_connections()

        assert submit([], url, working_dir=working_dir, write=write) == 0
    assert [line for line in "".join(shown).splitlines() if line.startswith("trial")] == lines


SIGINT_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
"""A shell's background jobs ignore Ctrl-C, and so would every process that a test run in the background starts."""


def test_ctrl_c_detaches_and_says_how_to_stop_the_job_which_then_ends_as_by_ctrl_c(ray_head, checkout, tmp_path):
    mark = tmp_path / "stopped"
    working_dir = checkout(
        f"{SIGINT_INTERRUPTS}import time\nprint('at work')\ntry:\n    time.sleep(60)\n"
        f"except KeyboardInterrupt:\n    time.sleep(4); open({str(mark)!r}, 'w').write('journal closed')"
    )
    follow = f"{SIGINT_INTERRUPTS}import sys, pathlib; from cluster.submit import submit\n"
    follow += "sys.exit(submit([], sys.argv[1], working_dir=pathlib.Path(sys.argv[2])))"
    follower = subprocess.Popen(
        [sys.executable, "-c", follow, ray_head.dashboard_url, str(working_dir)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout
    accepted = next(line for line in follower.stdout if "is accepted" in line).split()[1]
    assert any("at work" in line for line in follower.stdout)
    follower.send_signal(signal.SIGINT)
    rest = follower.communicate(timeout=90)[0]
    assert follower.returncode == DETACHED
    assert f"dpc submit stop={accepted} address={ray_head.dashboard_url}" in rest

    client = JobSubmissionClient(ray_head.dashboard_url)
    assert client.get_job_status(accepted) == JobStatus.RUNNING
    shown: list[str] = []
    assert stop(accepted, ray_head.dashboard_url, write=shown.append) == 0
    assert shown == [f"Job {accepted}: stopped\n"]
    assert mark.read_text() == "journal closed"


def test_a_job_need_not_be_waited_for(ray_head, checkout):
    shown: list[str] = []
    working_dir = checkout("import time; time.sleep(60)")
    assert submit([], ray_head.dashboard_url, working_dir=working_dir, wait=False, write=shown.append) == 0
    accepted = next(line for line in shown if "is accepted" in line).split()[1]
    client = JobSubmissionClient(ray_head.dashboard_url)
    assert not client.get_job_status(accepted).is_terminal()
    stop(accepted, ray_head.dashboard_url, wait=False)
    assert f"dpc submit logs={accepted}" in shown[-1]


def test_a_job_sent_again_under_its_id_is_followed_and_runs_once(ray_head, checkout, tmp_path):
    runs = tmp_path / "runs"
    working_dir = checkout(f"import time\nopen({str(runs)!r}, 'a').write('run ')\nprint('at work')\ntime.sleep(4)")
    first, again = [], []
    address = ray_head.dashboard_url
    assert submit(["search"], address, working_dir=working_dir, job="nightly", wait=False, write=first.append) == 0
    assert submit(["search"], address, working_dir=working_dir, job="nightly", write=again.append) == 0
    assert runs.read_text() == "run "
    assert "already exists" in again[0]
    assert "".join(again).count("at work") == 1
    assert submit(["search"], address, working_dir=working_dir, job="nightly") == 0, "also when it has ended"
    assert runs.read_text() == "run "
    with pytest.raises(SubmitError, match=r"nightly runs another command there; choose another job="):
        submit(["cell"], address, working_dir=working_dir, job="nightly")


def test_an_answer_that_is_lost_does_not_start_the_job_twice(ray_head, checkout, tmp_path):
    runs = tmp_path / "runs"
    working_dir = checkout(f"open({str(runs)!r}, 'a').write('run ')")
    shown: list[str] = []
    with breaking_proxy(ray_head.dashboard_url, lose_answer_to=b"POST /api/jobs/") as (url, _):
        assert submit([], url, working_dir=working_dir, job="heard-once", write=shown.append) == 0
    assert any("The connection was lost; trying again" in text for text in shown)
    assert runs.read_text() == "run "
    sent = [job.submission_id for job in JobSubmissionClient(ray_head.dashboard_url).list_jobs()]
    assert sent.count("heard-once") == 1


def test_status_and_logs_of_a_job_are_there_for_whoever_knows_its_id(ray_head, checkout):
    working_dir = checkout("import sys; print('said once'); sys.exit(3)")
    address = ray_head.dashboard_url
    assert submit(["search", "name='a b'"], address, working_dir=working_dir, job="asked.about") == 3
    told: list[str] = []
    assert status("asked.about", address, told.append) == 0
    assert re.fullmatch(r"asked\.about  failed  0:00:\d\d  dpc search 'name='.*a b.*\n", "".join(told))
    for wait, code in ((True, 3), (False, 0)):
        log: list[str] = []
        assert logs("asked.about", address, wait=wait, write=log.append) == code
        assert "".join(log).count("said once") == 1
    ended: list[str] = []
    assert stop("asked.about", address, write=ended.append) == 0
    assert ended == ["Job asked.about: failed\n"]


def test_a_job_that_began_by_a_clock_ahead_of_this_one_has_run_for_no_time(monkeypatch):
    details = SimpleNamespace(status=JobStatus.RUNNING, start_time=(time.time() + 60) * 1000, end_time=None, entrypoint="")
    monkeypatch.setattr(cluster.submit, "connect", lambda address: None)
    monkeypatch.setattr(cluster.submit, "find_job", lambda client, job: details)
    told: list[str] = []
    status("early", write=told.append)
    assert told == ["early  running  0:00:00  dpc\n"]


@pytest.mark.parametrize("ask", [status, logs, stop])
@pytest.mark.parametrize(("job", "refusal"), [("unheard-of", "has no job 'unheard-of'"), ("../../etc", "an id is up to 64")])
def test_an_id_that_is_no_jobs_is_one_line(ray_head, ask, job, refusal):
    with pytest.raises(SubmitError, match=refusal) as told:
        ask(job, ray_head.dashboard_url)
    assert "\n" not in str(told.value)


def test_the_address_given_wins_over_the_variables_that_rays_client_prefers(ray_head, checkout, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
    working_dir = checkout("")
    assert submit([], ray_head.dashboard_url, working_dir=working_dir, wait=False) == 0
    assert os.environ["RAY_API_SERVER_ADDRESS"] == "http://127.0.0.1:1"
    with pytest.raises(SubmitError, match=r"answers at http://127.0.0.1:1 "):
        submit([], working_dir=working_dir)


@pytest.mark.parametrize("asked", [[], ["status=a", "logs=b"], ["stop=a", "--", "cell"]], ids=" ".join)
def test_a_command_or_one_question_is_asked_for(asked, capsys):
    assert main(["submit", *asked]) == 2
    assert "name a command after --, such as" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["127.0.0.1:8265", "ray://127.0.0.1:10001", "auto", "http://", "http://127.0.0.1:x"])
def test_an_address_of_another_form_is_refused_with_the_form_that_is_accepted(checkout, address):
    with pytest.raises(SubmitError, match=DEFAULT_ADDRESS) as refusal:
        submit([], address, working_dir=checkout(""))
    assert "\n" not in str(refusal.value)


def test_an_address_where_nothing_answers_is_one_line_within_seconds(checkout, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x" * 32)
    working_dir = checkout("")
    started_s = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for address in (
            "http://127.0.0.1:1",
            "http://no-such-host.invalid:8265",
            f"http://127.0.0.1:{silent.getsockname()[1]}",
        ):
            with pytest.raises(SubmitError, match=f"no Ray cluster answers at {address}") as refusal:
                submit([], address, working_dir=working_dir)
            assert "\n" not in str(refusal.value)
    assert time.monotonic() - started_s < 10


@pytest.mark.parametrize(("status", "reason"), [(404, "does not serve jobs"), (401, "RAY_AUTH_MODE=token")])
def test_an_answer_that_is_no_welcome_is_told_in_one_line(checkout, status, reason):
    class Refusal(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(status)

        def log_message(self, *_):
            pass

    working_dir = checkout("")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(SubmitError, match=reason) as refusal:
            submit([], f"http://127.0.0.1:{server.server_port}", working_dir=working_dir)
        server.shutdown()
    assert "\n" not in str(refusal.value)


def test_a_checkout_too_large_is_refused_before_anything_is_sent_and_the_culprit_named(checkout):
    working_dir = checkout("")
    culprit = working_dir / "data/cityscapes/train/images.npy"
    culprit.parent.mkdir(parents=True)
    with culprit.open("wb") as file:
        file.truncate(101 * 2**20)
    with pytest.raises(SubmitError, match=r"at most 100 MiB .* Largest: data/cityscapes \(101.0 MiB\), search/"):
        submit([], "http://127.0.0.1:1", working_dir=working_dir)


def test_all_packages_are_sent_and_code_of_ones_own_beside_them(tmp_path):
    (tmp_path / "mine" / "__pycache__").mkdir(parents=True)
    for file in ("my_module.py", "mine/__init__.py", "mine/__pycache__/x.pyc", "data.py"):
        (tmp_path / file).touch()
    sent = files_to_upload(CONF.parent, [tmp_path / "my_module.py", tmp_path / "mine"])
    packages = tomllib.loads((CONF.parent / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
        "packages"
    ]
    assert {place.parts[0] for place in sent} == {*packages, "my_module.py", "mine"}
    with ZipFile(pack(sent, {}, tmp_path)) as package:
        assert {"dpc/__init__.py", "my_module.py", "mine/__init__.py"} <= set(package.namelist())
        assert not any("__pycache__" in name for name in package.namelist())
    with pytest.raises(SubmitError, match=r"code: data\.py would hide a package"):
        files_to_upload(CONF.parent, [tmp_path / "data.py"])


@pytest.mark.parametrize("module", ["lies_here", "examples"], ids=["own", "named as a folder of the checkout"])
@pytest.mark.parametrize(
    ("given", "where"),
    [("task._target_={}.Mine", "task"), ("task={{_target_: {}.Mine}}", "task"), ("algorithm=mine", "algorithm")],
    ids=["setting", "mapping", "file"],
)
def test_a_module_that_lies_here_and_would_not_be_there_is_said_before_anything_is_sent(
    given, where, module, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{module}.py").write_text("class Mine:\n    pass\n")
    (tmp_path / "conf" / "algorithm").mkdir(parents=True)
    (tmp_path / "conf" / "algorithm" / "mine.yaml").write_text(f"_target_: {module}.Mine\n")
    command = ["search", f"--config-dir={tmp_path}/conf", given.format(module)]
    assert main(["submit", "--", *command]) == 2
    assert capsys.readouterr().err == (
        f"dpc: {where}._target_: {module}.py does not travel with the job; add code=[{module}.py] before the --.\n"
    )
    assert read(load("submit", [f"code=[{module}.py]"], passed_on=command)).code == [f"{module}.py"]


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(SubmitError, match="has no folder search/"):
        submit([], working_dir=tmp_path)


def test_another_machine_that_asks_for_no_token_is_refused(ray_head, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x" * 32)
    address = ray_head.dashboard_url.replace("127.0.0.1", "0.0.0.0")  # leads here, and is no loopback address
    with pytest.raises(SubmitError, match="asks for no token, so anyone who can reach it can run code there"):
        connect(address)


TINY = (
    "name=sent",
    "dataset.num_train=12",
    "cache.workers=1",
    "dataset.num_val=4",
    "space.num_branches=2",
    "proxy.rungs=[10,20,30]",
    "proxy.batch_size=2",
    "proxy.cell.filters=8",
    "scheduler=none",
    "trials=6",
    "resources.cpu=2",  # one worker
)


def dpc_submit(head, *arguments):
    """The command, in this process: its exit code, and what it prints."""
    with redirect_stdout(io.StringIO()) as output:
        return main(["submit", f"address={head.dashboard_url}", *arguments]), output.getvalue()


def test_a_stopped_job_says_how_to_go_on_and_the_same_command_does(ray_head, tmp_path):
    journal = tmp_path / "sent" / "journal.jsonl"
    search = ["--", "search", *TINY, f"output_dir={tmp_path}"]
    assert dpc_submit(ray_head, "job=to-stop", "wait=false", *search)[0] == 0
    deadline_s = time.monotonic() + 300
    while not (journal.exists() and b"rung_reached" in journal.read_bytes()):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert dpc_submit(ray_head, "stop=to-stop")[1] == "Job to-stop: stopped\n"
    events, end = read_events(journal)
    assert end.offset == journal.stat().st_size, "its last line is torn"
    assert SearchRecord(events).closed is None
    assert "Nothing is lost: run the same command again" in dpc_submit(ray_head, "logs=to-stop", "wait=false")[1]

    code, said = dpc_submit(ray_head, "job=goes-on", *search)
    assert code == 0, said
    assert "Leaderboard" in said
    events, _ = read_events(journal)
    assert Counter(event.trial for event in events if isinstance(event, CellProposed)) == Counter(range(6))
    assert [trial.status for trial in SearchRecord(events).finished] == ["completed"] * 6


@contextmanager
def breaking_proxy(url: str, lose_answer_to: bytes | None = None) -> Iterator[tuple[str, Callable[[], None]]]:
    """A way to the head whose open connections can be broken at will; later ones pass again.

    The head's first answer to a request that begins with ``lose_answer_to`` never arrives.
    """
    target = urlsplit(url)
    listener = socket.create_server(("127.0.0.1", 0))
    opened: list[socket.socket] = []

    to_lose = [lose_answer_to] if lose_answer_to else []
    waits_in_vain: set[socket.socket] = set()

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if to_lose and data.startswith(to_lose[0]):
                    to_lose.clear()
                    waits_in_vain.add(source)
                if sink in waits_in_vain:
                    sink.shutdown(socket.SHUT_RDWR)
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            head = socket.create_connection((target.hostname, target.port))
            opened.extend((client, head))
            for ends in ((client, head), (head, client)):
                threading.Thread(target=pump, args=ends, daemon=True).start()

    def break_connections() -> None:
        while opened:
            end = opened.pop()
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", break_connections
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        break_connections()
