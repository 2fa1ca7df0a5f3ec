"""Write the tables of the benchmarks into docs/method.md: `python -m benchmarks.tables`."""

from benchmarks.tables.page import main

main()
