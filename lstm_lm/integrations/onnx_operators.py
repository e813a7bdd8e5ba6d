"""Translates a program recorded by `torch.export` into an ONNX graph, operator by operator.

It knows the operators that a step of a network needs. A cell of somebody else may use another one;
then the export is refused and the message names it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lstm_lm.errors import InputError
from lstm_lm.files.outputs import mark
from lstm_lm.integrations.quantization import to_int8

# aten operator -> the ONNX operator with the same arguments
SAME = {
    "mul.Tensor": "Mul",
    "div.Tensor": "Div",
    "add.Tensor": "Add",
    "sub.Tensor": "Sub",
    "neg.default": "Neg",
    "exp.default": "Exp",
    "log.default": "Log",
    "abs.default": "Abs",
    "sqrt.default": "Sqrt",
    "relu.default": "Relu",
    "tanh.default": "Tanh",
    "sigmoid.default": "Sigmoid",
    "softplus.default": "Softplus",
    "maximum.default": "Max",
    "minimum.default": "Min",
    "pow.Tensor_Scalar": "Pow",
    "ge.Scalar": "GreaterOrEqual",
    "gt.Scalar": "Greater",
    "le.Scalar": "LessOrEqual",
    "lt.Scalar": "Less",
    "__and__.Tensor": "And",
    "clamp.default": "Clip",
    "where.self": "Where",
    "where.ScalarOther": "Where",
    "numpy_T.default": "Transpose",
    "t.default": "Transpose",
    "embedding.default": "Gather",
}


class GraphBuilder:
    """Builds one graph from one recorded program.

    Args:
        module: the module that was recorded.
        program: the record.
        as_int8: whether matrices are stored as int8.
    """

    def __init__(
        self, module: nn.Module, program: torch.export.ExportedProgram, as_int8: bool
    ) -> None:
        self.program, self.as_int8 = program, as_int8
        self.parameters = dict(module.named_parameters(remove_duplicate=False))
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self.names: dict[torch.fx.Node, str] = {}
        self.stored: dict[int, str] = {}  # id of a parameter -> its name in the graph

    def build(self, inputs: list[str], outputs: list[str], opset: int, ir_version: int) -> Any:
        """Returns the ``onnx.ModelProto``; names are given to inputs and outputs in their order."""
        from onnx import helper

        signature = self.program.graph_signature
        nodes = list(self.program.graph.nodes)
        users = [node for node in nodes if node.name in signature.user_inputs]
        self.names |= dict(zip(users, inputs, strict=True))
        for node in nodes:
            if node.op == "call_function" and "_assert" not in node.name:
                self.names[node] = self.translate(node)
        (last,) = (node for node in nodes if node.op == "output")
        for result, name in zip(last.args[0], outputs, strict=True):
            self.add("Identity", [self.value(result)], output=name)
        graph = helper.make_graph(
            self.nodes,
            "one step",
            [self.declare(node, name) for node, name in zip(users, inputs, strict=True)],
            [self.declare(node, name) for node, name in zip(last.args[0], outputs, strict=True)],
            list(self.initializers.values()),
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", opset)],
            ir_version=ir_version,
            producer_name="lstm_lm",
            doc_string=mark("export"),
        )

    def add(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Adds a node and returns the name of its result."""
        from onnx import helper

        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def declare(self, node: torch.fx.Node, name: str) -> Any:
        """The name, dtype and shape of an input or output; its first dimension is the batch."""
        from onnx import TensorProto, helper

        value = node.meta["val"]
        dtype = TensorProto.INT64 if value.dtype == torch.int64 else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, dtype, ["batch", *value.shape[1:]])

    def constant(self, value: Any, dtype: Any) -> str:
        """The name of a small constant; equal constants are stored once."""
        array = np.asarray(value, dtype)
        key = f"{array.dtype}_{array.tolist()}".replace(" ", "")
        return self.initializer(key, array)

    def initializer(self, name: str, array: np.ndarray) -> str:
        """Stores an array under a name and returns the name."""
        from onnx import numpy_helper

        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def value(self, node: torch.fx.Node) -> str:
        """The name of a recorded value: a result, an input or a parameter."""
        if node not in self.names:
            names = self.program.graph_signature.inputs_to_parameters
            self.names[node] = self.parameter(names[node.name])
        return self.names[node]

    def parameter(self, name: str) -> str:
        """Stores a parameter, once however often it is used, and returns its name."""
        parameter = self.parameters[name]
        if id(parameter) not in self.stored:
            name = name.removeprefix("network.")
            self.stored[id(parameter)] = self.store(name, parameter.detach())
        return self.stored[id(parameter)]

    def store(self, name: str, tensor: Tensor) -> str:
        """Stores a tensor; a matrix as int8 and scales, if so wanted."""
        if not (self.as_int8 and tensor.ndim == 2):
            return self.initializer(name, tensor.numpy())
        # onnxruntime computes these two nodes once, when it loads the graph
        integers, scales = to_int8(tensor)
        whole = self.initializer(f"{name}.int8", integers.numpy())
        scale = self.initializer(f"{name}.scales", scales.numpy())
        return self.add("Mul", [self.add("Cast", [whole], to=1), scale], name)  # 1: float32

    def translate(self, node: torch.fx.Node) -> str:
        """Adds the nodes of one recorded operator and returns the name of its result."""
        name = str(node.target).removeprefix("aten.")
        dtypes = {one.meta["val"].dtype for one in node.all_input_nodes}
        kind = np.int64 if torch.int64 in dtypes else np.float32  # of numbers among the arguments

        def operand(value: Any) -> str:
            if value is None:
                return ""
            return (
                self.value(value)
                if isinstance(value, torch.fx.Node)
                else self.constant(value, kind)
            )

        if name in SAME and not node.kwargs:
            return self.add(SAME[name], [operand(value) for value in node.args])
        if name not in SPECIAL or node.kwargs:
            raise InputError(
                f"the cell uses the operator {name}, which has no translation to ONNX here; "
                "choose a run with another cell, or export --format hf"
            )
        return SPECIAL[name](self, operand, *node.args)


def _linear(graph: GraphBuilder, operand: Callable, x: Any, weight: Any, bias: Any = None) -> str:
    return graph.add("Gemm", [operand(one) for one in (x, weight, bias) if one], transB=1)


def _layer_norm(
    graph: GraphBuilder,
    operand: Callable,
    x: Any,
    shape: Any,
    weight: Any,
    bias: Any,
    epsilon: float,
    *_: Any,
) -> str:
    return graph.add(
        "LayerNormalization", [operand(one) for one in (x, weight, bias)], epsilon=epsilon
    )


def _slice(graph: GraphBuilder, operand: Callable, x: Any, axis: int, start: int, end: int) -> str:
    limits = [graph.constant([value], np.int64) for value in (start, end, axis)]
    return graph.add("Slice", [operand(x), *limits])


def _logaddexp(graph: GraphBuilder, operand: Callable, one: Any, other: Any) -> str:
    parts = [operand(one), operand(other)]
    apart = graph.add("Abs", [graph.add("Sub", parts)])
    less = graph.add("Softplus", [graph.add("Neg", [apart])])
    return graph.add("Add", [graph.add("Max", parts), less])


SPECIAL: dict[str, Callable[..., str]] = {
    "linear.default": _linear,
    "layer_norm.default": _layer_norm,
    "slice.Tensor": _slice,
    "logaddexp.default": _logaddexp,
    "log_softmax.int": lambda graph, operand, x, axis: graph.add(
        "LogSoftmax", [operand(x)], axis=axis
    ),
    "log_sigmoid.default": lambda graph, operand, x: graph.add(
        "Neg", [graph.add("Softplus", [graph.add("Neg", [operand(x)])])]
    ),
    "rsub.Scalar": lambda graph, operand, x, one: graph.add("Sub", [operand(one), operand(x)]),
    "cat.default": lambda graph, operand, parts, axis=0: graph.add(
        "Concat", [operand(part) for part in parts], axis=axis
    ),
    "unsqueeze.default": lambda graph, operand, x, axis: graph.add(
        "Unsqueeze", [operand(x), graph.constant([axis], np.int64)]
    ),
    "select.int": lambda graph, operand, x, axis, index: graph.add(
        "Gather", [operand(x), graph.constant(index, np.int64)], axis=axis
    ),
    # autocast makes these in training; here they change nothing
    "to.dtype": lambda graph, operand, x, dtype: operand(x),
}
