"""Compiles the one C library of llmspell while it is built or installed from a checkout.

Without a compiler the package is built all the same, for any platform: Lua
states are then made anew for each script, which costs more (see `Cells`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

DIRECTORY = Path("server/llmspell/runtime/lua")
LIBRARY = DIRECTORY / "libnative.so"


class Hook(BuildHookInterface[Any]):
    """Adds the library to a wheel, which is then one of this platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile it; `version` is "editable" for an installation of the checkout itself."""
        root = Path(self.root)
        if not compile_library(sorted((root / DIRECTORY).glob("*.c")), root / LIBRARY):
            self.app.display_warning(f"no C compiler: {LIBRARY} is left out")
            return
        if version != "editable":
            # It knows nothing of Python's binary interface.
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{platform}"
            build_data["pure_python"] = False
            build_data["force_include"][str(root / LIBRARY)] = str(LIBRARY.relative_to("server"))


def compile_library(sources: list[Path], library: Path) -> bool:
    """Return whether there is a library now. Nothing of an earlier build is left otherwise.

    Raises:
        CalledProcessError: There is a compiler, and it refuses a source.
    """
    library.unlink(missing_ok=True)
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if sys.platform == "win32" or not compiler:
        return False
    command = [*compiler.split(), "-std=c11", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared"]
    subprocess.run([*command, *map(str, sources), "-o", str(library), "-ldl"], check=True)
    return True
