"""The steps of a rehearsal, in their order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.rehearsal.stage import Stage
from tests.rehearsal.stages import batches, leftovers, making, releasing
from tests.rehearsal.stages.changing import second_apply
from tests.rehearsal.stages.flips import FLIPS, flip


@dataclass(frozen=True)
class Step:
    """A step: its name, its function, and whether later steps depend on it."""

    name: str
    run: Callable[[Stage], dict[str, Any]]
    essential: bool = False

    @property
    def does(self) -> str:
        """Return the description of the step."""
        return (self.run.__doc__ or "").strip().splitlines()[0]


STEPS = (
    Step("pre-infra", making.pre_infra, essential=True),
    Step("roles", making.roles),
    Step("images", making.images, essential=True),
    Step("plan", making.plan, essential=True),
    Step("apply", making.apply, essential=True),
    Step("migrate", batches.migrate, essential=True),
    Step("reference", batches.reference, essential=True),
    Step("healthy", batches.healthy, essential=True),
    Step("service", batches.service),
    Step("second-apply", second_apply),
    Step("batch", batches.batch, essential=True),
    Step("answers", batches.answers),
    Step("large-batch", batches.large_batch),
    Step("rejected", batches.rejected),
    Step("duplicate", batches.duplicate),
    Step("undo", batches.undo),
    Step("stop", batches.stop),
    Step("upkeep", batches.upkeep),
    Step("rotation", releasing.rotation),
    Step("release", releasing.release),
    *(Step(f"flip-{each.variable.replace('_', '-')}", flip(each)) for each in FLIPS),
)
LAST = (
    Step("destroy", leftovers.destroy, essential=True),
    Step("nothing-left", leftovers.nothing_left),
)
NAMES = tuple(step.name for step in (*STEPS, *LAST))


def chosen(only: list[str], skip: list[str], begin: str | None, *, keep: bool) -> list[Step]:
    """Return the steps to run: those of `only`, or all from `begin` except `skip`; with `keep` without the removal.

    Raises ValueError for an unknown name.
    """
    if unknown := [name for name in (*only, *skip, *([begin] if begin else [])) if name not in NAMES]:
        raise ValueError(f"there is no step {', '.join(unknown)}; the steps are {', '.join(NAMES)}")
    every = [*STEPS, *LAST]
    if only:
        return [step for step in every if step.name in only]
    without = {*skip, *(step.name for step in LAST if keep)}
    return [step for step in every[NAMES.index(begin) if begin else 0 :] if step.name not in without]
