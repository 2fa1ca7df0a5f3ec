"""Every knob of the service, read once from the environment as ALBATROSS_<NAME>."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

# sockaddr_un holds 108 bytes; a longer path can't be bound
MAX_SOCKET_PATH = 100


class Settings(BaseSettings):
    """Knobs with working defaults: an embedded service over SQLite, a local folder and its own broker."""

    model_config = SettingsConfigDict(env_prefix="ALBATROSS_", frozen=True, env_ignore_empty=True, extra="ignore")

    data: Path = Field(
        Path("albatross-data"), description="folder of everything that is kept or cached on this machine"
    )
    database_url: str | None = Field(None, description="SQLAlchemy URL; unset: SQLite in the data folder")
    broker_url: str | None = Field(None, description="Redis or Valkey URL; unset: `serve` runs its own Valkey")
    storage: Literal["local", "s3"] = Field("local", description="where files live: the data folder or an S3 bucket")
    s3_endpoint: str | None = Field(None, description="S3 endpoint URL; unset: AWS")
    s3_public_endpoint: str | None = Field(None, description="S3 endpoint that clients reach, for presigned URLs")
    s3_bucket: str = Field("albatross", description="S3 bucket, made on first use")
    s3_region: str = Field("us-east-1", description="S3 region")
    s3_access_key: str | None = Field(None, description="S3 access key")
    s3_secret_key: str | None = Field(None, description="S3 secret key")
    signing_secret: str | None = Field(
        None, description="signs local download URLs; unset: made and kept in the data folder"
    )

    host: str = Field("127.0.0.1", description="address that `serve` listens on")
    port: int = Field(8000, description="port that `serve` listens on")
    public_url: str | None = Field(None, description="address that clients use, where it is not http://host:port")

    queue: str = Field("gpu.default", description="queue that new jobs join and that this worker serves")
    lease_seconds: float = Field(60, description="a worker that is silent for so long has lost its job")
    heartbeat_seconds: float = Field(15, description="how often a worker renews its lease and asks for orders")
    dispatcher_seconds: float = Field(5, description="pause between two rounds of the dispatcher")
    wake_again_seconds: float = Field(60, description="a queued job's wake-up is sent again after so long")
    max_crashes: int = Field(3, description="a job that has lost so many workers is failed")
    max_retries: int = Field(5, description="attempts after passing faults before a job is failed")
    retry_seconds: float = Field(10, description="delay before the first retry; doubles each time")
    cancel_grace_seconds: float = Field(30, description="time a trainer has to stop by itself")
    stall_seconds: float = Field(600, description="a stage without progress for so long is killed")
    account_job_limit: int = Field(4, description="jobs of one account that run at once")
    active_job_limit: int = Field(10, description="jobs of one account that may be queued or running")

    max_file_bytes: int = Field(500_000_000, description="largest upload")
    max_image_bytes: int = Field(15_000_000, description="largest single image")
    max_image_pixels: int = Field(40_000_000, description="most pixels of an image")
    min_image_side: int = Field(16, description="smallest side of an image in pixels")
    max_image_side: int = Field(8192, description="largest side of an image in pixels")
    max_images: int = Field(100, description="most images of a job")
    max_items: int = Field(10_000, description="most texts of a job")
    max_text_bytes: int = Field(20_000_000, description="largest text upload")
    max_caption_characters: int = Field(2_000, description="longest caption or prompt")

    device: str = Field("auto", description="torch device of the trainer: auto, cpu or cuda")
    threads: int = Field(0, description="CPU threads of the trainer; 0: all cores")
    stop: Literal["auto", "cs_fluctuation", "matched_loss", "max_steps"] = Field(
        "auto", description="default stopping rule"
    )
    trainer: str | None = Field(
        None, description="command that runs the trainer, for example inside a sandbox; unset: this Python's own"
    )
    trainer_idle_seconds: float = Field(300, description="an idle trainer keeps its backbone loaded for so long")
    backbones: Path | None = Field(None, description="registry file of added backbones; unset: backbones.json in data")

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.data.resolve()}/albatross.db"

    @property
    def broker_socket(self) -> Path:
        """Unix socket of the embedded broker: in the data folder, or in /tmp where that path is too long to bind."""
        socket = self.data.resolve() / "broker.sock"
        if len(os.fsencode(socket)) <= MAX_SOCKET_PATH:
            return socket
        return Path("/tmp") / f"albatross-{hashlib.sha256(os.fsencode(socket)).hexdigest()[:16]}.sock"

    @property
    def broker(self) -> str:
        """The broker URL in force."""
        return self.broker_url or f"redis+socket://{self.broker_socket}"

    @property
    def registry_file(self) -> Path:
        """The JSON file that holds added backbones."""
        return self.backbones or self.data / "backbones.json"

    @property
    def secret(self) -> str:
        """The secret that signs local URLs, made once with mode 0600 where none is set."""
        if self.signing_secret:
            return self.signing_secret
        path = self.data / "signing.key"
        try:
            self.data.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_text().strip()
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        return path.read_text().strip()
