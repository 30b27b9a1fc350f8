// The bytes of a Python object.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <span>

namespace tropilla::bindings {

// The bytes of any contiguous Python buffer, held for as long as this lives.
class Buffer {
 public:
  // flags: PyBUF_SIMPLE, or PyBUF_WRITABLE to be let write.
  Buffer(nanobind::handle object, int flags) {
    if (PyObject_GetBuffer(object.ptr(), &view_, flags) != 0) throw nanobind::python_error();
  }
  ~Buffer() { PyBuffer_Release(&view_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::span<const uint8_t> span() const {
    return {static_cast<const uint8_t*>(view_.buf), static_cast<size_t>(view_.len)};
  }
  std::span<uint8_t> writable() const { return {static_cast<uint8_t*>(view_.buf), static_cast<size_t>(view_.len)}; }

 private:
  Py_buffer view_;
};

}  // namespace tropilla::bindings
