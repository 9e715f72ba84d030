// An OpenMP program: a relaxation over a grid, the same result whatever the threads do.
#include <omp.h>
#include <stdio.h>

enum { kSize = 600, kSteps = 60 };
static double grid[2][kSize][kSize];

int main(void) {
  omp_set_num_threads(3);
  for (int i = 0; i < kSize; i++)
    for (int j = 0; j < kSize; j++) grid[0][i][j] = (double)((i * 7919 + j * 104729) % 1000);
  for (int step = 0; step < kSteps; step++) {
    for (int sweep = 0; sweep < 20; sweep++) {
      double(*from)[kSize] = grid[sweep & 1], (*to)[kSize] = grid[!(sweep & 1)];
#pragma omp parallel for schedule(dynamic, 16)
      for (int i = 1; i < kSize - 1; i++)
        for (int j = 1; j < kSize - 1; j++)
          to[i][j] = 0.25 * (from[i - 1][j] + from[i + 1][j] + from[i][j - 1] + from[i][j + 1]);
    }
    double sum = 0;
    for (int i = 0; i < kSize; i++)
      for (int j = 0; j < kSize; j++) sum += grid[0][i][j] * (i ^ j);
    printf("step %d %.17g\n", step, sum);
    fflush(stdout);
  }
  return 0;
}
