"""Tests, intervals and verdicts over seeds. Pure: numbers in, numbers out; numpy, scipy and statsmodels only."""
