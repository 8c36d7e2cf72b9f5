"""All families of features, and what of them can be built from a delivery."""

from __future__ import annotations

from collections.abc import Sequence

from lapse.core.errors import SettingsError, sample_keys
from lapse.features.contract import contract
from lapse.features.customer import customer
from lapse.features.engagement import breadth, engagement
from lapse.features.family import Family, Feature, Inputs
from lapse.features.feedback import feedback
from lapse.features.peers import peers
from lapse.features.price import price
from lapse.features.purchasing import purchasing
from lapse.features.rhythm import rhythm
from lapse.features.service import returns, service
from lapse.features.value import value, wallet

FAMILIES: tuple[Family, ...] = (
    purchasing, rhythm, value, wallet, price, returns, service, breadth, engagement, feedback, contract, customer, peers,
)  # fmt: skip


def all_features(inputs: Inputs, families: Sequence[Family] = FAMILIES) -> list[Feature]:
    """Return every feature that can be built from a delivery, in a fixed order."""
    features = [feature for family in (*families, *inputs.own) for feature in family.features(inputs)]
    names = [feature.name for feature in features]
    if len(set(names)) < len(names):
        taken = sorted({name for name in names if names.count(name) > 1})
        raise SettingsError(f"features: {len(taken)} names are taken twice, e.g. {sample_keys(taken)}. Rename your own.")
    return features


def learned_features(inputs: Inputs, families: Sequence[Family] = FAMILIES) -> list[str]:
    """Return the names of the features that a model may learn from, in a fixed order."""
    return [feature.name for feature in all_features(inputs, families) if not feature.entry.for_words]


def left_out(inputs: Inputs, families: Sequence[Family] = FAMILIES) -> dict[str, str]:
    """Return the families that cannot be built from a delivery, and what each lacks."""
    reasons = {family.name: family.missing(inputs) for family in families if not family.features(inputs)}
    return {name: "no " + " and no ".join(lacking) if lacking else "nothing for it" for name, lacking in reasons.items()}
