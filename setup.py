"""What setup.cfg cannot say: recipes and suites lie beside the package and travel within it (`storage.shipped`)."""

from setuptools import find_packages, setup

SHIPPED = {"tl_research.shipped.configs": "configs", "tl_research.shipped.suites": "benchmarks/suites"}

setup(
    packages=[*find_packages(include=["tl_research", "tl_research.*"]), *SHIPPED],
    package_dir=SHIPPED,
    package_data={package: ["**/*.yaml"] for package in SHIPPED},
)
