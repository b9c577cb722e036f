"""The report mentions runs that other software or another device made, and runs kept by `--accept-source`."""

from pathlib import Path

from report_records import gather, write

from regproxy.config.profile import Profile
from regproxy.report.what_was_run import deviations

VERSIONS = {"python": "3.11.7", "torch": "2.9.0", "timm": "1.0.22", "numpy": "2.4.6"}


def points(profile: Profile, root: Path) -> tuple[str, ...]:
    section = deviations(profile, gather(profile, root))
    return section.points if section else ()


def test_seeds_of_a_row_that_differ_in_versions_or_device_are_named(profile: Profile, tmp_path: Path) -> None:
    for seed, changes in enumerate(({}, {"torch": "2.10.0"}, {})):
        versions = {**VERSIONS, **changes}
        write(tmp_path, f"ade20k/linear/{seed}", 0.4, run={"versions": versions, "device": "cpu"})
    for seed, device in enumerate(("cpu", "cpu", "NVIDIA H100")):
        write(tmp_path, f"ade20k/region-4x4/{seed}", 0.4, run={"versions": VERSIONS, "device": device})
    found = points(profile, tmp_path)
    assert "Seeds of the same row differ in torch (2.10.0, 2.9.0): linear on ade20k." in found
    assert "Seeds of the same row differ in device (NVIDIA H100, cpu): region-4x4 on ade20k." in found
    assert sum("Seeds of the same row" in point for point in found) == 2


def test_rows_may_differ_from_each_other(profile: Profile, tmp_path: Path) -> None:
    for seed in range(3):
        write(tmp_path, f"ade20k/linear/{seed}", 0.4, run={"versions": VERSIONS, "device": "cpu"})
        write(tmp_path, f"ade20k/region-4x4/{seed}", 0.4, run={"versions": {}, "device": "NVIDIA H100"})
    assert not any("Seeds of the same row" in point for point in points(profile, tmp_path))


def test_runs_and_scores_of_accepted_source_are_counted(profile: Profile, tmp_path: Path) -> None:
    accepted = {"accepted_sources": [{"fingerprint": "earlier"}]}
    write(tmp_path, "ade20k/linear/0", 0.4, run=accepted, **accepted)
    write(tmp_path, "ade20k/linear/1", 0.4, **accepted)
    write(tmp_path, "ade20k/linear/2", 0.4)
    (point,) = (point for point in points(profile, tmp_path) if "--accept-source" in point)
    assert point.startswith("2 of 3 runs, or their scores, were kept after an edit of the source code")
