"""Sections of the report: one module each, listed in `skyduel.reports.sections.all_sections`."""
