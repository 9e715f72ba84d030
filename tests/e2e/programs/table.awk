# Arrays, strings and numbers; for mawk and gawk.
BEGIN {
  x = 42
  for (step = 0; step < 60; step++) {
    for (i = 0; i < 9000; i++) {
      x = (x * 16807) % 2147483647
      key = x % 5000
      table[key] = substr(table[key] "," step, 1, 40)
      sum += length(table[key]) / (key + 1)
    }
    n = 0
    for (key in table) n++
    printf "step %d %d %.12g\n", step, n, sum
    fflush()
  }
}
