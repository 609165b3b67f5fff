"""The examples of `examples/patterns`, run as they are: their numbers are checked against numbers computed here."""

import json

import pytest
import pytest_asyncio

from examples.patterns import analysis, charts, model, sql, steps, web
from sandbox_client.tools import SandboxTools, local_sessions
from sandbox_client.tools.shown import image_format

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tools():
    async with SandboxTools(local_sessions()) as tools:
        yield tools


async def test_r23_a_table_is_analysed_over_several_calls(tools):
    profits = [1000 + 10 * (n % 7) - 700 - 5 * (n % 5) for n in range(100)]
    revenue = sum(1000 + 10 * (n % 7) for n in range(100))
    _, summary, by_month = await analysis.run(tools)
    assert summary == f"Total profit: {sum(profits):,}\nMargin: {sum(profits) / revenue:.1%}\n"
    months = [sum(profits[:31]), sum(profits[31:60]), sum(profits[60:91]), sum(profits[91:])]
    assert by_month.replace("\n ", " ") == str({f"2024-0{n}-01": total for n, total in enumerate(months, 1)}).replace(
        "'2024", "Timestamp('2024"
    ).replace("-01'", "-01 00:00:00')")


async def test_r23_a_dashboard_comes_back_and_is_saved(tools):
    result = await charts.run(tools)
    assert "drawn" in result.text
    assert "code-interpreter/dashboard.png" in result.text
    # Width and height stand in the first chunk of a PNG: 10 x 8 inches at 120 dots.
    (image,) = result.images
    assert (image.format, image_format(image.data)) == ("png", "png")
    assert [int.from_bytes(image.data[at : at + 4], "big") for at in (16, 20)] == [1200, 960]


async def test_r23_a_classifier_is_trained_and_judged(tools):
    accuracy, matrix = (await model.run(tools)).strip().split("\n")
    counts = json.loads(matrix)
    right = sum(counts[n][n] for n in range(3))
    assert [sum(row) for row in counts] == [15, 15, 15]
    assert right >= 40
    assert accuracy == f"accuracy {right / 45:.3f} of 45"


async def test_r23_sql_is_asked_of_a_table(tools):
    totals = {n: sum(50 + 3.5 * order for order in range(n, 100, 20)) for n in range(20)}
    best = sorted(totals, key=lambda n: -totals[n])[:3]
    lines = [f"customer-{n},5,{totals[n]}" for n in best]
    assert await sql.run(tools) == "\n".join(["customer,orders,total", *lines, ""])


async def test_r23_a_table_is_fetched_over_http(tools):
    lines = (await web.run(tools)).split("\n")
    assert [line.split() for line in lines] == [
        ["city", "people"],
        ["Rome", "2748"],
        ["Oslo", "717"],
        ["Bonn", "322"],
        ["3787"],
    ]


async def test_r23_calls_build_on_one_another_up_to_the_download(tools):
    cleaned, drawn, exported, read, pushed, stored = await steps.run(tools)
    assert (cleaned.text, exported.text) == ("4", "(no output)")
    assert drawn.text.startswith("6.0\n")
    assert len(drawn.images) >= 1
    table = "day,value\n1,4.0\n2,6.0\n3,8.0\n4,6.0\n"
    assert read.value["files"][0]["content"] == table
    assert pushed.value["files_saved"] == ["code-interpreter/readings.csv"]
    assert stored.value["content"] == table
