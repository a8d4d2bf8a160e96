import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'__version__ = "([^"]+)"', (HERE / "source_meetings" / "__init__.py").read_text()
)

# As in metadata.yaml
DOCUMENTATION = "https://docs.airbyte.com/integrations/sources/meetings"

setup(
    name="source-meetings",
    version=VERSION.group(1) if VERSION else "0",
    description="Airbyte source connector for the meetings of Close, Salesloft, HighLevel and "
    "ExpoPlatform",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="source-meetings maintainers",
    license="MIT",
    url=DOCUMENTATION,
    project_urls={
        "Documentation": DOCUMENTATION,
        "Close API": "https://developer.close.com/",
        "Salesloft API": "https://developers.salesloft.com/docs/api/meetings-index/",
        "HighLevel API": "https://marketplace.gohighlevel.com/docs/",
        "ExpoPlatform API": "https://help.expoplatform.com/admin-home/meetings-api",
    },
    keywords=[
        "airbyte",
        "connector",
        "etl",
        "elt",
        "meetings",
        "calendar",
        "close",
        "salesloft",
        "highlevel",
        "gohighlevel",
        "expoplatform",
    ],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "License :: OSI Approved :: MIT License",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3 :: Only",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
        "Topic :: Database",
        "Topic :: Office/Business :: Scheduling",
        "Typing :: Typed",
    ],
    python_requires=">=3.10,<3.14",
    packages=[
        *find_packages(include=["source_meetings", "source_meetings.*"]),
        "source_meetings.schemas",
    ],
    package_dir={"source_meetings.schemas": "schemas"},
    package_data={
        "source_meetings": ["py.typed", "providers/*.yaml", "providers/*/manifest.yaml"],
        "source_meetings.schemas": ["*.json"],
    },
    install_requires=[
        "airbyte-cdk>=7.39,<8",
        "requests>=2.31,<3",
        "pendulum>=3.0,<4",
        "jsonschema>=4.17,<5",
        "orjson>=3.9,<4",
        "PyYAML>=6.0,<7",
    ],
    extras_require={
        "sandbox": ["starlette>=0.37,<2", "uvicorn>=0.29,<1"],
        "bench": ["matplotlib>=3.8,<4"],
        "mutants": ["mutmut>=3.8,<3.9"],
        "dev": [
            "pytest>=8,<9.2",  # the groups of pytest-xdist 3.8 are without effect in 9.2
            "pytest-cov>=5",
            "pytest-xdist>=3.5",
            "hypothesis>=6.100",
            "ruff>=0.6",
            "mypy>=1.10",
            "types-requests",
            "types-PyYAML",
            "types-jsonschema",
        ],
    },
    entry_points={"console_scripts": ["source-meetings=source_meetings.__main__:main"]},
)
