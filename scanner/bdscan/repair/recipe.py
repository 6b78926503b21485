"""How a repair trains: fitted to the network, its triggers, and what it takes for the same image.

Adam's step changes every weight by as much, and what the layers' changes do to the answers adds up: the rate that suits
five layers unlearns a residual network of twenty in a few coarse steps, for three points of accuracy where one is
enough. And the slower a patch is unlearned, the closer the sharpened ones come to it. A network of few layers is the
other way round: at small rates it gets away with less.

Any trigger is unlearned most easily by answering its target less often. Clean images of other classes, nine tenths of
the few, do not show that: the target's probability is near zero before and after. Softened answers show it, and what
each layer answers to clean images tells more still (`layers`). What inversion only comes near must not be held so
tightly, or more of it stays: answers are not softened for warps and, in networks of few layers, for anything but
patches; layers are not held for warps and waves (docs/design.md).

An image's mirror image is one more of its class where the network says so: objects are the same, digits are not. Turned
and zoomed ones keep the target's recall where patches alone are unlearned, in networks of few layers; elsewhere they
cost more than they keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from bdscan.intake.classifier import Classifier
from bdscan.repair.planted import Planted
from bdscan.repair.sharpen import MOST
from bdscan.repair.student import Student

LAYERS = 5  # that the rate is for; more layers get a smaller one, and softened answers
SOFT = 5.0
HELD, HELD_FEW = 20.0, 5.0  # of more than LAYERS, and of fewer
PATCHES = 4  # in networks of more than LAYERS: what answers anywhere may be planted where only the last has pixels
COARSE = frozenset({"warp", "wave"})  # families that inversion only comes near
SAME = 0.8  # of the answers to mirror images; CIFAR-10's are kept on 0.84 to 0.90, Fashion-MNIST's on 0.70


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        steps: of Adam, in one round.
        images: clean images a step; as many stamped ones come beside them.
        learning_rate: at the start; falls to a tenth by a cosine.
        intensities: range that stamps are drawn from (P0's profile).
        clean: weight of the original's answers to clean images.
        answers: weight of the same answers on stamped images.
        shift: largest shift, as a share of the image's side.
        mirror: whether half the images are mirrored, left to right.
        turn: whether images are turned, zoomed and slanted a little.
        every: steps after which triggers are sharpened anew.
        temperature: that clean answers are compared at (Hinton et al. 2015).
        layers: weight of what the layers answer to clean images.
        patches: sparse triggers of one target at whose places patches are driven.
    """

    steps: int = 400
    images: int = 48
    learning_rate: float = 5e-4
    intensities: tuple[float, float] = (0.5, 1.6)
    clean: float = 8.0
    answers: float = 0.05
    shift: float = 0.08
    mirror: bool = False
    turn: bool = False
    every: int = 25
    temperature: float = 1.0
    layers: float = 0.0
    patches: int = MOST


def fitted(
    recipe: Recipe, original: Classifier, student: Student, images: Tensor, triggers: Sequence[Planted] = ()
) -> Recipe:
    """The recipe for this network, images (N, C, H, W) in [0, 1] of its classes, and triggers to unlearn."""
    depth = sum(weight.ndim > 1 for weight in student.weights)
    deep = depth > LAYERS
    alarmed = {trigger.family for trigger in triggers if not trigger.hidden}
    patches = alarmed == {"sparse"}
    softened = "warp" not in alarmed if deep else patches
    held = HELD if deep else HELD_FEW
    mirrored = original.predict(images.flip(3)).argmax(1) == original.predict(images).argmax(1)
    return replace(
        recipe,
        learning_rate=recipe.learning_rate * min(1.0, LAYERS / max(depth, 1)),
        mirror=float(mirrored.float().mean()) >= SAME,
        turn=patches and not deep,
        temperature=SOFT if softened else recipe.temperature,
        layers=recipe.layers if alarmed & COARSE else held,
        patches=PATCHES if deep else recipe.patches,
    )
