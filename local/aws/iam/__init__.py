"""Holds every part of the stack to the policy that Terraform gives it on AWS: what a policy does not allow fails.

A request is signed with an access key. One that belongs to a role (`roles.access_key`) may do what the role's policies
allow; any other, such as the laptop's own, may do everything, as an administrator of an account may.
"""

from ratesflow.local.aws.iam.gate import Gate, RefusedError

__all__ = ["Gate", "RefusedError"]
