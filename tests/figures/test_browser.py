"""The report in a real browser: no errors, nothing wider than the page, the model's numbers in the explorer.

The tests use Debian's Chromium and are skipped where it is missing.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from report_records import COSTS, gather, write_seeds
from smoke_profile import SMOKE_VARIANTS

from regproxy.config.profile import Profile
from regproxy.drawing.style import plot
from regproxy.eval.image_regions import ImageRegions
from regproxy.figures.explorer import explorer_image
from regproxy.report.document import Figures, write_report
from regproxy.report.layout import Picture

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]
DATA = SMOKE_VARIANTS["ade20k", "region-4x4"].data
SIDE, ROWS, COLUMNS = 16, 3, 5


def random_regions(region: int, seed: int) -> ImageRegions:
    random = np.random.default_rng(seed)
    affinity = random.dirichlet(np.full(9, 0.3), (region, region, ROWS, COLUMNS)).astype(np.float32)
    logits = random.normal(size=(DATA.num_classes, ROWS, COLUMNS)).astype(np.float32)
    pixels = random.integers(0, 256, (ROWS * SIDE - 5, COLUMNS * SIDE, 3), dtype=np.uint8)
    return ImageRegions(np.moveaxis(affinity, -1, 0), logits, pixels, SIDE)


REGIONS = {"baseline": random_regions(1, 1), "4x4": random_regions(4, 2)}


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def report(profile: Profile, tmp_path: Path) -> Path:
    for variant in ("linear", "region-4x4"):
        iou = {"iou_per_class": [0.1] * DATA.num_classes, "classes": list(DATA.classes)}
        write_seeds(tmp_path, "ade20k", variant, (0.41, 0.38, 0.40), **iou)
    images = [explorer_image(f"image {n}", REGIONS, DATA, selected="4x4") for n in range(2)]
    with plot(tmp_path / "plot.png", 9, 4) as figure:
        figure.add_subplot().plot([1, 2, 3])
    figures = Figures(explorer=images, plots=[Picture("plot.png", "A plot with the page's ink.")])
    write_report(profile, gather(profile, tmp_path), COSTS, tmp_path, figures=figures)
    return tmp_path / "report.html"


def open_page(browser, report: Path, *, width: int = 1280, scheme: str = "light"):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    page.goto(report.as_uri())
    page.wait_for_function("document.querySelector('[data-value=token]').textContent !== ''")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_has_no_errors_and_nothing_overflows(browser, report: Path, width: int, scheme: str) -> None:
    page = open_page(browser, report, width=width, scheme=scheme)
    assert page.errors == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    tick = page.locator("figure svg text").first.evaluate("text => getComputedStyle(text).fill")
    assert (tick == "rgb(34, 34, 34)") == (scheme == "light")
    page.close()


def shown(page) -> tuple[np.ndarray, tuple[int, int], str, float]:
    """Return the nine affinities (0..1), the token, its class and its entropy, as the page shows them."""
    percent = [float(text) for text in page.locator(".affinities span").all_inner_texts()]
    texts = [page.locator(f"[data-value={name}]").inner_text() for name in ("token", "class", "entropy")]
    row, column = (int(part.split()[-1]) for part in texts[0].removesuffix(" (selected)").split(","))
    return np.array(percent) / 100, (row, column), texts[1], float(texts[2].split()[0])


def expect(page, label: str, y: int, x: int, token: tuple[int, int] | None = None) -> None:
    """Check what the page shows for a pixel against the network's affinity, logits and entropy."""
    regions = REGIONS[label]
    height, width = regions.affinity.shape[1:3]
    i, j = y * height // SIDE, x * width // SIDE
    affinity = regions.affinity[:, i % height, j % width, i // height, j // width]
    places = [(i // height + n // 3 - 1, j // width + n % 3 - 1) for n in range(9)]
    inside = [place[0] in range(ROWS) and place[1] in range(COLUMNS) for place in places]  # it may be a crop
    token = token or places[int(np.where(inside, affinity, -1).argmax())]
    numbers, shown_token, name, entropy = shown(page)
    assert np.abs(numbers - affinity).max() < 0.5 / 255 + 0.0005 + 1e-6  # bytes, shown with one decimal
    assert shown_token == token
    assert name == DATA.classes[regions.classes[token]]
    assert abs(entropy - regions.entropy[token]) < 0.00051


def hover(page, y: int, x: int, *, click: bool = False) -> None:
    canvas = page.locator("[data-explorer] canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    height, width = REGIONS["4x4"].pixels.shape[:2]
    position = box["x"] + (x + 0.5) * box["width"] / width, box["y"] + (y + 0.5) * box["height"] / height
    page.mouse.move(*position)
    if click:
        page.mouse.click(*position)


def test_the_explorer_answers_mouse_keys_and_choices(browser, report: Path) -> None:
    page = open_page(browser, report)
    bottom, right = (side - 1 for side in REGIONS["4x4"].pixels.shape[:2])
    for y, x in ((20, 20), (21, 38), (17, 50), (0, 0), (0, right), (bottom, 3), (bottom, right)):
        hover(page, y, x)
        expect(page, "4x4", y, x)
    hover(page, 20, 20, click=True)
    expect(page, "4x4", 20, 20, token=(1, 1))
    hover(page, 20, 40)
    expect(page, "4x4", 20, 40, token=(1, 1))  # the selected token stays
    canvas = page.locator("[data-explorer] canvas")
    canvas.press("Escape")
    canvas.press("ArrowRight")
    expect(page, "4x4", 20, 44)
    canvas.press("Shift+ArrowLeft")
    expect(page, "4x4", 20, 28)
    canvas.press("Enter")
    expect(page, "4x4", 20, 28, token=(1, 1))
    page.get_by_label("baseline").check()
    page.wait_for_function("document.querySelector('[data-what]').textContent.includes('1 x 1')")
    expect(page, "baseline", 20, 28)
    page.get_by_label("image 1").check()
    assert page.errors == []
    page.close()


def test_tables_are_sorted_by_a_click_and_show_the_seeds(browser, report: Path) -> None:
    page = open_page(browser, report)
    rows = page.locator("#table-t1 tbody tr")
    before = rows.all_inner_texts()
    header = page.locator("#table-t1 th", has_text="params").first.get_by_role("button")
    header.click()
    header.click()
    assert rows.all_inner_texts() == before[::-1]
    header.click()
    assert rows.all_inner_texts() == before
    page.locator("#table-t1 td[data-detail]").first.focus()
    assert page.locator("#detail").inner_text().splitlines() == [
        "seed 0: 41.00",
        "seed 1: 38.00",
        "seed 2: 40.00",
    ]
    page.close()
