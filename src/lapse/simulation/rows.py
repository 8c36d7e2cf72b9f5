"""What the customers of a simulated shop leave behind: one block of customers in, their rows of every table out."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lapse.simulation.orders import (
    DAY_SECONDS,
    PRODUCTS,
    Block,
    as_dates,
    as_times,
    as_words,
    draw_block,
    order_times,
    transaction_rows,
)
from lapse.simulation.shop import KINDS, NEVER, TRIAL, Floats, Ints, Shop

SEGMENTS = ("single", "couple", "family", "business")
REGIONS = ("north", "east", "south", "west")
AGES = ("18-29", "30-44", "45-59", "60+")
CHANNELS = ("search", "friend", "advertisement", "coupon site")
REASONS = ("price", "moved", "quality", "found another", "no reason given")
EVENTS = ("complaint", "email_opened", "email_received", "visit")
COMPLAINTS = ("delivery", "price", "quality", "service")
COMMENTS = ("Never again.", "Not what I expected.", "It is okay.", "Good, thank you.", "Excellent, I will be back.")
EMAIL_EVERY_DAYS = 14
ENGAGEMENT_LEFT = 0.04


def block_rows(shop: Shop, number: int) -> dict[str, pa.Table]:
    """Return a block's rows of every table, by the table's name."""
    block = draw_block(shop, number)
    who, day, second = order_times(block)
    transactions, returned = transaction_rows(block, who, day, second)
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


def engagement_factor(day_of_decline: Ints, decline_days: Ints) -> Floats:
    """Return what is left of visits and opened emails on a day of the decline.

    Engagement falls faster than orders do, and never quite to nothing: it is the earlier sign.
    """
    falling = 1 - 1.6 * day_of_decline / np.maximum(decline_days, 1)
    return np.where(day_of_decline < 1, 1.0, np.maximum(falling, ENGAGEMENT_LEFT))


def _events(block: Block) -> tuple[pa.Table, Ints]:
    """Return the events of a block, and the number of complaints by customer."""
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
        "customer_id": as_words(who[order], block.ids),
        "occurred_at": as_times(shop, moment[order]),
        "event_type": as_words(event[order], EVENTS),
        "subject": as_words(subject[order], subjects),
    })  # fmt: skip
    return table, np.bincount(angry, minlength=n)


def _moments(block: Block, rate_per_day: Floats) -> tuple[Ints, Ints]:
    """Return the customers and seconds of a Poisson process from the day after joining on."""
    begin = np.maximum(block.joined + 1, 0) * DAY_SECONDS
    span = block.shop.days * DAY_SECONDS - begin
    who = np.repeat(np.arange(len(begin)), block.random.poisson(rate_per_day * span / DAY_SECONDS))
    return who, begin[who] + np.floor(block.random.random(len(who)) * span[who]).astype(np.int64)


def _feedback(block: Block, who: Ints, day: Ints) -> pa.Table:
    """Return ratings of some of the orders: mostly 4 and 5 while loyal, around 3 in the decline."""
    shop, random, n = block.shop, block.random, len(block.joined)
    content = random.normal(4.3, 0.45, n) - 0.8 * block.complains
    rated = np.flatnonzero(random.random(len(who)) < random.beta(2.0, 10.0, n)[who])
    moment = (day[rated] + random.integers(1, 6, len(rated))) * DAY_SECONDS + random.integers(0, DAY_SECONDS, len(rated))
    rated, moment = rated[moment < shop.days * DAY_SECONDS], moment[moment < shop.days * DAY_SECONDS]
    rater = who[rated]
    declines = block.day_of_decline(rater, day[rated]) >= 1
    sentiment = np.where(declines, 3 + 0.25 * (content[rater] - 4.3), content[rater])
    score = sentiment + random.normal(0, 1, len(rated)) * np.where(declines, 0.5, 0.7)
    rating = np.clip(np.rint(score), 1, 5).astype(np.int64)
    product = random.integers(0, len(PRODUCTS), len(rated))
    comment = np.where(random.random(len(rated)) < 0.3, rating - 1, -1)
    order = np.lexsort((product, moment, rater))
    return pa.table({
        "customer_id": as_words(rater[order], block.ids),
        "rated_at": as_times(shop, moment[order]),
        "rating": pa.array(rating[order]),
        "product_id": as_words(product[order], PRODUCTS),
        "comment": as_words(comment[order], COMMENTS),
    })  # fmt: skip


def _customers(block: Block, orders: Ints, returned: Ints, complained: Ints) -> pa.Table:
    """Return the customers. cost_to_serve: currency per year of the log, after what they caused."""
    shop, random, n = block.shop, block.random, len(block.joined)
    years = np.maximum(shop.days - np.maximum(block.joined, 0), 30) / 365.25
    caused = 0.9 * orders + 3.0 * returned + 6.0 * complained
    from_coupon = (block.hidden.kind == TRIAL) & (random.random(n) < 0.7)
    return pa.table({
        "customer_id": as_words(np.arange(n), block.ids),
        "segment": as_words(random.integers(0, len(SEGMENTS), n), SEGMENTS),
        "consent": pa.array(block.consents),
        "joined": as_dates(shop, block.joined),
        "cost_to_serve": pa.array(np.round(4 * random.lognormal(0, 0.4, n) + caused / years, 2)),
        "region": as_words(random.integers(0, len(REGIONS), n), REGIONS),
        "age": as_words(random.integers(0, len(AGES), n), AGES),
        "acquired_by": as_words(np.where(from_coupon, 3, random.integers(0, 3, n)), CHANNELS),
    })  # fmt: skip


def _subscriptions(block: Block) -> pa.Table:
    """Return the subscriptions of some customers, from joining to the departure; without an end while they run."""
    shop, random = block.shop, block.random
    who = np.flatnonzero((random.random(len(block.joined)) < shop.subscribers) & (block.hidden.kind != TRIAL))
    ended = np.where(block.hidden.departure[who] < shop.days, block.hidden.departure[who], NEVER)
    reason = np.where(ended < NEVER, random.integers(0, len(REASONS), len(who)), -1)
    return pa.table({
        "customer_id": as_words(who, block.ids),
        "subscription_id": as_words(who, pa.array([f"S{block.first + i:09d}" for i in range(len(block.joined))])),
        "started_date": as_dates(shop, block.joined[who]),
        "ended_date": as_dates(shop, ended),
        "end_reason": as_words(reason, REASONS),
    })  # fmt: skip


def _hidden(block: Block) -> pa.Table:
    """Return what no shop knows about its customers; days after the log's end are null, as they lie in nobody's past."""
    shop, hidden = block.shop, block.hidden
    return pa.table({
        "customer_id": as_words(np.arange(len(block.joined)), block.ids),
        "kind": as_words(hidden.kind, KINDS),
        "complains": pa.array(block.complains),
        "order_rate": pa.array(hidden.order_rate),
        "hazard": pa.array(hidden.hazard),
        "decline_start": as_dates(shop, np.where(hidden.decline_start < shop.days, hidden.decline_start, NEVER)),
        "decline_days": pa.array(hidden.decline_days),
        "departed": as_dates(shop, np.where(hidden.departure < shop.days, hidden.departure, NEVER)),
    })  # fmt: skip
