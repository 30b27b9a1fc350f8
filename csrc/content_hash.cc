#include "content_hash.h"

#include <bit>
#include <cstring>

namespace tropilla {
namespace {

// Independent lanes, so that multiplications overlap and memory is the limit.
constexpr size_t kLanes = 8;
// Odd, with irregular bits (2**64 divided by the golden ratio); Knuth 1998, 6.4.
constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15;

// Invertible in each argument: two inputs that differ in one word never meet.
uint64_t mix(uint64_t state, uint64_t word) { return std::rotl((state ^ word) * kMultiplier, 29); }

uint64_t word_at(const uint8_t* bytes, size_t n_bytes = 8) {
  uint64_t word = 0;
  for (size_t i = 0; i < n_bytes; ++i) word |= uint64_t{bytes[i]} << 8 * i;  // one load where that is the order
  return word;
}

}  // namespace

uint64_t content_hash(std::span<const uint8_t> data) {
  uint64_t lanes[kLanes];
  for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] = lane + 1;
  size_t at = 0;
  for (; at + 8 * kLanes <= data.size(); at += 8 * kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] = mix(lanes[lane], word_at(data.data() + at + 8 * lane));
  }
  uint64_t hash = data.size();
  for (const uint64_t lane : lanes) hash = mix(hash, lane);
  for (; at + 8 <= data.size(); at += 8) hash = mix(hash, word_at(data.data() + at));
  hash = mix(hash, word_at(data.data() + at, data.size() - at));
  return mix(hash, hash >> 32);
}

}  // namespace tropilla
