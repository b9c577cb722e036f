"""Shared fixtures: the smoke profile's scenes, generated and prepared once a test session."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import torch
from report_records import ROWS
from smoke_profile import SMOKE_VARIANTS

from regproxy.config.profile import Profile, Table
from regproxy.config.profile_file import load_profile
from regproxy.config.variant import Variant
from regproxy.data.prepare import prepare
from regproxy.demo.layouts import write_demo
from regproxy.runs.shared_storage import SharedStorage
from regproxy.runs.trial import Trial, Workspace
from regproxy.storage import remote
from regproxy.storage.remote import Storage

# Ray reads these when it is imported, in this process and in the processes that tests start.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Only `regproxy` is installed: processes that tests start in other folders find `pipelines` here.
os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[1]))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """The tensors are tiny: threads, here and in child processes, would only wait for each other."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def smoke_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Prepared data of the smoke profile: directory with a manifest by data set name."""
    root = tmp_path_factory.mktemp("smoke")
    profile = load_profile("smoke")
    prepared = {}
    for data in profile.datasets:
        raw = root / "raw" / data.name
        write_demo(raw, format=data.format, **dataclasses.asdict(profile.demo))
        prepared[data.name] = root / "prepared" / data.name
        prepare(dataclasses.replace(data, root=str(raw)), prepared[data.name], workers=1)
    return prepared


@pytest.fixture
def make_trial(smoke_data: dict[str, Path], tmp_path: Path) -> Callable[..., Trial]:
    """Returns a function that makes a smoke trial; keywords replace fields of its recipe or model."""

    def make(variant: str = "region-4x4", *, run: str = "run", seed: int = 0, **changes: object) -> Trial:
        base: Variant = SMOKE_VARIANTS["ade20k", variant]
        fields = {field.name for field in dataclasses.fields(base.model)}
        model = {name: value for name, value in changes.items() if name in fields}
        recipe = {name: value for name, value in changes.items() if name not in fields}
        changed = dataclasses.replace(
            base,
            model=dataclasses.replace(base.model, **model),
            recipe=dataclasses.replace(base.recipe, **recipe),
        )
        return Trial("smoke", changed, seed, Workspace(str(smoke_data["ade20k"]), str(tmp_path / run)))

    return make


@pytest.fixture
def profile() -> Profile:
    """The smoke profile with three seeds and published values."""
    table = Table(name="t1", title="Output strides", columns=("arch.", "h×w"), complexity=True, rows=ROWS)
    return dataclasses.replace(load_profile("smoke"), name="p", seeds=(0, 1, 2), tables=(table,))


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SharedStorage:
    """A storage that nodes share, in a temporary folder; failed operations are retried at once."""
    monkeypatch.setattr(remote, "WAITS_S", (0.01, 0.01))
    monkeypatch.setenv("REGPROXY_CACHE", str(tmp_path / "node"))
    return SharedStorage(Storage(f"file://{tmp_path}/store"))
