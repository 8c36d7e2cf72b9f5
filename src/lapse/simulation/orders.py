"""Who a simulated shop's customers are, and what they order: blocks of customers, their order times, their lines.

Rows are drawn by numpy for a whole block at once and sorted by customer and time. A block's generator is seeded by
the shop's seed and the block's number alone, so neither threads nor the size of the shop change its customers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lapse.simulation.shop import (
    DEAL_SEEKER,
    KINDS,
    NEVER,
    TRIAL,
    Flags,
    Floats,
    HiddenState,
    Ints,
    Shop,
    draw_hidden_state,
    is_promotion,
    order_factor,
    seasons,
)

BLOCK_CUSTOMERS = 2_000
CATEGORIES = ("bakery", "beverages", "dairy", "delicatessen", "frozen", "fruit", "garden", "household", "meat", "pet",
              "snacks", "toiletries")  # fmt: skip
PRODUCTS_PER_CATEGORY = 40
PRODUCTS = tuple(f"P{number:04d}" for number in range(len(CATEGORIES) * PRODUCTS_PER_CATEGORY))
STORES = ("online", *(f"store-{number:02d}" for number in range(1, 16)))
DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Block:
    """Customers first, first + 1, …: who they are, one value per customer, and the generator of what they do."""

    shop: Shop
    random: np.random.Generator
    first: int
    joined: Ints
    complains: Flags
    hidden: HiddenState
    consents: Flags

    @property
    def ids(self) -> pa.Array:
        """The customers' ids, of one width, so that they sort as their numbers do."""
        return pa.array([f"C{number:09d}" for number in range(self.first, self.first + len(self.joined))])

    def day_of_decline(self, who: Ints, day: Ints) -> Ints:
        """Return 1 for the first day of a customer's decline, below 1 before it."""
        return np.asarray(day - self.hidden.decline_start[who] + 1)


def draw_block(shop: Shop, number: int) -> Block:
    """Return the customers of a block, without what they do."""
    random = np.random.default_rng(np.random.SeedSequence(shop.seed, spawn_key=(number,)))
    first = number * BLOCK_CUSTOMERS
    n = min(BLOCK_CUSTOMERS, shop.customers - first)
    before = random.random(n) < shop.established
    joined = np.where(before, -random.integers(1, 1_000, n), random.integers(0, shop.days, n))
    complains = random.random(n) < shop.complainers
    hidden = draw_hidden_state(random, shop, joined, complains)
    return Block(shop, random, first, joined, complains, hidden, random.random(n) < 0.8)


def order_times(block: Block) -> tuple[Ints, Ints, Ints]:
    """Return the orders of a block by customer and time: customer, day, second of the day.

    Each customer's Poisson process at full rate is laid on the cumulated seasons and thinned by the decline (Lewis &
    Shedler 1979). Who joins inside the log does so with an order.
    """
    shop, random, hidden = block.shop, block.random, block.hidden
    begin = np.maximum(block.joined + 1, 0)
    end = np.maximum(np.minimum(hidden.departure, shop.days), begin)
    season = np.pad(np.cumsum(seasons(shop, 0, shop.days - 1), axis=1), ((0, 0), (1, 0)))
    low, high = season[hidden.kind, begin], season[hidden.kind, end]
    who = np.repeat(np.arange(len(begin)), random.poisson(hidden.order_rate * (high - low)))
    place = low[who] + random.random(len(who)) * (high - low)[who]
    day = np.zeros(len(who), np.int64)
    for kind in range(len(KINDS)):
        mine = hidden.kind[who] == kind
        day[mine] = np.searchsorted(season[kind], place[mine], side="right") - 1
    day = np.clip(day, begin[who], end[who] - 1)
    kept = random.random(len(who)) < order_factor(block.day_of_decline(who, day), hidden.decline_days[who])
    joins = np.flatnonzero(block.joined >= 0)
    who, day = np.append(who[kept], joins), np.append(day[kept], block.joined[joins])
    second = random.integers(8 * 3_600, 22 * 3_600, len(who))
    order = np.lexsort((second, day, who))
    return who[order], day[order], second[order]


@dataclass(frozen=True)
class Lines:
    """Order lines: the order's position, what was bought where, how many, and the money."""

    order: Ints
    product: Ints
    store: Ints
    quantity: Ints
    amount: Floats
    discount: Floats


def _order_lines(block: Block, who: Ints, day: Ints) -> Lines:
    """Return the lines of orders.

    Deal-seekers buy at a discount, a trial customer's first order at a deep one; no line is free of charge.
    """
    random, n = block.random, len(block.joined)
    order = np.repeat(np.arange(len(who)), 1 + random.poisson(random.gamma(3.0, 0.3, n)[who]))
    buyer, lines = who[order], len(order)
    favourite = random.integers(0, len(CATEGORIES), n)[buyer]
    category = np.where(random.random(lines) < 0.6, favourite, random.integers(0, len(CATEGORIES), lines))
    # Squared, so that the first products of a category are its best sellers.
    product = category * PRODUCTS_PER_CATEGORY + np.floor(PRODUCTS_PER_CATEGORY * random.random(lines) ** 2).astype(np.int64)
    quantity = 1 + (random.random(lines) < 0.25) + (random.random(lines) < 0.05)
    usual = _prices(block.shop)[product] * quantity
    is_trial = (block.hidden.kind[who] == TRIAL) & np.append(True, who[1:] != who[:-1])[: len(who)]
    wants_deals = block.hidden.kind[who] == DEAL_SEEKER
    chance = np.where(wants_deals, 0.9, np.where(is_promotion(block.shop, day), 0.2, 0.08))
    depth = np.where(is_trial[order], 0.6, random.uniform(0.1, 0.3, lines))
    on_deal = random.random(lines) < np.where(is_trial, 1.0, chance)[order]
    discount = np.round(usual * depth * on_deal, 2)
    home = random.integers(0, len(STORES), n)[buyer]
    store = np.where(random.random(lines) < 0.1, 0, home)
    return Lines(order, product, store, quantity, np.round(usual - discount, 2), discount)


def transaction_rows(block: Block, who: Ints, day: Ints, second: Ints) -> tuple[pa.Table, Ints]:
    """Return the lines of orders and returns, and the number of returned lines by customer.

    A return is a line of its order of up to two weeks before, with its money and quantity negative.
    """
    shop, random, n = block.shop, block.random, len(block.joined)
    lines = _order_lines(block, who, day)
    buyer = who[lines.order]
    number = np.arange(len(who)) - np.searchsorted(who, np.arange(n))[who] + 1
    order_id = (block.first + who) * 100_000 + number
    back = np.flatnonzero(random.random(len(buyer)) < random.beta(1.0, 24.0, n)[buyer])
    back_day = day[lines.order][back] + random.integers(1, 15, len(back))
    back, back_day = back[back_day < shop.days], back_day[back_day < shop.days]
    back_second = random.integers(8 * 3_600, 22 * 3_600, len(back))
    row = np.append(np.arange(len(buyer)), back)
    sign = np.append(np.ones(len(buyer), np.int64), -np.ones(len(back), np.int64))
    moment = np.append((day * DAY_SECONDS + second)[lines.order], back_day * DAY_SECONDS + back_second)
    sort = np.lexsort((lines.product[row], moment, buyer[row]))
    row, sign, moment = row[sort], sign[sort], moment[sort]
    table = pa.table({
        "customer_id": as_words(buyer[row], block.ids),
        "ordered_at": as_times(shop, moment),
        "order_id": pa.array(order_id[lines.order[row]]),
        "product_id": as_words(lines.product[row], PRODUCTS),
        "category": as_words(lines.product[row] // PRODUCTS_PER_CATEGORY, CATEGORIES),
        "store_id": as_words(lines.store[row], STORES),
        "quantity": pa.array(lines.quantity[row] * sign),
        "amount": pa.array(lines.amount[row] * sign),
        "discount": pa.array(np.where(sign > 0, lines.discount[row], 0.0)),
        "is_return": pa.array(sign < 0),
    })  # fmt: skip
    return table, np.bincount(buyer[back], minlength=n)


def _prices(shop: Shop) -> Floats:
    """Return the price list: of the shop, not of a block, hence a seed of its own."""
    random = np.random.default_rng(np.random.SeedSequence(shop.seed, spawn_key=(0, 0)))
    return np.round(1.5 + random.lognormal(1.2, 0.8, len(PRODUCTS)), 2)


def as_words(index: Ints, words: Any) -> pa.Array:
    """Return the words at positions in a list; a negative position is null."""
    return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32), mask=index < 0), pa.array(words))


def as_times(shop: Shop, second: Ints) -> pa.Array:
    """Return timestamps without a zone for seconds since the log's first midnight."""
    return pa.array((np.datetime64(shop.start, "s") + second).astype("datetime64[us]"))


def as_dates(shop: Shop, day: Ints) -> pa.Array:
    """Return dates for day numbers; NEVER is null."""
    known = np.where(day < NEVER, day, 0)
    return pa.array(np.datetime64(shop.start, "D") + known, mask=day >= NEVER)
