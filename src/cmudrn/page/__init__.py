"""The page that people restore photographs with: of the server, or of the browser alone.

`assets/` holds what both share, and a backend for each. `build_page` makes a folder that needs no
server of ours: its visitors' browsers run the network, compiled to WebAssembly from the native
engine's sources.
"""

from cmudrn.page.build import ASSETS, SERVED, build_page

__all__ = ["ASSETS", "SERVED", "build_page"]
