"""The presets for shop systems, on made-up files in the published layouts: init to validated rows with the right values."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from lapse.core.engine import open_duckdb
from lapse.core.files import read_json
from lapse.setup.init import params_of
from lapse.workspace import Workspace

SHOPIFY = (
    "Name,Email,Financial Status,Paid at,Fulfillment Status,Fulfilled at,Accepts Marketing,Currency,Subtotal,Shipping,Taxes,"
    "Total,Discount Code,Discount Amount,Shipping Method,Created at,Lineitem quantity,Lineitem name,Lineitem price,"
    "Lineitem compare at price,Lineitem sku,Cancelled at,Payment Method,Refunded Amount,Id,Lineitem discount\n"
    "#1001,Ann@x.org,paid,2024-05-15 23:30:00 +0200,fulfilled,,yes,EUR,47,5,3,55,,0,DHL,2024-05-15 23:25:16 +0200,2,Mug,16.00,,"
    "MUG,,PayPal,0,11,2.00\n"
    "#1001,Ann@x.org,,,,,,,,,,,,,,2024-05-15 23:25:16 +0200,1,Tote,20.00,,,,,,,0.00\n"
    "#1001,,,,,,,,,,,,,,,,1,Pen,3.50,,PEN,,,,,0.00\n"
    "#1002,bob@x.org,voided,,,,no,EUR,16,0,0,16,,0,DHL,2024-05-16 10:00:00 +0200,1,Mug,16.00,,MUG,2024-05-17 09:00:00 +0200,"
    "PayPal,0,12,0.00\n"
    "#1002,,,,,,,,,,,,,,,,1,Pen,3.50,,PEN,,,,,0.00\n"
    "#1003,cid@x.org,paid,,,,no,EUR,16,0,0,16,,0,DHL,2024-05-16 11:00:00 +0200,1,Mug,16.00,,MUG,,(for testing) Bogus Gateway,"
    "0,13,0.00\n"
    "#1004,,paid,,,,no,EUR,16,0,0,16,,0,,2024-05-16 12:00:00 +0200,1,Mug,16.00,,MUG,,cash,0,14,0.00\n"
)
WOOCOMMERCE = (
    "order_id,order_number,date,status,order_total,refunded_total,customer_id,billing_email,item_name,item_sku,"
    "item_quantity,item_tax,item_total,item_refunded,item_refunded_qty,item_meta\n"
    "71,71,2024-05-15 23:25:16,completed,52.00,0,5,Ann@x.org,Mug,MUG,2,5,30.00,0.00,0,\n"
    "71,71,2024-05-15 23:25:16,completed,52.00,4,5,Ann@x.org,Tote,,1,3,20.00,4.00,0,\n"
    "72,72,2024-05-16 08:00:00,cancelled,16.00,0,0,bob@x.org,Mug,MUG,1,1,15.00,0.00,0,\n"
    "73,73,2024-05-17 08:00:00,processing,16.00,0,0,mia@x.org,Mug,MUG,1,1,15.00,,,\n"
)
MAGENTO = (
    'ID,"Purchase Point","Purchase Date","Bill-to Name","Ship-to Name","Grand Total (Base)","Grand Total (Purchased)",Status,'
    '"Customer Email","Customer Group",Subtotal,"Payment Method","Total Refunded"\n'
    '000000001,"Main Website","Aug 10, 2024 11:20:32 PM","Ann A","Ann A",59.9000,59.9000,complete,Ann@x.org,General,50,paypal,\n'
    '000000002,"Main Website","Aug 1, 2024 12:05:00 AM","Bob B","Bob B",29.0000,29.0000,canceled,bob@x.org,General,20,paypal,\n'
    '000000003,"Main Website","Sep 1, 2024 12:05:00 AM","Cid C","Cid C",10.0000,10.0000,processing,cid@x.org,Guest,8,paypal,\n'
)
EXPORTS = {
    "shopify_orders": (
        "orders_export.csv",
        SHOPIFY,
        (7, 3, 1, 0, 3),
        [
            ("ann@x.org", "#1001", "2024-05-15 21:25:16", "MUG", 2.0, 30.0),
            ("ann@x.org", "#1001", "2024-05-15 21:25:16", "PEN", 1.0, 3.5),
            ("ann@x.org", "#1001", "2024-05-15 21:25:16", "Tote", 1.0, 20.0),
        ],
    ),
    "woocommerce_orders": (
        "orders.csv",
        WOOCOMMERCE,
        (4, 3, 0, 0, 1),
        [
            ("ann@x.org", "71", "2024-05-15 23:25:16", "MUG", 2.0, 30.0),
            ("ann@x.org", "71", "2024-05-15 23:25:16", "Tote", 1.0, 16.0),
            ("mia@x.org", "73", "2024-05-17 08:00:00", "MUG", 1.0, 15.0),
        ],
    ),
    "magento_orders": (
        "export.csv",
        MAGENTO,
        (3, 2, 0, 0, 1),
        [
            ("ann@x.org", "000000001", "2024-08-10 23:20:32", None, None, 59.9),
            ("cid@x.org", "000000003", "2024-09-01 00:05:00", None, None, 10.0),
        ],
    ),
}


@pytest.mark.parametrize("source", EXPORTS)
def test_a_shop_export_from_init_to_validated_rows(source: str, tmp_path: Path) -> None:
    name, text, numbers, rows = EXPORTS[source]
    (tmp_path / "params.yaml").write_text(params_of(source, None), encoding="utf-8")
    (tmp_path / "data/delivery").mkdir(parents=True)
    (tmp_path / "data/delivery" / name).write_text(text, encoding="utf-8")
    with open_duckdb(threads=1) as engine:
        count = Workspace(tmp_path).validate_sources(engine)["transactions"]
    found = duckdb.sql(
        "SELECT customer_id, order_id, strftime(ordered_at, '%Y-%m-%d %H:%M:%S'), product_id, quantity::DOUBLE, "
        f"amount::DOUBLE FROM read_parquet('{tmp_path}/data/validated/transactions.parquet') ORDER BY 1, 2, 4"
    ).fetchall()
    assert found == rows
    assert (count.rows_in, count.rows_kept, count.rows_rejected, count.rows_duplicate, count.rows_left_out) == numbers
    written = read_json(tmp_path / "data/reports/usability.json")["tables"]["transactions"]
    assert written["rows_left_out"] == numbers[4]
