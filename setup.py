"""The packages of the wheel: `regproxy`, and the profiles of the checkout as `regproxy/profiles/*.yaml`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["regproxy", "regproxy.*"]), "regproxy.profiles"],
    package_dir={"regproxy.profiles": "pipelines/profiles"},
)
