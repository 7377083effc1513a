"""A secret, given in each way that a user has, is looked for in everything that a submitted search writes."""

import json
import os
import secrets
import subprocess
import sys
from uuid import uuid4

import pytest
import requests

from search.journal.lines import read_events
from search.journal.record import SearchRecord

from .conftest import free_ports

SEARCH = (
    "name=sent",
    "dataset.num_train=12",
    "cache.workers=1",
    "dataset.num_val=4",
    "space.num_branches=2",
    "proxy.rungs=[2,4]",
    "proxy.cell.filters=8",
    "resources.cpu=2",  # one worker
    "trials=2",
)
PASSED_ON = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_TOKEN", "OF_THE_TRACKER")


def dpc(*arguments, **variables):
    command = [sys.executable, "-m", "search.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False, env=os.environ | variables)


def test_secrets_stand_in_nothing_that_a_submitted_search_writes(token_head, s3_server, mlflow_server, tmp_path):
    secret, [port] = f"sentinel-{secrets.token_hex(16)}", free_ports(1)
    given = dict.fromkeys(PASSED_ON, secret) | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token_head.token}
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

    headers = {"Authorization": f"Bearer {token_head.token}"}
    for asked in (
        "jobs/",
        "v0/jobs",
        "v0/actors?detail=1",
        "v0/tasks?detail=1",
        "v0/workers?detail=1",
        "v0/runtime_envs?detail=1",
    ):
        answer = requests.get(f"{token_head.dashboard_url}/api/{asked}", headers=headers, timeout=30)
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
    ["tracking.uri=postgresql://me:{}@host/db", "store=s3://key:{}@bucket/x", "tracking={{uri:'http://me:{}@host'}}"],
)
def test_a_password_on_a_command_line_is_refused_and_not_repeated(setting):
    for command in (["search"], ["submit", "--", "search"]):
        refused = dpc(*command, setting.format("sentinel"))
        assert refused.returncode == 2
        assert refused.stderr.count("\n") == 1
        assert setting.partition("=")[0] in refused.stderr
        assert "'${oc.env:NAME}'" in refused.stderr
        assert "sentinel" not in refused.stderr


def assert_without(text, *words):
    assert [text[max(0, found - 200) : found] for word in words if (found := text.find(word)) >= 0] == []
