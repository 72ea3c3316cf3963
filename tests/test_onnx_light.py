"""The networks of the ONNX model zoo, whose graphs come with the onnx package, without weights: with one and the same
random weights in both, they give our logits.  Where their network is another one, a test says
what has to be changed in ours to make it theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from convatlas import registry
from convatlas.blocks import ConvNormAct
from convatlas.blocks.inception import AVG
from convatlas.nets import inception_v2, shufflenet_v1
from convatlas.nets.shufflenet_v1 import ShuffleUnit

onnx = pytest.importorskip("onnx")

#        theirs         ours
SAME = {
    "densenet121": "densenet121",
    "resnet50": "resnet50_v1_5",
    "squeezenet": "squeezenet1_1",
    "vgg19": "vgg19",
    "zfnet512": "zfnet512",
}
NOT_QUITE = {"bvlc_alexnet", "inception_v1", "inception_v2", "shufflenet"}


def build(name: str) -> nn.Module:
    return registry.create(name, initialise=False).eval()


def light(file: str) -> tuple[Any, dict[str, tuple[int, ...]]]:
    """One of ONNX's light graphs without the nodes that make its weights, and the weights' shapes."""
    path = Path(onnx.__file__).parent / "backend/test/data/light" / f"light_{file}.onnx"
    if not path.is_file():
        pytest.skip("onnx came without its light graphs")
    model = onnx.load(path)
    values = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    made = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "ConstantOfShape"}
    kept = [node for node in model.graph.node if node.op_type != "ConstantOfShape"]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    shapes = {name: value.shape for name, value in values.items() if value.dtype.kind == "f"}
    return model, shapes | {name: tuple(values[shape].tolist()) for name, shape in made.items()}


def attributes(node: Any) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def layers_with_weights(net: nn.Module) -> list[nn.Module]:
    """In the order in which they run."""
    called = [net.get_submodule(n.target) for n in torch.fx.symbolic_trace(net).graph.nodes if n.op == "call_module"]
    return [m for m in called if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]


def filled(net: nn.Module) -> nn.Module:
    """Random weights that keep the activations' size, and batch norms with something to get wrong."""
    torch.manual_seed(0)
    for m in layers_with_weights(net):
        if isinstance(m, nn.BatchNorm2d):
            for tensor, (low, high) in ((m.weight, (0.5, 1.5)), (m.running_var, (0.5, 1.5)), (m.bias, (-0.2, 0.2)),
                                        (m.running_mean, (-0.2, 0.2))):  # fmt: skip
                nn.init.uniform_(tensor, low, high)
        else:
            bound = (6 / m.weight[0].numel()) ** 0.5
            nn.init.uniform_(m.weight, -bound, bound)
            if m.bias is not None:
                nn.init.uniform_(m.bias, -0.2, 0.2)
    return net


def handed_over(net: nn.Module, file: str) -> tuple[Any, dict[str, Tensor]]:
    """Their graph, and our weights under the names that they have there.

    Caffe's batch norm has no factor and no summand; a multiplication and an addition follow it.  A bias that their
    convolution does not have is taken off the mean that the norm after it subtracts.
    """
    model, shapes = light(file)
    readers = {name: node for node in model.graph.node for name in node.input}
    makers = {node.output[0]: node for node in model.graph.node}

    def origin(name: str) -> str:
        """The weight behind an Unsqueeze or Reshape."""
        return name if name in shapes else origin(makers[name].input[0])

    theirs = [node for node in model.graph.node if node.op_type in ("Conv", "BatchNormalization", "Gemm")]
    weights: dict[str, Tensor] = {}
    left_over = None
    for node, layer in zip(theirs, layers_with_weights(net), strict=True):
        if node.op_type == "BatchNormalization":
            factor, summand, mean, variance = node.input[1:]
            after = readers[node.output[0]]
            if after.op_type == "Mul":
                weights[factor], weights[summand] = torch.ones_like(layer.weight), torch.zeros_like(layer.bias)
                factor, summand = origin(after.input[1]), origin(readers[after.output[0]].input[1])
            weights |= {factor: layer.weight, summand: layer.bias, variance: layer.running_var}
            weights[mean] = layer.running_mean if left_over is None else layer.running_mean - left_over
            assert layer.eps == pytest.approx(attributes(node).get("epsilon", 1e-5), rel=1e-6)
            left_over = None
        else:
            weights[origin(node.input[1])] = layer.weight
            if len(node.input) == 3:
                weights[node.input[2]] = layer.bias
            else:
                left_over = layer.bias
    weights = {name: tensor.detach().reshape(shapes[name]) for name, tensor in weights.items()}
    assert weights.keys() == {name for name in shapes if name in readers}
    return model, weights


def evaluate(model: Any, values: dict[str, Tensor]) -> Tensor:
    """What the graph gives before its softmax."""
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    values = {name: torch.from_numpy(array.copy()) for name, array in constants.items()} | values
    for node in model.graph.node:
        x, *others = (values[name] for name in node.input)
        a = attributes(node)
        steps, window, groups = a.get("strides"), a.get("kernel_shape"), a.get("group", 1)
        top, left, bottom, right = a.get("pads", (0, 0, 0, 0))
        match node.op_type:
            case "Conv":
                y = F.conv2d(F.pad(x, (left, right, top, bottom)), *others, stride=steps, groups=groups)
            case "BatchNormalization":
                factor, summand, mean, variance = others
                y = F.batch_norm(x, mean, variance, factor, summand, eps=a.get("epsilon", 1e-5))
            case "Gemm":
                assert a == {"transB": 1}
                y = F.linear(x, *others)
            case "MaxPool":
                y = F.max_pool2d(F.pad(x, (left, right, top, bottom), value=-torch.inf), window, steps)
            case "AveragePool":  # over the pixels inside the map
                assert "count_include_pad" not in a
                inside = F.pad(torch.ones_like(x[:1, :1]), (left, right, top, bottom))
                padded = F.pad(x, (left, right, top, bottom))
                y = F.avg_pool2d(padded, window, steps) / F.avg_pool2d(inside, window, steps)
            case "LRN":
                y = F.local_response_norm(x, a["size"], a["alpha"], a["beta"], a["bias"])
            case "Unsqueeze":
                y = x.reshape(x.shape[0], 1, 1)
                assert a == {"axes": [1, 2]}
            case "Concat":
                y = torch.cat([x, *others], a["axis"])
            case "Transpose":
                y = x.permute(a["perm"])
            case "Reshape":
                y = x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(others[0].tolist())])
            case "Sum" | "Add":
                y = x + others[0]
            case "Mul":
                y = x * others[0]
            case "Relu":
                y = x.relu()
            case "GlobalAveragePool":
                y = x.mean((2, 3), keepdim=True)
            case "Dropout" | "Softmax":  # the last of them, whose logits are what is compared
                y = x
            case _:
                raise NotImplementedError(node.op_type)
        values[node.output[0]] = y
    return values[model.graph.output[0].name]


def assert_same_logits(net: nn.Module, file: str) -> None:
    model, weights = handed_over(filled(net), file)
    picture = torch.randn(1, 3, 224, 224) * 50  # as large as pixels are, or the response norms would do nothing
    data = next(i.name for i in model.graph.input if i.name.endswith("data_0"))
    with torch.no_grad():
        ours, theirs = net(picture), evaluate(model, {data: picture, **weights})
    theirs = theirs.reshape(ours.shape)
    assert (ours - theirs).norm() < 1e-4 * theirs.norm()


# ---- the same ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", SAME)
def test_the_model_zoos_network_is_ours(file: str) -> None:
    assert_same_logits(build(SAME[file]), file)


def test_every_light_graph_is_compared() -> None:
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    assert {path.stem.removeprefix("light_") for path in folder.glob("*.onnx")} <= {*SAME, *NOT_QUITE}


# ---- the same but for … --------------------------------------------------------------------------------------


def test_bvlcs_alexnet_reads_224_pixels_normalises_less_and_rounds_its_last_pool_up() -> None:
    net = build("alexnet")
    for name in ("conv1", "conv2"):
        norm = net.get_submodule(f"trunk.{name}.norm")
        assert (norm.size, norm.beta) == (5, 0.75)
        norm.k, norm.alpha = 1.0, 1e-4  # the paper: 2 and, as a mean, 5e-4
    net.trunk.conv5.pool.ceil_mode = True  # 12 pixels where the paper has 13
    assert_same_logits(net, "bvlc_alexnet")


def test_googlenet_rounds_its_pools_down_in_the_model_zoo() -> None:
    net = build("googlenet")
    for m in net.modules():
        if isinstance(m, nn.MaxPool2d) and m.stride == 2:
            m.ceil_mode = False
    assert_same_logits(net, "inception_v1")


def test_inception_v2_has_two_narrower_pool_projections_in_the_model_zoo_and_averages_without_the_border(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(inception_v2.TABLE, "inception4c", inception_v2.same(160, 128, 160, 128, 160, AVG, 96))
    monkeypatch.setitem(inception_v2.TABLE, "inception4d", inception_v2.same(96, 128, 192, 160, 192, AVG, 96))
    net = build("inception_v2")
    for m in net.modules():
        if isinstance(m, nn.AvgPool2d):
            m.count_include_pad = False
    assert_same_logits(net, "inception_v2")


class UnitWithoutBottleneck(ShuffleUnit):
    """The branch as wide inside as outside, every 1x1 grouped; at stride 2 the branch's channels come first."""

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int, first_groups: int, *, se: None):
        super().__init__(inputs, 4 * outputs, stride, groups, groups, se=se)
        out = outputs - inputs if stride > 1 else outputs
        self.conv1 = ConvNormAct(inputs, out, 1, groups=groups)
        self.depthwise = ConvNormAct(out, out, 3, stride, groups=out, act=None)
        self.conv2 = ConvNormAct(out, out, 1, groups=groups, act=None)
        self.pool = nn.AvgPool2d(3, stride, 1, count_include_pad=False) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.depthwise(self.shuffle(self.conv1(x))))
        return self.act(x + y if self.pool is None else torch.cat([y, self.pool(x)], 1))


def test_the_model_zoos_shufflenet_is_half_as_wide_without_bottlenecks_and_grouped_from_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shufflenet_v1, "ShuffleUnit", UnitWithoutBottleneck)
    monkeypatch.setattr(shufflenet_v1, "make_divisible", lambda width, divisor: int(width))
    net = shufflenet_v1.shufflenet_v1(groups=4, width=0.5, stem=24).eval()
    stem = net.trunk.stem.conv.conv
    stem.bias = nn.Parameter(torch.zeros(stem.out_channels))
    assert_same_logits(net, "shufflenet")
