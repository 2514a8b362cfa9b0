"""Surgery on Keras networks: walk one, read what it ends in, build another from its layers.

Layers are shared, not copied, between a network and what is built from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from convert.errors import SourceError
from convert.models import Sum
from edge.datatypes import Float32Array

Tensor = Any
"""A KerasTensor; Keras publishes no types."""

Layer = Any
"""A Keras layer, operation, or anything one takes."""

Call = Callable[..., Any]
"""`call(layer, *arguments)` returns what stands for the layer's output."""

_PAIR = 2
_VECTOR, _PICTURE = 2, 4

_SILENT = ("Dropout", "SpatialDropout", "GaussianNoise", "GaussianDropout", "AlphaDropout",
           "ActivityRegularization", "RandomFlip", "RandomRotation", "RandomZoom",
           "RandomTranslation", "RandomContrast", "RandomBrightness")  # fmt: skip


def walk(network: keras.Model, inputs: Sequence[Any], call: Call) -> list[Any]:
    """Run through a network's layers in order, networks within it included.

    Parameters
    ----------
    network
        Functional or Sequential.
    inputs
        What stands for each input.
    call
        Told of each layer but those that do nothing at inference.

    Raises
    ------
    SourceError
        The network is a subclass of its own, whose layers cannot be told.
    """

    def one(layer: Layer, *args: Layer, **kwargs: Layer) -> Layer:
        if isinstance(layer, keras.Model):
            return _run(layer, args[0], one)
        if type(layer).__name__.startswith(_SILENT):
            return args[0]
        kwargs.pop("training", None)
        return call(layer, *args, **kwargs)

    return list(keras.tree.flatten(_run(network, list(inputs), one)))


def _run(network: keras.Model, inputs: Layer, call: Call) -> Layer:
    plain = functional(network)
    # The one way to run through a graph with values that are not tensors; clone_model uses it too.
    return plain._run_through_graph(inputs, operation_fn=lambda layer: layer, call_fn=call)  # noqa: SLF001  # what clone_model does, for any values


def run(network: keras.Model, inputs: Sequence[Float32Array]) -> list[Float32Array]:
    """Return what a network answers, output by output, as at inference."""
    # In the form in which it names its inputs: one, a list, or a dictionary.
    given = keras.tree.pack_sequence_as(network._inputs_struct, list(inputs))  # noqa: SLF001  # see _run
    answers = network(given, training=False)
    return [np.asarray(each, np.float32) for each in keras.tree.flatten(answers)]


def functional(network: keras.Model) -> keras.Model:
    """Return a Sequential as a functional network; a functional one as it is."""
    if isinstance(network, keras.Sequential):
        return keras.Model(network.inputs, network.outputs, name=network.name)
    if hasattr(network, "_run_through_graph"):
        return network
    raise SourceError(
        f"network {network.name!r} is a class of its own ({type(network).__name__}), whose layers "
        "cannot be told; export it as a SavedModel with network.export(FOLDER)"
    )


def reserve_names(network: keras.Model) -> keras.Model:
    """Keep the names in a loaded network from those that Keras will give new layers.

    Keras counts the layers it has made, not those it has loaded, and refuses a network in which
    two have one name.
    """
    names: list[str] = []

    def call(layer: Layer, *args: Layer, **kwargs: Layer) -> Layer:
        names.append(layer.name)
        return layer(*args, **kwargs)

    walk(network, network.inputs, call)
    for name in names:
        base, _, number = name.rpartition("_")
        numbered = bool(base) and number.isdigit()
        while keras.backend.get_uid(base if numbered else name) <= (int(number) if numbered else 0):
            pass
    return network


def plain_call(layer: Layer, *args: Layer, **kwargs: Layer) -> Layer:
    """Return the layer's output as it is; the `call` of `walk` that changes nothing."""
    return layer(*args, **kwargs)


def steady(layer: Layer, *args: Layer, **kwargs: Layer) -> Layer:
    """Return the layer's output, a sum of two vectors in the way that converts; see `Sum`."""
    terms = keras.tree.flatten(list(args))
    vectors = all(
        isinstance(each, keras.KerasTensor) and len(each.shape) == _VECTOR for each in terms
    )
    if type(layer).__name__ == "Add" and len(terms) == _PAIR and vectors:
        return Sum()(*terms)
    return layer(*args, **kwargs)


def inlined(network: keras.Model) -> keras.Model:
    """Return a network without networks inside it, nor layers that only work while training."""
    inputs = [keras.Input(each.shape[1:], name=each.name) for each in network.inputs]
    return keras.Model(inputs, walk(network, inputs, plain_call))


def maker(tensor: Tensor) -> Layer:
    """Return the layer that gives a tensor."""
    return tensor._keras_history.operation  # noqa: SLF001  # Keras has no public name for it


def _node(tensor: Tensor) -> Layer:
    history = tensor._keras_history  # noqa: SLF001  # see maker
    return history.operation._inbound_nodes[history.node_index]  # noqa: SLF001  # see maker


def before_reshaping(tensor: Tensor) -> Tensor:
    """Return a tensor as it was before any Reshape layers that it comes from."""
    while isinstance(maker(tensor), keras.layers.Reshape):
        (tensor,) = _node(tensor).input_tensors
    return tensor


def traced(
    network: keras.Model, inputs: Sequence[Tensor]
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Return a network's outputs for new inputs, and what each layer gives by its name.

    A layer's own `output` will not do: a shared layer has one for each place it is used in.
    """
    named = {}

    def call(layer: Layer, *args: Layer, **kwargs: Layer) -> Layer:
        named[layer.name] = steady(layer, *args, **kwargs)
        return named[layer.name]

    return walk(network, inputs, call), named


def pick(named: dict[str, Tensor], name: str) -> Tensor:
    """Return what the layer of a name gives.

    Raises
    ------
    SourceError
        No such layer; the message lists the last ones there are.
    """
    if name not in named:
        some = ", ".join(list(named)[-12:])
        raise SourceError(f"no layer {name!r} to cut at; there are {some}")
    return named[name]


def scores(tensor: Tensor) -> tuple[Tensor, bool]:
    """Return the scores before softmax, and whether there was one to take away.

    Raises
    ------
    SourceError
        The answers end in a sigmoid, which are not one of several.
    """
    layer = maker(tensor)
    before = _node(tensor).input_tensors[0] if _node(tensor).input_tensors else tensor
    if isinstance(layer, keras.layers.Softmax) or type(layer).__name__ in ("Softmax", "LogSoftmax"):
        return before, True
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", "")
    if name == "sigmoid":
        raise SourceError(
            f"layer {layer.name!r} ends in sigmoid, a yes or no for each label; Mien needs one "
            "score a label of which the highest wins: train with softmax"
        )
    if name not in ("softmax", "log_softmax"):
        return tensor, False
    if isinstance(layer, keras.layers.Activation):
        return before, True
    config = {**layer.get_config(), "activation": "linear"}
    linear = type(layer).from_config(config)
    value = linear(before)
    linear.set_weights(layer.get_weights())
    return value, True


def embedding_before(logits: Tensor) -> Tensor:
    """Return what the last layer with a kernel is given: what it decides by.

    Raises
    ------
    SourceError
        The way back to it forks, or it is the first layer too.
    """
    tensor = logits
    while (layer := maker(tensor)) is not None:
        before = _node(tensor).input_tensors
        if len(before) != 1 or isinstance(maker(before[0]), keras.layers.InputLayer):
            break
        tensor = before[0]
        if hasattr(layer, "kernel") or hasattr(layer, "pointwise_kernel"):
            return tensor
    raise SourceError(
        "no layer before the last one serves as the embedding; name one with --cut LAYER"
    )


def as_vector(tensor: Tensor) -> Tensor:
    """Return a tensor as [n, width]: a map of features is averaged over its places.

    Lin et al., "Network in Network", 2014, section 3.2, for the average.
    """
    if len(tensor.shape) == _PICTURE and tensor.shape[1:3] != (1, 1):
        return keras.layers.GlobalAveragePooling2D()(tensor)
    return tensor if len(tensor.shape) == _VECTOR else keras.layers.Flatten()(tensor)


def from_rest(head: keras.Model, embedding: Tensor) -> Tensor:
    """Return the logits of a head's first step, whose state is zero, as layers on an embedding."""
    widths = [each.shape[1] for each in head.inputs[1:]]
    states = [np.zeros((1, width), np.float32) for width in widths]

    def call(layer: Layer, *args: Layer, **kwargs: Layer) -> Layer:
        values = keras.tree.flatten(list(args))
        known = [isinstance(each, np.ndarray) for each in values]
        if all(known):
            return keras.ops.convert_to_numpy(layer(*args, **kwargs))
        zero = [isinstance(each, np.ndarray) and not each.any() for each in values]
        if isinstance(layer, keras.layers.Multiply) and any(zero):
            return values[zero.index(True)]
        if isinstance(layer, Sum) and any(zero):
            return values[zero.index(False)]
        return layer(*args, **kwargs)

    return walk(head, [embedding, *states], call)[0]


def raw_pixels(network: keras.Model) -> tuple[float, float] | None:
    """Return the mean and std with which a network normalises pixels itself, if it does so first.

    Its first layer is then a Rescaling, `x * scale + offset`, which is
    `(x - mean) / std` with std `1 / scale` and mean `-offset / scale`.
    """
    first = first_layer(network)
    if not isinstance(first, keras.layers.Rescaling):
        return None
    scale, offset = np.ravel(first.scale), np.ravel(first.offset)
    if scale.size != 1 or offset.size != 1 or not scale[0]:
        return None
    return float(-offset[0] / scale[0]), float(1 / scale[0])


def first_layer(network: keras.Model) -> Layer:
    """Return the one layer that takes the first input, or None if several do."""
    picture, users = network.inputs[0], []

    def call(layer: Layer, *args: Layer, **kwargs: Layer) -> Layer:
        if any(each is picture for each in keras.tree.flatten([list(args), kwargs])):
            users.append(layer)
        return layer(*args, **kwargs)

    walk(network, network.inputs, call)
    return users[0] if len(users) == 1 else None


def without_rescaling(network: keras.Model) -> keras.Model:
    """Return a network without its first layer, which `raw_pixels` told."""
    first = first_layer(network)
    picture = keras.Input(network.inputs[0].shape[1:], name="face")

    def call(layer: Layer, *args: Layer, **kwargs: Layer) -> Layer:
        return args[0] if layer is first else layer(*args, **kwargs)

    return keras.Model(picture, walk(network, [picture], call))


def for_luma(network: keras.Model) -> keras.Model:
    """Return a network of colour pictures as one of luma, exactly as if it were shown gray ones.

    Where a convolution comes first, its kernel is summed over the channels, which costs nothing;
    else luma is repeated.
    """
    first, source = first_layer(network), network.inputs[0]
    luma = keras.Input((*source.shape[1:3], 1), name="face")
    if type(first) is not keras.layers.Conv2D or first.groups != 1:
        tripled = keras.layers.Concatenate()([luma, luma, luma])
        return keras.Model(luma, walk(network, [tripled], plain_call))

    def call(layer: Layer, *args: Layer, **kwargs: Layer) -> Layer:
        if layer is not first:
            return layer(*args, **kwargs)
        gray = keras.layers.Conv2D.from_config(first.get_config())
        value = gray(args[0])
        kernel, *bias = first.get_weights()
        gray.set_weights([kernel.sum(axis=2, keepdims=True), *bias])
        return value

    return keras.Model(luma, walk(network, [luma], call))
