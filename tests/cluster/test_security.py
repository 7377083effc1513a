"""Who may do what at a head: Ray's own answers, which docs/cluster.md relies on, and what `dpc submit` adds to them.

And a secret, given in each way that a user has, is looked for in everything that a submitted search writes.
"""

import json
import os
import secrets
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest
import requests

from cluster.errors import SubmitError
from cluster.jobs_api import connect
from search.cli import main
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from tests.commands import started

from .conftest import free_ports

JOB = {"entrypoint": "true"}
BROWSER = {"User-Agent": "Mozilla/5.0", "Origin": "http://evil.example"}
SEARCH = (
    "name=sent",
    "dataset.num_train=12",
    "cache.workers=1",
    "dataset.num_val=4",
    "space.num_branches=2",
    "proxy.rungs=[2,4]",
    "proxy.batch_size=2",
    "proxy.cell.filters=8",
    "resources.cpu=2",  # one worker
    "trials=2",
)
PASSED_ON = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_TOKEN", "OF_THE_TRACKER")


@pytest.mark.parametrize("path", ["/api/jobs/", "/api/version", "/api/cluster_status", "/nodes?view=summary"])
def test_a_request_without_the_token_is_refused_with_401_and_one_with_another_token_with_403(token_head, path):
    for headers, answer in (({}, 401), ({"Authorization": "Bearer of-another"}, 403)):
        assert requests.get(f"{token_head.dashboard_url}{path}", headers=headers, timeout=10).status_code == answer
    assert requests.post(f"{token_head.dashboard_url}/api/jobs/", json=JOB, timeout=10).status_code == 401
    assert requests.get(f"{token_head.dashboard_url}{path}", headers=bearer(token_head), timeout=10).ok


def test_a_forged_host_gains_nothing_the_token_decides_and_browsers_may_only_read(token_head):
    jobs = f"{token_head.dashboard_url}/api/jobs/"
    forged = {"Host": "evil.example"}
    assert requests.get(jobs, headers=forged, timeout=10).status_code == 401
    assert requests.get(jobs, headers=forged | bearer(token_head), timeout=10).ok, "Ray does not look at Host"
    rebinding = forged | BROWSER | bearer(token_head)
    assert requests.post(jobs, headers=rebinding, json=JOB, timeout=10).status_code == 405


def test_the_dashboard_listens_on_this_machine_alone(token_head):
    port = f":{int(token_head.dashboard_url.rpartition(':')[2]):04X}"
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    bound = {local.removesuffix(port) for _, local, _, state, *_ in sockets if state == "0A" and local.endswith(port)}
    assert bound == {"0100007F"}


def test_submit_to_another_address_without_the_token_is_refused_in_one_line(token_head, monkeypatch, capsys):
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    assert main(["submit", f"address={on_every_interface(token_head)}", "--", "cell", "cell=aspp"]) == 2
    refused = capsys.readouterr().err
    assert refused.count("\n") == 1
    assert "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN" in refused


def test_the_token_with_which_submit_reaches_another_address_stands_in_no_log(token_head):
    address = on_every_interface(token_head)
    sent = dpc("submit", f"address={address}", "job=remote", "--", "cell", "cell=aspp", **with_token(token_head))
    asked = dpc("submit", f"address={address}", "status=remote", **with_token(token_head))
    assert (sent.returncode, asked.returncode) == (0, 0), sent.stdout + sent.stderr + asked.stderr
    assert "remote  succeeded" in asked.stdout
    for output in (sent, asked):
        assert token_head.token not in output.stdout + output.stderr
    logs = [path for path in (token_head.folder / "session_latest" / "logs").rglob("*") if path.is_file()]
    assert any("remote" in path.name for path in logs)
    assert [path.name for path in logs if token_head.token.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("mode", ["", "disabled", "token"])
def test_submit_without_a_token_sends_another_machine_nothing(tmp_path, monkeypatch, mode):
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "absent"))
    with pytest.raises(SubmitError, match="a token is needed: set RAY_AUTH_MODE=token"):
        connect("http://192.0.2.1:8265")


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(SubmitError, match="without a user or password") as refusal:
        connect("http://me:hunter2@127.0.0.1:8265")
    assert "hunter2" not in str(refusal.value)


def test_secrets_stand_in_nothing_that_a_submitted_search_writes(token_head, s3_server, mlflow_server, tmp_path):
    secret, [port] = f"sentinel-{secrets.token_hex(16)}", free_ports(1)
    given = dict.fromkeys(PASSED_ON, secret) | with_token(token_head)
    tracker = tmp_path / "tracker"
    tracker.mkdir()
    search = ["search", *SEARCH, f"output_dir={tmp_path}", f"store='{s3_server.uri(uuid4().hex)}'"]
    search += [f"tracking.uri='http://me:${{oc.env:OF_THE_TRACKER}}@127.0.0.1:{port}'"]
    with mlflow_server(tracker, port):
        sent = dpc(
            "submit", f"address={token_head.dashboard_url}", "job=sent", f"env=[{','.join(PASSED_ON)}]", "--", *search, **given
        )
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert len(SearchRecord(read_events(tmp_path / "sent" / "journal.jsonl")[0]).finished) == 2
    status, logs = (
        dpc("submit", f"address={token_head.dashboard_url}", f"{about}=sent", **given) for about in ("status", "logs")
    )
    assert "Leaderboard" in logs.stdout
    for shown in (sent, status, logs):
        assert_without(shown.stdout + shown.stderr, secret, token_head.token)

    for asked in (
        "jobs/",
        "v0/jobs",
        "v0/actors?detail=1",
        "v0/tasks?detail=1",
        "v0/workers?detail=1",
        "v0/runtime_envs?detail=1",
    ):
        answer = requests.get(f"{token_head.dashboard_url}/api/{asked}", headers=bearer(token_head), timeout=30)
        assert answer.ok, asked
        assert_without(answer.text, secret, token_head.token)

    written = [path for folder in (token_head.folder, tmp_path) for path in folder.rglob("*") if path.is_file()]
    assert {tmp_path / "sent" / "journal.jsonl", tracker / "mlflow.db", tracker / "server.log"} <= set(written)
    assert any("job-driver-sent" in path.name for path in written)
    holding = [
        path for path in written if secret.encode() in path.read_bytes() or token_head.token.encode() in path.read_bytes()
    ]
    assert [path.name for path in holding] == ["environment.json"], holding
    assert holding[0].stat().st_mode & 0o777 == 0o600
    assert json.loads(holding[0].read_text()) == dict.fromkeys(PASSED_ON, secret)


@pytest.mark.parametrize(
    "setting",
    [
        "tracking.uri=postgresql://me:{}@host/db",
        "store=s3://key:{}@bucket/x",
        "store=s3://key:{}/with/slashes@bucket/x",
        "tracking={{uri:'http://me:{}@host'}}",
        "tracking.uri=https://{}@tracker.example.org",
        "tracking.uri=https://tracker.example.org/?access_token={}",
        "tracking.uri='postgresql://host/db?user=me&password={}'",
        "tracking.uri='mssql+pyodbc:///?odbc_connect=DRIVER%3DODBC%3BUID%3Dme%3BPWD%3D{}'",
        "store='abfss://box@account.dfs.core.windows.net/x?sig={}'",
        "store='gs://bucket/x?client_secret={}'",
    ],
)
def test_a_password_on_a_command_line_is_refused_and_not_repeated(setting, capsys):
    for command in (["search"], ["submit", "--", "search"]):
        assert main([*command, setting.format("sentinel")]) == 2
        refused = capsys.readouterr().err
        assert refused.count("\n") == 1
        assert setting.partition("=")[0] in refused
        assert "'${oc.env:NAME}'" in refused
        assert "sentinel" not in refused


def bearer(head) -> dict[str, str]:
    return {"Authorization": f"Bearer {head.token}"}


def on_every_interface(head) -> str:
    """An address that leads to this machine, and is no loopback address."""
    return head.dashboard_url.replace("127.0.0.1", "0.0.0.0")


def with_token(head) -> dict[str, str]:
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": head.token}


def dpc(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: Ray reads a token once."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | variables
    with started(*arguments, variables=environment) as command:
        said = command.communicate()
    return subprocess.CompletedProcess(arguments, command.returncode, *said)


def assert_without(text, *words):
    assert [text[max(0, found - 200) : found] for word in words if (found := text.find(word)) >= 0] == []
