"""Makes the published documents of the protocol from its types; not part of the installed package.

* `docstrings`: what the structs' docstrings say of each message and field
* `schema`: JSON Schema of all messages
* `asyncapi`: the AsyncAPI document, with the error and close catalogues
* `reference`: the page MESSAGES.md, field by field
* `examples`: one full and one minimal message of each type
* `vectors`: those as golden files, with inputs that are refused and the merge rule's cases
* `files`: which file holds what

``scripts/generate_protocol`` runs it. What is made here is never edited by hand: change the
struct, its docstring or the example, and run it again.
"""
