"""Options of commands, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RESULT = "Result"
NETWORK = "Network and speed"
VIDEO = "Video"
LIMITS = "Which files are read"

Inputs = Annotated[
    list[str],
    typer.Argument(metavar="INPUT", help="Files, folders, patterns, or - for standard input."),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="File, folder, or - for standard output. Without it photo.jpg becomes "
        "photo.restored.jpg, and the folder photos becomes photos.restored.",
    ),
]
Strength = Annotated[
    float, typer.Option(min=0, max=1, metavar="N", help="0 changes nothing, 1 is full strength.")
]
SideBySide = Annotated[
    bool, typer.Option("--side-by-side", help="Put the source at the left of the result.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing", help="Leave out files whose results exist: goes on after a stop."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON line for each file.")]
Model = Annotated[
    str, typer.Option(metavar="NAME|FILE", help="A shipped model's name, or an ONNX file.")
]

Format = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="jpeg, png, tiff, webp, avif or bmp. Without it the format of the input.",
        rich_help_panel=RESULT,
    ),
]
Quality = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=100,
        metavar="N",
        help="Quality of JPEG, WebP and AVIF. The default is 95; lossless stays lossless.",
        rich_help_panel=RESULT,
    ),
]
Subsampling = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="JPEG colours: 444 keeps all, 420 a quarter, auto decides by quality.",
        rich_help_panel=RESULT,
    ),
]
Layers = Annotated[
    bool,
    typer.Option(
        "--layers",
        help="Also write what was removed, by branch: photo.removed-rain.png and so on. Grey 128 "
        "is nothing, brighter is light taken away.",
        rich_help_panel=RESULT,
    ),
]
Gate = Annotated[
    bool,
    typer.Option(
        "--gate",
        help="Leave pictures and frames untouched whose weather score says clear.",
        rich_help_panel=RESULT,
    ),
]
Score = Annotated[
    bool,
    typer.Option(
        "--score",
        help="Print the weather score. For a clip, write each frame's to NAME.weather.csv.",
        rich_help_panel=RESULT,
    ),
]
ChangeGating = Annotated[
    bool,
    typer.Option(
        " /--no-change-gating",
        help="Also make changes that are too faint to be weather. They are mostly gleams and "
        "letters.",
        show_default=False,
        rich_help_panel=RESULT,
    ),
]
Dehaze = Annotated[
    bool | None,
    typer.Option(
        "--dehaze/--no-dehaze",
        help="Take the haze off the scene, or leave it. By default it is taken off pictures with "
        "much rain or snow, not off clips and streams.",
        show_default=False,
        rich_help_panel=RESULT,
    ),
]
Evidence = Annotated[
    bool,
    typer.Option(
        "--evidence",
        help="Mark results as enhanced (XMP) and write a record beside each, which `cmudrn "
        "verify` checks.",
        rich_help_panel=RESULT,
    ),
]

Stages = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Outer recursions. Fewer are faster.", rich_help_panel=NETWORK
    ),
]
Recursions = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Inner recursions. Fewer are faster.", rich_help_panel=NETWORK
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What runs the network: auto (the fastest), native, onnx or openvino.",
        rich_help_panel=NETWORK,
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="auto, fp32 or bf16. auto is bfloat16 where it is faster and as good.",
        rich_help_panel=NETWORK,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="cpu, auto (a graphics card if one works), or one that ONNX Runtime was built for: "
        "cuda, tensorrt, migraphx, directml, coreml or openvino.",
        rich_help_panel=NETWORK,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Processor threads. Without it one for each core.",
        rich_help_panel=NETWORK,
    ),
]
Budget = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="MS",
        help="Milliseconds for the network on one picture. Stages, recursions and threads are "
        "chosen to fit what `cmudrn bench` measured.",
        rich_help_panel=NETWORK,
    ),
]

Codec = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="h264, hevc, vp9, av1, ffv1 or prores. Without it that of the clip, or h264.",
        rich_help_panel=VIDEO,
    ),
]
Crf = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=63,
        metavar="N",
        help="Quality of the codec. Less is better.",
        rich_help_panel=VIDEO,
    ),
]
PixelFormat = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="FFmpeg's name, such as yuv420p. Without it that of the clip.",
        rich_help_panel=VIDEO,
    ),
]
Temporal = Annotated[
    bool,
    typer.Option(
        " /--no-temporal",
        help="Restore each frame of a clip or stream by itself, without its neighbours in time.",
        show_default=False,
        rich_help_panel=VIDEO,
    ),
]
Frames = Annotated[
    tuple[str, str] | None,
    typer.Option(
        metavar="LAYOUT SIZE",
        help="Standard input and output carry raw frames, such as rgb24 640x480.",
        rich_help_panel=VIDEO,
    ),
]

FollowLinks = Annotated[
    bool,
    typer.Option(
        "--follow-links",
        help="Also read links in a folder that lead to files outside it.",
        rich_help_panel=LIMITS,
    ),
]
MaxPixels = Annotated[
    int,
    typer.Option(min=1, metavar="N", help="Refuse larger pictures.", rich_help_panel=LIMITS),
]
MaxBytes = Annotated[
    int, typer.Option(min=1, metavar="N", help="Refuse larger files.", rich_help_panel=LIMITS)
]

Outputs = Annotated[
    list[Path], typer.Argument(metavar="OUTPUT", help="Files restored with --evidence.")
]
