"""Which artifacts a policy lets go, and which stay whatever it says."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire_server.upkeep.policy import RetentionPolicy
from modelwire_server.upkeep.retention import Candidate, doomed, is_about, selected_by

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def candidate(id: str, *, days: float = 100, parent: Candidate | None = None, **fields: Any) -> Candidate:
    made = NOW - timedelta(days=days)
    return Candidate(
        **{
            "id": id,
            "type": "ml_prediction" if parent else "ml_training",
            "level": parent.level + 1 if parent else 0,
            "parent_id": parent and parent.id,
            "needs": (parent.id,) if parent else (),
            "runner_id": "trees",
            "created_at": made,
            "updated_at": made,
            **fields,
        }
    )


def gone(candidates: Sequence[Candidate], *policies: RetentionPolicy, in_use: Sequence[str] = ()) -> list[str]:
    return [c.id for c in doomed(candidates, policies, in_use=in_use, now=NOW)]


OLD = RetentionPolicy(older_than=timedelta(days=30))


def test_without_policy_nothing_goes() -> None:
    assert gone([candidate("a")]) == []


def test_only_what_is_older_goes() -> None:
    assert gone([candidate("old", days=31), candidate("new", days=29)], OLD) == ["old"]


def test_children_go_before_their_parents() -> None:
    model = candidate("model")
    assert gone([model, candidate("prediction", parent=model)], OLD) == ["prediction", "model"]


def test_a_kept_child_keeps_its_parents() -> None:
    model = candidate("model")
    prediction = candidate("prediction", parent=model)
    assert gone([model, prediction, candidate("recent", days=1, parent=prediction)], OLD) == []


def test_pinned_keeps_itself_and_what_is_above_it_but_not_what_is_below() -> None:
    model = candidate("model")
    pinned = candidate("pinned", parent=model, tags=frozenset({"pinned"}))
    below = candidate("below", parent=pinned)
    assert gone([model, pinned, below, candidate("sibling", parent=model)], OLD) == ["below", "sibling"]


def test_what_a_kept_artifact_was_made_from_is_kept() -> None:
    used = candidate("used")
    assert gone([used, candidate("unused"), candidate("recent", days=1, needs=("used",))], OLD) == ["unused"]


def test_the_newest_of_each_config_stay_however_old() -> None:
    models = [candidate(f"{config}{n}", days=100 - n, config_id=config) for config in "ab" for n in range(3)]
    assert gone(models, RetentionPolicy(keep_last=2)) == ["a0", "b0"]


def test_the_newest_are_counted_for_each_type_and_parent() -> None:
    first, second = candidate("m1", days=1), candidate("m2", days=1)
    below = [candidate(f"{parent.id}-{n}", days=10 - n, parent=parent) for parent in (first, second) for n in range(2)]
    other = candidate("m1-log", days=50, parent=first, type="log")
    assert gone([first, second, *below, other], RetentionPolicy(level=1, keep_last=1)) == ["m1-0", "m2-0"]


def test_both_conditions_must_hold() -> None:
    models = [candidate(f"{n}", days=n) for n in (10, 20, 40, 50)]
    assert gone(models, RetentionPolicy(keep_last=1, older_than=timedelta(days=30))) == ["40", "50"]
    assert gone(models, RetentionPolicy(keep_last=3, older_than=timedelta(days=30))) == ["50"]


def test_unfinished_jobs_keep_what_they_use() -> None:
    model = candidate("model")
    assert gone([model, candidate("other")], OLD, in_use=["model"]) == ["other"]


def test_uploads_go_only_by_their_type() -> None:
    uploaded = candidate("data", type="dataset", runner_id="")
    assert gone([uploaded], OLD) == []
    assert gone([uploaded], RetentionPolicy(type="dataset", older_than=timedelta(days=1))) == ["data"]


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"runner": "trees"}, True),
        ({"runner": "forest"}, False),
        ({"level": 0}, True),
        ({"level": 1}, False),
        ({"type": "ml_training"}, True),
        ({"type": "dataset"}, False),
        ({"tags": ["try"]}, True),
        ({"tags": ["try", "best"]}, False),
    ],
)
def test_what_a_policy_is_about(about: dict[str, Any], expected: bool) -> None:
    assert is_about(RetentionPolicy(keep_last=1, **about), candidate("a", tags=frozenset({"try"}))) is expected


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("12h", timedelta(hours=12)),
        ("1.5d", timedelta(hours=36)),
        ("30d", timedelta(days=30)),
        ("2w", timedelta(days=14)),
        ("P1DT12H", timedelta(hours=36)),
        (3600, timedelta(hours=1)),
        (0, timedelta()),
    ],
)
def test_durations(text: object, duration: timedelta) -> None:
    assert RetentionPolicy.model_validate({"older_than": text}).older_than == duration


@pytest.mark.parametrize("wrong", [{}, {"older_than": "-1d"}, {"older_than": "soon"}, {"keep_last": 0}, {"keep_last": 1, "age": 2}])
def test_policies_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        RetentionPolicy.model_validate(wrong)


TAGS = st.frozensets(st.sampled_from(["pinned", "try", "best"]), max_size=2)


@st.composite
def forests(draw: st.DrawFn) -> list[Candidate]:
    """Trees of artifacts, with inputs among those that were there before."""
    made: list[Candidate] = []
    for number in range(draw(st.integers(0, 12))):
        parent = draw(st.sampled_from([None, *made]))
        inputs = draw(st.lists(st.sampled_from([c.id for c in made]), max_size=2)) if made else []
        made.append(
            candidate(
                f"{number:02}",
                days=draw(st.integers(0, 60)),
                parent=parent,
                needs=(*((parent.id,) if parent else ()), *inputs),
                runner_id=draw(st.sampled_from(["", "trees"])),
                config_id="" if parent else draw(st.sampled_from(["", "a", "b"])),
                type=draw(st.sampled_from(["ml_training", "ml_prediction", "dataset"])),
                tags=draw(TAGS),
            )
        )
    return made


@st.composite
def some_policies(draw: st.DrawFn) -> RetentionPolicy:
    older_than = draw(st.none() | st.integers(0, 50).map(lambda days: timedelta(days=days)))
    return RetentionPolicy(
        older_than=older_than,
        keep_last=draw(st.integers(1, 3) if older_than is None else st.none() | st.integers(1, 3)),
        runner=draw(st.sampled_from(["", "trees"])),
        level=draw(st.none() | st.integers(0, 2)),
        type=draw(st.sampled_from(["", "ml_training", "dataset"])),
        tags=tuple(draw(TAGS)),
        unless_tags=tuple(draw(TAGS)),
    )


IN_USE = st.sets(st.integers(0, 12).map(lambda number: f"{number:02}"), max_size=2)


@given(forests(), st.lists(some_policies(), max_size=3), IN_USE)
def test_what_is_kept_is_complete_and_nothing_else_goes(
    forest: list[Candidate], policies: list[RetentionPolicy], in_use: set[str]
) -> None:
    ids = {c.id for c in doomed(forest, policies, in_use=in_use, now=NOW)}
    kept = [c for c in forest if c.id not in ids]

    assert all(ids.isdisjoint(c.needs) for c in kept)
    assert ids.isdisjoint(in_use)
    assert ids <= {c.id for policy in policies for c in selected_by(policy, forest, NOW)}
    assert doomed(kept, policies, in_use=in_use, now=NOW) == []
    # Order of the rows does not matter.
    assert doomed(forest[::-1], policies, in_use=in_use, now=NOW) == doomed(forest, policies, in_use=in_use, now=NOW)
