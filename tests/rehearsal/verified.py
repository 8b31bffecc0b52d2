"""The tried and untried parts of the rehearsal, which it prints first and docs/deploy.md lists."""

TRIED = (
    "the steps after the apply (migrate, reference data, batches, answers, a rejected file, a duplicate, undo, stop, "
    "gc and compaction, requests and batches during a change) and the clean-up, on the embedded stack in place of "
    "AWS, with stand-ins for terraform, podman, curl, git and jq",
    "the plan of the sandbox and of every flip, with real Terraform against stand-in providers that have the schema of "
    "AWS's provider and call no service",
    "an interruption, a failed step and each failure of the preflight, the same way",
)

NOT_TRIED = (
    "Terraform against AWS: none of its resources was ever created there",
    "images built, pushed to ECR and run on Fargate",
    "quotas of Fargate and of public addresses, as Service Quotas reports them",
    "rotation by AWS's own function",
    "a release or a flip that replaces ECS tasks behind the load balancer",
    "destroy, and what AWS leaves behind after it",
    "every figure that it reports: seconds of container starts, of steps, of applies, and costs",
)


def first_lines() -> list[str]:
    """Return the lines that a rehearsal prints first."""
    lines = ["This rehearsal has never been run against AWS. Expect problems."]
    lines += ["Tried:", *(f"- {each}" for each in TRIED)]
    lines += ["Not tried:", *(f"- {each}" for each in NOT_TRIED)]
    return lines
