"""Files in an S3 bucket."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import quote

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from core.errors import NotFound, StorageUnavailable
from core.settings import Settings
from core.storage.interface import StoredObject, sha256_of

UNKNOWN_CALL = {"NotImplemented", "MethodNotAllowed"}  # of stores that know no versions
MISSING = {"404", "NoSuchKey", "NotFound", "NoSuchBucket"}


class S3Storage:
    """Keeps files in one bucket; after each put it checks that the store holds all bytes and our sha256."""

    kind = "s3"

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
            raise StorageUnavailable("The store did not keep the file whole.", code="storage_unavailable")
        return StoredObject(key, size, digest)

    def open(self, key: str) -> BinaryIO:
        with _translated():
            return cast(BinaryIO, self._client.get_object(Bucket=self.bucket, Key=key)["Body"])

    def read(self, key: str) -> bytes:
        with _translated():
            return cast(bytes, self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def fetch(self, key: str, path: Path) -> StoredObject:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _translated():
            self._client.download_file(self.bucket, key, str(path))
        return StoredObject(key, path.stat().st_size, sha256_of(path))

    def url(self, key: str, *, seconds: int = 300, filename: str | None = None) -> str | None:
        if self._public is None:
            return None
        attachment = f"attachment; filename*=UTF-8''{quote(filename, safe='')}" if filename else "attachment"
        return str(
            self._public.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.bucket, "Key": key, "ResponseContentDisposition": attachment},
                ExpiresIn=seconds,
            )
        )

    def keys(self, prefix: str) -> list[str]:
        with _translated():
            self._make_bucket()
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix.rstrip("/")
            )
            return [entry["Key"] for page in pages for entry in page.get("Contents", []) if _within(entry, prefix)]

    def delete_prefix(self, prefix: str) -> int:
        if not prefix.rstrip("/"):
            raise NotFound("There is no such file.", code="file_gone")
        with _translated():
            self._make_bucket()
            self._abort_uploads(prefix)
            gone: set[str] = set()
            for page in self._versions(prefix):
                own = [{"Key": entry["Key"], **_version(entry)} for entry in page if _within(entry, prefix)]
                if own:
                    answer = self._client.delete_objects(Bucket=self.bucket, Delete={"Objects": own, "Quiet": True})
                    if answer.get("Errors"):
                        raise StorageUnavailable("Not all files could be deleted.", code="storage_unavailable")
                gone |= {entry["Key"] for entry in own}
        return len(gone)

    def sweep_abandoned(self, prefix: str) -> None:
        """Nothing tells whether the sender of an upload that has not ended is dead: it goes with its age."""

    def sweep(self, seconds: float) -> int:
        before = datetime.now(UTC) - timedelta(seconds=seconds)
        with _translated():
            self._make_bucket()
            return self._abort_uploads("", before)

    def _versions(self, prefix: str) -> Iterator[list[dict[str, Any]]]:
        """Yield pages of everything that is stored under a prefix: versions and delete markers, or plain objects."""
        where = {"Bucket": self.bucket, "Prefix": prefix.rstrip("/")}
        try:
            for page in self._client.get_paginator("list_object_versions").paginate(**where):
                yield [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        except ClientError as error:
            if error.response["Error"]["Code"] not in UNKNOWN_CALL:
                raise
        for page in self._client.get_paginator("list_objects_v2").paginate(**where):
            yield page.get("Contents", [])

    def _abort_uploads(self, prefix: str, before: datetime | None = None) -> int:
        """Abort multipart uploads that never ended; their parts take room and are in no list of objects."""
        count = 0
        where = {"Bucket": self.bucket, "Prefix": prefix.rstrip("/")}
        for page in self._client.get_paginator("list_multipart_uploads").paginate(**where):
            for upload in page.get("Uploads", []):
                if (not prefix or _within(upload, prefix)) and (before is None or upload["Initiated"] < before):
                    self._client.abort_multipart_upload(
                        Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
                    count += 1
        return count

    def _make_bucket(self) -> None:
        if self._made:
            return
        try:
            self._client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in MISSING:
                raise
            region = self._client.meta.region_name
            # AWS wants the region named, except for the first of its regions, which it refuses by name
            where = {"CreateBucketConfiguration": {"LocationConstraint": region}} if region != "us-east-1" else {}
            self._client.create_bucket(Bucket=self.bucket, **where)
        self._made = True


def _client(settings: Settings, endpoint: str | None) -> Any:
    config = Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"max_attempts": 3, "mode": "standard"},
        signature_version="s3v4",
        s3={"addressing_style": "path" if endpoint else "auto"},
        # the newer default of sending CRC32 trailers breaks most S3-compatible servers
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key,
        config=config,
    )


def _within(entry: dict[str, Any], prefix: str) -> bool:
    """Tell whether an object is the prefix itself or under it: job-1 is not to take job-10 with it."""
    key, prefix = str(entry["Key"]), prefix.rstrip("/")
    return key == prefix or key.startswith(prefix + "/")


def _version(entry: dict[str, Any]) -> dict[str, str]:
    number = entry.get("VersionId")
    return {"VersionId": number} if number and number != "null" else {}


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] in MISSING:
            raise NotFound("The file is no longer stored.", code="file_gone") from error
        raise StorageUnavailable("The object store refused the request.", code="storage_unavailable") from error
    except (BotoCoreError, Boto3Error) as error:  # the second is what uploads and downloads of files end with
        raise StorageUnavailable("The object store can't be reached.", code="storage_unavailable") from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        code = "disk_full" if full else "storage_unavailable"
        raise StorageUnavailable(f"The local disk can't be used ({error.strerror}).", code=code) from error
