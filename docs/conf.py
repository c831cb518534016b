"""Sphinx's settings. `make docs` builds the site into build/docs, without network; warnings are errors."""

import gc
import sys
from pathlib import Path

import leap.mail as _package  # the package as it is installed, or as PYTHONPATH says

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_site"))
gc.disable()  # a build is short, and its trees are large: a quarter of the time went into walking them

project = "leap.mail"
copyright = "the authors of leap.mail, GPL-3.0-or-later"
release = version = "0.1"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "plain_docstrings",
    "pictures",
    "outside_names",
    "public_names",
]
exclude_patterns = ["_site", "_static", "formats/vectors"]
source_suffix = {".md": "markdown"}

# Markdown as it reads on a code host: anchors are made from headings the same way, and links to files stay links
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]

nitpicky = True
# Types behind the public ones: they are named in signatures, but nobody outside the package makes or reads them
nitpick_ignore_regex = [
    (
        "py:class",
        r"leap\.soledad\.(sqlite|documents|blobs\.\w+|feed|head|keyset|envelope|epoch_seal|inbox_seal|rows|wire)\.\w+",
    ),
    ("py:class", r"leap\.keymanager\.openpgp\.secret_material\.\w+"),
    (
        "py:class",
        r"Connection|Row|RowTable|LocalBlobs|Content|Authentication|Advice|Peer|BulkChange",
    ),  # aliases, written as such
    ("py:class", r"leap\.(\w+\.)+T"),  # type variables
    (
        "py:class",
        r"leap\.mail\.(choosing\.(Placed|Target)|outline\.Outline|parts\.Readable|sending\.Sendable)",
    ),
    ("py:class", r"leap\.soledad\.syncing\.status\.DeviceWord"),
    # a field with a default made anew: its signature cannot be read, and is torn
    ("py:class", r"dict\[str"),
]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "undoc-members": True}
add_module_names = False
toc_object_entries = (
    False  # sections name the classes; with all members the contents are longer than the page
)
maximum_signature_line_length = 90
python_use_unqualified_type_names = True

smartquotes = False  # pages show what their files say
html_theme = "furo"
html_title = "leap.mail"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_domain_indices = True
html_use_index = True
html_theme_options = {"navigation_with_keys": True}
html_last_updated_fmt = None

assert _package.__all__
