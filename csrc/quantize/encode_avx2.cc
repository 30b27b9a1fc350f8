// The encoders with AVX2's vectors.
#include "quantize/encode.h"

namespace tropilla {

constinit const Encoders kAvx2Encoders = encoders("avx2");

}  // namespace tropilla
