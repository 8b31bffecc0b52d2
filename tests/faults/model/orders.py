"""What a schedule orders beside batches: upkeep and undos; and changes of the tree of regions."""

import random

from tests.faults.campaign.chaos_stack import Field
from tests.faults.campaign.contents import PORTS
from tests.faults.model.moving import as_csv, change, possible

UPKEEP = {"compact": {"min_batches": "1"}, "gc": {"batch": "all"}}
ORDERS = ("undo", "compact", "two compact", "gc", "two gc")


def order(field: Field, rng: random.Random) -> None:
    """Submit an undo or upkeep, of which sometimes two at once."""
    count, _, task = rng.choice(ORDERS).rpartition(" ")
    if task == "undo":
        return undo_one(field, rng)
    for _ in range(2 if count else 1):
        field.submit(task, **UPKEEP[task])
    field.counted["two_at_once"] += bool(count)
    return None


def undo_one(field: Field, rng: random.Random) -> None:
    """Undo a batch that is committed."""
    committed = [name for name, state in field.settled.items() if state == "committed"]
    if committed:
        name = rng.choice(committed)
        field.undone.add(field.uploads[name].content.number)
        field.submit("undo", batch=name)


def move_tree(field: Field, rng: random.Random) -> None:
    """Change the tree of regions, as `ratesflow reference load` does."""
    file = change(rng, field.trees[-1], PORTS, rng.choice(("port", "ports", "region", "empty", "new")))
    folder = f"reference/{rng.randrange(1 << 60):x}"
    keys = {"ports": f"{folder}/ports.csv", "regions": f"{folder}/regions.csv"}
    for key, data in zip(keys.values(), as_csv(file), strict=True):
        field.put(data, key)
    field.moves.append(file)
    field.trees = possible(field.trees[0], field.moves)
    field.counted["moves"] += 1
    field.submit("reference", **keys)
