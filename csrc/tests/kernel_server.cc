// Runs kernels for tests/kernels/emulated.py: requests on standard input, results on standard output.
//
// Request:  text isa, text kernel, count and doubles, count and buffers (size, position of the array
//           in it, its address modulo 64, bytes). Text is a count and bytes; counts are 8 bytes.
// Response: the buffers' bytes, in order. An error ends the program with a message on standard error.
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/call.h"

namespace tropilla {
namespace {

struct EndOfInput {};

void read_bytes(void* out, size_t n) {
  if (n != 0 && std::fread(out, 1, n, stdin) != n) throw EndOfInput{};
}

uint64_t read_count() {
  uint64_t count;
  read_bytes(&count, sizeof count);
  return count;
}

std::string read_text() {
  std::string text(read_count(), '\0');
  read_bytes(text.data(), text.size());
  return text;
}

// Ends where its bytes end, so that a sanitizer sees whoever reads past them.
class Buffer {
 public:
  Buffer() : size_(read_count()), position_(read_count()), lead_(read_count()) {
    room_.reset(static_cast<uint8_t*>(::operator new(lead_ + size_, kAlignment)));
    read_bytes(room_.get() + lead_, size_);
  }
  void* array() const { return room_.get() + lead_ + position_; }
  void write() const { std::fwrite(room_.get() + lead_, 1, size_, stdout); }

 private:
  static constexpr std::align_val_t kAlignment{64};

  struct Free {
    void operator()(uint8_t* p) const { ::operator delete(p, kAlignment); }
  };
  uint64_t size_, position_, lead_;
  std::unique_ptr<uint8_t, Free> room_;
};

void serve_one() {
  const std::string isa = read_text(), kernel = read_text();
  std::vector<double> numbers(read_count());
  read_bytes(numbers.data(), numbers.size() * sizeof(double));
  const std::vector<Buffer> buffers(read_count());
  const Kernels* table = kernels_named(isa.c_str());
  if (table == nullptr) throw std::runtime_error("no kernels called " + isa);
  std::vector<void*> arrays;
  for (const Buffer& buffer : buffers) arrays.push_back(buffer.array());
  call_kernel(*table, kernel, numbers, arrays);
  for (const Buffer& buffer : buffers) buffer.write();
  std::fflush(stdout);
}

}  // namespace
}  // namespace tropilla

int main() {
  try {
    while (true) tropilla::serve_one();
  } catch (const tropilla::EndOfInput&) {
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kernel_server: %s\n", error.what());
    return 1;
  }
}
