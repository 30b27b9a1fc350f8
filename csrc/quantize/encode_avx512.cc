// The encoders with AVX-512's vectors.
#include "quantize/encode.h"

namespace tropilla {

constinit const Encoders kAvx512Encoders = encoders("avx512");

}  // namespace tropilla
