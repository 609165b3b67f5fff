"""HOME of user code: a venv that `pip install` writes to, an npm prefix, and the environment that uses both.

The venv is written directly and not by the `venv` module: that takes milliseconds instead of a large part of a second.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def venv_site_packages(home: Path) -> Path:
    """Return the folder that the session's `pip install` writes to."""
    return home / "venv" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def prepare_home(home: Path, node: str = "") -> None:
    """Create the missing parts of `home`: the venv with pip, the npm prefix and the cache folder.

    Args:
        home: HOME of user code.
        node: Path of the interpreter's Node, or "". The shell gets the same Node, with its npm.

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
    _write(
        home / "venv" / "pyvenv.cfg",
        f"home = {Path(base).parent}\ninclude-system-site-packages = true\nversion = {version}\nexecutable = {base}\n",
    )
    for name in ("python", "python3", f"python3.{sys.version_info.minor}"):
        _link(binaries / name, base)
    # The runtime itself may run in a venv, whose packages "system site packages" would not include.
    _write(site_packages / "runtime-site-packages.pth", "".join(f"{folder}\n" for folder in _own_site_packages()))
    for name in ("pip", "pip3"):
        _write(binaries / name, _PIP.format(python=binaries / "python"))
        (binaries / name).chmod(0o755)
    launcher = Path(__file__).with_name("scripts") / "launcher.py"
    _write(binaries / "sandbox-script", _SCRIPT.format(python=binaries / "python", launcher=launcher))
    (binaries / "sandbox-script").chmod(0o755)
    if node:
        _prepare_node(binaries, node)


def _prepare_node(binaries: Path, node: str) -> None:
    (binaries / "node").unlink(missing_ok=True)
    _link(binaries / "node", node)
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


def _own_site_packages() -> list[str]:
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    return list(dict.fromkeys(folder for folder in folders if Path(folder).is_dir()))


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def _link(path: Path, target: str) -> None:
    if not path.is_symlink():
        path.symlink_to(target)
