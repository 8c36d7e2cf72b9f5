"""The roll-up of each log to customer-days: purchases, prices, ratings, subscriptions."""
