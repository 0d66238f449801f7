"""What /models and /health answer, as JSON and in the description of the API."""

from __future__ import annotations

from pydantic import BaseModel, Field

from cmudrn.models import ModelInfo, shipped_models
from cmudrn.server.limits import MAX_DEPTH, Limits


class ModelRecord(BaseModel):
    """One served model."""

    name: str
    network: str
    tasks: list[str]
    stages: int = Field(ge=0)
    recursions: int = Field(ge=0)
    adjustable: bool
    dehazes: bool
    parameters: int = Field(ge=0)
    sha256: str
    description: str
    trained_on: str
    licence: str

    @classmethod
    def of(cls, name: str, info: ModelInfo) -> ModelRecord:
        """Return the record of a model that is served by a name."""
        shipped = shipped_models().get(name)
        return cls(
            name=name,
            network=info.network,
            tasks=list(info.tasks),
            stages=info.stages,
            recursions=info.recursions,
            adjustable=info.adjustable,
            dehazes=bool(info.veil_weights),
            parameters=info.parameters,
            sha256=info.sha256,
            description=shipped.description if shipped else "",
            trained_on=shipped.trained_on if shipped else "",
            licence=shipped.licence if shipped else str(info.metadata.get("licence", "")),
        )


class LimitsRecord(BaseModel):
    """What one request may take."""

    bytes: int = Field(ge=0)
    pixels: int = Field(ge=0)
    layer_pixels: int = Field(ge=0)
    seconds: float
    depth: int = Field(ge=0, description="Largest stages or recursions.")

    @classmethod
    def of(cls, limits: Limits) -> LimitsRecord:
        """Return what clients need to know of the limits."""
        return cls(
            bytes=limits.bytes,
            pixels=limits.pixels,
            layer_pixels=limits.layer_pixels,
            seconds=limits.seconds,
            depth=MAX_DEPTH,
        )


class ModelList(BaseModel):
    """The models and the limits of a request."""

    default: str
    models: list[ModelRecord]
    limits: LimitsRecord


class Health(BaseModel):
    """That the server is up, and how busy it is."""

    status: str
    version: str
    running: int = Field(ge=0, description="Pictures being restored.")
    waiting: int = Field(ge=0, description="Whole pictures that wait, or whose answer is sent.")
    receiving: int = Field(ge=0, description="Pictures that are arriving.")
