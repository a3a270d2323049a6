"""Picture URLs: presigned for this Region, kept in the database until shortly before they expire.

Keeping them is a favour to the next reader and never a reason to fail this one.
"""

import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import UUID

from aws_lambda_powertools.metrics import MetricUnit

from handlers.edge.observability import logger, metrics
from sql.chance import CHANCE
from sql.connection import Database
from sql.errors import FAILURES
from sql.reads.catalogue import StoredPicture, keep_picture_urls

#: How long a presigned URL is good for. A function's credentials, which sign it, outlive that.
URL_LIFETIME = timedelta(hours=1)

#: A kept URL is given away no later than this before it expires, so that a page can still load its pictures.
URL_MARGIN = timedelta(minutes=10)

#: How much sooner a reader may find a kept URL too old, by chance: the URLs of a page were kept together, and
#: readers who all found them too old at one moment would all renew them and meet on their rows.
URL_SPREAD = timedelta(minutes=10)

#: Characters that the column takes. A long session token makes a URL that is signed anew for each reader.
LONGEST_KEPT_URL = 2000


class PictureUrls:
    """Gives URLs of pictures in one bucket. Where there is no bucket, no picture has a URL.

    `chance` gives a number from 0 to 1.
    """

    def __init__(self, bucket: str | None, region: str, chance: Callable[[], float] = CHANCE.random) -> None:
        self._bucket = bucket
        self._region = region
        self._chance = chance

    def resolve(
        self, database: Database, pictures: Iterable[StoredPicture], now: datetime
    ) -> dict[UUID, str]:
        """Give each picture's URL: the kept one where it is fresh, else a new one, which is then kept.

        A picture without a file has none.
        """
        if self._bucket is None:
            return {}
        naive = now.astimezone(UTC).replace(tzinfo=None)
        oldest = naive - (URL_LIFETIME - URL_MARGIN - URL_SPREAD * self._chance())
        urls: dict[UUID, str] = {}
        presigned: dict[UUID, str] = {}
        for picture in pictures:
            if picture.filename is None:
                continue
            if picture.url is not None and picture.created is not None and picture.created > oldest:
                urls[picture.image_id] = picture.url
            elif picture.image_id not in presigned:
                presigned[picture.image_id] = self._presign(picture.filename)
        to_keep = {image_id: url for image_id, url in presigned.items() if len(url) <= LONGEST_KEPT_URL}
        if to_keep:
            self._keep(database, to_keep, naive)
        return urls | presigned

    def _keep(self, database: Database, urls: dict[UUID, str], created: datetime) -> None:
        try:
            keep_picture_urls(database, self._region, urls, created)
        # guard: picture URLs are kept at best effort
        except FAILURES as error:
            # Another reader renewed them at the same moment, as a rule.
            logger.warning("picture URLs not kept", extra={"error": type(error).__name__, "urls": len(urls)})
            metrics().add_metric("PictureUrlsNotKept", MetricUnit.Count, 1)
            metrics().flush_metrics()

    def _presign(self, filename: str) -> str:
        # botocore's signer alone, and only once a URL is due: a boto3 client costs a start 150 ms.
        from botocore.auth import S3SigV4QueryAuth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import ContainerProvider, EnvProvider

        credentials = EnvProvider().load() or ContainerProvider().load()
        if credentials is None:
            raise RuntimeError("No AWS credentials to sign picture URLs with.")
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        place = (
            f"{endpoint}/{self._bucket}"
            if endpoint
            else f"https://{self._bucket}.s3.{self._region}.amazonaws.com"
        )
        request = AWSRequest(method="GET", url=f"{place}/{quote(filename)}")
        lifetime_s = int(URL_LIFETIME.total_seconds())
        S3SigV4QueryAuth(credentials, "s3", self._region, expires=lifetime_s).add_auth(request)
        url: str = request.prepare().url
        return url
