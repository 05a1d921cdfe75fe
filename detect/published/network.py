"""The detector of Jia, Liu & Sun (2020) on torchvision's detection blocks, with our operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork

from skyduel.cuda_ops import nms, roi_align, soft_nms
from skyduel.detect.published.backbone import CHANNELS, STRIDES, PublishedBackbone, Pyramid
from skyduel.detect.published.form import CLASSES, Faults
from skyduel.detect.published.matching import best_overlap, match_anchors

__all__ = ["Boxes", "PublishedNetwork", "PyramidAlign", "focal_loss", "pyramid_level", "suppress"]

#: Sides of the anchors on P2 to P6 [px], as published and so that a source fits one of them.
PUBLISHED_SIZES: Final = (1, 2, 4, 8, 16)
FITTING_SIZES: Final = (8, 16, 32, 64, 128)
#: Steps of the published anchors on P2 to P6 [px].
PUBLISHED_STEPS: Final = (1, 2, 4, 8, 16)
RATIOS: Final = (0.5, 1.0, 2.0)
#: Centre of the pixels that the first cell of each level sees [px from the frame's edge]: the
#: pooling covers pixels 0 to 2, and later strides take every second cell.
FIRST_CELL: Final = 1.5
#: Outputs of the class layer; the published one has 64, of which 3 are used.
CLASS_OUTPUTS: Final = 64
#: Width of the Gaussian of soft-NMS in IoU, and the lowest score it leaves.
SOFT_NMS_SIGMA: Final = 0.6
SOFT_NMS_FLOOR: Final = 0.001
_PROPOSAL_NMS: Final = 0.7
#: Overlaps with a source from which an anchor is one, and below which it is background.
_SOURCE_IOU: Final = 0.7
_BACKGROUND_IOU: Final = 0.3
_REGION_IOU: Final = 0.5
#: Proposals before and after their NMS for the published frame of 500 px: in training, and
#: in use before it over after it.
_TRAINING_PROPOSALS: Final = (12000, 2000)
_BEFORE_NMS: Final = 20
_PUBLISHED_AREA: Final = 500**2
#: An anchor or proposal that overlaps an ignored source by this is not trained on.
_IGNORED_IOU: Final = 0.3


class Boxes(NamedTuple):
    """Boxes of one image (k, 4) [px from its edges], scores (k,) and classes (k,) in `CLASSES`."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class Anchors(AnchorGenerator):  # type: ignore[misc]
    """torchvision's anchors, unrounded, with given steps.

    Parameters
    ----------
    sizes, steps : sequence of float, one of each level
        Sides of the anchors, and distances between neighbouring cells' anchors [px].
    first : float
        Centre of the first cell's anchors [px from the frame's edge].
    """

    def __init__(self, sizes: Sequence[float], steps: Sequence[int], first: float) -> None:
        self._first = first
        self.steps = tuple(steps)
        super().__init__(tuple((size,) for size in sizes), (RATIOS,) * len(sizes))

    def generate_anchors(
        self, scales: Any, aspect_ratios: Any, dtype: Any = torch.float32, device: Any = None
    ) -> Tensor:
        """Return the anchors of the first cell; torchvision's version rounds 1 px to nothing."""
        ratio = torch.as_tensor(aspect_ratios, dtype=dtype, device=device).sqrt()
        size = torch.as_tensor(scales, dtype=dtype, device=device)
        width, height = (size / ratio[:, None]).flatten(), (size * ratio[:, None]).flatten()
        return torch.stack([-width, -height, width, height], dim=1) / 2 + self._first

    def forward(self, images: ImageList, features: list[Tensor]) -> list[Tensor]:
        """Return the anchors of each image, shape (sum of cells × 3, 4)."""
        self.set_cell_anchors(torch.float32, features[0].device)
        grids = [list(feature.shape[-2:]) for feature in features]
        anchors = torch.cat(self.grid_anchors(grids, [[s, s] for s in self.steps]))
        return [anchors] * len(images.image_sizes)


class ProposalHead(nn.Module):
    """A 3×3 convolution to 128 channels, then presence and box of every anchor.

    The published layer has two outputs for presence; their softmax depends on the difference
    only, which is the one output here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, 128, 3, 1, 1)
        self.presence = nn.Conv2d(128, len(RATIOS), 1)
        self.box = nn.Conv2d(128, 4 * len(RATIOS), 1)
        for layer in (self.conv, self.presence, self.box):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, levels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return logits (n, 3, h, w) and box codes (n, 12, h, w) of each level, in float32."""
        hidden = [F.relu(self.conv(level)) for level in levels]
        return [self.presence(x).float() for x in hidden], [self.box(x).float() for x in hidden]


class Proposals(RegionProposalNetwork):  # type: ignore[misc]
    """torchvision's proposal network, with the published selection and our NMS.

    The best proposals are taken over all levels together, and NMS works across levels.
    """

    def limit(self, mode: str, before: int, after: int) -> None:
        """Set the most proposals before and after NMS for "training" or "testing"."""
        self._pre_nms_top_n[mode], self._post_nms_top_n[mode] = before, after

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the label of every anchor (1, 0, or -1: not used) and its box.

        The assignment is `match_anchors`.
        """
        labels, matched = [], []
        for places, target in zip(anchors, targets, strict=True):
            boxes = target["boxes"]
            found = match_anchors(boxes, places, _SOURCE_IOU, _BACKGROUND_IOU)
            label = found.label
            if len(target["ignored"]):
                spared = best_overlap(target["ignored"], places) > _IGNORED_IOU
                label[(label == 0) & spared] = -1.0
            match = boxes[found.source] if len(boxes) else torch.zeros_like(places)
            labels.append(label)
            matched.append(match)
        return labels, matched

    def filter_proposals(
        self,
        proposals: Tensor,
        objectness: Tensor,
        image_shapes: list[tuple[int, int]],
        num_anchors_per_level: list[int],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the best proposals of each image after NMS, and their probabilities."""
        out_boxes, out_scores = [], []
        logits = objectness.detach().reshape(len(proposals), -1)
        for boxes, logit, shape in zip(proposals, logits, image_shapes, strict=True):
            best = logit.topk(min(self.pre_nms_top_n(), len(logit))).indices
            inside = clipped(boxes[best], shape)
            whole = _has_area(inside)
            inside, score = inside[whole], logit[best][whole].sigmoid()
            kept = nms(inside, score, self.nms_thresh)[: self.post_nms_top_n()]
            out_boxes.append(inside[kept])
            out_scores.append(score[kept])
        return out_boxes, out_scores


class PyramidAlign(nn.Module):
    """Our ROIAlign, 7×7 with two samples a bin and axis, on the level of each box's size."""

    size: Final = 7

    def forward(self, levels: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """Return the features of all boxes of all images, (k, 64, 7, 7), in float32."""
        image = torch.cat([b.new_full((len(b), 1), i) for i, b in enumerate(boxes)])
        rows = torch.cat([image, torch.cat(boxes)], dim=1)
        out = levels[0].new_zeros((len(rows), CHANNELS, self.size, self.size), dtype=torch.float32)
        level = pyramid_level(rows[:, 1:])
        for k in range(4):
            here = torch.nonzero(level == k + 2).squeeze(1)
            if len(here):
                crops = roi_align(levels[k], rows[here], self.size, 1 / STRIDES[k], 2)
                out = out.index_put((here,), crops.float())
        return out


class Head(nn.Module):
    """A 7×7 convolution to 256, a 1×1 convolution, and the layers of class and box.

    Parameters
    ----------
    slope : float
        Slope of the leaky ReLU for negative values: 1 makes the head linear.
    """

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, 256, PyramidAlign.size)
        self.conv2 = nn.Conv2d(256, 256, 1)
        self.kind = nn.Linear(256, CLASS_OUTPUTS)
        self.box = nn.Linear(256, 4 * len(CLASSES))
        self.slope = slope
        nn.init.normal_(self.kind.weight, std=0.01)
        nn.init.normal_(self.box.weight, std=0.001)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Map (k, 64, 7, 7) to class logits (k, 64) and box codes (k, 12), in float32."""
        x = F.leaky_relu(self.conv1(crops), self.slope)
        x = F.leaky_relu(self.conv2(x), self.slope).flatten(1)
        return self.kind(x).float(), self.box(x).float()


class PublishedNetwork(nn.Module):
    """The published network.

    Parameters
    ----------
    faults : Faults
        Which of the published faults it has.
    """

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self.faults = faults
        self.backbone = PublishedBackbone()
        self.pyramid = Pyramid()
        self.rpn = Proposals(
            Anchors(
                PUBLISHED_SIZES if faults.small_anchors else FITTING_SIZES,
                PUBLISHED_STEPS if faults.misregistered_anchors else STRIDES,
                0.0 if faults.misregistered_anchors else FIRST_CELL,
            ),
            ProposalHead(),
            fg_iou_thresh=_SOURCE_IOU,
            bg_iou_thresh=_BACKGROUND_IOU,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n={},
            post_nms_top_n={},
            nms_thresh=_PROPOSAL_NMS,
        )
        # Of torchvision's RoI heads only the assignment and the box coder are used.
        self.roi = RoIHeads(
            PyramidAlign(),
            Head(1.0 if faults.linear_head else 0.0),
            None,
            fg_iou_thresh=_REGION_IOU,
            bg_iou_thresh=_REGION_IOU,
            batch_size_per_image=128,
            positive_fraction=0.25,
            bbox_reg_weights=(10.0, 10.0, 5.0, 5.0),
            score_thresh=0.0,
            nms_thresh=0.0,
            detections_per_img=0,
        )
        if faults.frozen_stem:
            self.backbone.freeze_stem()

    def levels(self, images: Tensor) -> list[Tensor]:
        """Map images (n, 3, h, w) to the levels P2 to P6."""
        levels: list[Tensor] = self.pyramid(self.backbone(images))
        return levels

    def losses(self, images: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the four losses of a batch, each a scalar.

        Parameters
        ----------
        images : Tensor, shape (n, 3, h, w)
            Scaled images.
        targets : list of n dict
            ``boxes`` (m, 4) [px from the edges], ``labels`` (m,) in `CLASSES`, and ``ignored``
            (i, 4), boxes of sources that are neither right nor wrong.

        Notes
        -----
        Cross-entropy and smooth L1 (σ = 3) for the proposals; focal loss (γ = 2) and smooth L1
        (σ = 1) for the regions.
        """
        share = min(1.0, images.shape[-1] * images.shape[-2] / _PUBLISHED_AREA)
        before, after = (int(n * share) for n in _TRAINING_PROPOSALS)
        self.rpn.limit("training", before, after)
        levels = self.levels(images)
        sizes = [tuple(images.shape[-2:])] * len(images)
        proposals, losses = self.rpn(ImageList(images, sizes), dict(enumerate(levels)), targets)
        known = [p[~_wrongly(p, t)] for p, t in zip(proposals, targets, strict=True)]
        regions, _, labels, codes = self.roi.select_training_samples(known, targets)
        logits, boxes = self.roi.box_head(self.roi.box_roi_pool(levels, regions))
        label, code = torch.cat(labels), torch.cat(codes)
        source = torch.nonzero(label > 0).squeeze(1)
        own = boxes.reshape(len(boxes), len(CLASSES), 4)[source, label[source]]
        return {
            "presence": losses["loss_objectness"],
            "proposal": losses["loss_rpn_box_reg"],
            "kind": focal_loss(logits, label),
            "box": F.smooth_l1_loss(own, code[source], reduction="sum") / max(1, len(label)),
        }

    @torch.no_grad()
    def detect(
        self,
        image: Tensor,
        *,
        floor: float = 0.05,
        proposals: int = 300,
    ) -> Boxes:
        """Return the boxes of one image with a score above ``floor``, before soft-NMS.

        Parameters
        ----------
        image : Tensor, shape (3, h, w)
            Scaled image.
        floor : float
            Lowest class probability.
        proposals : int
            Most proposals after their NMS; twenty times as many before it.
        """
        self.rpn.limit("testing", _BEFORE_NMS * proposals, proposals)
        levels = self.levels(image[None])
        shape = (int(image.shape[-2]), int(image.shape[-1]))
        (places,), _ = self.rpn(ImageList(image[None], [shape]), dict(enumerate(levels)))
        if len(places) == 0:
            none = places.new_zeros(0)
            return Boxes(places, none, none.long())
        logits, codes = self.roi.box_head(self.roi.box_roi_pool(levels, [places]))
        score = logits.softmax(dim=1)[:, 1 : len(CLASSES)]
        boxes = self.roi.box_coder.decode(codes, [places])[:, 1:]
        row, column = torch.nonzero(score > floor, as_tuple=True)
        found = clipped(boxes[row, column], shape)
        whole = _has_area(found)
        return Boxes(found[whole], score[row, column][whole], column[whole] + 1)


def suppress(found: Boxes, *, pixel_areas: bool = False) -> Boxes:
    """Apply Gaussian soft-NMS (σ 0.6, floor 0.001) within each class.

    Parameters
    ----------
    found : Boxes
        Boxes of one frame.
    pixel_areas : bool
        If True, 1 px is added to every width and height, also of the overlap, as published.
    """
    if len(found.boxes) == 0:
        return found
    boxes = found.boxes
    if pixel_areas:
        boxes = boxes + boxes.new_tensor([0.0, 0.0, 1.0, 1.0])
    index, score = soft_nms(
        boxes, found.scores, found.labels, "gaussian", SOFT_NMS_SIGMA,
        score_threshold=SOFT_NMS_FLOOR,
    )  # fmt: skip
    return Boxes(found.boxes[index], score, found.labels[index])


def focal_loss(logits: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    """Return the mean of -(1 - p)^γ log p, where p is the softmax probability of the label.

    Lin et al. (2017), equation 4, with α = 1.
    """
    log_p = logits.log_softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
    return (-((1 - log_p.exp()) ** gamma) * log_p).sum() / max(1, len(labels))


def pyramid_level(boxes: Tensor) -> Tensor:
    """Return the level, 2 to 5, of each box (k, 4): 4 + ln(√area / 50 px), rounded."""
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
    root = (width * height).clamp(min=1e-6).sqrt()
    return (4 + (root / 50).log()).round().clamp(2, 5).long()


def clipped(boxes: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return boxes cut at the edges of an image (height, width)."""
    height, width = shape
    edges = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), edges)


def _has_area(boxes: Tensor) -> Tensor:
    return ((boxes[:, 2:] - boxes[:, :2]) > 1e-2).all(dim=1)


def _wrongly(boxes: Tensor, target: dict[str, Tensor]) -> Tensor:
    """Return which proposals would be background only because a source is ignored."""
    ignored = best_overlap(target["ignored"], boxes) > _IGNORED_IOU
    return ignored & (best_overlap(target["boxes"], boxes) < _REGION_IOU)
