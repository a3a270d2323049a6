"""What all tests share: credentials that belong to nobody."""

import os

# No test may reach a real account, whoever runs it.
os.environ.update(
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",
    AWS_SESSION_TOKEN="test",
    AWS_REGION="us-east-1",
    AWS_DEFAULT_REGION="us-east-1",
)
for _name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL"):
    os.environ.pop(_name, None)
