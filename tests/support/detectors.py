"""Small detectors with random weights, one for each format of outputs."""

from typing import Any

import torch
from torch import Tensor, nn


class AnchorDetector(nn.Module):
    """A YOLO head with one anchor per cell of 8x8 pixels: [N,4+C,A], or with an objectness [N,A,5+C]."""

    def __init__(self, objectness: bool = False, classes: int = 3, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.objectness, self.num_classes = objectness, classes
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, 2, 1),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(16, 4 + objectness + classes, 1)

    def forward(self, images: Tensor) -> Any:
        """Return boxes cxcywh in pixels and probabilities."""
        raw = 3 * self.head(self.body(images))
        rows, columns = (torch.arange(side, device=raw.device) for side in raw.shape[2:])
        cells = torch.stack(torch.meshgrid(columns, rows, indexing="xy"))
        centers, sizes = 8 * (cells + raw[:, :2].sigmoid()), 16 * raw[:, 2:4].sigmoid()
        found = torch.cat([centers, sizes, raw[:, 4:].sigmoid()], 1).flatten(2)
        return found.mT if self.objectness else found


class ListDetector(AnchorDetector):
    """A detector that returns a dict of boxes, scores and labels for each image, without suppressed detections."""

    threshold = 0.5

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Return the detections of each image with a score above the threshold."""
        found = super().forward(images).mT
        middle, size = found[..., :2], found[..., 2:4]
        boxes = torch.cat([middle - size / 2, middle + size / 2], -1)
        scores, labels = found[..., 4:].max(-1)
        kept = scores > self.threshold
        return [
            {"boxes": box[keep], "scores": score[keep], "labels": label[keep]}
            for box, score, label, keep in zip(boxes, scores, labels, kept, strict=True)
        ]


class QueryDetector(nn.Module):
    """A detector with queries, as in DETR. The last class means no object, unless the classes are sigmoids."""

    def __init__(self, no_object: bool = True, classes: int = 3, queries: int = 6) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.config = type("Config", (), {"num_labels": classes})()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 16, 2, 2), nn.ReLU())
        self.queries = nn.Parameter(torch.randn(queries, 16))
        self.classes, self.boxes = nn.Linear(16, classes + no_object), nn.Linear(16, 4)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the class logits and the boxes cxcywh of each query, as fractions of the image."""
        tokens = self.body(images).flatten(2).mT
        attention = (self.queries @ tokens.mT).softmax(-1)
        found = attention @ tokens + self.queries
        return {"logits": 3 * self.classes(found), "pred_boxes": self.boxes(found).sigmoid()}
