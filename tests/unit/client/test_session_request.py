"""Checks of what a caller may ask for in a create: labels, durations, resources, and contradictions with `spec`."""

import datetime as dt

import pytest

from sandbox_client import InvalidArgument
from sandbox_client.cluster.session_request import SessionRequest, check_labels
from sandbox_client.lifecycle.durations import describe_age, format_duration, parse_duration


def spec_of(**arguments):
    return SessionRequest("s", **arguments).to_object("s")["spec"]


def test_every_setting_has_its_field():
    made = SessionRequest(
        "s",
        template="science",
        env={"A": "1"},
        labels={"team": "a", "example.com/owner": "me"},
        resources={"cpu": 2, "memory": "4Gi"},
        egress="public",
        workspace="shared",
        idle_timeout=90,
        lifetime=dt.timedelta(hours=2),
        on_idle="delete",
        keep_variables=True,
        spec={"workspace": {"sync": "OnChange"}, "lifecycle": {"onExpiry": "Delete"}},
    ).to_object("s")
    assert made["metadata"] == {"name": "s", "labels": {"team": "a", "example.com/owner": "me"}}
    assert made["spec"] == {
        "templateRef": {"name": "science"},
        "env": [{"name": "A", "value": "1"}],
        "resources": {"limits": {"cpu": "2", "memory": "4Gi"}},
        "egress": "Public",
        "workspace": {"name": "shared", "sync": "OnChange"},
        "lifecycle": {
            "idleTimeout": "90s",
            "maxLifetime": "2h",
            "onIdle": "Delete",
            "keepVariables": True,
            "onExpiry": "Delete",
        },
    }


def test_a_template_in_the_spec_is_kept_and_the_callers_spec_is_not_changed():
    given = {"templateRef": {"name": "mine"}, "lifecycle": {}}
    assert spec_of(spec=given, idle_timeout="1h") == {
        "templateRef": {"name": "mine"},
        "lifecycle": {"idleTimeout": "1h"},
    }
    assert given == {"templateRef": {"name": "mine"}, "lifecycle": {}}
    assert spec_of() == {"templateRef": {"name": "default"}}


@pytest.mark.parametrize(
    ("arguments", "field", "both"),
    [
        ({"template": "a", "spec": {"templateRef": {"name": "b"}}}, "template", "spec['templateRef']['name']"),
        ({"env": {"A": "1"}, "spec": {"env": []}}, "env", "spec['env']"),
        ({"lifetime": 5, "spec": {"lifecycle": {"maxLifetime": "8h"}}}, "lifetime", "spec['lifecycle']['maxLifetime']"),
        ({"workspace": "w", "spec": {"workspace": {"name": "v"}}}, "workspace", "spec['workspace']['name']"),
        ({"resources": {"cpu": 1}, "spec": {"resources": {"limits": {}}}}, "resources", "spec['resources']['limits']"),
        ({"egress": "none", "spec": {"egress": "None"}}, "egress", "spec['egress']"),
    ],
)
def test_a_setting_that_is_given_twice_is_an_error_that_names_both(arguments, field, both):
    with pytest.raises(InvalidArgument) as caught:
        spec_of(**arguments)
    assert caught.value.field == field
    assert f"the argument {field} and as {both}" in caught.value.message


@pytest.mark.parametrize(
    ("arguments", "field", "words"),
    [
        ({"env": {"A": 5}}, "env", "the value of A is a value of type int"),
        ({"env": {1: "a"}}, "env", "the key 1 is a value of type int"),
        ({"env": "A=1"}, "env", "give a dict"),
        ({"spec": 5}, "spec", "give a dict"),
        ({"spec": {"env": {1, 2}}}, "spec", "it cannot be written as JSON: Object of type set"),
        ({"spec": {"a": float("inf")}}, "spec", "it cannot be written as JSON"),
        ({"spec": {"lifecycle": "1h"}, "lifetime": 5}, "spec", "spec['lifecycle'] is a value of type str"),
        ({"resources": {"gpu": 1}}, "resources", "'gpu' in limits is none of cpu, memory"),
        ({"resources": {"memory": "lots"}}, "resources", "'lots', the memory in limits"),
        ({"resources": {"cpu": True}}, "resources", "True, the cpu in limits"),
        ({"resources": {"limits": {}, "cpu": 1}}, "resources", "cpu is beside requests and limits"),
        ({"egress": "internet"}, "egress", "'internet' is none of none, allowlist, public"),
        ({"on_idle": 1}, "on_idle", "1 is none of suspend, delete"),
        ({"workspace": "A/B"}, "workspace", "'A/B' is not a name"),
        ({"template": ""}, "template", "'' is not a name"),
        ({"keep_variables": "yes"}, "keep_variables", "'yes' is neither True nor False"),
        ({"idle_timeout": "soon"}, "idle_timeout", "'soon' is not a duration"),
        ({"lifetime": 0}, "lifetime", "0 must be longer than 0"),
        ({"lifetime": -5}, "lifetime", "must be longer than 0"),
        ({"lifetime": float("nan")}, "lifetime", "is not a duration"),
        ({"lifetime": 10**400}, "lifetime", "at most 100 years"),
        ({"lifetime": True}, "lifetime", "True is not a duration"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_argument(arguments, field, words):
    with pytest.raises(InvalidArgument) as caught:
        spec_of(**arguments)
    assert caught.value.field == field
    assert words in caught.value.message


@pytest.mark.parametrize("name", ["", "A", "local/x", "a_b", 5, "-a", "a" * 254])
def test_a_wrong_name_is_refused(name):
    with pytest.raises(InvalidArgument, match="is not a session's name"):
        SessionRequest(name).to_object(name)


def test_a_session_without_a_name_is_marked_as_such():
    assert SessionRequest().to_object("sandbox-1")["metadata"] == {"name": "sandbox-1", "generateName": "sandbox-"}


def test_an_ephemeral_session_with_a_name_is_marked_too_so_that_it_does_not_outlive_a_killed_program():
    made = SessionRequest("s", is_ephemeral=True).to_object("s")
    assert made["metadata"] == {"name": "s", "generateName": "sandbox-"}


@pytest.mark.parametrize(
    "key", ["sandboxsessions.dev/state", "kubernetes.io/name", "app.kubernetes.io/name", "node.k8s.io/x", "k8s.io/x"]
)
def test_a_reserved_label_is_refused_by_its_prefix_but_may_be_looked_for(key):
    prefix = key.split("/")[0]
    with pytest.raises(InvalidArgument, match=f"labels that begin with {prefix}/ belong to Kubernetes"):
        check_labels({key: "a"})
    assert check_labels({key: "a"}, may_be_reserved=True) == {key: "a"}


@pytest.mark.parametrize(
    "labels",
    [
        {"": "a"}, {"/a": "a"}, {"a/b/c": "a"}, {"a b": "a"}, {"a": "b c"}, {"a": "b,c=d"}, {"a": 5}, {"a": "x" * 64},
        {"-a": "b"}, {"UPPER/a": "b"}, {"notk8s.io\n/a": "b"}, {"a\n": "b"}, {"a": "b\n"},
    ],
)  # fmt: skip
def test_a_label_that_kubernetes_would_refuse_is_refused(labels):
    with pytest.raises(InvalidArgument) as caught:
        check_labels(labels)
    assert caught.value.field == "labels"


def test_labels_that_only_look_reserved_are_allowed():
    labels = {"mykubernetes.io/a": "", "kubernetes.io.example.com/a": "B_c.d", "a": "b"}
    assert check_labels(labels) == labels


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (90, "90s"), (0.5, "500ms"), ("15m", "15m"), ("1h30m", "90m"), ("2d", "48h"), ("1.5h", "90m"),
        (dt.timedelta(days=1), "24h"), (0.0001, "1ms"), (3600.0, "1h"), ("90", "90s"),
    ],
)  # fmt: skip
def test_durations_have_three_forms(given, text):
    assert format_duration(parse_duration(given, "x")) == text


@pytest.mark.parametrize("given", ["", "5.", "inf", "1h ", "h", "-1h", "1w", "1h30", "٣m", None, [], "1e3s"])
def test_what_is_not_a_duration_is_refused(given):
    with pytest.raises(InvalidArgument, match="is not a duration"):
        parse_duration(given, "x")


@pytest.mark.parametrize(("seconds", "text"), [(-5, "0s"), (59, "59s"), (60, "1m"), (86_399, "23h"), (200_000, "2d")])
def test_an_age_is_shown_in_its_largest_unit(seconds, text):
    assert describe_age(dt.timedelta(seconds=seconds)) == text
