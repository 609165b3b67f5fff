"""Sizes as callers write them, and as people read them."""

import pytest

from sandbox_client.errors import InvalidArgument
from sandbox_client.models.sizes import format_size, read_size


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (None, None),
        (1, 1),
        (1 << 40, 1 << 40),
        ("7", 7),
        ("500M", 500_000_000),
        ("2Gi", 2 << 30),
        ("1.5Gi", 3 << 29),
        ("4 KiB", 4096),
        ("3k", 3000),
        ("1Ti", 1 << 40),
    ],
)
def test_a_size_is_read_as_bytes_or_as_a_quantity(value, size):
    assert read_size(value, "memory_limit") == size


@pytest.mark.parametrize(
    "value", [0, -1, True, 1.5, "", "0", "-1Gi", "Gi", "2 gigabytes", "2gi", "nan", "9" * 400, 1 << 63, b"2Gi"]
)
def test_what_is_no_size_is_refused_by_name_and_with_an_example(value):
    with pytest.raises(InvalidArgument) as error:
        read_size(value, "memory_limit")
    assert error.value.field == "memory_limit"
    assert error.value.message.startswith("memory_limit cannot be ")
    assert "'2Gi'" in error.value.message


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1_500_000, "1.4 MiB"),
        (2 << 30, "2.0 GiB"),
        (5 << 50, "5120.0 TiB"),
    ],
)
def test_a_size_is_shown_in_the_unit_that_fits(size, text):
    assert format_size(size) == text
