"""How deliveries write "nobody" where a customer's id should be.

Taken for ids, such placeholders would make one giant customer of all guests and all gaps. What may be a person's id as
well (test, 99999, info@…) is none of them: usability/identity_checks.py reports it when it holds too many lines.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import md5, sha1, sha256

from lapse.history.reading.expressions import literal

# Empty cells of programs and spreadsheets. A spreadsheet's #N/A is written in the language of its user.
_EMPTY = """
null nan -nan nat none nil na n/a n.a. n.a n/d n.d. undefined unset not_set not_provided not_available not_applicable
not_known not_specified missing empty blank false inf -inf infinity -infinity pd.na np.nan \\n \\0
#n/a #na #null! #value! #ref! #name? #div/0! #num! #nv #bezug! #wert! #n/b #n/d #н/д #i/t #saknas! #puuttuu! #yok #hiányzik
1.#qnan 1.#ind -1.#ind leer vide vacío en_blanco vuoto leeg vazio puste пусто 空白 null_null none_none nan_nan
"""
# Words for somebody who is not known, or not named, or not any more.
_UNKNOWN = """
unknown unknown_customer unknown_user unkown unidentified unassigned unregistered anonymous anonymous_user
anonymous_customer anon nobody no_one no_customer no_customer_id no_id no_name noname no_user without_customer
unbekannt unbekannter_kunde anonym kein kein_kunde keine keiner keine_angabe k.a. ohne ohne_kunde niemand
inconnu inconnue client_inconnu anonyme aucun aucune néant sans_client non_renseigné
desconocido desconocida anónimo anónima anônimo ninguno ninguna sin_datos sin_cliente sin_nombre
sconosciuto sconosciuta nessuno nessuna desconhecido desconhecida nenhum nenhuma sem_cliente
onbekend anoniem geen niemand ukjent ukendt okänd okänt ingen inget tuntematon nieznany nieznana brak brak_danych
neznámý neznámé ismeretlen necunoscut bilinmiyor anonim άγνωστο άγνωστος
неизвестно неизвестный неизвестен аноним нет нет_данных невідомо 不明 未設定 匿名 未知 无 알수없음 알_수_없음 익명
deleted deleted_user deleted_customer deleted_account removed redacted anonymized anonymised anonymisiert gelöscht
"""
# Buyers whom the shop does not name: guests, passers-by, the counter, the tax office's "final consumer".
_GUESTS = """
guest guest_user guest_customer guest_checkout guest_order guest_account gast gastkunde gastbestellung gast_bestellung
gastkonto invité client_invité invitado cliente_invitado ospite convidado gość misafir гость ゲスト 游客 访客 게스트 비회원
walk_in walk-in_customer walkin_customer walk_in_customer walk_in_client cash_customer
cash_sale cash_sales counter_sale counter_sales over_the_counter laufkunde laufkundschaft barverkauf barkunde
client_de_passage client_comptoir vente_comptoir
venta_mostrador público_general público_en_general consumidor_final cliente_genérico cliente_mostrador
default_customer generic_customer dummy dummy_customer placeholder
"""
_MAILBOXES = """
anonymous anonymous_user anonym anonyme anonimo anoniem guest guest_user gast invitado ospite convidado
noreply no-reply no_reply donotreply do-not-reply noemail no-email no_email nomail no-mail no_mail none null undefined
unknown unbekannt inconnu desconocido desconhecido sconosciuto onbekend nobody noone no-one dummy deleted redacted
keine keinemail keine-email sansemail sans-email sinemail sin-email sincorreo sin-correo semail-nao sememail sem-email
"""
# A hashed delivery hashes its gaps, too.
_HASHED = ("", "null", "NULL", "none", "None", "nan", "NaN", "N/A", "n/a", "0", "-1", "unknown", "undefined", "guest",
           "anonymous")  # fmt: skip
_LARGEST_UUID = ("f" * 32, "-".join("f" * length for length in (8, 4, 4, 4, 12)))
BRACKETS = r"""[()\[\]{}<>"'` ]*"""
SIGNS = r"[\p{P}\p{Z}\p{C}\p{Sm}\p{Sk}\p{Sc}]+"
"""Nothing but punctuation: -, --, ?, …, *."""
ZEROS = r"[-+]?0[-0.,:]*"
"""0, 0.0, 0000000000 and the nil UUID."""
PLAINLY_SOMEBODY = r"[A-Za-z]{0,3}0*[1-9]\d*"
"""What is quickly told to be an id."""
SENTINELS = r"-(?:[12345]|9+)(?:[.,]0+)?"
"""-1 and its kin, which data warehouses keep for rows that belong to nobody."""


def is_nobody(name: str, further: Sequence[str] = ()) -> str:
    """Return the SQL of whether an id stands for nobody; `further` spellings are those of `sources.nobody`."""
    # One expression, not IN: the engine compares a value with each entry of a list in turn.
    return f"regexp_full_match(lower({name}), {literal(_pattern(tuple(further)))})"


@cache
def _pattern(further: tuple[str, ...]) -> str:
    words = "|".join(map(re.escape, sorted({*_words(), *(word.strip().lower() for word in further)})))
    mailboxes = "|".join(map(re.escape, sorted(_MAILBOXES.split())))
    return f"{BRACKETS}(?:{words}|{ZEROS}|{SENTINELS}){BRACKETS}|{SIGNS}|(?:{mailboxes})@.*"


def _words() -> Iterator[str]:
    """Yield every placeholder with accents, without, and with marks of their own, its words joined in every way."""
    for word in f"{_EMPTY} {_UNKNOWN} {_GUESTS}".split():
        marks = unicodedata.normalize("NFD", word)
        bare = "".join(char for char in marks if unicodedata.category(char) != "Mn")
        for spelling in {word, marks, unicodedata.normalize("NFC", bare)}:
            yield from (spelling.replace("_", joint) for joint in ("_", " ", "-", ""))
    yield from _LARGEST_UUID
    yield from (
        algorithm(text.encode(), usedforsecurity=False).hexdigest() for text in _HASHED for algorithm in (md5, sha1, sha256)
    )
