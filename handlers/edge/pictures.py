"""Picture URLs: presigned for this Region, kept in the database until shortly before they expire."""

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import UUID

from sql.connection import Database
from sql.reads import Picture, keep_picture_urls

#: How long a presigned URL is good for. A function's credentials, which sign it, outlive that.
URL_LIFETIME = timedelta(hours=1)

#: A kept URL is given away no later than this before it expires, so that a page can still load its pictures.
URL_MARGIN = timedelta(minutes=10)


class PictureUrls:
    """Gives URLs of pictures in one bucket. Where there is no bucket, no picture has a URL."""

    def __init__(self, bucket: str | None, region: str) -> None:
        self._bucket = bucket
        self._region = region

    def resolve(self, database: Database, pictures: Iterable[Picture], now: datetime) -> dict[UUID, str]:
        """Give each picture's URL: the kept one where it is fresh, else a new one, which is then kept."""
        if self._bucket is None:
            return {}
        naive = now.astimezone(UTC).replace(tzinfo=None)
        oldest = naive - (URL_LIFETIME - URL_MARGIN)
        urls: dict[UUID, str] = {}
        presigned: dict[UUID, str] = {}
        for picture in pictures:
            if picture.url is not None and picture.created is not None and picture.created > oldest:
                urls[picture.image_id] = picture.url
            elif picture.image_id not in presigned:
                presigned[picture.image_id] = self._presign(picture.filename)
        if presigned:
            keep_picture_urls(database, self._region, presigned, naive)
        return urls | presigned

    def _presign(self, filename: str) -> str:
        # botocore's signer alone, and only once a URL is due: a boto3 client costs a start 150 ms.
        from botocore.auth import S3SigV4QueryAuth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import EnvProvider

        credentials = EnvProvider().load()
        if credentials is None:
            raise RuntimeError("No AWS credentials in the environment to sign picture URLs with.")
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
