"""A data set as a profile's file writes it, and how it resolves to a `DataConfig`."""

from dataclasses import dataclass, fields
from typing import Any

from regproxy.config.class_entries import in_class_order, read_colour_file, read_colours, read_values
from regproxy.config.dataset import DataConfig, DataSettings
from regproxy.config.formats import FORMATS, resolve_classes
from regproxy.config.parse import choose, parse
from regproxy.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DatasetEntry(DataSettings):
    """A data set in the file.

    `values` maps each class to its label values. `colours` maps each class to its colour, or is the path of a
    CSV file with these. Without `classes`, their order is that of the train ids.
    """

    format: str
    classes: tuple[str, ...] | None = None
    values: Any = None
    colours: Any = None

    def resolve(self, name: str, where: str) -> DataConfig:
        """Return the data set called `name`.

        Args:
            where: path of the entry for messages.

        Raises:
            ConfigError: an unknown format or class, a class without a value or colour, or one with those of
                another class.
        """
        official = FORMATS[choose(self.format, FORMATS, f"{where}.format")].classes
        for key in ("values", "colours", "void_colours"):
            if official and getattr(self, key):
                raise ConfigError(
                    f"{where}.{key} is not allowed: format {self.format} defines its own. "
                    "Remove it, or use format folder."
                )
        values = {} if self.values is None else read_values(self.values, f"{where}.values")
        colours, void_colours = self._colours(where)
        classes = self.classes
        if classes is None and (values or colours):
            classes = tuple(values or colours)
        classes = resolve_classes(self.format, classes, where)
        if isinstance(self.colours, str):  # a file may list more classes than the profile uses
            void_colours += tuple(c for key, listed in colours.items() if key not in classes for c in listed)
            colours = {key: listed for key, listed in colours.items() if key in classes}
        for key, entries in (("values", values), ("colours", colours)):
            for class_name in entries:
                choose(class_name, classes, f"{where}.{key}: class")
        own = {field.name: getattr(self, field.name) for field in fields(DataSettings)}
        return parse(  # it adds `where` to an error's message
            DataConfig,
            {},
            where,
            **own | {"void_colours": void_colours},
            name=name,
            format=self.format,
            classes=classes,
            values=in_class_order(values, classes, f"{where}.values"),
            colours=in_class_order(colours, classes, f"{where}.colours"),
        )

    def _colours(self, where: str) -> tuple[dict[str, tuple], tuple]:
        """Return the colours of each class, and those that are void."""
        if self.colours is None:
            return {}, self.void_colours
        if not isinstance(self.colours, str):
            return read_colours(self.colours, f"{where}.colours"), self.void_colours
        colours = read_colour_file(self.colours, self.root, f"{where}.colours")
        used = {key: listed for key, listed in colours.items() if not set(listed) & set(self.void_colours)}
        if not used:
            raise ConfigError(f"{where}.colours: {self.colours} has no classes: add a line for each class")
        return used, self.void_colours
