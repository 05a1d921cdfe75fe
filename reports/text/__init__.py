"""Sentences of the report: verdict, glossary, Markdown summary."""
