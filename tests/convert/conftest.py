from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before anything imports TensorFlow: it greets from C++, and Keras would choose a backend.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

from drawn import write_data


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def finished(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder in which every command before `package` has run, on drawn faces."""
    pytest.importorskip("tensorflow")
    from convert import data, head  # noqa: PLC0415  # wants TensorFlow
    from convert.__main__ import main  # noqa: PLC0415  # likewise

    run = tmp_path_factory.mktemp("run")
    faces, folders = data.load(data_folder), ["--data", str(data_folder), "--run", str(run)]
    assert main(["train", *folders, "--epochs", "1"]) == 0
    settings = head.HeadSettings(epochs=1, batch=2, train_streams=4, val_streams=2)
    head.train_head(run, faces, settings)
    assert main(["quantise", *folders]) == 0
    assert main(["evaluate", *folders]) == 0
    return run
