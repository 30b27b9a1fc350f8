// The weight types that the benchmarks walk, by name.
#pragma once

#include "kernels/tensor_type.h"

namespace tropilla {

struct NamedType {
  const char* name;
  TensorType type;
};

inline constexpr NamedType kTypes[] = {
    {"Q4_0", TensorType::Q4_0},     {"Q4_1", TensorType::Q4_1}, {"Q5_0", TensorType::Q5_0},
    {"Q5_1", TensorType::Q5_1},     {"Q8_0", TensorType::Q8_0}, {"Q2_K", TensorType::Q2_K},
    {"Q3_K", TensorType::Q3_K},     {"Q4_K", TensorType::Q4_K}, {"Q5_K", TensorType::Q5_K},
    {"Q6_K", TensorType::Q6_K},     {"IQ4_NL", TensorType::IQ4_NL}, {"IQ4_XS", TensorType::IQ4_XS},
    {"F32", TensorType::F32},       {"F16", TensorType::F16},   {"BF16", TensorType::BF16}};

}  // namespace tropilla
