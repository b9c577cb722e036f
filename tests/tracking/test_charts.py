"""MLflow's own page in a real browser: the chart view of an experiment opens with a bar for every variant.

The test uses Debian's Chromium and is skipped where it is missing.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow_server import mlflow_server

from pipelines.tracking.uploader import Uploader
from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.loop import train

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]


def test_the_chart_view_has_bars_of_the_variants(
    trial: Trial, make_trial: Callable[..., Trial], folder: Path, result: dict[str, Any]
) -> None:
    from playwright.sync_api import sync_playwright

    other = make_trial("linear", run="linear", log_every=2)
    list(train(other, Context()))
    with Uploader("smoke", [trial, other]) as uploader:
        uploader.add_result(trial, result)
        uploader.add_result(other, {**result, "miou": 0.25, "fingerprint": "of the other"})
    experiment = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").get_experiment_by_name("smoke/ade20k")
    with mlflow_server(folder) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(f"{address}/#/experiments/{experiment.experiment_id}/runs?compareRunsMode=CHART")
        page.locator(".js-plotly-plot .bars").first.wait_for(timeout=60_000)
        bars, text = page.locator(".js-plotly-plot .bars .point").count(), page.locator("body").inner_text()
        browser.close()
    assert bars >= 2
    assert "miou" in text and "region-4x4" in text and "linear" in text
