"""The files that launch a cluster, each read by its own tool or schema. Nothing is launched."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
import yaml
from ray.autoscaler._private.aws import config as aws
from ray.autoscaler._private.docker import docker_start_cmds
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cluster"
HEALTH_CHECKS = {
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
}
RAY_VERSION = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]


def test_ray_up_accepts_its_file_and_starts_every_node_with_the_token():
    given = yaml.safe_load((FOLDER / "ray.yaml").read_text())
    config = prepare_config(given)
    validate_config(config)
    assert "--env=RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert any("--dashboard-host=127.0.0.1" in command for command in config["head_start_ray_commands"])
    head, worker = (config["available_node_types"][kind] for kind in ("head", "worker"))
    assert head["resources"] == {"CPU": 0}
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert worker["resources"]["GPU"] > 0
    assert worker["min_workers"] == 0
    assert {f"--env={name}={value}" for name, value in {**HEALTH_CHECKS, "RAY_enable_autoscaler_v2": "1"}.items()} <= set(
        config["docker"]["run_options"]
    )
    with pytest.raises(jsonschema.ValidationError):
        validate_config(config | {"max_worker": 8})


def test_every_worker_starts_mps_so_that_trials_share_its_gpus_side_by_side():
    start = "nvidia-cuda-mps-control -d"
    aws = yaml.safe_load((FOLDER / "ray.yaml").read_text())
    of_worker = [start in command for command in aws["worker_start_ray_commands"]]
    assert of_worker.index(True) < next(
        i for i, command in enumerate(aws["worker_start_ray_commands"]) if "ray start" in command
    )
    assert not any(start in command for command in aws["head_start_ray_commands"])
    for file in ("raycluster", "rayjob"):
        spec = yaml.safe_load((FOLDER / "kuberay" / f"{file}.yaml").read_text())["spec"]
        (group,) = spec.get("rayClusterSpec", spec)["workerGroupSpecs"]
        (container,) = group["template"]["spec"]["containers"]
        assert start in container["lifecycle"]["postStart"]["exec"]["command"][-1]
    assert re.search(rf"^srun .*{start}.*exec", (FOLDER / "slurm.sbatch").read_text(), re.MULTILINE)


def test_on_aws_every_machine_starts_from_an_image_whose_driver_the_pinned_torch_takes(monkeypatch, tmp_path):
    moto, get_backend = pytest.importorskip("moto"), pytest.importorskip("moto.backends").get_backend
    monkeypatch.setattr(aws.time, "sleep", lambda seconds: None)  # for IAM to spread the word
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    config = prepare_config(yaml.safe_load((FOLDER / "ray.yaml").read_text()))
    mocked = moto.mock_aws(config={"iam": {"load_aws_managed_policies": True}})
    mocked.start(reset=False)  # the store's server may run in this process, too
    for account in get_backend("iam").values():  # and have made one that has no policies
        account.reset()
    try:
        nodes = aws.bootstrap_aws(config)["available_node_types"]
    finally:
        mocked.stop(remove_data=False)
    for node in nodes.values():
        assert node["node_config"]["ImageId"].startswith("ami-")  # an id: the head's role may not look one up
        assert node["node_config"]["SecurityGroupIds"]
    everywhere, before = config["initialization_commands"], nodes["worker"]["initialization_commands"]
    assert before[: len(everywhere)] == everywhere
    assert "chown 1000:1000 /shared" in everywhere[0]


@pytest.mark.parametrize(("driver", "is_taken"), [("595.71.05", True), ("580.95.05", True), ("570.10", False), ("", False)])
def test_a_worker_whose_driver_is_too_old_for_torch_says_so_before_its_image_is_pulled(tmp_path, driver, is_taken):
    assert int(torch.version.cuda.split(".")[0]) == 13, "another driver is needed: see NVIDIA's table of CUDA and drivers"
    fake = tmp_path / "nvidia-smi"
    fake.write_text(f"#!/bin/sh\necho {driver}\n")
    fake.chmod(0o755)
    worker = yaml.safe_load((FOLDER / "ray.yaml").read_text())["available_node_types"]["worker"]
    check = subprocess.run(
        ["bash", "-c", worker["initialization_commands"][-1]],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (check.returncode == 0) is is_taken
    assert is_taken or check.stderr.endswith(f"NVIDIA driver {driver or 'none'}: CUDA 13 needs 580 or newer\n")


def fields(required: dict[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": required | optional,
        "required": list(required),
        "additionalProperties": False,
    }


ANY: dict[str, Any] = {}
COUNT = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
START = {"type": "object", "additionalProperties": {"type": "string"}}
HEAD = fields({"rayStartParams": START, "template": ANY}, {"serviceType": ANY})
WORKERS = fields(
    {"groupName": {"type": "string"}, "rayStartParams": START, "template": ANY},
    {"minReplicas": COUNT, "replicas": COUNT, "maxReplicas": COUNT},
)
CLUSTER = fields(
    {"headGroupSpec": HEAD},
    {
        "rayVersion": {"type": "string"},
        "authOptions": fields({"mode": {"enum": ["disabled", "token"]}}, {}),
        "enableInTreeAutoscaling": {"type": "boolean"},
        "autoscalerOptions": fields({}, {"version": {"enum": ["v1", "v2"]}, "idleTimeoutSeconds": COUNT, "upscalingMode": ANY}),
        "workerGroupSpecs": {"type": "array", "items": WORKERS, "minItems": 1},
    },
)
JOB = fields(
    {"entrypoint": {"type": "string"}, "rayClusterSpec": CLUSTER},
    {"backoffLimit": COUNT, "shutdownAfterJobFinishes": {"type": "boolean"}, "ttlSecondsAfterFinished": COUNT},
)
"""What the definitions of ray.io/v1 (KubeRay 1.5.1) say of the fields used here."""


def custom_resource(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "kuberay" / name).read_text())


@pytest.mark.parametrize(("name", "kind", "spec"), [("raycluster.yaml", "RayCluster", CLUSTER), ("rayjob.yaml", "RayJob", JOB)])
def test_a_kuberay_file_is_what_the_operator_takes(name, kind, spec):
    names = fields({"name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}}, {})
    heading = {"apiVersion": {"const": "ray.io/v1"}, "kind": {"const": kind}, "metadata": names}
    resource = custom_resource(name)
    jsonschema.validate(resource, fields(heading | {"spec": spec}, {}))
    cluster = resource["spec"].get("rayClusterSpec", resource["spec"])
    assert cluster["rayVersion"] == RAY_VERSION
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (workers,) = cluster["workerGroupSpecs"]
    assert cluster["autoscalerOptions"]["version"] == "v2", (
        "a search relies on what it says (search/running/nodes/autoscaler.py)"
    )
    assert 0 == workers["minReplicas"] == workers["replicas"] < workers["maxReplicas"]
    variables = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["env"]
    assert {variable["name"]: variable["value"] for variable in variables} == {
        **HEALTH_CHECKS,
        "NVIDIA_VISIBLE_DEVICES": "void",
    }
    assert workers["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
def test_pods_are_what_kubernetes_takes_run_as_nobody_special_and_share_a_volume(name):
    client = pytest.importorskip("kubernetes.client")
    spec = custom_resource(name)["spec"]
    cluster = spec.get("rayClusterSpec", spec)
    for template in (cluster["headGroupSpec"]["template"], cluster["workerGroupSpecs"][0]["template"]):
        read = client.V1PodTemplateSpec.from_dict(template)
        assert read.model_dump(by_alias=True, exclude_none=True) == template, "a field that Kubernetes does not know is dropped"
        assert read.spec.security_context.run_as_non_root
        volumes = {volume.name for volume in read.spec.volumes if volume.persistent_volume_claim}
        assert [mount.name for mount in read.spec.containers[0].volume_mounts] == list(volumes) == ["shared"]


def test_the_dashboard_of_a_standing_cluster_is_inside_its_pod_and_a_ray_job_searches_and_is_cleared_away():
    head = custom_resource("raycluster.yaml")["spec"]["headGroupSpec"]
    assert head["rayStartParams"]["dashboard-host"] == "127.0.0.1"
    assert (
        "http://127.0.0.1:8265/api/gcs_healthz"
        in head["template"]["spec"]["containers"][0]["readinessProbe"]["exec"]["command"]
    )
    job = custom_resource("rayjob.yaml")["spec"]
    assert job["entrypoint"].startswith("dpc search ")
    assert " output_dir=/shared/" in job["entrypoint"]
    assert job["shutdownAfterJobFinishes"]


def test_the_image_is_pinned_built_apart_and_runs_as_a_plain_user():
    parser = pytest.importorskip("dockerfile_parse").DockerfileParser(path=str(FOLDER / "Dockerfile"))
    steps = [(step["instruction"], step["value"]) for step in parser.structure if step["instruction"] != "COMMENT"]
    assert [name for name, _ in steps].count("FROM") == 2
    assert all(re.fullmatch(r"python:3\.11-\S+( AS build)?", value) for name, value in steps if name == "FROM")
    assert [value for name, value in steps if name == "USER"] == ["1000"]
    (install,) = [value for _, value in steps if "pip install" in value]
    assert "--constraint constraints.txt" in install
    variables = " ".join(value for name, value in steps if name == "ENV").split()
    assert {"RAY_AUTH_MODE=token", "NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"} <= set(variables)
    assert "RAY_RUNTIME_ENV_WORKING_DIR_CACHE_SIZE_GB=0" in variables
    assert not any(name == "ADD" for name, _ in steps)

    copied = {path for name, value in steps if name == "COPY" and "--from" not in value for path in value.split()[:-1]}
    assert all((ROOT / path).exists() for path in copied)
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(packages) <= copied
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == copied


def test_a_login_shell_of_the_image_finds_ray(tmp_path):
    """As `ray up` runs it. The step that writes to /etc/profile.d is run on folders of the test's own, mounted there."""
    isolated = ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*isolated, "true"], check=False, capture_output=True).returncode:
        pytest.skip("unshare may not mount here")
    parser = pytest.importorskip("dockerfile_parse").DockerfileParser(path=str(FOLDER / "Dockerfile"))
    (written,) = re.findall(r"echo '[^']+' >/etc/profile\.d/\S+", parser.content)
    tools, profile = tmp_path / "opt/venv/bin", tmp_path / "profile.d"
    tools.mkdir(parents=True)
    profile.mkdir()
    (tools / "ray").write_text("#!/bin/sh\n")
    (tools / "ray").chmod(0o755)
    mounted = f"mount --bind {tmp_path}/opt /opt && mount --bind {profile} /etc/profile.d && {written} && exec env -i"
    shell = subprocess.run(
        [*isolated, "bash", "-c", f"{mounted} PATH=/opt/venv/bin:/usr/bin:/bin bash --login -c 'command -v ray'"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shell.stdout == "/opt/venv/bin/ray\n", shell.stderr


def test_the_slurm_script_has_no_fault_that_shellcheck_knows():
    subprocess.run(["bash", "-n", FOLDER / "slurm.sbatch"], check=True)
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    checked = subprocess.run([shellcheck, FOLDER / "slurm.sbatch"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_ray_up_mounts_the_token_where_the_images_user_looks_for_it():
    variables = re.search(r"^ENV (HOME=.*)$", (FOLDER / "Dockerfile").read_text(), re.M)[1].split()
    home = dict(variable.split("=", 1) for variable in variables)["HOME"]
    config = yaml.safe_load((FOLDER / "ray.yaml").read_text())
    start = docker_start_cmds("ubuntu", "image", config["file_mounts"], "dpc", [], "dpc", home, "docker")
    assert ":/home/dpc/.ray/auth_token" in start
