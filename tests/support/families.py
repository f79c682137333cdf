"""Small networks of the usual families, with fixed random weights.

Each family is attacked and judged. The outcomes stand in `docs/networks.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from attacks.ifia_topk import IfiaTopk
from bench.attributions.gradient import Gradient
from bench.core.compute.rng import Rng, SampleRng
from bench.core.compute.vision import models
from bench.core.errors import UsageError
from bench.core.schemas.protocol import ThreatModel
from bench.run.attack.search import attack_shard
from bench.run.attack.views import Explainer
from bench.run.judge.measure import measure_shard
from bench.run.samples import Samples
from bench.run.setup import Setup
from metrics.kendall import Kendall
from metrics.topk_intersection import TopkIntersection
from model_zoo.build import classifier, freeze
from model_zoo.derivatives.prepare import surrogate

CLASSES = 4
BETA = 50.0
THREAT = ThreatModel(norm="linf", epsilon="1/255", knowledge="white-box", keep_prediction=True)


class Family(NamedTuple):
    """One small network of a family."""

    make: Callable[[], nn.Module]
    variant: str
    """The class and its size, for the page."""
    side: int = 32
    library: str = "torchvision"


def _resnet(block: str, **width: int) -> nn.Module:
    from torchvision.models import resnet

    return resnet.ResNet(getattr(resnet, block), [1, 1, 1, 1], CLASSES, **width)


def _mobilenet_v3() -> nn.Module:
    from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3

    rows = [(16, 3, 16, 16, True, "RE", 2), (16, 3, 32, 24, False, "RE", 2), (24, 5, 48, 24, True, "HS", 1)]
    return MobileNetV3([InvertedResidualConfig(*row, 1, 1.0) for row in rows], 32, CLASSES)


def _efficientnet() -> nn.Module:
    from torchvision.models.efficientnet import EfficientNet, FusedMBConvConfig, MBConvConfig

    parts = [FusedMBConvConfig(1, 3, 2, 16, 16, 1), MBConvConfig(4, 3, 2, 16, 24, 2), MBConvConfig(4, 5, 1, 24, 24, 1)]
    return EfficientNet(parts, 0.2, num_classes=CLASSES, last_channel=64)


def _convnext() -> nn.Module:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 1)], num_classes=CLASSES)


def _swin(version: int) -> nn.Module:
    from torchvision.models import swin_transformer as swin

    second: dict[str, Any] = {"block": swin.SwinTransformerBlockV2, "downsample_layer": swin.PatchMergingV2}
    return swin.SwinTransformer(
        [4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=CLASSES, **(second if version == 2 else {})
    )


def _maxvit() -> nn.Module:
    return models.MaxVit((32, 32), 16, 2, [16, 32], [1, 1], head_dim=8, stochastic_depth_prob=0.1, num_classes=CLASSES)


def _regnet() -> nn.Module:
    from torchvision.models.regnet import BlockParams, RegNet

    params = BlockParams.from_init_params(4, 16, 16.0, 2.0, 8, se_ratio=0.25)
    return RegNet(params, CLASSES, stem_width=16)


def _vgg() -> nn.Module:
    from torchvision.models.vgg import VGG, make_layers

    features = make_layers([8, "M", 16, "M", 32, 32, "M"], batch_norm=True)
    with torch.device("meta"):
        network = VGG(nn.Identity(), CLASSES, init_weights=False)
    network.features, network.avgpool = features, nn.AdaptiveAvgPool2d(2)
    network.classifier = nn.Sequential(nn.Linear(128, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, CLASSES))
    return network


def _inception() -> nn.Module:
    from torchvision.models import inception as parts

    return nn.Sequential(
        parts.BasicConv2d(3, 16, kernel_size=3, stride=2), parts.BasicConv2d(16, 16, kernel_size=3, stride=2),
        nn.MaxPool2d(3, 2), parts.InceptionA(16, pool_features=8),
        parts.InceptionB(232), parts.InceptionC(712, channels_7x7=16), parts.InceptionD(768), parts.InceptionE(1280),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, CLASSES),
    )  # fmt: skip


def _lite() -> nn.Module:
    from timm.models.efficientnet import _gen_efficientnet_lite as lite

    network: nn.Module = lite("tf_efficientnet_lite0", 0.25, 0.3, num_classes=CLASSES)
    return network


def _timm(name: str, side: int = 32, **narrow: Any) -> Family:
    def make() -> nn.Module:
        import timm

        network: nn.Module = timm.create_model(name, num_classes=CLASSES, **narrow)
        return network

    shown = ", ".join(f"{key}={value}" for key, value in narrow.items())
    return Family(make, f"`{name}`" + (f", {shown}" if shown else ""), side, "timm")


FAMILIES: dict[str, Family] = {
    "ResNet": Family(lambda: _resnet("BasicBlock"), "`ResNet`, four basic blocks"),
    "ResNeXt": Family(
        lambda: _resnet("Bottleneck", groups=4, width_per_group=2), "`ResNet`, four bottlenecks in groups"
    ),
    "DenseNet": Family(
        lambda: models.DenseNet(8, (2, 2, 2), 16, num_classes=CLASSES), "`DenseNet`, three blocks of two layers"
    ),
    "MobileNet V2": Family(lambda: models.MobileNetV2(
        CLASSES, inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2]], width_mult=0.5),
        "`MobileNetV2`, five inverted residuals"),
    "MobileNet V3": Family(_mobilenet_v3, "`MobileNetV3`, three blocks"),
    "EfficientNet": Family(_efficientnet, "`EfficientNet`, a fused and three other blocks"),
    "ConvNeXt": Family(_convnext, "`ConvNeXt`, two blocks"),
    "ViT": Family(
        lambda: models.VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=CLASSES), "`VisionTransformer`, two blocks"
    ),
    "Swin": Family(lambda: _swin(1), "`SwinTransformer`, four blocks, shifted windows"),
    "Swin V2": Family(lambda: _swin(2), "`SwinTransformer`, four blocks of version 2"),
    "MaxViT": Family(_maxvit, "`MaxVit`, two blocks"),
    "RegNet": Family(_regnet, "`RegNet` Y, four blocks"),
    "VGG": Family(_vgg, "`VGG` with batch normalisation, four convolutions"),
    "Inception": Family(_inception, "one block of each kind of `inception_v3`", 75),
    "EfficientNet-Lite": Family(_lite, "`tf_efficientnet_lite0`, a quarter of its width", library="timm"),
    "DeiT": _timm("deit_tiny_distilled_patch16_224", img_size=32, patch_size=8, depth=2, embed_dim=48),
    "ViT of timm": _timm("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, embed_dim=48),
    "Swin of timm": _timm(
        "swin_tiny_patch4_window7_224", img_size=32, window_size=4, embed_dim=24, depths=(2, 2), num_heads=(2, 4)
    ),
}  # fmt: skip


def is_missing(family: Family) -> bool:
    """Return whether the library of a family is not installed."""
    try:
        return not version(family.library)
    except PackageNotFoundError:
        return True


def whole(family: Family) -> nn.Module:
    """Return a frozen classifier with fixed random weights."""
    made, generator = family.make(), Rng(0).fork("families").generator()
    for name, parameter in made.named_parameters():
        draws = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() > 1:
            draws *= (2 / parameter[0].numel()) ** 0.5
        else:
            draws = 0.1 * draws + (0 if name.endswith("bias") else 1)
        parameter.data = draws
    return freeze(classifier(made, (0.5,) * 3, (0.25,) * 3))


def images(family: Family, count: int = 2) -> Tensor:
    """(count, 3, side, side): random images."""
    return torch.rand((count, 3, family.side, family.side), generator=Rng(1).generator())


def attacked(family: Family) -> pd.DataFrame:
    """Return the judged row of a short attack on one image.

    Raises:
        UsageError: if the network is refused.
    """
    model, clean = whole(family), images(family)
    explainer = Explainer(Gradient(), "sum-of-abs")
    setup = Setup(
        model=model,
        smooth=surrogate(model, BETA, clean),
        attack=IfiaTopk(steps=2, step_size=Fraction(1, 510), restarts=1, k=20),
        threat=THREAT,
        search=explainer,
        judge=explainer,
        metrics={"kendall": Kendall(), "topk-intersection": TopkIntersection(k=20)},
        primary="kendall",
        explain_predicted=True,
        rng=Rng(0),
        device=torch.device("cpu"),
        top_k=20,
    )
    samples = Samples(("a",), clean[:1], model(clean[:1]).argmax(1))
    return measure_shard(setup, samples, attack_shard(setup, samples, 1, lambda _: None), frozenset())


def outcome_of(family: Family) -> str:
    """Return "attacked", or "refused" with the reason."""
    try:
        row = attacked(family)
    except UsageError as error:
        return f"refused: {error}"
    moved = bool((row["feasible"] & (row["kendall"] < 0.99) & (row["gradient_vanished"] == 0)).all())
    return "attacked" if moved else "not moved"


def line(name: str, outcome: str) -> str:
    """Return a family's line of the page."""
    family = FAMILIES[name]
    return f"| {name} | {family.variant} | {family.library} | {outcome} |"


def table() -> list[str]:
    """Return the page's table of families, after attacking each."""
    lines = [line(name, outcome_of(family)) for name, family in FAMILIES.items()]
    return ["| family | network | library | outcome |", "| --- | --- | --- | --- |", *lines]


def curvature_gap(family: Family, step: float = 1e-7) -> float:
    """Return the relative error of a Hessian-vector product in float64.

    The reference are central differences of the gradient.
    """
    model, at = whole(family).double(), images(family).double()
    smooth, at, label = surrogate(model, 5.0, at), at[:1], torch.tensor([0])
    rng = SampleRng(Rng(2), ("a",))
    direction = rng.normal(tuple(at.shape[1:])).double()
    product = Gradient().pullback(smooth, at, label, direction, rng=rng)
    sides = [Gradient().attribute(smooth, at + sign * step * direction, label, rng=rng) for sign in (1, -1)]
    measured = (sides[0] - sides[1]) / (2 * step)
    return float((product - measured).norm() / measured.norm())
