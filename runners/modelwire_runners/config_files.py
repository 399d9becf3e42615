"""The config of a script as a YAML file."""

from typing import Literal

from .config import BaseConfig

# In the layout chap_core these stay at the top.
_OWN_FIELDS = ("prediction_periods", "additional_continuous_covariates")


def config_yaml(config: BaseConfig, layout: Literal["flat", "chap_core"]) -> bytes:
    """The config's fields by their aliases, sorted: all at the top (flat), or the runner's own under `user_option_values` (chap_core)."""
    import yaml

    fields = config.model_dump(mode="json", by_alias=True)
    if layout == "chap_core":
        own = {name: fields.pop(name) for name in _OWN_FIELDS if name in fields}
        fields = {**own, "user_option_values": fields}
    return yaml.safe_dump(fields, sort_keys=True, allow_unicode=True, width=1 << 16).encode()
