"""What the customers of a simulated shop leave behind: one block of customers in, their rows of every table out.

Rows are drawn by numpy for a whole block at once and sorted by customer and time. A block's generator is seeded by
the shop's seed and the block's number alone, so neither threads nor the size of the shop change its customers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lapse.history.simulated_shop import (
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
)  # fmt: skip

BLOCK_CUSTOMERS = 2_000
CATEGORIES = ("bakery", "beverages", "dairy", "delicatessen", "frozen", "fruit", "garden", "household", "meat", "pet",
              "snacks", "toiletries")  # fmt: skip
PRODUCTS_PER_CATEGORY = 40
PRODUCTS = tuple(f"P{number:04d}" for number in range(len(CATEGORIES) * PRODUCTS_PER_CATEGORY))
STORES = ("online", *(f"store-{number:02d}" for number in range(1, 16)))
SEGMENTS = ("single", "couple", "family", "business")
REGIONS = ("north", "east", "south", "west")
AGES = ("18-29", "30-44", "45-59", "60+")
CHANNELS = ("search", "friend", "advertisement", "coupon site")
REASONS = ("price", "moved", "quality", "found another", "no reason given")
EVENTS = ("complaint", "email_opened", "email_received", "visit")
COMPLAINT, OPENED, RECEIVED, VISIT = range(4)
COMPLAINTS = ("delivery", "price", "quality", "service")
COMMENTS = ("Never again.", "Not what I expected.", "It is okay.", "Good, thank you.", "Excellent, I will be back.")
EMAIL_EVERY_DAYS = 14
ENGAGEMENT_LEFT = 0.04
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
        """Customers and days in, 1 for the first day of the customer's decline, below 1 before it, out."""
        return np.asarray(day - self.hidden.decline_start[who] + 1)


def block_rows(shop: Shop, number: int) -> dict[str, pa.Table]:
    """A shop and a block's number in, the block's rows of every table out, by the table's name."""
    block = _draw_block(shop, number)
    who, day, second = _order_times(block)
    transactions, returned = _transactions(block, who, day, second)
    events, complained = _events(block)
    orders = np.bincount(who, minlength=len(block.joined))
    return {
        "transactions": transactions,
        "events": events,
        "feedback": _feedback(block, who, day),
        "customers": _customers(block, orders, returned, complained),
        "subscriptions": _subscriptions(block),
        "hidden": _hidden(block),
    }


def _draw_block(shop: Shop, number: int) -> Block:
    random = np.random.default_rng(np.random.SeedSequence(shop.seed, spawn_key=(number,)))
    first = number * BLOCK_CUSTOMERS
    n = min(BLOCK_CUSTOMERS, shop.customers - first)
    before = random.random(n) < shop.established
    joined = np.where(before, -random.integers(1, 1_000, n), random.integers(0, shop.days, n))
    complains = random.random(n) < shop.complainers
    hidden = draw_hidden_state(random, shop, joined, complains)
    return Block(shop, random, first, joined, complains, hidden, random.random(n) < 0.8)


def _order_times(block: Block) -> tuple[Ints, Ints, Ints]:
    """A block in, its orders in order of customer and time out: customer, day, second of the day.

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
    """The orders in, their lines out.

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


def _transactions(block: Block, who: Ints, day: Ints, second: Ints) -> tuple[pa.Table, Ints]:
    """The orders in, the lines of orders and returns and the number of returned lines by customer out.

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
        "customer_id": _words(buyer[row], block.ids),
        "ordered_at": _times(shop, moment),
        "order_id": pa.array(order_id[lines.order[row]]),
        "product_id": _words(lines.product[row], PRODUCTS),
        "category": _words(lines.product[row] // PRODUCTS_PER_CATEGORY, CATEGORIES),
        "store_id": _words(lines.store[row], STORES),
        "quantity": pa.array(lines.quantity[row] * sign),
        "amount": pa.array(lines.amount[row] * sign),
        "discount": pa.array(np.where(sign > 0, lines.discount[row], 0.0)),
        "is_return": pa.array(sign < 0),
    })  # fmt: skip
    return table, np.bincount(buyer[back], minlength=n)


def _prices(shop: Shop) -> Floats:
    """The price list: of the shop, not of a block, hence a seed of its own."""
    random = np.random.default_rng(np.random.SeedSequence(shop.seed, spawn_key=(0, 0)))
    return np.round(1.5 + random.lognormal(1.2, 0.8, len(PRODUCTS)), 2)


def engagement_factor(day_of_decline: Ints, decline_days: Ints) -> Floats:
    """The day of the decline as in `order_factor` in, what is left of visits and opened emails out.

    Engagement falls faster than orders do, and never quite to nothing: it is the earlier sign.
    """
    falling = 1 - 1.6 * day_of_decline / np.maximum(decline_days, 1)
    return np.where(day_of_decline < 1, 1.0, np.maximum(falling, ENGAGEMENT_LEFT))


def _events(block: Block) -> tuple[pa.Table, Ints]:
    """A block in, its events and the number of complaints by customer out."""
    shop, random, hidden, n = block.shop, block.random, block.hidden, len(block.joined)
    length = hidden.decline_days
    visitor, visited = _moments(block, 0.01 + random.gamma(4.0, 0.25, n) * hidden.order_rate)
    left = engagement_factor(block.day_of_decline(visitor, visited // DAY_SECONDS), length[visitor])
    kept = random.random(len(visitor)) < left
    visitor, visited = visitor[kept], visited[kept]
    sent = np.arange(3, shop.days, EMAIL_EVERY_DAYS)
    reader, campaign = np.nonzero((sent > block.joined[:, None]) & block.consents[:, None])
    received = sent[campaign] * DAY_SECONDS + 9 * 3_600
    left = engagement_factor(block.day_of_decline(reader, sent[campaign]), length[reader])
    opens = random.random(len(reader)) < random.beta(4.0, 4.0, n)[reader] * left
    opened = received + np.floor(random.exponential(6 * 3_600.0, len(reader))).astype(np.int64)
    opens &= opened < shop.days * DAY_SECONDS
    angry, complained = _moments(block, np.where(block.complains, 0.024, 0.0024))
    day = block.day_of_decline(angry, complained // DAY_SECONDS)
    kept = random.random(len(angry)) < np.where(day < 1, 0.25, np.where(day <= length[angry], 1.0, 0.0))
    angry, complained = angry[kept], complained[kept]
    who = np.concatenate([angry, reader[opens], reader, visitor])
    moment = np.concatenate([complained, opened[opens], received, visited])
    counts = [len(angry), int(opens.sum()), len(reader), len(visitor)]
    event = np.repeat(np.arange(len(EVENTS)), counts)
    subject = np.concatenate([
        len(sent) + random.integers(0, len(COMPLAINTS), len(angry)), campaign[opens], campaign, np.full(len(visitor), -1)
    ])  # fmt: skip
    order = np.lexsort((event, moment, who))
    subjects = [*(f"campaign-{c + 1:04d}" for c in range(len(sent))), *COMPLAINTS]
    table = pa.table({
        "customer_id": _words(who[order], block.ids),
        "occurred_at": _times(shop, moment[order]),
        "event_type": _words(event[order], EVENTS),
        "subject": _words(subject[order], subjects),
    })  # fmt: skip
    return table, np.bincount(angry, minlength=n)


def _moments(block: Block, rate_per_day: Floats) -> tuple[Ints, Ints]:
    """A rate per customer in, the customers and seconds of a Poisson process from the day after joining on out."""
    begin = np.maximum(block.joined + 1, 0) * DAY_SECONDS
    span = block.shop.days * DAY_SECONDS - begin
    who = np.repeat(np.arange(len(begin)), block.random.poisson(rate_per_day * span / DAY_SECONDS))
    return who, begin[who] + np.floor(block.random.random(len(who)) * span[who]).astype(np.int64)


def _feedback(block: Block, who: Ints, day: Ints) -> pa.Table:
    """The orders in, the ratings of some of them out: mostly 4 and 5 while loyal, around 3 in the decline."""
    shop, random, n = block.shop, block.random, len(block.joined)
    content = random.normal(4.3, 0.45, n) - 0.8 * block.complains
    rated = np.flatnonzero(random.random(len(who)) < random.beta(2.0, 10.0, n)[who])
    moment = (day[rated] + random.integers(1, 6, len(rated))) * DAY_SECONDS + random.integers(0, DAY_SECONDS, len(rated))
    rated, moment = rated[moment < shop.days * DAY_SECONDS], moment[moment < shop.days * DAY_SECONDS]
    rater = who[rated]
    declines = block.day_of_decline(rater, day[rated]) >= 1
    mood = np.where(declines, 3 + 0.25 * (content[rater] - 4.3), content[rater])
    score = mood + random.normal(0, 1, len(rated)) * np.where(declines, 0.5, 0.7)
    rating = np.clip(np.rint(score), 1, 5).astype(np.int64)
    product = random.integers(0, len(PRODUCTS), len(rated))
    comment = np.where(random.random(len(rated)) < 0.3, rating - 1, -1)
    order = np.lexsort((product, moment, rater))
    return pa.table({
        "customer_id": _words(rater[order], block.ids),
        "rated_at": _times(shop, moment[order]),
        "rating": pa.array(rating[order]),
        "product_id": _words(product[order], PRODUCTS),
        "comment": _words(comment[order], COMMENTS),
    })  # fmt: skip


def _customers(block: Block, orders: Ints, returned: Ints, complained: Ints) -> pa.Table:
    """Counts by customer in, the customers out. cost_to_serve: currency per year of the log, after what they caused."""
    shop, random, n = block.shop, block.random, len(block.joined)
    years = np.maximum(shop.days - np.maximum(block.joined, 0), 30) / 365.25
    caused = 0.9 * orders + 3.0 * returned + 6.0 * complained
    from_coupon = (block.hidden.kind == TRIAL) & (random.random(n) < 0.7)
    return pa.table({
        "customer_id": _words(np.arange(n), block.ids),
        "segment": _words(random.integers(0, len(SEGMENTS), n), SEGMENTS),
        "consent": pa.array(block.consents),
        "joined": _days(shop, block.joined),
        "cost_to_serve": pa.array(np.round(4 * random.lognormal(0, 0.4, n) + caused / years, 2)),
        "region": _words(random.integers(0, len(REGIONS), n), REGIONS),
        "age": _words(random.integers(0, len(AGES), n), AGES),
        "acquired_by": _words(np.where(from_coupon, 3, random.integers(0, 3, n)), CHANNELS),
    })  # fmt: skip


def _subscriptions(block: Block) -> pa.Table:
    """The subscriptions of some customers: from joining to the departure; `ended` and `reason` null while they run."""
    shop, random = block.shop, block.random
    who = np.flatnonzero((random.random(len(block.joined)) < shop.subscribers) & (block.hidden.kind != TRIAL))
    ended = np.where(block.hidden.departure[who] < shop.days, block.hidden.departure[who], NEVER)
    reason = np.where(ended < NEVER, random.integers(0, len(REASONS), len(who)), -1)
    return pa.table({
        "customer_id": _words(who, block.ids),
        "subscription_id": _words(who, pa.array([f"S{block.first + i:09d}" for i in range(len(block.joined))])),
        "started": _days(shop, block.joined[who]),
        "ended": _days(shop, ended),
        "reason": _words(reason, REASONS),
    })  # fmt: skip


def _hidden(block: Block) -> pa.Table:
    """What no shop knows about its customers; days after the log's end are null, as they lie in nobody's past."""
    shop, hidden = block.shop, block.hidden
    return pa.table({
        "customer_id": _words(np.arange(len(block.joined)), block.ids),
        "kind": _words(hidden.kind, KINDS),
        "complains": pa.array(block.complains),
        "order_rate": pa.array(hidden.order_rate),
        "hazard": pa.array(hidden.hazard),
        "decline_start": _days(shop, np.where(hidden.decline_start < shop.days, hidden.decline_start, NEVER)),
        "decline_days": pa.array(hidden.decline_days),
        "departed": _days(shop, np.where(hidden.departure < shop.days, hidden.departure, NEVER)),
    })  # fmt: skip


def _words(index: Ints, words: Any) -> pa.Array:
    """Positions in a list of words in, the words out; a negative position is null."""
    return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32), mask=index < 0), pa.array(words))


def _times(shop: Shop, second: Ints) -> pa.Array:
    """Seconds since the log's first midnight in, timestamps without a zone out."""
    return pa.array((np.datetime64(shop.start, "s") + second).astype("datetime64[us]"))


def _days(shop: Shop, day: Ints) -> pa.Array:
    """Day numbers in, dates out; NEVER is null."""
    known = np.where(day < NEVER, day, 0)
    return pa.array(np.datetime64(shop.start, "D") + known, mask=day >= NEVER)
