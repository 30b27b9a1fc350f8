// Counter-based random numbers: a pure function of key and counter, with no state to save or rewind.
//
// Philox4x32-10 of Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC11).
#pragma once

#include <array>
#include <cstdint>

namespace tropilla {

using PhiloxCounter = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

inline PhiloxCounter philox_4x32_10(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t left = uint64_t{0xD2511F53} * counter[0];
    const uint64_t right = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(right >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(right),
               static_cast<uint32_t>(left >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(left)};
    key[0] += 0x9E3779B9;  // Weyl constants: golden ratio...
    key[1] += 0xBB67AE85;  // ...and sqrt(3) - 1
  }
  return counter;
}

enum class Purpose : uint32_t { kDraw = 0, kXtc = 1 };

// Where in a sequence a random number is used. attempt counts the bans at this position: redrawing
// with the number that chose the banned token would favour that token's neighbours.
struct RandomSite {
  uint64_t seed;
  uint64_t position;
  uint32_t attempt;
};

// Uniform in [0, 1), a multiple of 2^-53.
inline double uniform(const RandomSite& site, Purpose purpose) {
  const PhiloxCounter words = philox_4x32_10(
      {static_cast<uint32_t>(site.position), static_cast<uint32_t>(site.position >> 32),
       static_cast<uint32_t>(purpose), site.attempt},
      {static_cast<uint32_t>(site.seed), static_cast<uint32_t>(site.seed >> 32)});
  const uint64_t bits = (uint64_t{words[0]} << 32 | words[1]) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

}  // namespace tropilla
