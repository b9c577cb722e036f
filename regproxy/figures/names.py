"""What the figures call a variant: short names, and the labels of a table's rows."""

from collections import Counter
from collections.abc import Sequence

from regproxy.config.profile import Table
from regproxy.config.variant import Variant
from regproxy.report.layout import NO_VALUE

_TICK = "✓"


def short_names(variants: Sequence[Variant]) -> dict[str, str]:
    """Return a name for each variant by its identifier, such as "RegProxy 4×4" or "linear baseline".

    The architecture is in it if the variants have more than one. Variants that would share a name keep their
    identifiers.
    """
    several = len({variant.model.arch for variant in variants}) > 1
    names = {variant.name: _short_name(variant, several) for variant in variants}
    counts = Counter(names.values())
    return {key: name if counts[name] == 1 else key for key, name in names.items()}


def region_text(variant: Variant) -> str:
    """Return the region (h, w) of a RegProxy variant as "h×w"."""
    return "×".join(map(str, variant.model.region))


def row_texts(table: Table) -> dict[str, str]:
    """Return the label of each variant of a table as one text; a tick becomes the head of its column.

    A label "none" gets the head of its column.
    """
    texts = {}
    for row in table.rows:
        parts = [
            f"{head}: none" if part == "none" else part.replace(_TICK, head)
            for head, part in zip(table.columns, row.label, strict=True)
            if part not in ("", "-", NO_VALUE)
        ]
        if row.variant is not None:
            texts.setdefault(row.variant, ", ".join(parts) or row.variant)
    return texts


def _short_name(variant: Variant, with_arch: bool) -> str:
    model = variant.model
    arch = f"-{model.arch}" if with_arch else ""
    if model.head == "regproxy":
        return f"RegProxy{arch} {region_text(variant)}"
    return f"linear baseline{arch and ' ' + model.arch}" if model.head == "linear" else f"Segmenter{arch}"
