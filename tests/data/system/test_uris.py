"""What of a URI is a secret."""

import pytest

from data.system.uris import holds_secret, public_uri, without_secrets


@pytest.mark.parametrize(
    "text",
    [
        "store=s3://bucket/folder?endpoint_override=127.0.0.1:9000&region=eu-west-1&scheme=http",
        "store=abfss://container@account.dfs.core.windows.net/folder",
        "tracking.uri=postgresql://me@host:5432/db",
        "tracking.uri=https://me:${oc.env:MLFLOW_PASSWORD}@mlflow.example.org",
        "store=s3://${oc.env:KEY}:${oc.env:SECRET}@bucket/folder",
        "tracking.uri=https://host/?access_token=${oc.env:TOKEN}",
        "tracking.uri=http://host:5000/a@b",
        "tracking.uri=sqlite:////home/me/mlflow.db",
        "name=token=3",
        "dataset.root=/data/pass=1",
    ],
)
def test_what_may_stand_on_a_command_line(text):
    assert not holds_secret(text)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:pa/ss@host:5432/db?sslmode=require", "postgresql://host:5432/db"),
        ("https://token@tracker.example.org/x", "https://tracker.example.org/x"),
        ("s3://bucket/folder?endpoint_override=127.0.0.1:9000", "s3://bucket/folder"),
        ("abfss://container:key@account.dfs.core.windows.net/x", "abfss://container@account.dfs.core.windows.net/x"),
        ("sqlite:////home/me/mlflow.db", "sqlite:////home/me/mlflow.db"),
    ],
)
def test_a_uri_is_shown_without_user_password_and_query(uri, shown):
    assert public_uri(uri) == shown


def test_an_error_is_told_without_the_secrets_of_its_uri():
    uri = "mssql+pyodbc://me:se%2Fcret@host/db?odbc_connect=PWD%3Dother"
    error = f"cannot open {uri}: login of me with se/cret failed, PWD=other"
    assert without_secrets(error, uri) == "cannot open mssql+pyodbc://host/db: login of me with *** failed, ***"
