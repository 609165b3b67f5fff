"""Variables that an older runtime pickled."""

import sys
import types

from sandbox_runtime.python.pickling import load_variables
from sandbox_runtime.python.variable_records import encode_record, read_records

FORMER = b"csandbox_agent.runtime.python.variables\nlive_globals\n)R."


def test_a_function_saved_before_the_module_moved_gets_the_live_globals():
    sent, main = bytearray(), types.ModuleType("main")
    load_variables(main, b"".join(encode_record({"name": "saved"}, FORMER)), sent.extend)
    assert main.saved is sys.modules["__main__"].__dict__
    assert [header for header, _ in read_records(bytes(sent))] == [{"name": "saved", "kept": True}]
