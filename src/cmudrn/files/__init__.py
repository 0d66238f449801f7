"""Files: which of a folder are images or clips, how results are written, who may write them."""

from cmudrn.files.kinds import (
    IMAGE_SUFFIXES,
    UNSUPPORTED_SUFFIXES,
    VIDEO_SUFFIXES,
    Kind,
    file_kind,
    holds_video,
    result_name,
)
from cmudrn.files.listing import (
    Listing,
    OutwardLinkError,
    OwnResultError,
    is_hidden,
    list_folder,
    natural_order,
)
from cmudrn.files.names import printable
from cmudrn.files.regular import NotRegularError, check_regular, open_regular
from cmudrn.files.results import find_results, result_beside
from cmudrn.files.targets import (
    atomic_file,
    cache_folder,
    check_target,
    claim_target,
    make_folder,
    replace_file,
    sync_folder,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "UNSUPPORTED_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Kind",
    "Listing",
    "NotRegularError",
    "OutwardLinkError",
    "OwnResultError",
    "atomic_file",
    "cache_folder",
    "check_regular",
    "check_target",
    "claim_target",
    "file_kind",
    "find_results",
    "holds_video",
    "is_hidden",
    "list_folder",
    "make_folder",
    "natural_order",
    "open_regular",
    "printable",
    "replace_file",
    "result_beside",
    "result_name",
    "sync_folder",
]
