"""The policy that narrows a role to one workspace: what it opens, what it does not, and which names it refuses."""

import fnmatch
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox_operator.api.naming import key_prefix
from sandbox_operator.credentials.iam_policy import build_session_policy, role_session_name

ROLE = "arn:aws:iam::123456789012:role/sandboxes"
NAME = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)


def test_it_opens_the_objects_below_the_prefix_and_a_listing_of_them_and_nothing_else():
    assert json.loads(build_session_policy("files", "p/team/t1/", ROLE)) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
                "Resource": "arn:aws:s3:::files/p/team/t1/*",
            },
            {
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": "arn:aws:s3:::files",
                "Condition": {"StringLike": {"s3:prefix": "p/team/t1/*"}},
            },
        ],
    }


def may(policy: str, action: str, resource: str, **context: str) -> bool:
    """As a store reads it: a pattern's star is any text; a condition on what a request does not have fails."""
    return any(
        action in (statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]])
        and fnmatch.fnmatchcase(resource, statement["Resource"])
        and all(
            fnmatch.fnmatchcase(context.get(key, "\0"), pattern)
            for key, pattern in statement.get("Condition", {}).get("StringLike", {}).items()
        )
        for statement in json.loads(policy)["Statement"]
    )


@given(NAME, NAME, NAME, NAME)
@example("team", "t1", "team", "t10")
@example("team", "t", "tea", "m")
def test_no_workspaces_policy_opens_anything_of_another(namespace, mine, other_namespace, other):
    own, foreign = key_prefix("p", namespace, mine), key_prefix("p", other_namespace, other)
    policy = build_session_policy("files", own, ROLE)
    assert may(policy, "s3:PutObject", f"arn:aws:s3:::files/{own}x")
    assert may(policy, "s3:ListBucket", "arn:aws:s3:::files", **{"s3:prefix": own})
    assert not may(policy, "s3:ListBucket", "arn:aws:s3:::files")
    if own != foreign:
        assert not may(policy, "s3:GetObject", f"arn:aws:s3:::files/{foreign}x")
        assert not may(policy, "s3:ListBucket", "arn:aws:s3:::files", **{"s3:prefix": foreign})


@pytest.mark.parametrize(
    "prefix",
    [
        "", "/", "p/t1", "p//t1/", "/p/t1/", "p/*/", "p/t?/", "p/${aws:username}/", "p/t1\n/", "p/ü/", 'p/"/', "p/\\/",
        "p/../t2/", "p/./t1/", "p/t 1/", "p/%2e/",
    ],
)  # fmt: skip
def test_a_prefix_that_could_mean_more_than_it_says_is_refused(prefix):
    with pytest.raises(ValueError, match="prefix"):
        build_session_policy("files", prefix, ROLE)


@pytest.mark.parametrize("bucket", ["", "*", "a/b", "UPPER", "x", "a" * 64, "files/*"])
def test_a_bucket_that_is_none_is_refused(bucket):
    with pytest.raises(ValueError, match="bucket"):
        build_session_policy(bucket, "p/", ROLE)


def test_a_policy_that_the_token_service_would_not_take_is_refused_here():
    with pytest.raises(ValueError, match="2048"):
        build_session_policy("files", f"{'a' * 1000}/", ROLE)


def test_the_longest_names_of_kubernetes_fit():
    assert len(build_session_policy("b" * 63, key_prefix("p" * 100, "n" * 63, "w" * 253), ROLE)) < 2048


@pytest.mark.parametrize(
    ("role", "bucket"),
    [
        ("arn:aws-cn:iam::123456789012:role/r", "arn:aws-cn:s3:::files"),
        ("arn:aws-us-gov:iam::123456789012:role/r", "arn:aws-us-gov:s3:::files"),
        ("arn:minio:iam:::role/r", "arn:aws:s3:::files"),
    ],
)
def test_the_bucket_is_in_the_roles_partition(role, bucket):
    assert json.loads(build_session_policy("files", "p/", role))["Statement"][1]["Resource"] == bucket


@pytest.mark.parametrize(
    ("prefix", "name"), [("p/team/t1/", "p-team-t1"), ("x/", "-x"), (f"{'p' * 70}/w.1/", f"{'p' * 60}-w.1")]
)
def test_the_logs_of_the_store_show_the_workspace(prefix, name):
    assert role_session_name(prefix) == name
