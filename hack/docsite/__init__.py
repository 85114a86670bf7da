"""The documentation site: MkDocs over `docs/`, and the links of every Markdown file of the repository."""
