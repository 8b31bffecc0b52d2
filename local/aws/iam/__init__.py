"""Enforces the policy that Terraform gives each component on AWS: a request that the policy does not allow fails.

A request is signed with an access key. The key of a role (`roles.access_key`) may do what the role's policies allow;
any other key, such as the developer's, has the rights of an administrator.
"""

from ratesflow.local.aws.iam.gate import AccessDeniedError, Gate

__all__ = ["AccessDeniedError", "Gate"]
