"""What of the rehearsal was tried, against what, and what was not: its first lines and docs/deploy.md say the same."""

TRIED = (
    "the steps after the apply (migrate, reference data, batches, answers, a refused file, a duplicate, undo, stop, gc "
    "and compaction, requests and batches during a change) and the clean-up, on the embedded stack in place of AWS, "
    "with stand-ins for terraform, podman, curl, git and jq",
    "the plan of the sandbox and of every flip, with real Terraform against stand-in providers that know the schema of "
    "AWS's and call no service",
    "an interruption, a failed step and each refusal of the preflight, the same way",
)

NOT_TRIED = (
    "Terraform against AWS: none of its resources was ever made there",
    "images built, pushed to ECR and run on Fargate",
    "quotas of Fargate and of public addresses, as Service Quotas tells them",
    "rotation by AWS's own function",
    "a release or a flip that replaces tasks of ECS behind the load balancer",
    "destroy, and what AWS leaves behind after it",
    "every figure that it reports: seconds of container starts, of steps, of applies, and dollars",
)


def first_lines() -> list[str]:
    """Return what a rehearsal says before anything else, one line each."""
    lines = ["This rehearsal was never run against AWS by its makers. Expect to find something."]
    lines += ["Tried:", *(f"- {each}" for each in TRIED)]
    lines += ["Not tried:", *(f"- {each}" for each in NOT_TRIED)]
    return lines
