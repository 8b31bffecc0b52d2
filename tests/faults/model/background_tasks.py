"""Submits upkeep, undos and changes of the region tree while batches run."""

import random

from tests.faults.campaign.chaos_stack import ChaosStack
from tests.faults.campaign.contents import PORTS
from tests.faults.model.tree_changes import as_csv, change, possible

UPKEEP = {"compact": {"min_batches": "1"}, "gc": {"batch": "all"}}
ORDERS = ("undo", "compact", "two compact", "gc", "two gc")


def order(chaos: ChaosStack, rng: random.Random) -> None:
    """Submit an undo, or one or two upkeep tasks."""
    count, _, task = rng.choice(ORDERS).rpartition(" ")
    if task == "undo":
        return undo_one(chaos, rng)
    for _ in range(2 if count else 1):
        chaos.submit(task, **UPKEEP[task])
    chaos.counted["two_at_once"] += bool(count)
    return None


def undo_one(chaos: ChaosStack, rng: random.Random) -> None:
    """Submit the undo of a committed batch."""
    committed = [name for name, state in chaos.settled.items() if state == "committed"]
    if committed:
        name = rng.choice(committed)
        chaos.undone.add(chaos.uploads[name].content.number)
        chaos.submit("undo", batch=name)


def move_tree(chaos: ChaosStack, rng: random.Random) -> None:
    """Submit a change of the region tree, as `ratesflow reference load` does."""
    file = change(rng, chaos.trees[-1], PORTS, rng.choice(("port", "ports", "region", "empty", "new")))
    folder = f"reference/{rng.randrange(1 << 60):x}"
    keys = {"ports": f"{folder}/ports.csv", "regions": f"{folder}/regions.csv"}
    for key, data in zip(keys.values(), as_csv(file), strict=True):
        chaos.put(data, key)
    chaos.moves.append(file)
    chaos.trees = possible(chaos.trees[0], chaos.moves)
    chaos.counted["moves"] += 1
    chaos.submit("reference", **keys)
