"""All families of features, and what of them can be built from a delivery."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lapse.core.errors import SettingsError, sample_keys
from lapse.features.contract import contract
from lapse.features.customer import customer
from lapse.features.engagement import breadth, engagement
from lapse.features.family import Family, Feature, Inputs
from lapse.features.feedback import feedback
from lapse.features.names import names_in
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
    """Return the names of the features that a model learns from, in a fixed order: all, or the core and the user's own."""
    own = {family.name for family in inputs.own}
    every = [feature for feature in all_features(inputs, families) if not feature.entry.for_words]
    return [feature.name for feature in every if inputs.feature_set == "all" or feature.core or feature.family in own]


def computed_features(inputs: Inputs, families: Sequence[Family] = FAMILIES) -> list[Feature]:
    """Return the columns of the features table: what a model learns from, and what is printed or compared in its words."""
    every = all_features(inputs, families)
    return every if inputs.feature_set == "all" else with_words(learned_features(inputs, families), every)


def with_words(names: Iterable[str], features: Sequence[Feature]) -> list[Feature]:
    """Return those of `features` that bear one of the names, or that the words of one of them print or compare with."""
    by_name = {feature.name: feature for feature in features}
    waiting, found = list(names), set()
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in found:
            found.add(name)
            entry = by_name[name].entry
            enough = entry.enough[:1] if entry.enough else ()
            waiting += [*names_in(entry.reason + entry.protective_reason), entry.reference_feature, *enough]
    return [feature for feature in features if feature.name in found]


def left_out(inputs: Inputs, families: Sequence[Family] = FAMILIES) -> dict[str, str]:
    """Return the families that cannot be built from a delivery, and what each lacks."""
    reasons = {family.name: family.missing(inputs) for family in families if not family.features(inputs)}
    return {name: "no " + " and no ".join(lacking) if lacking else "nothing for it" for name, lacking in reasons.items()}
