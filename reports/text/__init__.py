"""Sentences of the report: verdict, paired comparisons, glossary."""
