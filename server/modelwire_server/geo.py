"""GeoJSON from strangers."""

from typing import Any

import pydantic
from geojson_pydantic import FeatureCollection

from .errors import FieldViolation, InvalidGeo

MOST_VIOLATIONS = 50


def check_geo(document: Any, field: str = "geo") -> None:
    """Raises InvalidGeo, naming the places, if the document is no GeoJSON FeatureCollection."""
    kind = document.get("type") if isinstance(document, dict) else type(document).__name__
    if kind != "FeatureCollection":
        raise invalid(field, [FieldViolation(f"{field}.type", f"must be FeatureCollection, not {kind}")])
    try:
        FeatureCollection.model_validate(document)
    except pydantic.ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:MOST_VIOLATIONS]
        raise invalid(field, [FieldViolation(path_of(field, e["loc"]), e["msg"], e["type"]) for e in found]) from None


def invalid(field: str, violations: list[FieldViolation]) -> InvalidGeo:
    first = violations[0]
    return InvalidGeo(f"{first.field}: {first.description}", violations=violations, field=field)


def path_of(field: str, location: tuple[int | str, ...]) -> str:
    return field + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
