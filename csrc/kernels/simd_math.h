// Element-wise kernels for any instruction set; see simd_unpack.h for how this file is included.

// The last, partial vector of an array goes through a buffer.
inline Floats load_upto(const float* x, int64_t n) {
  if (n >= kLanes) return load(x);
  float buffer[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) buffer[i] = x[i];
  return load(buffer);
}

inline void store_upto(float* out, Floats value, int64_t n) {
  if (n >= kLanes) return store(out, value);
  float buffer[kLanes];
  store(buffer, value);
  for (int64_t i = 0; i < n; ++i) out[i] = buffer[i];
}

inline float minus_infinity() { return as_float(-0x800000); }

// 2**n for n in [-126, 127].
inline Floats power_of_two(Ints n) { return as_floats(shift_ints<23>(add_ints(n, splat_int(127)))); }

// e**x within 4 units of 2**-24: x = n ln 2 + r with |r| <= ln(2) / 2, then r's Taylor polynomial, whose
// remainder r**8 / 8! is below 2**-27. -inf gives 0, what is too large inf, NaN itself. The power goes
// in by two factors because neither 2**128 nor 2**-150 is a float.
inline Floats exp(Floats x) {
  x = min(splat(89.0f), max(splat(-104.0f), x));
  const Ints n = round_to_ints(mul(x, splat(1.44269504f)));
  const Floats n_float = to_floats(n);
  const Floats r = fma(n_float, splat(1.90465421e-9f), fma(n_float, splat(-0.693147182f), x));
  Floats p = splat(1.0f / 5040);
  p = fma(p, r, splat(1.0f / 720));
  p = fma(p, r, splat(1.0f / 120));
  p = fma(p, r, splat(1.0f / 24));
  p = fma(p, r, splat(1.0f / 6));
  p = fma(p, r, splat(0.5f));
  p = fma(p, r, splat(1.0f));
  p = fma(p, r, splat(1.0f));
  const Ints half = shift_ints<-1>(n);
  return mul(mul(p, power_of_two(half)), power_of_two(sub_ints(n, half)));
}

void quantize_block(const float* x, int8_t* q, float* scale, int32_t* sums) {
  Ints magnitudes = splat_int(0);
  for (int i = 0; i < kActivationBlock; i += kLanes) {
    magnitudes = max_ints(magnitudes, magnitude_bits(load(x + i)));
  }
  const float amax = as_float(max_of_ints(magnitudes));
  *scale = quantize_rule::scale(amax);
  const float inverse = quantize_rule::inverse(amax);
  Ints sum[2] = {splat_int(0), splat_int(0)};
  TROPILLA_UNROLL
  for (int i = 0; i < kActivationBlock; i += kLanes) {
    const Ints rounded = inverse == 0.0f ? splat_int(0) : round_to_ints(mul(load(x + i), splat(inverse)));
    store_i8(q + i, rounded);
    sum[i / kSumBlock] = add_ints(sum[i / kSumBlock], rounded);
  }
  sums[0] = sum_of_ints(sum[0]);
  sums[1] = sum_of_ints(sum[1]);
}

void quantize(const float* x, int64_t n, int8_t* q, float* scale, int32_t* sums) {
  for (int64_t i = 0; i < n; i += kActivationBlock) {
    quantize_block(x + i, q + i, scale + i / kActivationBlock, sums + i / kSumBlock);
  }
}

void rms_norm(const float* x, const float* weight, int64_t n, float eps, float* out) {
  Floats even = splat(0.0f), odd = splat(0.0f);
  for (int64_t i = 0; i < n; i += 2 * kLanes) {
    const Floats a = load_upto(x + i, n - i);
    even = fma(a, a, even);
    if (i + kLanes >= n) break;
    const Floats b = load_upto(x + i + kLanes, n - i - kLanes);
    odd = fma(b, b, odd);
  }
  const Floats scale = splat(1.0f / square_root(sum_of(add(even, odd)) / float(n) + eps));
  for (int64_t i = 0; i < n; i += kLanes) {
    const Floats scaled = mul(load_upto(x + i, n - i), scale);
    store_upto(out + i, mul(scaled, load_upto(weight + i, n - i)), n - i);
  }
}

void add_arrays(float* x, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) {
    store_upto(x + i, add(load_upto(x + i, n - i), load_upto(y + i, n - i)), n - i);
  }
}

void silu_mul(const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const Floats g = load_upto(gate + i, n - i);
    const Floats silu = div(g, add(splat(1.0f), exp(sub(splat(0.0f), g))));
    store_upto(out + i, mul(silu, load_upto(up + i, n - i)), n - i);
  }
}

void rope(float* heads, int64_t n_heads, int64_t head_dim, const float* cos_sin) {
  for (int64_t i = 0; i < head_dim; i += kLanes) {
    const Floats turn = load_upto(cos_sin + i, head_dim - i);
    for (int64_t h = 0; h < n_heads; ++h) {
      float* x = heads + h * head_dim + i;
      store_upto(x, rotate_pairs(load_upto(x, head_dim - i), turn), head_dim - i);
    }
  }
}

void to_f16(const float* x, int64_t n, uint16_t* out) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store_f16(out + i, load(x + i));
  uint16_t buffer[kLanes];
  store_f16(buffer, load_upto(x + i, n - i));
  for (int64_t k = 0; i + k < n; ++k) out[i + k] = buffer[k];
}
