"""The build of the native engine: a library that ctypes loads, so one wheel serves every Python 3.

Everything else is in pyproject.toml.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext


class BuildLibrary(build_ext):
    """Names the library without a Python version, and exports no module from it."""

    def get_ext_filename(self, fullname):
        """Return such as cmudrn/engines/native/_native.so."""
        path = Path(super().get_ext_filename(fullname))
        return str(path.with_name(f"{path.name.partition('.')[0]}{path.suffix}"))

    def get_export_symbols(self, ext):
        """Return what the linker has to be told of: nothing, the sources say it."""
        return ext.export_symbols


class PlatformWheel(bdist_wheel):
    """Tags a wheel py3-none-PLATFORM, or py3-none-any where no compiler made the library."""

    def get_tag(self):
        """Return (python, abi, platform)."""
        platform = super().get_tag()[2]
        built = list(Path(self.bdist_dir).rglob("_native.*")) if self.bdist_dir else []
        return "py3", "none", platform if built else "any"


setup(cmdclass={"build_ext": BuildLibrary, "bdist_wheel": PlatformWheel})
