"""The files of infra/, as far as a machine without a cloud can check them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import ray.autoscaler
import yaml

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
LOCK = dict(
    line.split("==") for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line
)
PINNED = {name.lower(): version for name, version in LOCK.items()}
KUBERAY = yaml.safe_load((INFRA / "kuberay.yaml").read_text())
COMPOSE = yaml.safe_load((INFRA / "mlflow/compose.yaml").read_text())
EXAMPLES = {"cluster.env.example": "infra/cluster.env.example", "env.example": "infra/mlflow/env.example"}


def names_in(example: str) -> set[str]:
    """Return the variables that an example of an env file sets."""
    return set(re.findall(r"^([A-Z_0-9]+)=", (ROOT / EXAMPLES[example]).read_text(), flags=re.M))


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.M))


def pods() -> dict[str, dict]:
    """Return the pod specifications of the RayJob by group."""
    cluster = KUBERAY["spec"]["rayClusterSpec"]
    workers = {group["groupName"]: group["template"]["spec"] for group in cluster["workerGroupSpecs"]}
    return {"head": cluster["headGroupSpec"]["template"]["spec"], **workers}


def test_the_launchers_file_has_rays_schema() -> None:
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    config = yaml.safe_load((INFRA / "ray-cluster.yaml").read_text())
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError, match="availability_zne"):
        jsonschema.validate({**config, "availability_zne": "a"}, schema)
    types = config["available_node_types"]
    assert config["head_node_type"] in types
    assert types["head"]["resources"]["CPU"] == 0, "no trial may run on the head"
    assert types["gpu-spot"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert types["gpu-spot"]["max_workers"] <= config["max_workers"]


def test_the_ray_job_is_complete() -> None:
    assert (KUBERAY["apiVersion"], KUBERAY["kind"]) == ("ray.io/v1", "RayJob")
    assert KUBERAY["spec"]["rayClusterSpec"]["rayVersion"] == LOCK["ray"]
    command, _, directory, target = KUBERAY["spec"]["entrypoint"].split()
    assert (command, directory) == ("make", "/opt/regproxy") and target in targets()
    for name, pod in pods().items():
        (container,) = pod["containers"]
        limits, requests = (container["resources"][kind] for kind in ("limits", "requests"))
        assert limits == requests, f"{name}: GPUs and memory cannot be overcommitted"
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert (
            pod["securityContext"]["runAsNonRoot"]
            and not container["securityContext"]["allowPrivilegeEscalation"]
        )
    gpu = pods()["gpu-spot"]
    assert int(gpu["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]) > 0
    assert {"nvidia.com/gpu", "cloud.google.com/gke-spot"} <= {entry["key"] for entry in gpu["tolerations"]}
    assert len({pod["containers"][0]["image"] for pod in pods().values()}) == 1


@pytest.mark.parametrize("name", sorted(pods()))
def test_pods_have_kubernetes_schema(name: str) -> None:
    spec = pods()[name]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    kubernetes_validate.validate(pod, "1.34", strict=True)
    with pytest.raises(kubernetes_validate.ValidationError, match="tolerationz"):
        kubernetes_validate.validate({**pod, "spec": {**spec, "tolerationz": []}}, "1.34", strict=True)


def test_the_comment_creates_all_secrets() -> None:
    text = (INFRA / "kuberay.yaml").read_text()
    created = set(re.findall(r"create secret generic (\S+)", text))
    used = {
        source["secretRef"]["name"]
        for pod in pods().values()
        for container in pod["containers"]
        for source in container["envFrom"]
    }
    used.add(KUBERAY["spec"]["rayClusterSpec"]["authOptions"]["secretName"])
    assert used == created


def test_compose_services_fit_together() -> None:
    services = COMPOSE["services"]
    for name, service in services.items():
        for other, condition in service.get("depends_on", {}).items():
            assert other in services, name
            assert condition["condition"] != "service_healthy" or "healthcheck" in services[other]
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in COMPOSE["volumes"]
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} is open to everybody"
    wanted = set(re.findall(r"\$\{([A-Z_]+):\?", (INFRA / "mlflow/compose.yaml").read_text()))
    assert wanted == names_in("env.example")
    assert services["mlflow"]["image"].endswith(":" + LOCK["mlflow"])
    assert "--app-name=basic-auth" in services["mlflow"]["command"]
    assert {"MLFLOW_SERVER_ALLOWED_HOSTS", "MLFLOW_AUTH_ADMIN_PASSWORD"} <= services["mlflow"][
        "environment"
    ].keys()


@pytest.mark.parametrize("file", ["Dockerfile", "mlflow/Dockerfile"])
def test_images_are_locked_and_do_not_run_as_root(file: str) -> None:
    text = (INFRA / file).read_text()
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    assert all(":" in line and "latest" not in line for line in lines if line.startswith("FROM"))
    installs = [part for line in lines for part in line.split("&&") if "pip install" in part]
    assert installs and all("--constraint" in part for part in installs)
    assert [line.split()[1] for line in lines if line.startswith("USER")][-1] != "root"
    for line in lines:
        if line.startswith("COPY"):
            for source in [part for part in line.split()[1:-1] if not part.startswith("--")]:
                assert (ROOT / source).exists(), f"{source} is not in the repository"


def test_data_have_a_place_on_the_head() -> None:
    (container,) = pods()["head"]["containers"]
    assert {"name": "data", "mountPath": "/data", "readOnly": True} in container["volumeMounts"]
    launcher = yaml.safe_load((INFRA / "ray-cluster.yaml").read_text())
    assert any(option.endswith(":/data:ro") for option in launcher["docker"]["head_run_options"])


def test_the_image_runs_the_pipeline_of_the_copied_tree() -> None:
    text = (INFRA / "Dockerfile").read_text()
    (folder,) = re.findall(r"^WORKDIR (\S+)", text, flags=re.M)
    assert f"PYTHONPATH={folder} " in text, "the wheel has no `pipelines`"
    assert "'.[pipeline]'" in text and "ARG REGPROXY_GIT_COMMIT" in text


@pytest.mark.parametrize("file", ["requirements.txt", "mlflow/requirements.txt"])
def test_requirements_are_pinned_and_agree_with_the_lock(file: str) -> None:
    lines = [line for line in (INFRA / file).read_text().splitlines() if line and not line.startswith("#")]
    for name, version in (line.split("==") for line in lines):
        assert PINNED.get(name.lower(), version) == version


def test_the_slurm_script_is_a_script() -> None:
    script = INFRA / "slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    subprocess.run([str(Path(sys.executable).parent / "shellcheck"), str(script)], check=True)
    text = script.read_text()
    called = set(re.findall(r"^make ([a-z-]+)", text, flags=re.M))
    assert called and called <= targets()
    assert "#SBATCH --requeue" in text and "#SBATCH --signal=B:USR1@300" in text


def test_all_files_use_the_same_variables() -> None:
    known = names_in("cluster.env.example")
    assert {"REGPROXY_STORAGE", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "MLFLOW_TRACKING_URI"} <= known
    page = (INFRA / "README.md").read_text()
    for name in set(re.findall(r"`((?:REGPROXY|MLFLOW|RAY|AWS)_[A-Z_]+)`", page)):
        assert name in known | {"RAY_ADDRESS"}, name
    for file in re.findall(r"\]\(([a-z./-]+)\)", page):
        assert (INFRA / file).exists(), file
    for target in re.findall(r"`make ([a-z-]+)`", page):
        assert target in targets()
