"""Names of the standard library and of other packages in signatures: shown, but not linked, as nothing is asked of the
network at build time. A type of `leap` that leads nowhere stays an error; what a docstring merely writes in backticks
is a link if it can be one."""

from __future__ import annotations

import builtins
import sys
import typing
from typing import TYPE_CHECKING, Any

from sphinx.addnodes import pending_xref
from sphinx.util.nodes import find_pending_xref_condition, make_refnode

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

OTHER_PACKAGES = {"aiohttp", "cryptography", "msgspec", "sqlcipher3", "twisted", "zope"}


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-read", _unlink_builtins)
    app.connect("missing-reference", _outside)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _unlink_builtins(app: Sphinx, doctree: nodes.document) -> None:
    """`type[T]` in a signature is Python's own, not an attribute "type" of some class here."""
    for node in list(doctree.findall(pending_xref)):
        if node.get("refdomain") == "py" and hasattr(builtins, node["reftarget"]):
            shown = find_pending_xref_condition(node, "resolved")
            node.replace_self(node.children if shown is None else shown.children)


def _outside(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Node
) -> nodes.Node | None:
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    top = target.partition(".")[0]
    if (
        node["reftype"] == "obj"
        or top in sys.stdlib_module_names
        or top in OTHER_PACKAGES
        or hasattr(builtins, target)
        or hasattr(typing, target)
    ):
        return content
    return _through_a_package(app, env, node, content)


def _through_a_package(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Node
) -> nodes.Node | None:
    """The entry of a name that a package above its module offers: autodoc notes that for classes only."""
    domain = env.domains.python_domain
    path, _, name = node["reftarget"].rpartition(".")
    while "." in path:
        path = path.rpartition(".")[0]
        if entry := domain.objects.get(f"{path}.{name}"):
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content)
    return None
