"""The TFLite interpreter behind one small class, and the arithmetic of quantisation.

Quantised values are `real = scale * (stored - zero_point)`. A model here takes and gives arrays
in the dtype its signature states; turning pixels into an int8 input costs one table look-up a
pixel, because a pixel has only 256 values.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge.bundle import ModelFile, TensorSpec
from edge.datatypes import Float32Array, UInt8Array
from edge.errors import BundleError, ModelError

Array = npt.NDArray[Any]
Library = Literal["ai-edge-litert", "tflite-runtime"]

INTERPRETERS: dict[Library, str] = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
"""The module of each package that runs models."""

EDGETPU_LIBRARY = "libedgetpu.so.1"
"""The delegate of a Coral Edge TPU."""


class Model:
    """One .tflite file in an interpreter of its own. Not safe to share between threads.

    Parameters
    ----------
    data
        The file's bytes.
    spec
        The signature the manifest gives it; held against the file.
    threads
        How many cores one call may use.
    library
        Which package runs it.
    delegate
        What `load_edgetpu` returned, for a file that was compiled for it; None is the CPU.

    Raises
    ------
    ModelError
        The package is not installed, or refuses the file.
    BundleError
        The file's tensors are not those of `spec`.
    """

    def __init__(
        self,
        data: bytes,
        spec: ModelFile,
        *,
        threads: int = 1,
        library: Library = "ai-edge-litert",
        delegate: object | None = None,
    ) -> None:
        self.spec = spec
        self._invoked_s = 0.0
        # The interpreter reads the buffer in place, so it has to live as long.
        self._data = data
        make = _module(library).Interpreter
        delegates = None if delegate is None else [delegate]
        try:
            self._interpreter = make(
                model_content=data, num_threads=threads, experimental_delegates=delegates
            )
            self._interpreter.allocate_tensors()
            found = (
                self._interpreter.get_input_details(),
                self._interpreter.get_output_details(),
            )
        except (ValueError, RuntimeError) as exc:
            raise ModelError(
                f"{spec.file}: the TFLite runtime refuses it ({_first_line(exc)}); "
                "package the bundle again with a mien of this version"
            ) from exc
        self._inputs = _match(spec.inputs, found[0], spec.file)
        self._outputs = _match(spec.outputs, found[1], spec.file)

    @property
    def invoked_s(self) -> float:
        """Seconds spent inside the interpreter's `invoke()` so far."""
        return self._invoked_s

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Run the model once.

        Parameters
        ----------
        inputs
            One array for each input of `spec`, in its order, with its shape and dtype.

        Returns
        -------
        Fresh arrays, one for each output of `spec`, in its order.

        Raises
        ------
        ModelError
            The runtime, or the device it runs on, fails.
        """
        interpreter = self._interpreter
        try:
            for index, array in zip(self._inputs, inputs, strict=True):
                interpreter.set_tensor(index, array)
            begun = perf_counter()
            interpreter.invoke()
            self._invoked_s += perf_counter() - begun
            return tuple(interpreter.get_tensor(index) for index in self._outputs)
        except (ValueError, RuntimeError) as exc:
            raise ModelError(
                f"{self.spec.file}: the TFLite runtime fails ({_first_line(exc)})"
            ) from exc


def quantise(real: npt.ArrayLike, spec: TensorSpec) -> Array:
    """Turn real values into those a tensor stores: round half to even, then clip.

    Examples
    --------
    >>> spec = TensorSpec(name="x", role="face", shape=(3,), dtype="int8", scale=1 / 128)
    >>> quantise([-1.0, 0.5, 2.0], spec).tolist()
    [-128, 64, 127]
    """
    values = np.asarray(real, np.float64)
    if spec.scale is None:
        return values.astype(spec.dtype)
    limits = np.iinfo(spec.dtype)
    stored = np.rint(values / spec.scale) + spec.zero_point
    clipped: Array = np.clip(stored, limits.min, limits.max).astype(spec.dtype)
    return clipped


def dequantise(stored: Array, spec: TensorSpec) -> Float32Array:
    """Turn stored values into the real ones they stand for, as float32."""
    if spec.scale is None:
        return stored.astype(np.float32)
    # In double precision: int16 state needs more bits than float32's difference would keep.
    real = (stored.astype(np.float64) - spec.zero_point) * spec.scale
    return real.astype(np.float32)


def pixel_table(mean: float, std: float, spec: TensorSpec) -> Array:
    """Return what each of the 256 pixel values becomes as a model input, [256]."""
    return quantise((np.arange(256) - mean) / std, spec)


def rescale_table(out: TensorSpec, into: TensorSpec) -> Callable[[Array], Array]:
    """Return a function from what one model gives (int8) to what the next one takes.

    An int8 output has 256 values, so that this too is a table look-up.
    """
    if out.dtype != "int8":
        return lambda stored: quantise(dequantise(stored, out), into)
    # Indexed by the byte, so -128 stands at 128.
    table = quantise(dequantise(np.arange(256).astype(np.uint8).view(np.int8), out), into)
    return lambda stored: np.asarray(table[stored.view(np.uint8)])


def pixel_reader(mean: float, std: float, spec: TensorSpec) -> Callable[[UInt8Array], Array]:
    """Return what turns pixels into a model's input, of the same shape, as fast as it goes."""
    if spec.dtype != "float32":
        table = pixel_table(mean, std, spec)
        return lambda pixels: np.asarray(np.take(table, pixels))
    gain, offset = np.float32(1 / std), np.float32(-mean / std)

    def scaled(pixels: UInt8Array) -> Array:
        real = pixels.astype(np.float32)
        real *= gain
        real += offset
        return real

    return scaled


def load_edgetpu(library: Library) -> object:
    """Load the delegate that runs compiled models on a Coral Edge TPU. It may crash or hang.

    https://coral.ai/docs/edgetpu/tflite-python/

    Raises
    ------
    ModelError
        The runtime, or the delegate's library, is not installed, or there is no device.
    """
    module = _module(library)
    try:
        delegate: object = module.load_delegate(EDGETPU_LIBRARY)
    except (ValueError, RuntimeError, OSError) as exc:
        raise ModelError(
            f"{EDGETPU_LIBRARY} cannot be loaded ({_first_line(exc)}): install libedgetpu1-std, "
            "check the device"
        ) from exc
    return delegate


def _module(library: Library) -> Any:  # noqa: ANN401  # a module has no better type
    try:
        return importlib.import_module(INTERPRETERS[library])
    except ImportError as exc:
        raise ModelError(
            f"{library} is not installed; pip install {library}, or name the runtime that is "
            "as [runtime] library in the configuration"
        ) from exc


def _match(specs: Sequence[TensorSpec], details: Sequence[Any], file: str) -> list[int]:
    """Return the interpreter's index for each tensor of the manifest, by name."""
    found = {detail["name"]: detail for detail in details}
    indices = []
    for spec in specs:
        detail = found.get(spec.name)
        if detail is None:
            raise BundleError(
                f"{file}: no tensor {spec.name!r} as the manifest says; package the bundle again"
            )
        scale, zero_point = detail["quantization"]
        actual = (tuple(int(n) for n in detail["shape"]), np.dtype(detail["dtype"]).name)
        same_scale = np.isclose(scale, spec.scale or 0.0, rtol=1e-6, atol=0)
        if actual != (spec.shape, spec.dtype) or not same_scale or zero_point != spec.zero_point:
            raise BundleError(
                f"{file}: tensor {spec.name!r} is not as the manifest says; "
                "package the bundle again"
            )
        indices.append(int(detail["index"]))
    return indices


def _first_line(exc: BaseException) -> str:
    return str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
