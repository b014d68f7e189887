"""Reports: groups, tables, plots and published figures."""
