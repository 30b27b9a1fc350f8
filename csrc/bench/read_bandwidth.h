// How fast this machine reads memory: what bounds the tokens per second of a model larger than the caches.
#pragma once

#include <cstdint>
#include <vector>

namespace tropilla {

// Bytes a second of each pass of n_threads over one array of size_bytes, for `seconds` and at least three
// passes. The array is held as the engine holds weights. Throws std::bad_alloc, and std::runtime_error if
// the threads cannot be started.
std::vector<double> read_bandwidth(int n_threads, int64_t size_bytes, double seconds);

}  // namespace tropilla
