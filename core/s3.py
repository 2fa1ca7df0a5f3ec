"""Files in an S3 bucket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from core.errors import NotFound, TransientFailure
from core.settings import Settings
from core.storage import StoredObject, sha256_of

MISSING = {"404", "NoSuchKey", "NotFound"}
DELETE_BATCH = 1000


class S3Storage:
    """Keeps files in one bucket; verifies after each put that the store holds the same number of bytes and our sha256."""

    def __init__(self, settings: Settings) -> None:
        self.bucket = settings.s3_bucket
        self._client = _client(settings, settings.s3_endpoint)
        public = settings.s3_public_endpoint
        self._public = _client(settings, public) if public else None
        self._made = False

    def put(self, key: str, source: Path | bytes, content_type: str = "application/octet-stream") -> StoredObject:
        digest = sha256_of(source)
        extra = {"ContentType": content_type, "Metadata": {"sha256": digest}}
        with _translated():
            self._make_bucket()
            if isinstance(source, bytes):
                self._client.put_object(Bucket=self.bucket, Key=key, Body=source, **extra)
            else:
                self._client.upload_file(str(source), self.bucket, key, ExtraArgs=extra)
            head = self._client.head_object(Bucket=self.bucket, Key=key)
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if head["ContentLength"] != size or head["Metadata"].get("sha256") != digest:
            raise TransientFailure("The store did not keep the file whole.", code="storage_unavailable")
        return StoredObject(key, size, digest)

    def open(self, key: str) -> BinaryIO:
        with _translated():
            return cast(BinaryIO, self._client.get_object(Bucket=self.bucket, Key=key)["Body"])

    def fetch(self, key: str, path: Path) -> StoredObject:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _translated():
            self._client.download_file(self.bucket, key, str(path))
        return StoredObject(key, path.stat().st_size, sha256_of(path))

    def url(self, key: str, *, seconds: int = 300, filename: str | None = None) -> str | None:
        if self._public is None:
            return None
        disposition = {"ResponseContentDisposition": f'attachment; filename="{filename}"'} if filename else {}
        return str(
            self._public.generate_presigned_url(
                "get_object", Params={"Bucket": self.bucket, "Key": key} | disposition, ExpiresIn=seconds
            )
        )

    def delete_prefix(self, prefix: str) -> int:
        count = 0
        with _translated():
            self._make_bucket()
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                keys = [{"Key": entry["Key"]} for entry in page.get("Contents", [])]
                for start in range(0, len(keys), DELETE_BATCH):
                    self._client.delete_objects(
                        Bucket=self.bucket, Delete={"Objects": keys[start : start + DELETE_BATCH]}
                    )
                count += len(keys)
        return count

    def _make_bucket(self) -> None:
        if self._made:
            return
        try:
            self._client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in MISSING | {"NoSuchBucket"}:
                raise
            self._client.create_bucket(Bucket=self.bucket)
        self._made = True


def _client(settings: Settings, endpoint: str | None) -> Any:
    config = Config(
        connect_timeout=5, read_timeout=60, retries={"max_attempts": 3, "mode": "standard"}, signature_version="s3v4",
        s3={"addressing_style": "path"},
        # the newer default of sending CRC32 trailers breaks most S3-compatible servers
        request_checksum_calculation="when_required", response_checksum_validation="when_required",
    )  # fmt: skip
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name=settings.s3_region, aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key, config=config,
    )  # fmt: skip


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] in MISSING:
            raise NotFound("The file is no longer stored.", code="file_gone") from error
        raise TransientFailure("The object store refused the request.", code="storage_unavailable") from error
    except (BotoCoreError, OSError) as error:
        raise TransientFailure("The object store can't be reached.", code="storage_unavailable") from error
