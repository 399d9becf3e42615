"""Which artifacts are to be deleted: policies, applied to what there is. Nothing here touches the database."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from .policy import RetentionPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What retention knows of an artifact. `needs` are the ids of artifacts without which it would not be understood: its parent, and
    those that it names as its inputs. `config_id` is that of the config that a root is linked to. `size` is in bytes."""

    id: str
    type: str
    level: int = 0
    runner_id: str = ""
    parent_id: str | None = None
    config_id: str = ""
    tags: frozenset[str] = frozenset()
    needs: tuple[str, ...] = ()
    size: int = 0
    created_at: datetime
    updated_at: datetime

    @property
    def group(self) -> tuple[str, str]:
        """Among which the newest are counted."""
        return self.type, self.parent_id or self.config_id


def doomed(
    candidates: Sequence[Candidate], policies: Iterable[RetentionPolicy], *, in_use: Collection[str] = (), now: datetime
) -> list[Candidate]:
    """The artifacts to delete, deepest first: those that a policy selects and that nothing that stays needs. `in_use` stays."""
    selected = {candidate.id for policy in policies for candidate in selected_by(policy, candidates, now)}
    selected.difference_update(in_use)
    spared = needed_by_others(selected, {candidate.id: candidate.needs for candidate in candidates})
    gone = [candidate for candidate in candidates if candidate.id in selected and candidate.id not in spared]
    return sorted(gone, key=lambda candidate: (-candidate.level, candidate.id))


def selected_by(policy: RetentionPolicy, candidates: Iterable[Candidate], now: datetime) -> list[Candidate]:
    """What a policy alone would delete."""
    groups: defaultdict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if is_about(policy, candidate):
            groups[candidate.group].append(candidate)
    return [candidate for group in groups.values() for candidate in surplus(policy, group, now)]


def is_about(policy: RetentionPolicy, candidate: Candidate) -> bool:
    """Whether a policy has anything to say about an artifact."""
    uploaded = not candidate.runner_id
    return (
        (policy.type == candidate.type if policy.type else not uploaded)
        and policy.runner in ("", candidate.runner_id)
        and policy.level in (None, candidate.level)
        and candidate.tags.issuperset(policy.tags)
    )


def surplus(policy: RetentionPolicy, group: Sequence[Candidate], now: datetime) -> list[Candidate]:
    """What may go of a group."""
    newest_first = sorted(group, key=lambda candidate: (candidate.created_at, candidate.id), reverse=True)
    return [
        candidate
        for candidate in newest_first[policy.keep_last or 0 :]
        if (policy.older_than is None or now - candidate.created_at > policy.older_than)
        and candidate.tags.isdisjoint(policy.unless_tags)
    ]


def needed_by_others(chosen: Collection[str], needs: Mapping[str, Iterable[str]]) -> set[str]:
    """Those of the chosen that something that is not chosen needs, directly or by way of others."""
    spared: set[str] = set()
    waiting = [needed for needing, wanted in needs.items() if needing not in chosen for needed in wanted]
    while waiting:
        needed = waiting.pop()
        if needed in chosen and needed not in spared:
            spared.add(needed)
            waiting.extend(needs.get(needed, ()))
    return spared
