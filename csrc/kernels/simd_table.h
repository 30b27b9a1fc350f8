// Fills an instruction set's table; see simd_unpack.h for how this file is included.

template <TensorType type>
void matmul(const Tiles& tiles, const Activations& x, int64_t first_token, int64_t n_tokens, float* out,
            int64_t out_stride, [[maybe_unused]] uint8_t* scratch) {
#ifdef TROPILLA_PAIRS
  if constexpr (float_bytes(type) == 0) {
    if (tiles.n == kTilesPerCall && n_tokens > 1) {
      const Tokens tokens{x, first_token, x.n_cols / kActivationBlock};
      return matmul_pair<type>(tiles, tokens, n_tokens, out, out_stride, scratch);
    }
  }
#endif
  for (int64_t i = 0; i < tiles.n; ++i) {
    matmul_tile<type>(tiles.first + i * tiles.stride, x, first_token, n_tokens, out + i * kTileRows, out_stride);
  }
}

template <TensorType... types>
constexpr Kernels table(const char* name, TypeList<types...>) {
  Kernels kernels{name, {}, quantize, rms_norm, add_arrays, silu_mul, rope, to_f16,
                  {attend<KVType::F16>, attend<KVType::F32>, attend<KVType::Q8_0>, attend<KVType::Q4_0>}};
  ((kernels.matmul[index_of(types)] = matmul<types>), ...);
  return kernels;
}
