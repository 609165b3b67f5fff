# ruff: noqa: INP001, T201 - a program, no package: it prints
"""Checks from inside the full image, as a user like a pod's, that everything it promises is installed and works.

Imports each of NAMED in a process of its own, in the environment of user code. Requires at least MINIMUM packages in
`pip list` and no CUDA library. Runs two cells in the image's runtime. Prints its findings, and exits with 1 if one
fails. Standard library and the image's runtime only.

Usage: python3 - <check.py (in the image; `make test-images` does it)
"""

import asyncio
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

MINIMUM = 200
TIMEOUT = 300  # seconds for one import or one cell

# Each library that the image promises by name, and a module whose import shows that it works.
NAMED = {
    "pandas": "pandas",
    "numpy": "numpy",
    "matplotlib": "matplotlib.pyplot",
    "plotly": "plotly.express",
    "bokeh": "bokeh.plotting",
    "scipy": "scipy.optimize",
    "statsmodels": "statsmodels.api",
    "sympy": "sympy",
    "scikit-learn": "sklearn.ensemble",
    "torch": "torch.nn",
    "torchvision": "torchvision.transforms",
    "torchaudio": "torchaudio",
    "xgboost": "xgboost",
    "spacy": "spacy",
    "nltk": "nltk",
    "textblob": "textblob",
    "scikit-image": "skimage.filters",
    "cvxpy": "cvxpy",
    "ortools": "ortools.sat.python.cp_model",
    "pulp": "pulp",
    "z3-solver": "z3",
    "networkx": "networkx",
    "igraph": "igraph",
    "openpyxl": "openpyxl",
    "xlrd": "xlrd",
    "XlsxWriter": "xlsxwriter",
    "python-docx": "docx",
    "python-pptx": "pptx",
    "PyPDF2": "PyPDF2",
    "pdfplumber": "pdfplumber",
    "reportlab": "reportlab.pdfgen.canvas",
    "lxml": "lxml.etree",
    "beautifulsoup4": "bs4",
    "markitdown": "markitdown",
    "pillow": "PIL.Image",
    "opencv-python": "cv2",
    "imageio": "imageio.v3",
    "moviepy": "moviepy",
    "pydub": "pydub",
    "svgwrite": "svgwrite",
    "Wand": "wand.image",
    "duckdb": "duckdb",
    "SQLAlchemy": "sqlalchemy.orm",
    "pyarrow": "pyarrow.parquet",
    "orjson": "orjson",
    "ujson": "ujson",
    "PyYAML": "yaml",
    "requests": "requests",
    "httpx": "httpx",
    "fastapi": "fastapi",
    "Flask": "flask",
    "Django": "django",
    "pydantic": "pydantic",
    "Faker": "faker",
    "rich": "rich.console",
    "cryptography": "cryptography.fernet",
    "qrcode": "qrcode",
    "boto3": "boto3",
}

LEARN_AND_PLOT = """
import matplotlib.pyplot as plt, numpy as np, pandas as pd, torch
x = np.linspace(-1, 1, 64, dtype=np.float32)
inputs, wanted = torch.from_numpy(x)[:, None], torch.from_numpy(3 * x + 1)[:, None]
model = torch.nn.Linear(1, 1)
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
for _ in range(300):
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(model(inputs), wanted).backward()
    optimizer.step()
frame = pd.DataFrame({"x": x, "y": model(inputs).detach().numpy()[:, 0]})
frame.plot(x="x", y="y")
plt.show()
print(round(model.weight.item(), 2), round(model.bias.item(), 2), torch.cuda.is_available())
"""
# Libraries that load system libraries or start a program: importing them proves little.
NATIVE = """
import locale
import matplotlib.font_manager as font_manager
locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
assert locale.str(0.5) == "0,5"
locale.setlocale(locale.LC_ALL, "C.UTF-8")
assert "wqy" in str(font_manager.findfont("WenQuanYi Micro Hei", fallback_to_default=False))
import cairosvg, cv2, graphviz, numpy as np, soundfile, torchaudio, torchvision, weasyprint, wand.image, xgboost
from pydub import AudioSegment
from moviepy import ColorClip, TextClip
assert wand.image.Image(width=8, height=8, pseudo="gradient:").make_blob("png").startswith(b"\\x89PNG")
assert cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[0]
assert graphviz.Source("digraph { a -> b }").pipe("svg").strip().endswith(b"</svg>")
assert cairosvg.svg2png(b"<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'/>").startswith(b"\\x89PNG")
assert weasyprint.HTML(string="<p>text").write_pdf().startswith(b"%PDF")
AudioSegment.silent(100).export("silence.mp3", format="mp3")
assert len(AudioSegment.from_file("silence.mp3")) >= 100
text = TextClip(text="text", font=font_manager.findfont("DejaVu Sans"), font_size=20, color="white")
assert text.get_frame(0).any()
ColorClip((16, 16), color=(255, 0, 0), duration=0.2).write_videofile("red.mp4", fps=10, logger=None)
assert cv2.VideoCapture("red.mp4").read()[0]
xgboost.XGBRegressor(n_estimators=2).fit(np.arange(8.0)[:, None], np.arange(8.0))
picture = torchvision.transforms.functional.to_tensor(np.zeros((8, 8), np.uint8))
print(torchvision.transforms.functional.resize(picture, [4, 4]).shape, torchaudio.functional.gain(picture).shape)
"""


@dataclass(frozen=True)
class Imported:
    """The result of an import. `error` is empty if it succeeded."""

    name: str
    version: str
    seconds: float
    error: str


def import_alone(name: str, environment: dict[str, str]) -> Imported:
    """Import one of NAMED in a process of its own."""
    started = time.monotonic()
    command = [sys.executable, "-c", f"import {NAMED[name]}"]
    try:
        version = importlib.metadata.version(name)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT, env=environment)
        error = "" if done.returncode == 0 else f"exit code {done.returncode}: {done.stderr[-600:].strip()}"
    except importlib.metadata.PackageNotFoundError:
        version, error = "-", "not installed under this name"
    except subprocess.TimeoutExpired:
        error = f"not imported after {TIMEOUT} s"
    return Imported(name, version, time.monotonic() - started, error)


def check_imports(home: Path) -> list[str]:
    """Import all of NAMED, print them with their versions, and return the failures."""
    from sandbox_runtime.user_home import build_environment, prepare_home  # noqa: PLC0415 - in the image only

    failures = []
    prepare_home(home)
    environment = build_environment(os.environ, home, "") | {
        "EAGER_IMPORT": "1"
    }  # otherwise scikit-image imports nothing
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in pool.map(partial(import_alone, environment=environment), NAMED):
            print(f"  {done.name:16} {done.version:16} {done.seconds:5.1f} s  {'FAILED' if done.error else 'ok'}")
            if done.error:
                failures.append(f"{done.name}: {done.error}")
    print(f"{len(NAMED) - len(failures)} of {len(NAMED)} named libraries import")
    return failures


def check_count() -> list[str]:
    """Check the number of packages in `pip list`."""
    command = [sys.executable, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    count = len(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))
    print(f"pip list: {count} packages (at least {MINIMUM})")
    return [] if count >= MINIMUM else [f"pip list has {count} packages"]


def check_no_cuda() -> list[str]:
    """Check that there are no CUDA libraries, which a CPU build of torch does not need."""
    found = [str(path) for path in Path("/usr").rglob("libcu*.so*") if path.name.startswith(("libcuda", "libcublas"))]
    print(f"libraries of CUDA: {len(found)}")
    return [f"CUDA: {path}" for path in found]


def check_cells(folder: Path) -> list[str]:
    """Start the runtime as a pod does, run both cells, and return the failures."""
    places = {name: folder / f"runtime-{name.lower()}" for name in ("LINK_DIR", "WORKSPACE", "HOME")}
    places["LINK_DIR"].mkdir()
    environment = {**os.environ, **{f"SANDBOX_{name}": str(place) for name, place in places.items()}}
    with subprocess.Popen(["sandbox-runtime"], env=environment) as runtime:
        try:
            return asyncio.run(run_cells(places["LINK_DIR"] / "runtime.sock"))
        finally:
            runtime.terminate()


async def run_cells(socket: Path) -> list[str]:
    """Run both cells in the runtime that listens on a socket."""
    from sandbox_link.client import RuntimeLink  # noqa: PLC0415 - in the image only

    link = RuntimeLink(socket, timeout=60)
    link.start()
    try:
        await link.call("configure", {"session_uid": "check"})
        failures = await run_cell(link, "learn and plot", LEARN_AND_PLOT, "3.0 1.0 False", "image/png")
        return failures + await run_cell(link, "native libraries", NATIVE, "torch.Size([1, 4, 4])", "")
    finally:
        await link.close()


async def run_cell(link, what: str, code: str, line: str, mime_type: str) -> list[str]:  # noqa: ANN001
    """Run a cell that must print `line` and show a `mime_type`."""
    from sandbox_link.frames import Stream  # noqa: PLC0415 - in the image only
    from sandbox_link.protocol import Data  # noqa: PLC0415 - in the image only

    started = time.monotonic()
    body = code.encode()
    arguments = {"language": "python", "code_bytes": len(body), "timeout": float(TIMEOUT)}
    call = await link.open("execute", arguments)
    await call.send(body)
    items = [item async for item in call]
    printed = b"".join(item.data for item in items if isinstance(item, Data) and item.stream is Stream.STDOUT).decode()
    events = [item.value for item in items if not isinstance(item, Data)]
    shown = [part[0] for event in events if event["type"] == "result" for part in event["parts"]]
    print(f"cell, {what}: {call.result['status']} in {time.monotonic() - started:.1f} s: {printed.strip()} {shown}")
    if call.result["status"] == "OK" and line in printed and (not mime_type or mime_type in shown):
        return []
    errors = ["\n".join(event["traceback"]) for event in events if event["type"] == "error"]
    return [f"cell, {what}: {call.result} {printed!r} {shown} {' '.join(errors)[-3000:]}"]


def main() -> None:
    """Run all checks."""
    print(f"Python {sys.version.split()[0]}, user {os.getuid()}")
    with tempfile.TemporaryDirectory() as folder:
        failures = check_imports(Path(folder, "home")) + check_count() + check_no_cuda() + check_cells(Path(folder))
    for failure in failures:
        print(f"FAILED {failure}")
    print(f"{len(failures)} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
