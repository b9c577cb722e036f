"""A plan as text: a table by architecture and data set, or JSON with every training."""

import json
import math
from dataclasses import asdict
from statistics import fmean
from typing import Any

from regproxy.errors import ConfigError
from regproxy.plan.simulation import Plan, PlannedTrial
from regproxy.plan.speeds import Assumptions

_HEAD = ("arch", "data set", "trainings", "GPUs each", "images/s", "speed", "hours each", "GPU hours")
_TITLES = "{:10} {:12} {:>9} {:>9} {:>9} {:9} {:>10} {:>10}"
_LINE = "{:10} {:12} {:>9} {:>9g} {:>9.1f} {:9} {:>10.2f} {:>10.1f}"
_HOUR = 3600.0


def summary(plan: Plan, price: float | None) -> dict[str, Any]:
    """Return trainings, gpus, makespan_hours, utilisation, gpu_hours, reserved_gpu_hours and cost.

    `gpu_hours` are occupied by trainings; `reserved_gpu_hours` are those of all GPUs until the last end.
    `cost` is that of the reserved hours; None without a price of one GPU hour.

    Raises:
        ConfigError: the price is negative or not finite.
    """
    if price is not None and not 0 <= price < math.inf:
        raise ConfigError(f"price is invalid: expected at least 0; got {price:g}")
    schedule = plan.schedule
    reserved = schedule.gpus * schedule.makespan / _HOUR
    return {
        "trainings": len(plan.trials),
        "gpus": schedule.gpus,
        "makespan_hours": schedule.makespan / _HOUR,
        "utilisation": schedule.utilisation,
        "gpu_hours": schedule.busy_seconds / _HOUR,
        "reserved_gpu_hours": reserved,
        "cost": None if price is None else price * reserved,
    }


def as_json(plan: Plan, profile: str, assumptions: Assumptions, price: float | None) -> str:
    """Return the summary, the assumptions and every training with its start, as a JSON object."""
    trials = [
        {
            "data": trial.variant.data.name,
            "variant": trial.variant.name,
            "arch": trial.variant.model.arch,
            "seed": trial.seed,
            "gpus": trial.task.gpus,
            "images_per_second": trial.images_per_second,
            "speed": trial.source,
            "start_hours": start / _HOUR,
            "hours": trial.task.seconds / _HOUR,
        }
        for trial, start in zip(plan.trials, plan.schedule.starts, strict=True)
    ]
    totals = {"profile": profile, **summary(plan, price), "assumptions": asdict(assumptions)}
    return json.dumps({**totals, "trials": trials}, indent=1)


def as_text(plan: Plan, profile: str, assumptions: Assumptions, price: float | None) -> str:
    """Return a table and its totals. Speeds and hours in a line are means over its trainings."""
    total = summary(plan, price)
    groups: dict[tuple[str, str, str], list[PlannedTrial]] = {}
    for trial in plan.trials:
        groups.setdefault((trial.variant.model.arch, trial.variant.data.name, trial.source), []).append(trial)
    lines = [_TITLES.format(*_HEAD)]
    for (arch, data, source), trials in groups.items():
        gpus = trials[0].task.gpus
        speed = fmean(trial.images_per_second for trial in trials)
        hours = fmean(trial.task.seconds / _HOUR for trial in trials)
        gpu_hours = sum(trial.task.gpus * trial.task.seconds for trial in trials) / _HOUR
        lines.append(_LINE.format(arch, data, len(trials), gpus, speed, source, hours, gpu_hours))
    lines += [
        "",
        f"{total['trainings']} trainings of profile {profile} on {total['gpus']} GPUs, longest first",
        f"makespan     {total['makespan_hours']:.2f} hours ({total['makespan_hours'] / 24:.2f} days)",
        f"utilisation  {100 * total['utilisation']:.1f} %",
        f"GPU hours    {total['gpu_hours']:.1f} in trainings, {total['reserved_gpu_hours']:.1f} reserved",
    ]
    if price is not None:
        released = f"{price * total['gpu_hours']:.2f} if idle GPUs are released"
        lines.append(f"cost         {total['cost']:.2f} at {price:g} a GPU hour; {released}")
    assumed = [trial.variant.recipe for trial in plan.trials if trial.source == "assumed"]
    precisions = sorted({recipe.precision for recipe in assumed})
    if precisions:
        peaks = [f"{assumptions.peak_tflops(precision):g} TFLOP/s ({precision})" for precision in precisions]
        lines.append(f"assumed: {' and '.join(peaks)} a GPU, MFU {assumptions.mfu:g}, 3 x forward GMACs")
    lines.append(
        f"included: {assumptions.startup_seconds:g} s of start-up for each training; each further worker "
        f"adds {assumptions.efficiency:g} of the first one's speed; excluded: validation, scoring"
    )
    return "\n".join(lines)
