"""Every knob of the service, read once from the environment as ALBATROSS_<NAME>."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.errors import InvalidInput
from core.keys.keyring import Keyring, parsed

# sockaddr_un holds 108 bytes; a longer path can't be bound
MAX_SOCKET_PATH = 100
OWN_SECONDS = 900  # also what estimates count with, which are not told of a service's own limit
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# absolute, because other processes are started in other folders
Place = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class Settings(BaseSettings):
    """Knobs with working defaults: an embedded service over SQLite, a local folder and its own broker."""

    model_config = SettingsConfigDict(
        env_prefix="ALBATROSS_",
        frozen=True,
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,  # the input is all settings, passwords among them
    )

    data: Place = Field(
        default=Path("albatross-data"),
        validate_default=True,
        description="folder of everything that is kept or cached on this machine",
    )
    database_url: str | None = Field(
        default=None, repr=False, description="SQLAlchemy URL; unset: SQLite in the data folder"
    )
    broker_url: str | None = Field(
        default=None, repr=False, description="Redis or Valkey URL; unset: `serve` runs its own Valkey"
    )
    storage: Literal["local", "s3"] = Field(
        default="local", description="where files live: the data folder or an S3 bucket"
    )
    s3_endpoint: str | None = Field(default=None, description="S3 endpoint URL; unset: AWS")
    s3_public_endpoint: str | None = Field(
        default=None, description="S3 endpoint that clients reach, for presigned URLs"
    )
    s3_bucket: str = Field(default="albatross", description="S3 bucket, made on first use")
    s3_region: str = Field(default="us-east-1", description="S3 region")
    s3_access_key: str | None = Field(default=None, repr=False, description="S3 access key")
    s3_secret_key: str | None = Field(default=None, repr=False, description="S3 secret key")
    signing_secret: Annotated[str | None, AfterValidator(lambda text: _usable_keys(text))] = Field(
        default=None,
        repr=False,
        description="signs download URLs and receipts, encrypts secrets; older ones may follow, each after a comma; "
        "unset: made and kept in the data folder",
    )

    host: str = Field(default="127.0.0.1", description="address that `serve` listens on")
    port: int = Field(default=8000, ge=0, le=65535, description="port that `serve` listens on")
    public_url: str | None = Field(
        default=None, description="address that clients use, where it is not http://host:port"
    )

    log_format: Literal["auto", "text", "json"] = Field(
        default="auto", description="lines of the log: text, json, or text on a terminal and JSON elsewhere"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least important lines that are still logged"
    )

    queue: str = Field(default="gpu.default", description="queue that new jobs join and that this worker serves")
    lease_seconds: PositiveFloat = Field(default=60, description="a worker that is silent for so long has lost its job")
    heartbeat_seconds: PositiveFloat = Field(
        default=15, description="how often a worker renews its lease and asks for orders"
    )
    dispatcher_seconds: PositiveFloat = Field(default=5, description="pause between two rounds of the dispatcher")
    wake_again_seconds: PositiveFloat = Field(
        default=60, description="a queued job's wake-up is sent again after so long"
    )
    max_crashes: PositiveInt = Field(default=3, description="a job that loses so many workers at one place is failed")
    max_retries: NonNegativeInt = Field(default=5, description="attempts after faults at one place before a job fails")
    retry_seconds: NonNegativeFloat = Field(default=10, description="delay before the first retry; doubles each time")
    cancel_grace_seconds: NonNegativeFloat = Field(default=30, description="time a trainer has to stop by itself")
    save_seconds: NonNegativeFloat = Field(
        default=60, description="a stage saves where it stands this often, and when its worker shuts down"
    )
    live_share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.25,
        description="share of the training time in which kept steps are sampled at once, at most; 0: all at the end",
    )
    own_seconds: PositiveFloat = Field(
        default=OWN_SECONDS,
        description="longest time for which a backbone makes samples of its own, once, for jobs that are protected on "
        "these; too few of them are gone on with by the next job",
    )
    stall_seconds: PositiveFloat = Field(default=600, description="a stage without progress for so long is killed")
    min_free_bytes: NonNegativeInt = Field(
        default=200_000_000, description="a worker with less room on its disk takes no job"
    )
    account_job_limit: PositiveInt = Field(default=4, description="jobs of one account that run at once")
    active_job_limit: PositiveInt = Field(
        default=10, description="jobs of one account that may be queued, running or paused"
    )
    jobs_per_minute: PositiveInt = Field(default=60, description="jobs that an account may create within a minute")
    requests_per_minute: NonNegativeInt = Field(
        default=3000, description="requests of one account within a minute, over all API processes; 0: no limit"
    )
    account_bytes: PositiveInt | None = Field(
        default=20_000_000_000, description="bytes that an account may store, unless it has a limit of its own"
    )
    account_gpu_seconds: PositiveFloat | None = Field(
        default=None, description="GPU seconds an account may spend in 30 days, unless it has a limit of its own"
    )
    job_gpu_seconds: PositiveFloat = Field(
        default=86_400, description="GPU seconds after which a job is ended; so many are set aside for it"
    )
    job_bytes: NonNegativeInt = Field(
        default=200_000_000,
        description="bytes that are set aside for a job's files until it ends, where no job of its backbone has told",
    )
    tidy_seconds: NonNegativeFloat = Field(default=86_400, description="what an ended job left is erased after so long")
    retention_days: PositiveFloat | None = Field(default=None, description="when ended jobs are erased; unset: never")
    unused_upload_days: PositiveFloat | None = Field(
        default=None, description="uploads that no job has used are erased after so long; unset: never"
    )

    webhook_private_networks: Annotated[str, AfterValidator(lambda text: _named_networks(text))] = Field(
        default="",
        description="networks, as 10.1.0.0/16,127.0.0.0/8, that webhooks may go to though they are not public, also "
        "over http and to any port; name only such where nothing but receivers listens",
    )
    webhook_seconds: PositiveFloat = Field(default=10, description="time that one request of a webhook may take in all")
    webhook_retry_seconds: PositiveFloat = Field(
        default=5, description="delay before a webhook's second try; those before the others are 60 to 6480 times that"
    )
    webhook_endpoint_limit: PositiveInt = Field(default=10, description="webhook endpoints that an account may have")
    webhook_disable_days: PositiveFloat = Field(
        default=3, description="an endpoint that took nothing for so long is disabled when a delivery is given up"
    )
    webhook_log_days: PositiveFloat = Field(
        default=30, description="ended webhook deliveries are forgotten after so long"
    )

    max_file_bytes: PositiveInt = Field(default=500_000_000, description="largest upload")
    max_image_bytes: PositiveInt = Field(default=15_000_000, description="largest single image")
    max_image_pixels: PositiveInt = Field(
        default=40_000_000,
        description="most pixels of an image; JPEG is decoded smaller where it has more, up to 200 million",
    )
    min_image_side: PositiveInt = Field(default=16, description="smallest side of an image in pixels")
    max_image_side: PositiveInt = Field(
        default=8192, description="largest side of an image in pixels; what is longer is scaled down"
    )
    max_images: PositiveInt = Field(default=100, description="most images of a job")
    max_items: PositiveInt = Field(default=10_000, description="most texts of a job")
    max_text_bytes: PositiveInt = Field(default=20_000_000, description="largest text upload")
    max_caption_characters: PositiveInt = Field(default=2_000, description="longest caption or prompt")
    body_silence_seconds: PositiveFloat = Field(
        default=30, description="a request whose body pauses for so long is given up"
    )
    min_body_rate: PositiveInt = Field(
        default=16_000, description="bytes a second at which a body must come, counted after body_silence_seconds"
    )
    readers: PositiveInt = Field(default=2, description="uploads that are decoded at once; others wait their turn")
    reader_memory_bytes: PositiveInt = Field(
        default=2 << 30, description="address space of one decoder; the largest picture takes 1.3 GiB"
    )
    reader_cpu_seconds: PositiveInt = Field(
        default=30, description="CPU time of one decoder, and one second more for each megabyte of the upload"
    )

    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="torch device of the trainer: auto, cpu or cuda"
    )
    threads: NonNegativeInt = Field(default=0, description="CPU threads of the trainer; 0: all cores")
    device_memory_bytes: NonNegativeInt = Field(
        default=0,
        description="of the device, that jobs plan their sizes by; 0: what is free on a GPU, and no plan on a CPU",
    )
    stop: Literal["auto", "cs_fluctuation", "matched_loss", "max_steps"] = Field(
        default="auto", description="default stopping rule"
    )
    trainer: str | None = Field(default=None, description="command that runs the trainer in place of this Python's own")
    sandbox: Literal["auto", "off", "require"] = Field(
        default="auto", description="trainers run in a bubblewrap sandbox: where it works, never, or always"
    )
    share_trainers: bool = Field(
        default=False,
        description="accounts share warm trainers and what these encode; only where all accounts are one owner's",
    )
    max_trainer_file_bytes: PositiveInt = Field(
        default=20_000_000_000, description="largest single file that a trainer may write"
    )
    keep_trainer_output: bool = Field(
        default=False,
        description="keep all that trainers print, which may be captions, prompts and file names that people sent, in "
        "trainer-output in the data folder: a file an attempt, until the job is tidied up or erased",
    )
    trainer_idle_seconds: NonNegativeFloat = Field(
        default=300, description="an idle trainer keeps its backbone loaded for so long"
    )
    backbones: Place | None = Field(
        default=None, description="registry file of added backbones; unset: backbones.json in data"
    )
    presets: Place | None = Field(
        default=None, description="folder of an operator's own presets; unset: presets in data"
    )
    taggers: Place | None = Field(
        default=None, description="registry file of captioning models; unset: taggers.json in data"
    )

    model_aliases: dict[str, str] = Field(
        default_factory=dict,
        description='other names of backbones, as JSON: {"gpt-4o-mini-2024-07-18": "smollm2-135m"}',
    )

    @model_validator(mode="after")
    def _leases_outlive_a_missed_heartbeat(self) -> Settings:
        if self.heartbeat_seconds > self.lease_seconds / 2:
            raise ValueError("heartbeat_seconds must be at most half of lease_seconds")
        return self

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.data}/albatross.db"

    @property
    def broker_socket(self) -> Path:
        """Unix socket of the embedded broker: in the data folder, or in /tmp where that path is too long to bind."""
        socket = self.data / "broker.sock"
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
    def webhook_networks(self) -> tuple[Network, ...]:
        """The networks that webhooks may go to though they are not public."""
        return _networks(self.webhook_private_networks)

    @property
    def presets_folder(self) -> Path:
        """The folder that holds an operator's own presets."""
        return self.presets or self.data / "presets"

    @property
    def taggers_file(self) -> Path:
        """The JSON file that holds captioning models."""
        return self.taggers or self.data / "taggers.json"

    @property
    def keyring(self) -> Keyring:
        """The keys that sign and encrypt; a first one is made with mode 0600 where none is set."""
        if self.signing_secret:
            return Keyring(given=tuple(self.signing_secret.split(",")))
        return Keyring(file=self.data / "signing.key")


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def _named_networks(text: str) -> str:
    _networks(text)  # raises ValueError
    return text


def _usable_keys(text: str | None) -> str | None:
    try:
        if text is not None:
            parsed(text.split(","))
    except InvalidInput as error:
        raise ValueError(error.message) from None
    return text
