"""Commands with placeholders for the names of files."""

import string
from collections.abc import Mapping
from dataclasses import dataclass

CONFIG, DATA, HISTORIC, FUTURE = "config.yml", "data.csv", "historic.csv", "future.csv"
MODEL, OUTPUT, GEO = "model", "predictions.csv", "geo.json"

TRAIN_FILES = {"config_file": CONFIG, "data_file": DATA, "model_file": MODEL, "geo_file": GEO}
PREDICT_FILES = {
    "config_file": CONFIG,
    "model_file": MODEL,
    "historic_file": HISTORIC,
    "future_file": FUTURE,
    "output_file": OUTPUT,
    "geo_file": GEO,
}


@dataclass(frozen=True, slots=True)
class Command:
    """A command line for the shell, in which `{name}` stands for a file and `{{` and `}}` for braces. Raises ValueError if a placeholder
    is not one of `files`."""

    name: str
    text: str
    files: Mapping[str, str]

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError(f"{self.name} is empty")
        try:
            parts = list(string.Formatter().parse(self.text))
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}; {self._rule}") from None
        for _, field, spec, conversion in parts:
            if field is not None and (field not in self.files or spec or conversion):
                shown = f"{field}{f'!{conversion}' if conversion else ''}{f':{spec}' if spec else ''}"
                raise ValueError(f"{self.name}: there is no placeholder {{{shown}}}; {self._rule}")

    def filled(self, *, geo: bool) -> str:
        """The command line. Without GeoJSON the placeholder for its file stands for nothing."""
        return self.text.format_map(self.files if geo else {**self.files, "geo_file": ""})

    @property
    def _rule(self) -> str:
        return f"it may hold {', '.join(f'{{{name}}}' for name in self.files)}; any other brace is written twice"
