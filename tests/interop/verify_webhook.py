"""Verifies a webhook as a receiver does, by the published library.

Usage: verify_webhook.py SIGNING_SECRET WEBHOOK_ID WEBHOOK_TIMESTAMP WEBHOOK_SIGNATURE BODY_FILE
"""

import sys

from standardwebhooks.webhooks import Webhook

secret, webhook_id, timestamp, signature, body_file = sys.argv[1:]
headers = {
    "webhook-id": webhook_id,
    "webhook-timestamp": timestamp,
    "webhook-signature": signature,
}
with open(body_file, "rb") as file:
    body = file.read()
print(Webhook(secret).verify(body, headers)["type"])
