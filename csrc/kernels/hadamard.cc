#include "kernels/hadamard.h"

#include <cmath>

namespace tropilla {
namespace {

// x and y to x + y and x - y, `n` times.
void butterfly(float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float sum = x[i] + y[i], difference = x[i] - y[i];
    x[i] = sum;
    y[i] = difference;
  }
}

}  // namespace

void hadamard(float* head, int64_t head_dim) {
  const int64_t block = head_dim & -head_dim;  // the largest power of two that divides it
  for (int64_t half = 1; half < block; half *= 2) {
    for (int64_t i = 0; i < head_dim; i += 2 * half) butterfly(head + i, head + i + half, half);
  }
  const float scale = 1.0f / std::sqrt(static_cast<float>(block));
  for (int64_t i = 0; i < head_dim; ++i) head[i] *= scale;
}

}  // namespace tropilla
