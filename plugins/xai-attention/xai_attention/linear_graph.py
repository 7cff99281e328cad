"""Check that an autograd graph consists of operations whose gradient is that of a linear map."""

import re
from collections.abc import Set

from torch import Tensor

from xai_core.plugin import NotConnectedError, UnsuitableError, dominators

ARITHMETIC = frozenset(
    {"Add", "Sub", "Rsub", "Neg", "Abs", "Mul", "Div", "Sum", "Mean", "Cumsum", "Where", "MaskedFill"}
)
PRODUCTS = frozenset({"Mm", "Bmm", "Mv", "Dot", "Addmm", "Addmv", "Addbmm", "Baddbmm", "Convolution"})
NORMALIZATIONS = frozenset({"NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm"})
POOLING = frozenset({"AvgPool2D", "AvgPool3D", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D", "Amax", "Max"}) | {
    *("MaxPool2DWithIndices", "MaxPool3DWithIndices", "UpsampleNearest2D", "UpsampleBilinear2D", "UpsampleBicubic2D"),
    *("UpsampleTrilinear3D", "GridSampler2D"),
}
RESHAPES = frozenset({"View", "UnsafeView", "Reshape", "ReshapeAlias", "AsStrided", "Permute", "Transpose", "T"}) | {
    *("Unsqueeze", "Squeeze", "Expand", "Repeat", "Clone", "Copy", "CopySlices", "ToCopy", "Alias", "Select", "Slice"),
    *("Split", "SplitWithSizes", "UnsafeSplit", "Unbind", "Cat", "Stack", "Index", "IndexSelect", "IndexPut", "Gather"),
    *("Scatter", "ScatterAdd", "Roll", "Flip", "ConstantPadNd", "ReflectionPad2D", "ReplicationPad2D", "PixelShuffle"),
    *("PixelUnshuffle", "Im2Col", "Col2Im", "Unfold", "Diagonal", "AccumulateGrad"),
}
WITH_RULES = frozenset({"Softmax", "SafeSoftmax", "Sigmoid", "Hardsigmoid"})
LINEAR = ARITHMETIC | PRODUCTS | NORMALIZATIONS | POOLING | RESHAPES | WITH_RULES
ATTENTION = "ScaledDotProduct"


def require_linear(scores: Tensor, source: Tensor, method: str, allowed: Set[str] = LINEAR) -> None:
    """Require that every operation between a source, such as the images, and the scores is linear, or has a rule.

    `allowed` contains the names of these operations.

    Raises
    ------
    NotConnectedError
        If the scores do not depend on the source.
    UnsuitableError
        If another operation is on a path.
    """
    view = source.view_as(source).grad_fn
    assert view is not None
    first = view.next_functions[0][0]
    if scores.grad_fn is None or first is None:
        raise NotConnectedError(f"{method} requires a score that depends on the images; use rise or occlusion")
    nodes = dominators(scores.grad_fn, first)
    names = {re.sub(r"Backwards?\d*$", "", node.name().split("::")[-1]) for node in nodes}
    unknown = sorted(name for name in names if name not in allowed and not name.startswith(ATTENTION))
    if unknown:
        raise UnsuitableError(
            f"{method} has no rule for the operations {', '.join(unknown)}, which this model contains; use "
            "integrated-gradients or input-x-gradient"
        )
