"""HOME of user code: a venv that `pip install` writes to, an npm prefix, and the environment that uses both.

The venv is written directly and not by the `venv` module: that takes milliseconds instead of a large part of a second.
"""

from __future__ import annotations

import importlib.util
import os
import re
import site
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SEES_SYSTEM: Final = re.compile(r"^include-system-site-packages\s*=\s*true\s*$", re.MULTILINE | re.IGNORECASE)
_PASSED_NAMES: Final = frozenset(
    {
        "CURL_CA_BUNDLE",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "JAVA_HOME",
        "LANG",
        "LD_LIBRARY_PATH",
        "NO_PROXY",
        "NLTK_DATA",
        "NODE_EXTRA_CA_CERTS",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TZ",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    },
)
_PASSED_PREFIXES: Final = (
    "CUDA_",
    "LC_",
    "MKL_",
    "MPL",
    "NPM_CONFIG_",
    "NVIDIA_",
    "OMP_",
    "OPENBLAS_",
    "PIP_",
    "npm_config_",
)
_DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_USER: Final = "sandbox"
_PIP: Final = '#!/bin/sh\nexec "{python}" -m pip "$@"\n'
_SCRIPT: Final = '#!/bin/sh\nexec "{python}" "{launcher}" "$@"\n'
_NPM: Final = '#!/bin/sh\nexec "{node}" "{script}" "$@"\n'
_FILE_RUNNER: Final = (
    '#!/bin/sh\nSANDBOX_COMPILERS="{compilers}" exec "{node}" --experimental-transform-types '
    '--disable-warning=ExperimentalWarning --require "{hooks}" "$@"\n'
)


def venv_site_packages(home: Path) -> Path:
    """Return the folder that the session's `pip install` writes to."""
    return home / "venv" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def prepare_home(home: Path, node: str = "", compilers: Sequence[Path] = ()) -> None:
    """Create the missing parts of `home`: the venv with pip, the npm prefix and the cache folder.

    Args:
        home: HOME of user code.
        node: Path of the interpreter's Node, or "". The shell gets the same Node, with its npm.
        compilers: Folders whose node_modules may have the TypeScript compiler.

    Raises:
        OSError: The folder cannot be written.
    """
    site_packages = venv_site_packages(home)
    binaries = home / "venv" / "bin"
    for folder in (
        site_packages,
        binaries,
        home / "npm" / "bin",
        home / "npm" / "lib" / "node_modules",
        home / ".cache",
    ):
        folder.mkdir(parents=True, exist_ok=True)
    base = getattr(sys, "_base_executable", sys.executable) or sys.executable
    version = ".".join(str(part) for part in sys.version_info[:3])
    sees_system = "true" if _sees_system_packages() else "false"
    _write(
        home / "venv" / "pyvenv.cfg",
        f"home = {Path(base).parent}\ninclude-system-site-packages = {sees_system}\n"
        f"version = {version}\nexecutable = {base}\n",
    )
    for name in ("python", "python3", f"python3.{sys.version_info.minor}"):
        _link(binaries / name, base)
    _write(site_packages / "runtime-site-packages.pth", _describe_packages())
    for name in ("pip", "pip3", f"pip3.{sys.version_info.minor}"):
        _write(binaries / name, _PIP.format(python=binaries / "python"))
        (binaries / name).chmod(0o755)
    launcher = Path(__file__).with_name("scripts") / "launcher.py"
    _write(binaries / "sandbox-script", _SCRIPT.format(python=binaries / "python", launcher=launcher))
    (binaries / "sandbox-script").chmod(0o755)
    if node:
        _prepare_node(binaries, node, compilers)


def _prepare_node(binaries: Path, node: str, compilers: Sequence[Path]) -> None:
    _link(binaries / "node", node)
    hooks = Path(__file__).with_name("javascript") / "file_hooks.cjs"
    folders = os.pathsep.join(map(str, compilers))
    _write(binaries / "sandbox-node", _FILE_RUNNER.format(node=node, hooks=hooks, compilers=folders))
    (binaries / "sandbox-node").chmod(0o755)
    # In the wheel, bin/npm is a copy that does not find its library, so npm is started from the library itself.
    scripts = Path(node).parent.parent / "lib" / "node_modules" / "npm" / "bin"
    for name in ("npm", "npx"):
        if (scripts / f"{name}-cli.js").exists():
            _write(binaries / name, _NPM.format(node=node, script=scripts / f"{name}-cli.js"))
            (binaries / name).chmod(0o755)


def build_environment(environ: Mapping[str, str], home: Path, node: str) -> dict[str, str]:
    """Return the environment that every interpreter and command starts from.

    Only variables on an allow list pass from the runtime's own environment, because the parent of a local session may
    have credentials. `SANDBOX_PASS_ENVIRONMENT` (names, comma separated) adds to the list.
    """
    extra = set(environ.get("SANDBOX_PASS_ENVIRONMENT", "").split(","))
    passed = {
        name: value
        for name, value in environ.items()
        if name in _PASSED_NAMES or name.startswith(_PASSED_PREFIXES) or name in extra
    }
    path = [str(home / "venv" / "bin"), str(home / "npm" / "bin"), environ.get("PATH") or _DEFAULT_PATH]
    if node:
        path.append(str(Path(node).parent))
    return {
        "LANG": "C.UTF-8",
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": str(home / ".cache" / "matplotlib"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "npm_config_update_notifier": "false",
        **passed,
        "HOME": str(home),
        # The pod may set a user id that the passwd file does not name.
        "LOGNAME": _USER,
        "NODE_PATH": str(home / "npm" / "lib" / "node_modules"),
        "NPM_CONFIG_PREFIX": str(home / "npm"),
        "PATH": os.pathsep.join(path),
        "PIP_CACHE_DIR": str(home / ".cache" / "pip"),
        "USER": _USER,
        "VIRTUAL_ENV": str(home / "venv"),
        "npm_config_cache": str(home / ".cache" / "npm"),
    }


def _sees_system_packages() -> bool:
    """Return whether this process sees the packages of the Python that it was installed for."""
    if sys.prefix == sys.base_prefix:
        return True
    try:
        return _SEES_SYSTEM.search((Path(sys.prefix) / "pyvenv.cfg").read_text()) is not None
    except OSError:
        return False


def _describe_packages() -> str:
    """Return a .pth file that adds all packages that a cell sees to the shell's Python, and pip if there is none.

    A plain line would not read the .pth files of the folder itself, and so miss packages installed as editable.
    """
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    lines = [f"{folder}\n" for folder in path if Path(folder).is_absolute()]
    lines += [
        f"import site, sys; {folder!r} in sys.path or site.addsitedir({folder!r})\n"
        for folder in dict.fromkeys(folders)
        if Path(folder).is_dir()
    ]
    if importlib.util.find_spec("pip") is None:
        lines += [f"{wheel}\n" for wheel in _bundled_pip()]
    return "".join(lines)


def _bundled_pip() -> list[Path]:
    """Return the wheel of pip that comes with Python. It can run without being installed."""
    spec = importlib.util.find_spec("ensurepip")
    folders = [sysconfig.get_config_var("WHEEL_PKG_DIR"), spec and Path(spec.origin or "").parent / "_bundled"]
    return [wheel for folder in folders if folder for wheel in sorted(Path(folder).glob("pip-*.whl"))][:1]


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def _link(path: Path, target: str) -> None:
    if not path.is_symlink() or str(path.readlink()) != target:
        path.unlink(missing_ok=True)
        path.symlink_to(target)
