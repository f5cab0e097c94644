"""Settings of the static site: `python -m sphinx -W -c docs . docs/_build` makes it of README and these pages."""

from disvae import __version__ as release

project, author = "disvae", "The disvae developers"
extensions = ["myst_parser"]
myst_heading_anchors = 3  # [text](page.md#a-heading) as on a forge
root_doc = "docs/index"
include_patterns = ["README.md", "docs/*.md"]
exclude_patterns = [".venv", "outputs", "docs/_build"]
html_theme = "furo"
html_title = f"disvae {release}"
html_extra_path = ["index.html"]  # leads from the top of the site to docs/index.html
html_copy_source = html_show_copyright = False
