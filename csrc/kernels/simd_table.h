// Fills an instruction set's table; see simd_unpack.h for how this file is included.

template <TensorType... types>
constexpr Kernels table(const char* name, TypeList<types...>) {
  Kernels kernels{name, {}, quantize, rms_norm, add_arrays, silu_mul, rope, to_f16, {attend<KVType::F16>, attend<KVType::F32>}};
  ((kernels.matmul[index_of(types)] = matmul<types>), ...);
  return kernels;
}
