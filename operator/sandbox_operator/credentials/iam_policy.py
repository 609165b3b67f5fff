"""The IAM policy that narrows a role to one workspace's keys, and the name of such a session. Pure.

Credentials may do what both the role and this policy allow. Escaping is not the same in every store, so a name that
holds one of the policy language's own characters is refused instead.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

_OBJECT_ACTIONS: Final = ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject")
_PREFIX: Final = re.compile(r"(?:[A-Za-z0-9!_.'()-]+/)+")
"""Every key of a workspace begins with this: parts of S3's safe characters, each one with a slash behind it."""
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PARTITION: Final = re.compile(r"aws[a-z-]*")
LONGEST: Final = 2048
"""Characters that AWS takes."""
_MOST_NAME: Final = 64


def build_session_policy(bucket: str, key_prefix: str, role_arn: str) -> str:
    """The policy's JSON: read, write and delete below the prefix, list the prefix, give an upload up; nothing else.

    Args:
        bucket: The bucket's name.
        key_prefix: Ends with a slash, without which `p/t1` would open `p/t10`.
        role_arn: The role; says in which partition of AWS the bucket is.

    Raises:
        ValueError: A name is not one whose policy means what it says.
    """
    if not _BUCKET.fullmatch(bucket):
        raise ValueError("the bucket's name is not one of S3's")
    parts = key_prefix.split("/")
    if not _PREFIX.fullmatch(key_prefix) or any(part in {".", ".."} for part in parts):
        raise ValueError("a key prefix has letters, digits and -_.!'() between its slashes, and a slash at its end")
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
    if len(policy) > LONGEST:
        raise ValueError(f"the key prefix is too long: its policy has more than {LONGEST} characters")
    return policy


def session_name(key_prefix: str) -> str:
    """What the store's and the token service's logs show as the user: the end of the prefix, at most 64 characters."""
    return re.sub(r"[^A-Za-z0-9_=,.@-]", "-", key_prefix.strip("/"))[-_MOST_NAME:].rjust(2, "-")


def _partition(role_arn: str) -> str:
    """`aws`, `aws-cn`, ...: of the role's ARN where that is one of AWS, and `aws` for every other store."""
    named = role_arn.split(":")[1] if role_arn.count(":") else ""
    return named if _PARTITION.fullmatch(named) else "aws"
