"""What a sandbox costs an hour, from the prices of docs/deploy.md: list prices of us-east-1 in US dollars."""

from collections.abc import Mapping

# An hour each, as docs/deploy.md has them.
NAT, ADDRESS, ENDPOINT = 0.045, 0.005, 0.01
BALANCER = 0.0225
CAPACITY_UNIT = 0.12
SMALL_INSTANCE = 0.016
VCPU, GIGABYTE = 0.04048, 0.004445
A_TASK = VCPU + 2 * GIGABYTE
ENDPOINTS = 9
HOURS_OF_A_MONTH = 730
A_MONTH = {"monitoring": 25.0, "key and secrets": 2.0, "gigabyte of RDS": 0.115}

# How long a rehearsal is expected to take, from the documentation of the services alone: nobody has measured it.
HOURS = 3.0
BATCH_TASK_HOURS = 3.0


def per_hour(values: Mapping[str, str]) -> dict[str, float]:
    """Return what an environment with these variables costs an hour while nothing happens, by part."""
    zones, gateways = int(values["zones"]), int(values["nat_gateways"])
    # Where they are no switch of their own, they are what is there in place of gateways.
    endpoints = values["endpoints"] == "true" if "endpoints" in values else not gateways
    tasks, cpu, memory = (float(values[name]) for name in ("api_minimum_tasks", "api_cpu", "api_memory"))
    database = SMALL_INSTANCE + int(values["rds_storage_gib"]) * A_MONTH["gigabyte of RDS"] / HOURS_OF_A_MONTH
    if values["aurora"] == "true":
        database = CAPACITY_UNIT * float(values["aurora_minimum_capacity"]) * (1 + int(values["aurora_readers"]))
    return {
        "connection to AWS services": gateways * (NAT + ADDRESS) + (ENDPOINTS * zones * ENDPOINT if endpoints else 0),
        "load balancer": BALANCER + zones * ADDRESS,
        "database": database,
        "tasks of the API": tasks * (cpu / 1024 * VCPU + memory / 1024 * GIGABYTE),
        "dashboard, alarms, metrics": A_MONTH["monitoring"] / HOURS_OF_A_MONTH if values["monitoring"] == "true" else 0,
        "key and secrets": A_MONTH["key and secrets"] / HOURS_OF_A_MONTH,
    }


def of_rehearsal(values: Mapping[str, str], hours: float = HOURS) -> float:
    """Return what a rehearsal costs in all: the environment twice over, for what grows under load, and its batches."""
    return 2 * hours * sum(per_hour(values).values()) + BATCH_TASK_HOURS * A_TASK


def in_words(values: Mapping[str, str]) -> list[str]:
    """Return the estimate for a person who is about to pay it."""
    parts = per_hour(values)
    lines = [f"  {part:<28} {dollars:6.3f} an hour" for part, dollars in parts.items() if dollars]
    return [
        "What it costs, estimated from list prices of us-east-1 in US dollars (docs/deploy.md); yours may be dearer:",
        *lines,
        f"  {'idle, in all':<28} {sum(parts.values()):6.2f} an hour",
        f"  all of it, in about {HOURS:.0f} hours: {of_rehearsal(values):.2f}, with a margin for load and batches",
    ]
