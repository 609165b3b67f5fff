"""What cells print."""

from __future__ import annotations

import itertools
import json
import operator
import re
import threading
import time
from pathlib import Path

from sandbox_link.frames import FrameDecoder


def test_console_and_streams_keep_their_order(shared):
    outcome = shared.run(
        "console.log('1'); console.error('2'); process.stdout.write('3'); console.info('4'); console.debug('5');"
        "console.warn('6 %d', 6); process.stderr.write(Buffer.from('7')); console.table([[1]])"
    )
    # Pieces of one stream may arrive together or apart.
    pieces = [
        (stream, b"".join(data for _, data in group))
        for stream, group in itertools.groupby(outcome.output, key=operator.itemgetter(0))
    ]
    assert pieces[:4] == [("STDOUT", b"1\n"), ("STDERR", b"2\n"), ("STDOUT", b"34\n5\n"), ("STDERR", b"6 6\n7")]
    assert [stream for stream, _ in pieces[4:]] == ["STDOUT"]


def test_ten_megabytes_arrive_complete_and_in_order(shared):
    outcome = shared.run("for (let n = 0; n < 200000; n++) console.log(String(n).padStart(49, '-'))")
    assert outcome.status == "OK"
    assert outcome.stdout == "".join(f"{number:->49}\n" for number in range(200000))


def test_one_string_larger_than_every_buffer_arrives_whole(shared):
    outcome = shared.run("process.stdout.write('é'.repeat(5e6)); void 0")
    assert outcome.stdout == "é" * 5_000_000


def test_a_reader_that_pauses_loses_nothing(own):
    own.begin("for (let n = 0; n < 300; n++) process.stdout.write('x'.repeat(1e5)); console.error('end')")
    paused = threading.Event()
    # Nothing is read until the process waits for room, which shows in that it stops to consume processor time.
    seen = -1
    while not paused.wait(0.1):
        ticks = int(Path(f"/proc/{own.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()[11])
        if ticks == seen:
            paused.set()
        seen = ticks
    outcome = own.finish()
    assert (len(outcome.stdout), outcome.stderr, outcome.status) == (30_000_000, "end\n", "OK")


def test_output_of_child_processes_is_on_the_descriptors_of_the_process(own):
    own.run("require('child_process').execSync('echo from-child; echo err >&2', {stdio: 'inherit'})")
    own.socket.close()
    stdout, stderr = own.process.communicate(timeout=30)
    assert (stdout, stderr) == (b"from-child\n", b"err\n")


def test_process_stdout_can_be_piped_into_any_number_of_times(own):
    code = "await require('stream/promises').pipeline(require('stream').Readable.from(['a', 'b']), process.stdout)"
    assert own.run(code).stdout + own.run(code).stdout == "abab"


def test_what_a_timer_prints_between_cells_comes_with_the_next_cell(own):
    # Where the machine is busy, the first cell itself may take so long.
    printed = own.run("setTimeout(() => console.log('late'), 200); void 0").stdout
    deadline = time.monotonic() + 30
    while not printed and time.monotonic() < deadline:
        printed = own.run("1").stdout
    assert printed in ("late\n", "[late output of cell 1]\nlate\n[end of late output]\n")


def test_a_short_cell_is_one_write(own):
    # Where the machine is busy a cell is not short, so one of several will do.
    writes = []
    for _ in range(50):
        own.begin("console.log('out'); console.error('err'); 42")
        own._frames = list(FrameDecoder().feed(own.socket.recv(1 << 20)))
        writes.append([frame.type.name for frame in own._frames])
        own.finish()
    assert ["DATA", "DATA", "EVENT", "DATA", "CLOSE"] in writes


def test_every_console_method_prints_as_node_does(shared):
    outcome = shared.run(
        "console.group('outer'); console.log('inner'); console.groupEnd(); console.dir({a: {b: {}}}, {depth: 0});"
        "console.count(); console.count('n'); console.countReset('n'); console.count('n'); console.assert(1, 'no');"
        "console.log('%s %d %j %o%c', 's', 4, {c: 3}, [1], 'css'); console.table([{a: 1}]); console.dirxml({d: 1})"
    )
    assert outcome.stdout == (
        'outer\n  inner\n{ a: [Object] }\ndefault: 1\nn: 1\nn: 1\ns 4 {"c":3} [ 1, [length]: 1 ]\n'
        "┌─────────┬───┐\n│ (index) │ a │\n├─────────┼───┤\n│ 0       │ 1 │\n└─────────┴───┘\n{ d: 1 }\n"
    )
    told = shared.run("console.assert(false, 'bad %s', 1);\nconsole.trace('here')")
    number = told.ok["execution_count"]
    assert told.stderr == f"Assertion failed: bad 1\nTrace: here\n    at cell-{number}.js:2:9\n"
    assert re.fullmatch(
        r"t: [\d.]+ms\nt: [\d.]+ms\n",
        shared.run("console.time('t'); console.timeLog('t'); console.timeEnd('t')").stdout,
    )


def test_errors_that_are_printed_have_the_positions_of_the_cell(shared):
    outcome = shared.run("console.log(new Error('shown')); new Error('kept').stack")
    file = f"cell-{outcome.ok['execution_count']}.js:1"
    assert outcome.stdout == f"Error: shown\n    at {file}:13\n"
    assert json.loads(outcome.parts["application/json"]) == f"Error: kept\n    at {file}:34"


def test_display_shows_in_order_with_what_is_printed(shared):
    code = """
console.log('before');
display({a: 1});
display.html('<b>bold</b>');
display.markdown('*m*', {displayId: 'd'});
display.markdown('*n*', {displayId: 'd', update: true});
display.svg('<svg/>');
display.json([1]);
display.image(Buffer.from('89504e470d0a1a0a00', 'hex'));
display({'text/plain': 'raw', 'application/x+json': {b: 2}, 'image/gif': 'R0lGODlhAQ=='}, {raw: true});
'last'
"""
    outcome = shared.run(code)
    png = b"\x89PNG\r\n\x1a\n\0"
    assert outcome.stdout == "before\n"
    assert [parts for _, parts in outcome.shown] == [
        {"text/plain": b"{ a: 1 }", "application/json": b'{"a":1}'},
        {"text/html": b"<b>bold</b>"},
        {"text/markdown": b"*m*"},
        {"text/markdown": b"*n*"},
        {"image/svg+xml": b"<svg/>"},
        {"application/json": b"[1]"},
        {"image/png": png},
        {"text/plain": b"raw", "application/x+json": b'{"b":2}', "image/gif": b"GIF89a\x01"},
        {"text/plain": b"'last'", "application/json": b'"last"'},
    ]
    assert [(shown["is_main"], shown["display_id"], shown["is_update"]) for shown, _ in outcome.shown] == [
        (False, "", False),
        (False, "", False),
        (False, "d", False),
        (False, "d", True),
        *[(False, "", False)] * 4,
        (True, "", False),
    ]


def test_what_display_cannot_show_is_an_error_at_its_line(shared):
    for code, said in {
        "\ndisplay.image('text')": "display.image: not a PNG, JPEG, GIF or WebP",
        "\ndisplay(5, {raw: true})": "display: with raw, the value must be an object",
        "\ndisplay({'text/html': 5}, {raw: true})": "display: text/html must be a string or bytes",
    }.items():
        error = shared.run(code).error
        assert error["value"].startswith(said)
        assert ".js:2:" in error["traceback"][-1]


def test_display_is_a_name_that_a_cell_may_take(own):
    assert own.value("const display = 5; display") == 5
