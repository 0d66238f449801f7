"""Picture files and arrays: every pixel type, orientation and metadata survive."""

from cmudrn.files import IMAGE_SUFFIXES, atomic_file
from cmudrn.image.picture import (
    Image,
    Picture,
    Pixels,
    check_array,
    from_batch,
    from_float,
    put_float,
    put_pixels,
    to_batch,
    to_float,
    to_rgb,
)
from cmudrn.image.reading import MAX_BYTES, MAX_PIXELS, read_bytes, read_image, read_picture
from cmudrn.image.writing import (
    FORMATS,
    QUALITY,
    SUBSAMPLINGS,
    encode_picture,
    format_for,
    unsupported_features,
    write_image,
    write_picture,
)

__all__ = [
    "FORMATS",
    "IMAGE_SUFFIXES",
    "MAX_BYTES",
    "MAX_PIXELS",
    "QUALITY",
    "SUBSAMPLINGS",
    "Image",
    "Picture",
    "Pixels",
    "atomic_file",
    "check_array",
    "encode_picture",
    "format_for",
    "from_batch",
    "from_float",
    "put_float",
    "put_pixels",
    "read_bytes",
    "read_image",
    "read_picture",
    "to_batch",
    "to_float",
    "to_rgb",
    "unsupported_features",
    "write_image",
    "write_picture",
]
