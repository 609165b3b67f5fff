"""`sandbox exec` as people use it: in a terminal of their own, with Ctrl-C, with pipes."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading

EXEC = [sys.executable, "-m", "sandbox_client", "exec"]


class Terminal:
    """A person's terminal with a command running in it."""

    def __init__(self, *words):
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            os.execv(sys.executable, [*EXEC, *words])
        self.seen = ""
        self.resize(30, 100)
        self.watchdog = threading.Timer(60, os.kill, [self.pid, signal.SIGKILL])
        self.watchdog.start()

    def resize(self, rows, columns):
        # The kernel sends SIGWINCH, as a terminal's window does.
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.descriptor, text.encode())

    def until(self, text):
        while text not in self.seen:
            try:
                data = os.read(self.descriptor, 4096)
            except OSError:
                data = b""
            assert data, f"it ended without {text!r}: {self.seen!r}"
            self.seen += data.decode(errors="replace")
        self.seen = self.seen.partition(text)[2]

    def end(self):
        """Read to the end; the exit code."""
        try:
            while os.read(self.descriptor, 4096):
                pass
        except OSError:
            pass
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.watchdog.cancel()
        os.close(self.descriptor)
        return code


def test_an_interactive_shell_has_the_terminals_size_keys_and_exit_code():
    terminal = Terminal("--tty", "--", "bash", "--norc", "--noprofile")
    terminal.until("bash-")
    terminal.type("PS1='rea''dy> '\n")
    terminal.until("ready> ")
    terminal.type("stty size; echo $TERM\n")
    terminal.until("30 100\r\nxterm\r\n")
    terminal.resize(51, 133)
    # The shell learns of it on its own time: it says so itself.
    terminal.type("until [ \"$(stty size)\" = '51 133' ]; do sleep 0.05; done; echo re''sized\n")
    terminal.until("resized\r\n")
    # A job says it, not bash: between its own echo and its job in the foreground, bash loses a Ctrl-C now and then.
    terminal.type("sh -c \"echo wait''ing; exec sleep 600\"\n")
    terminal.until("waiting\r\n")
    terminal.type("\x03")
    terminal.until("ready> ")
    terminal.type("exit 7\n")
    assert terminal.end() == 7


def test_ctrl_c_interrupts_the_command_in_the_sandbox_and_its_answer_is_heard():
    script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen([*EXEC, "--shell", "--", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "caught\n"
        assert process.wait(timeout=30) == 9


def test_standard_input_is_passed_on_to_its_end():
    size = 3_000_000
    command = [*EXEC, "--interactive", "--", "wc", "-c"]
    done = subprocess.run(command, input=b"x" * size, capture_output=True, timeout=60, check=True)
    assert done.stdout.strip() == str(size).encode()
