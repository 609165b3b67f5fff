"""Builds the IAM policy that narrows a role to one workspace's keys, and the name of such a role session. Pure.

The credentials may do what both the role and this policy allow. Stores differ in how they escape special characters.
So a name that contains one of the policy language's special characters is refused.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

_OBJECT_ACTIONS: Final = ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject")
_PREFIX: Final = re.compile(r"(?:[A-Za-z0-9!_.'()-]+/)+")
"""A key prefix: parts of characters that are safe in S3, each followed by a slash."""
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PARTITION: Final = re.compile(r"aws[a-z-]*")
MAX_POLICY: Final = 2048
"""Characters that AWS accepts in a policy."""
_MAX_NAME: Final = 64


def build_session_policy(bucket: str, key_prefix: str, role_arn: str) -> str:
    """Return the policy's JSON: read, write and delete below the prefix, list the prefix, abort uploads; nothing else.

    Args:
        bucket: The bucket's name.
        key_prefix: Prefix of the workspace's keys. It ends with a slash: without it, `p/t1` would also match `p/t10`.
        role_arn: ARN of the role, which contains the AWS partition of the bucket.

    Raises:
        ValueError: The bucket or the prefix contains characters that a policy cannot express safely.
    """
    if not _BUCKET.fullmatch(bucket):
        raise ValueError("the bucket's name is not a valid S3 bucket name")
    parts = key_prefix.split("/")
    if not _PREFIX.fullmatch(key_prefix) or any(part in {".", ".."} for part in parts):
        raise ValueError(
            "a key prefix may contain letters, digits and -_.!'() between its slashes, and must end with a slash"
        )
    bucket_arn = f"arn:{_partition(role_arn)}:s3:::{bucket}"
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": list(_OBJECT_ACTIONS), "Resource": f"{bucket_arn}/{key_prefix}*"},
        {
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": bucket_arn,
            "Condition": {"StringLike": {"s3:prefix": f"{key_prefix}*"}},
        },
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))
    if len(policy) > MAX_POLICY:
        raise ValueError(f"the key prefix is too long: its policy would have more than {MAX_POLICY} characters")
    return policy


def role_session_name(key_prefix: str) -> str:
    """Return the name that the logs of store and token service show: the end of the prefix, at most 64 characters."""
    return re.sub(r"[^A-Za-z0-9_=,.@-]", "-", key_prefix.strip("/"))[-_MAX_NAME:].rjust(2, "-")


def _partition(role_arn: str) -> str:
    """Return the partition (`aws`, `aws-cn`, ...) in the role's ARN, or `aws` if the ARN is not one of AWS."""
    named = role_arn.split(":")[1] if role_arn.count(":") else ""
    return named if _PARTITION.fullmatch(named) else "aws"
