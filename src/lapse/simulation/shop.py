"""A shop with known truth: its calendar, its customers' hidden state, and the exact probability of no order.

Days are whole numbers: 0 is the first day of the log. A customer buys as a Poisson process whose rate, on day d, is

    order_rate × season(kind, d) × order_factor(days since the decline began)

with gamma-distributed rates (the NBD of Ehrenberg 1959; Fader, Hardie & Lee 2005). A decline begins with the
customer's own hazard on each day (the geometric drop-out of BG/NBD, in days rather than purchases), lasts a fixed
number of weeks, and ends in departure. Nothing else about the past bears on future orders, so the hidden state at a
cutoff decides the probability of every future: `true_risk` is the best that any model can say.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from lapse.core.errors import SettingsError
from lapse.core.windows import ChurnWindows

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

KINDS = ("regular", "deal_seeker", "trial")
REGULAR, DEAL_SEEKER, TRIAL = range(3)
NEVER = 2**40
DECLINE_WEEKS = (3, 12)
TRIALS_THAT_LEAVE = 0.8
COMPLAINERS_LEAVE_FASTER = 2.0
# Monday to Sunday, mean 1.
WEEKDAYS = np.array([0.90, 0.85, 0.90, 1.00, 1.20, 1.30, 0.85])
# One promotion week in four; deal-seekers' mean over the four is 1.
PROMOTION, NO_PROMOTION = 3.1, 0.3


@dataclass(frozen=True)
class Shop:
    """What a simulated shop is like. Shares are of all customers; rates are means of a customer who stays."""

    customers: int = 2_000
    days: int = 730
    seed: int = 7
    start: date = date(2023, 1, 1)
    orders_per_year: float = 24.0
    spread: float = 0.8
    """Standard deviation of the order rates over their mean; 0 makes all customers alike."""
    departures: float = 0.5
    """Declines that begin per customer and year; 0: nobody ever leaves."""
    season: float = 0.3
    """The yearly swing of the order rate, as a share of its mean."""
    established: float = 0.6
    """Share of customers who joined before the log begins; the others join day by day."""
    deal_seekers: float = 0.15
    trials: float = 0.12
    complainers: float = 0.1
    subscribers: float = 0.15

    def __post_init__(self) -> None:
        shares = {name: getattr(self, name) for name in ("season", "established", "complainers", "subscribers")}
        shares["deal_seekers + trials"] = self.deal_seekers + self.trials
        wrong = [f"{name} is {value:g}" for name, value in shares.items() if not 0 <= value <= 1]
        at_least = {"customers": 1, "days": 1, "seed": 0, "orders_per_year": 0.01, "spread": 0, "departures": 0}
        wrong += [f"{name} is below {least:g}" for name, least in at_least.items() if getattr(self, name) < least]
        wrong += [f"{name} is negative" for name in ("deal_seekers", "trials") if getattr(self, name) < 0]
        if wrong:
            raise SettingsError(f"simulate: {'; '.join(wrong)}. Shares lie between 0 and 1.")


@dataclass(frozen=True)
class HiddenState:
    """What decides a customer's future orders, one value per customer; days count from the log's first day."""

    kind: Ints
    order_rate: Floats
    """Orders per day at season 1 while loyal."""
    hazard: Floats
    """Probability per day that a loyal customer's decline begins."""
    decline_start: Ints
    """First day of the decline, NEVER when there is none; at a cutoff before it nobody knows it."""
    decline_days: Ints
    """How long the decline lasts, whole weeks; 0 for a trial customer who leaves at once."""

    @property
    def departure(self) -> Ints:
        """The first day on which no order can come."""
        return self.decline_start + self.decline_days


def draw_hidden_state(random: np.random.Generator, shop: Shop, joined: Ints, complains: Flags) -> HiddenState:
    """Return the hidden state of customers who join on given days.

    Established customers are those who are loyal on day 0; the hazard has no memory, so no more need be known.
    """
    n = len(joined)
    kind = np.select(
        [(u := random.random(n)) < shop.trials, u < shop.trials + shop.deal_seekers], [TRIAL, DEAL_SEEKER], REGULAR
    )
    shape = 1 / shop.spread**2 if shop.spread > 0 else 0.0
    relative = random.gamma(shape, 1 / shape, n) if shape else np.ones(n)
    hazard = random.gamma(2.0, 0.5, n) * (shop.departures / 365.25)
    hazard = np.minimum(hazard * np.where(complains, COMPLAINERS_LEAVE_FASTER, 1.0), 0.5)
    with np.errstate(divide="ignore"):
        waited = np.log1p(-random.random(n)) / np.log1p(-hazard)
    loyal_days = np.where(np.isfinite(waited) & (hazard > 0), np.minimum(np.nan_to_num(waited), NEVER), NEVER)
    decline_start = np.minimum(np.maximum(joined + 1, 0) + np.floor(loyal_days).astype(np.int64), NEVER)
    decline_days = 7 * random.integers(DECLINE_WEEKS[0], DECLINE_WEEKS[1] + 1, n)
    leaves_at_once = (kind == TRIAL) & (random.random(n) < TRIALS_THAT_LEAVE)
    return HiddenState(
        kind=kind.astype(np.int64),
        order_rate=relative * (shop.orders_per_year / 365.25),
        hazard=hazard,
        decline_start=np.where(leaves_at_once, joined, decline_start),
        decline_days=np.where(leaves_at_once, 0, decline_days),
    )


def seasons(shop: Shop, first_day: int, last_day: int) -> Floats:
    """Return the season factor of each kind (row) on each day from the first to the last (column).

    A yearly wave with its peak in early December, the weekday, and for deal-seekers the promotion weeks.
    """
    ordinal = shop.start.toordinal() + np.arange(first_day, last_day + 1)
    yearly = 1 + shop.season * np.cos(2 * np.pi * (ordinal - date(2023, 12, 5).toordinal()) / 365.25)
    usual = yearly * WEEKDAYS[(ordinal - 1) % 7]
    deals = usual * np.where(is_promotion(shop, np.arange(first_day, last_day + 1)), PROMOTION, NO_PROMOTION)
    return np.stack([deals if kind == DEAL_SEEKER else usual for kind in range(len(KINDS))])


def is_promotion(shop: Shop, day: Ints) -> Flags:
    """Return whether each day lies in a promotion week."""
    return np.asarray((shop.start.toordinal() - 1 + day) // 7 % 4 == 0)


def order_factor(day_of_decline: Ints, decline_days: Ints) -> Floats:
    """Return what is left of the order rate on a day of the decline (1 = its first, below 1 = still loyal).

    It falls evenly to 0.15 on the last day of the decline; 0 from the departure on.
    """
    gone = day_of_decline > decline_days
    falling = 1 - 0.85 * day_of_decline / np.maximum(decline_days, 1)
    return np.where(day_of_decline < 1, 1.0, np.where(gone, 0.0, falling))


def true_risk(shop: Shop, hidden: HiddenState, cutoff_day: int, windows: ChurnWindows) -> Floats:
    """Return the exact probability of no order of customers who have joined by the cutoff.

    With exposure(B) = sum over the outcome window's days d of season(d) × order_factor(d - B + 1), a customer whose
    decline began on day B stays away with exp(-order_rate × exposure(B)): no order of a Poisson process. One who is
    still loyal may begin to decline on any day k = 1, 2, … W after the cutoff, W the last day of the window:

        sum over k of hazard (1 - hazard)^(k-1) exp(-order_rate × exposure(cutoff + k))
        + (1 - hazard)^W exp(-order_rate × exposure(never))

    which is finite and exact: no integral is approximated.
    """
    last = windows.lead_days + windows.horizon_days
    exposure = _exposure(shop, cutoff_day, windows)
    weeks, longest = hidden.decline_days // 7, 7 * DECLINE_WEEKS[1]
    # Column 0 of `exposure` is a decline that began so long ago that the customer has left whatever its length.
    begun = np.clip(hidden.decline_start - cutoff_day, -longest, 0) + longest
    risk = np.exp(-hidden.order_rate * exposure[hidden.kind, weeks, begun])
    loyal = np.flatnonzero(hidden.decline_start > cutoff_day)
    kind, weeks, rate, hazard = hidden.kind[loyal], weeks[loyal], hidden.order_rate[loyal], hidden.hazard[loyal]
    still_loyal, total = np.ones(len(loyal)), np.zeros(len(loyal))
    for k in range(1, last + 1):
        total += hazard * still_loyal * np.exp(-rate * exposure[kind, weeks, longest + k])
        still_loyal *= 1 - hazard
    risk[loyal] = total + still_loyal * np.exp(-rate * exposure[kind, weeks, longest + last + 1])
    return risk


def _exposure(shop: Shop, cutoff_day: int, windows: ChurnWindows) -> Floats:
    """Exposure by kind, weeks of decline, and the day B of its beginning, from cutoff - 84 to cutoff + W + 1 (never)."""
    last = windows.lead_days + windows.horizon_days
    day = np.arange(cutoff_day + windows.lead_days + 1, cutoff_day + last + 1)
    begin = np.arange(cutoff_day - 7 * DECLINE_WEEKS[1], cutoff_day + last + 2)
    length = 7 * np.arange(DECLINE_WEEKS[1] + 1)
    factor = order_factor(day - begin[None, :, None] + 1, length[:, None, None])
    exposure: Floats = np.einsum("kd,lbd->klb", seasons(shop, int(day[0]), int(day[-1])), factor)
    return exposure
