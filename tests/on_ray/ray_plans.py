"""A plan of two models that train in a second each, for Ray workers that import it by name."""

from __future__ import annotations

from bdscan.zoo import plan, plan_on_ray
from bdscan.zoo.attacks.badnets import BadNets
from bdscan.zoo.settings import Recipe, Settings

REAL = plan_on_ray.trained


def small() -> tuple[Settings, ...]:
    recipe = Recipe(epochs=1)
    return (
        Settings(name="digits-clean", data="digits", network="digits_bn", limit=128, recipe=recipe),
        Settings(
            name="digits-bad", data="digits", network="digits_bn", attack=BadNets(target=8), limit=128, recipe=recipe
        ),
    )


def trained(order: bytes) -> bytes:
    plan.PLANS = {"small": small}
    return REAL(order)
