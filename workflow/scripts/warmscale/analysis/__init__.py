"""From published runs to tables, figures and a report. Only here: pandas, pyarrow, seaborn, scipy, jinja2.

This file and `catalogue` import none of them: every batch job parses the rules, which ask the catalogue for names.
"""
