"""Tables of docs/method.md, made from the records of the benchmarks."""
