"""The pages: their links, commands and keys exist, and the README stays short."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("infra/*.md")])
PROFILES = sorted(ROOT.glob("pipelines/profiles/*.yaml"))
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.M))


def identify(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=identify)
def test_links_and_commands_exist(page: Path) -> None:
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (page.parent / link).exists(), link
    for target in re.findall(r"(?:^|`|=\S* )make ([a-z][a-z-]*)", text, flags=re.M):
        assert target in TARGETS, target
    if page.name != "CHANGELOG.md":  # it names former modules and files
        for module in re.findall(r"python -m ((?:pipelines|regproxy|benchmarks)[\w.]*)", text):
            assert importlib.util.find_spec(module), module
        for path in re.findall(r"`((?:regproxy|pipelines|benchmarks|tests|infra|docs)/[\w./-]+)`", text):
            assert (ROOT / path).exists(), path


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("profile", PROFILES, ids=identify)
def test_profiles_begin_with_command_and_duration(profile: Path) -> None:
    head = profile.read_text().split("seeds:")[0]
    assert f"make repro        # params.yaml: profiles: [{profile.stem}]" in head and "# Duration: " in head


def test_the_picture_is_what_its_script_draws(tmp_path: Path) -> None:
    (tmp_path / "method.py").write_text((ROOT / "docs/method.py").read_text())
    subprocess.run([sys.executable, tmp_path / "method.py"], check=True)
    assert (tmp_path / "method.svg").read_text() == (ROOT / "docs/method.svg").read_text()


def test_one_version_and_one_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), flags=re.M)[1]
    assert citation["version"] == version
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
    readme = (ROOT / "README.md").read_text()
    assert "arXiv:2203.14043" in readme and "2203.14043" in citation["preferred-citation"]["url"]
