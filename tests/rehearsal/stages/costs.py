"""The cost of an environment per hour, from the list prices of us-east-1 in US dollars in docs/deploy.md."""

from collections.abc import Mapping

# Per hour, as in docs/deploy.md.
NAT, ADDRESS, ENDPOINT = 0.045, 0.005, 0.01
BALANCER = 0.0225
CAPACITY_UNIT = 0.12
SMALL_INSTANCE = 0.016
VCPU, GIGABYTE = 0.04048, 0.004445
A_TASK = VCPU + 2 * GIGABYTE
ENDPOINTS = 9
HOURS_OF_A_MONTH = 730
A_MONTH = {"monitoring": 25.0, "key and secrets": 2.0, "gigabyte of RDS": 0.115}

# The expected duration of a rehearsal, estimated from the services' documentation, not measured.
HOURS = 3.0
BATCH_TASK_HOURS = 3.0


def per_hour(values: Mapping[str, str]) -> dict[str, float]:
    """Return the cost per hour of an idle environment with these variables, by component."""
    zones, gateways = int(values["zones"]), int(values["nat_gateways"])
    # Without a switch for endpoints, they exist in place of NAT gateways.
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
    """Return the total cost of a rehearsal: twice the idle environment, as a margin for load, and its batches."""
    return 2 * hours * sum(per_hour(values).values()) + BATCH_TASK_HOURS * A_TASK


def describe(values: Mapping[str, str]) -> list[str]:
    """Return the lines of the cost estimate."""
    parts = per_hour(values)
    lines = [f"  {part:<28} {dollars:6.3f} per hour" for part, dollars in parts.items() if dollars]
    return [
        "Estimated costs, at list prices of us-east-1 in US dollars (docs/deploy.md); other regions may cost more:",
        *lines,
        f"  {'idle, total':<28} {sum(parts.values()):6.2f} per hour",
        f"  total of about {HOURS:.0f} hours: {of_rehearsal(values):.2f}, with a margin for load and batches",
    ]
