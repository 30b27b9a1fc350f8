// Fills an instruction set's table; see simd_unpack.h for how this file is included.

template <TensorType... types>
constexpr Kernels table(const char* name, TypeList<types...>) {
  Kernels kernels{name, {}, quantize, rms_norm, add_arrays, silu_mul, rope, to_f16, {attend<uint16_t>, attend<float>}};
  ((kernels.matmul[index_of(types)] = matmul<types>), ...);
  return kernels;
}
