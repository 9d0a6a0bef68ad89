"""What an import would do, or has done, for people and programs: terminal, JSON, Markdown, HTML. Pure."""
