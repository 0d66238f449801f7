"""More weathers by name: what the first seven do not show, made in other ways than theirs."""

from __future__ import annotations

from cmudrn.weather.driving import DrivingSnow
from cmudrn.weather.editor import EditorRain, EditorSnow
from cmudrn.weather.haze import Veil
from cmudrn.weather.lines import LineRain
from cmudrn.weather.lit import LitRain
from cmudrn.weather.local import LocalRain, LocalSnow
from cmudrn.weather.misty import MistyRain
from cmudrn.weather.rain import Rain
from cmudrn.weather.snow import Flakes, Snow
from cmudrn.weather.weather import Weather

SHOWER = Rain(
    coverage=(0.05, 0.6),
    length_px=(8, 70),
    width_px=(0.7, 3.0),
    opacity=(0.25, 0.9),
    spread_deg=(0.3, 3.0),
    directions=2,
    light=(0.7, 1.0),
)

WIDER: dict[str, Weather] = {
    "editor-rain": EditorRain(
        fields=3,
        grain_px=(0.3, 1.6),
        coverage=(0.002, 0.12),
        length_px=(6, 90),
        defocus_px=(0.0, 0.8),
        opacity=(0.15, 0.95),
        angle_deg=(-45, 45),
    ),
    "editor-snow": EditorSnow(
        fields=4,
        grain_px=(0.5, 4.0),
        coverage=(0.002, 0.05),
        length_px=(1, 16),
        defocus_px=(0.0, 2.0),
        opacity=(0.25, 1.0),
        angle_deg=(-80, 80),
        directions=0.5,
        light=(0.75, 1.0),
        blends=("add", "screen", "alpha", "alpha"),
    ),
    "thin-rain": Rain(
        coverage=(0.02, 0.7),
        length_px=(4, 30),
        width_px=(0.5, 1.6),
        opacity=(0.3, 1.0),
        spread_deg=(0.0, 3.0),
        directions=2,
        defocus=(0.05, 0.6),
        light=(0.65, 1.0),
    ),
    "dense-rain": Rain(
        coverage=(0.3, 1.5),
        length_px=(12, 90),
        width_px=(0.8, 3.5),
        opacity=(0.3, 1.0),
        tilt_deg=(-60, 60),
        spread_deg=(0.0, 3.0),
        directions=5,
        attenuation=0.3,
        light=(0.7, 1.0),
    ),
    "line-rain": LineRain(),
    "lit-rain": LitRain(
        rain=Rain(
            coverage=(0.05, 0.8),
            length_px=(6, 90),
            width_px=(0.6, 3.0),
            opacity=(0.3, 1.0),
            attenuation=0.2,
            light=(0.7, 1.0),
            tint=0.2,
        ),
    ),
    "near-rain": Rain(
        coverage=(0.02, 0.35),
        length_px=(30, 220),
        width_px=(4, 16),
        opacity=(0.06, 0.4),
        spread_deg=(0.5, 5.0),
        defocus=(0.9, 2.0),
        light=(0.7, 1.0),
    ),
    "wet-snow": Snow(
        layers=(
            Flakes((60, 4000), (1.2, 4.5), (0.3, 0.95), (2, 9), (0.3, 0.9), 0.1, 5.0),
            Flakes((10, 300), (4, 12), (0.2, 0.9), (1.2, 5), (0.4, 1.2), 0.2, 10.0),
        ),
        scale=(0.6, 1.6),
        fall_deg=(-85, 85),
        light=(0.75, 1.0),
    ),
    "driving-snow": DrivingSnow(),
    "misty-rain": MistyRain(rain=SHOWER, veil=Veil((0.35, 0.95), (0.6, 0.95))),
    "local-rain": LocalRain(weather=SHOWER),
    "local-snow": LocalSnow(
        weather=Snow(
            layers=(
                Flakes((500, 8000), (1.2, 6), (0.3, 0.9), softness=(0.4, 1.4)),
                Flakes((10, 300), (5, 16), (0.2, 0.8), (1.0, 3.0), (0.4, 1.6)),
            ),
            scale=(0.6, 1.6),
            light=(0.8, 1.0),
        )
    ),
}
