"""A model on the Hugging Face Hub: pushed to a server that answers as the Hub does, loaded, found offline."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from stub_hub import COMMIT, REPOSITORY, StubHub, serve

import regproxy
from regproxy.errors import ConfigError

PUSH = """
import sys, regproxy
print(regproxy.load(sys.argv[1], "cpu").push_to_hub("owner/name", token="hf_secret"))
"""
LOAD = """
import hashlib, sys, numpy, regproxy
from regproxy.errors import UserError
image = (numpy.arange(50 * 70 * 3) % 251).astype("uint8").reshape(50, 70, 3)
for source in sys.argv[1:]:
    try:
        model = regproxy.load(source, "cpu")
    except UserError as error:
        print(type(error).__name__, error)
    else:
        print(hashlib.sha256(model.predict(image).confidence.tobytes()).hexdigest())
named = regproxy.TrainedModel.from_pretrained("owner/name", revision="main", device="cpu")
print(hashlib.sha256(named.predict(image).confidence.tobytes()).hexdigest())
"""


def run_python(code: str, *arguments: str, **environment: str) -> list[str]:
    """Run code in a process, because the Hub's client reads its environment variables when it is imported."""
    command = [sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


@pytest.mark.integration
def test_a_pushed_model_is_loaded_online_and_offline(run: Path, tmp_path: Path) -> None:
    handler = type("Hub", (StubHub,), {"files": {}, "tokens": set()})
    home = {"HF_HOME": str(tmp_path / "hub"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    address = f"hf://{REPOSITORY}"
    with serve(handler) as url:
        online = home | {"HF_ENDPOINT": url}
        assert run_python(PUSH, str(run), **online) == [f"{url}/{REPOSITORY}/commit/{COMMIT}"]
        assert handler.files.keys() == {"README.md", "run.json", "model.safetensors"}
        assert handler.tokens == {"Bearer hf_secret"}
        assert handler.files["model.safetensors"] == (run / "model.safetensors").read_bytes()
        sources = (str(run), address, f"{address}@{COMMIT}", f"{address}@v9", "hf://owner/other")
        local, *loaded, revision, other, named = run_python(LOAD, *sources, **online)
    assert {*loaded, named} == {local}
    assert revision == f"DataError {address}@v9 has no such revision. Give a branch, tag or commit."
    assert other.startswith("DataError hf://owner/other is not on the Hub, or you have no access.")
    offline = home | {"HF_HUB_OFFLINE": "1"}
    found, missing, named = run_python(LOAD, address, "hf://owner/other", **offline)
    assert found == named == local
    assert missing.startswith("StorageError hf://owner/other is not in the cache and cannot be downloaded:")
    assert missing.endswith("Check the network, or give a run folder.")


@pytest.mark.parametrize("address", ["hf://name", "hf://a/b/c", "hf://a/b@", "hf://a b/c"])
def test_an_invalid_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="expected hf://owner/name or hf://owner/name@revision"):
        regproxy.load(address, "cpu")


def test_an_invalid_name_is_not_pushed(run: Path) -> None:
    with pytest.raises(ConfigError, match="repository name is invalid: expected owner/name"):
        regproxy.load(run, "cpu").push_to_hub("name")
