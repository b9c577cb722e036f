"""The section on a search: a table of its trials, and their mIoU against each searched setting."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regproxy.config.parse import parse
from regproxy.config.profile import Profile
from regproxy.config.search import Dimension, Search
from regproxy.drawing.style import GAIN, LOSS, logarithmic_x, plot
from regproxy.report.layout import NO_VALUE, Column, Picture, Section, TextTable, data_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL = (3.4, 2.7)  # width and height, inches
_METHODS = {"random": "random search", "optuna": "TPE (Bergstra et al., 2011) by Optuna"}


def search_section(profile: Profile, result: Mapping[str, Any], out: Path) -> Section | None:
    """Return the section on a search and draw its plot `search.png` in the existing folder `out`.

    Args:
        profile: gives the titles of data sets.
        result: from `search_record.read_result`; without a search there is no section.
        out: folder of the figures, in the folder of the report.
    """
    if result["search"] is None:
        return None
    search = parse(Search, result["search"], "the result of the search")
    titles = {
        data_title(profile, data): result["datasets"][data.name]
        for data in profile.datasets
        if data.name in result["datasets"]
    }
    path = out / "search.png"
    _draw(search, titles, path)
    caption = (
        "mIoU of each trial's last validation against the searched settings. Filled: trained to the end. "
        "Hollow: stopped early. Red: the best trial."
    )
    return Section(
        name="search",
        title="Search over training settings",
        short_title="Search",
        sentences=_sentences(search, titles),
        table=_table(search, titles),
        pictures=(Picture(f"{out.name}/{path.name}", caption),),
        pairwise=False,
    )


def value_text(value: Any) -> str:
    """Return a value of a setting as text: 4×4 for a list, few digits for a number."""
    if isinstance(value, (list, tuple)):
        return "×".join(map(value_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sentences(search: Search, titles: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    settings = "; ".join(f"{key} {_dimension_text(found)}" for key, found in search.space.items())
    stopping = (
        " A trial stopped early if its mIoU was below the median of the trials that had reached the same "
        "step (ASHA, Li et al., 2020)."
        if search.early_stopping
        else ""
    )
    best = [
        f"{title}, trial {found['best']} with {_best_values(found)}"
        for title, found in titles.items()
        if found["best"] is not None
    ]
    return (
        f"Search over settings of variant {search.variant} by {_METHODS[search.sampler]}: "
        f"{search.trials} trials on each data set, all with seed {search.seed}. "
        f"Settings: {settings}.{stopping}",
        f"Best trials: {'; '.join(best)}.",
        "They were chosen by the validation mIoU of one seed, and the tables use the same split, so this "
        "mIoU is optimistic: train the best settings with every seed before you compare them.",
    )


def _dimension_text(dimension: Dimension) -> str:
    if dimension.choices:
        return "in " + ", ".join(map(value_text, dimension.choices))
    scale = ", logarithmic" if dimension.log else ""
    return f"from {value_text(dimension.low)} to {value_text(dimension.high)}{scale}"


def _best_values(found: Mapping[str, Any]) -> str:
    best = next(trial for trial in found["trials"] if trial["number"] == found["best"])
    return ", ".join(f"{key} {value_text(value)}" for key, value in best["values"].items())


def _table(search: Search, titles: Mapping[str, Mapping[str, Any]]) -> TextTable:
    """Return the trials of all data sets; the best one of each is bold."""
    lines = [(title, trial) for title, found in titles.items() for trial in found["trials"]]
    best = [trial["number"] == titles[title]["best"] for title, trial in lines]
    trials = [trial for _, trial in lines]
    mious = [trial["val_miou"] for trial in trials]
    columns = [
        Column("data set", [title for title, _ in lines]),
        Column("end", [trial["state"] for trial in trials], details=[t["error"] or "" for t in trials]),
        Column("trial", [str(trial["number"]) for trial in trials], best),
        *(Column(key, [value_text(t["values"][key]) for t in trials], best) for key in search.space),
        Column("steps", [str(trial["steps"]) for trial in trials]),
        Column("mIoU", [NO_VALUE if miou is None else f"{100 * miou:.2f}" for miou in mious], best),
    ]
    breaks = tuple(index for index in range(1, len(lines)) if lines[index][0] != lines[index - 1][0])
    return TextTable(columns=tuple(columns), labels=2, breaks=breaks)


def _draw(search: Search, titles: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw a row of panels for each data set and a column for each setting."""
    with plot(path, len(search.space) * _PANEL[0], len(titles) * _PANEL[1]) as figure:
        for row, (title, found) in enumerate(titles.items()):
            scored = [trial for trial in found["trials"] if trial["val_miou"] is not None]
            for column, (key, dimension) in enumerate(search.space.items(), start=1):
                axes = figure.add_subplot(len(titles), len(search.space), row * len(search.space) + column)
                _draw_panel(axes, key, dimension, scored, found["best"])
                if column == 1:
                    axes.set_title(title, loc="left")
                    axes.set_ylabel("validation mIoU, %")


def _draw_panel(
    axes: "Axes", key: str, dimension: Dimension, trials: Sequence[Mapping[str, Any]], best: int | None
) -> None:
    texts = [value_text(choice) for choice in dimension.choices]
    for trial in trials:
        value = trial["values"][key]
        x = texts.index(value_text(value)) if texts else value
        colour = LOSS if trial["number"] == best else GAIN
        fill = colour if trial["state"] == "finished" else "none"
        axes.plot(x, 100 * trial["val_miou"], "o", color=colour, markerfacecolor=fill)
    axes.set_xlabel(key)
    if texts:
        axes.set_xticks(range(len(texts)), texts)
        axes.set_xlim(-0.5, len(texts) - 0.5)
    elif dimension.log:
        logarithmic_x(axes)
        axes.set_xlim(dimension.low / 1.5, dimension.high * 1.5)
