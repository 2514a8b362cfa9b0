from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from convert.parity import Converted

# Before anything imports TensorFlow: it greets from C++, and Keras would choose a backend.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

from drawn import write_data


@pytest.fixture(scope="session", autouse=True)
def few_streams() -> Iterator[None]:
    """Compose a tenth of the streams: how well networks do on them is measured elsewhere."""
    from convert import answers  # noqa: PLC0415  # the environment is ready now

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "STREAMS", 60)
        if find_spec("tensorflow") is not None:
            from convert import parity  # noqa: PLC0415  # wants TensorFlow

            patch.setattr(parity, "STREAMS", 13)
        yield


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
    # A barely trained network is no more sure of one answer than of another.
    lowered = ["samples=175", "agreement=0.5", "accuracy-drop=0.3", "head-agreement=0.5"]
    lowered.append("logit-sqnr=0")
    allow = [word for each in lowered for word in ("--allow", each)]
    assert main(["quantise", *folders, *allow]) == 0
    assert main(["evaluate", *folders]) == 0
    return run


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """A frame model of 24x24 faces that has learnt something, and its int8 file."""
    pytest.importorskip("tensorflow")
    import keras  # noqa: PLC0415  # wants TensorFlow
    from learnable import barred, taught  # noqa: PLC0415  # likewise

    from convert import child, converter, parity, quantise, tflite  # noqa: PLC0415  # likewise
    from convert.interface import Interface  # noqa: PLC0415  # likewise

    keras.utils.set_random_seed(2)
    face = keras.Input((24, 24, 1), name="face")
    features = face
    for filters in (8, 16):
        convolved = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(features)
        features = keras.layers.MaxPooling2D()(convolved)
    flat = keras.layers.Flatten()(features)
    embedding = keras.layers.Dense(16, activation="relu")(flat)
    logits = keras.layers.Dense(7)(embedding)
    taught(keras.Model(face, keras.layers.Softmax()(logits)), 128, 128)
    network = keras.Model(face, [embedding, logits])
    folder = tmp_path_factory.mktemp("converted")
    network.save(folder / "frame.keras")
    np.savez(folder / "faces.npz", face=quantise.pinned(barred(100, seed=7).pixels, Interface()))
    request = converter.Request(
        network=str(folder / "frame.keras"), calibration=str(folder / "faces.npz"),
        precision="int8",
    )  # fmt: skip
    with child.worked("convert.converter", request, "frame", 300) as made:
        file = folder / "frame.tflite"
        file.write_bytes((made / converter.QUANTISED).read_bytes())
        floating = (made / converter.FLOATING).read_bytes()
    return parity.Converted(network, floating, file, tflite.read(file).signature)


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """The astronaut's face as a tile, framed by the device's own detector and crop."""
    from convert import framing  # noqa: PLC0415  # after the environment above is set
    from edge.crop import crop  # noqa: PLC0415  # likewise
    from edge.imaging import read_luma  # noqa: PLC0415  # likewise

    picture = read_luma(Path(__file__).parents[1] / "data" / "astronaut.webp")
    assert picture is not None
    # Near enough for the detector to place the eyes well.
    picture = picture[:256, 96:352]
    face = framing.find(picture, framing.short_range_detector())
    assert face is not None
    return crop(picture, face.keypoints, framing.CROP, 48)
