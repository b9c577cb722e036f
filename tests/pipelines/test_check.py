"""Checks before anything runs: params.yaml, the profiles that it names, and their networks."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.ablate import check_networks
from pipelines.check import check_params, main
from regproxy.config.profile_file import load_profile
from regproxy.errors import ConfigError
from regproxy.runs.trial import Trial


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profiles: [dmo]", "did you mean 'demo'?"),
        ("profile: [demo]", "did you mean 'profiles'?"),
        ("profiles: demo", "expected a list of names; got 'demo'"),
        ("profiles: []", "expected a list of names"),
        ("profiles: [smoke, smoke]", "lists profile smoke 2 times"),
        ("profiles: [pipelines/profiles/mine.yaml]", "and write mine."),
        ("[demo", "is not valid YAML: line 1: "),
        ("", "expected the key profiles"),
    ],
)
def test_mistakes_in_params_are_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        check_params(path)
    assert message in str(error.value) and len(str(error.value).splitlines()) == 1


def test_missing_params_and_sound_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"params\.yaml is missing. Write profiles: "):
        check_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("profiles: [smoke, paper]\n")
    assert check_params(tmp_path / "params.yaml") == ["smoke", "paper"]


def test_invalid_yaml_names_the_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "pipelines/profiles"
    folder.mkdir(parents=True)
    for content in (b"seeds: [0", b"seeds: \xff"):
        (folder / "mine.yaml").write_bytes(content)
        with pytest.raises(ConfigError, match=r"mine\.yaml is not valid YAML: .* Correct it") as error:
            load_profile("mine")
        assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["data", "data/prepared", "runs"])
def test_a_folder_of_outputs_that_is_a_link_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "disk").mkdir()
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("profiles: [smoke]\n")
    assert main() == 0
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).symlink_to(tmp_path / "disk")
    assert main() == 1
    assert f"{name} is a link to {tmp_path / 'disk'}" in capsys.readouterr().err


def test_networks_that_cannot_be_are_all_named_before_training(make_trial: Callable[..., Trial]) -> None:
    good, too_deep = make_trial(), make_trial(tap=99)
    unknown = make_trial(backbone=dataclasses.replace(good.variant.model.backbone, timm_name="vit_tinny"))
    check_networks([good])
    with pytest.raises(ConfigError, match="nothing was trained") as error:
        check_networks([good, too_deep, dataclasses.replace(too_deep, seed=1), unknown])
    lines = str(error.value).splitlines()
    assert len(lines) == 2  # a variant is named once, not once for each seed
    assert "region-4x4 on ade20k: tap 99 is invalid" in lines[0] and "vit_tinny" in lines[1]
