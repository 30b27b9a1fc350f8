// Large arrays straight from the operating system: zero-filled, page-aligned, and resident only
// where they have been touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <type_traits>
#include <utility>

namespace tropilla {

// The product of sizes. Throws std::bad_alloc if it is more than any machine can address: sizes come
// from files and options, and a product that wraps around would set aside too little.
int64_t size_product(std::initializer_list<int64_t> sizes);

// Throws std::bad_alloc.
void* allocate_pages(size_t size_bytes);
void free_pages(void* pages, size_t size_bytes) noexcept;
// Asks for huge pages where the system has them; for what is filled to the end, as a huge page is
// resident whole.
void advise_huge_pages(void* pages, size_t size_bytes) noexcept;

template <class T>
class PageArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  PageArray() = default;
  explicit PageArray(int64_t size)
      : data_(size ? static_cast<T*>(allocate_pages(size_bytes_of(size))) : nullptr), size_(size) {}
  PageArray(PageArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  PageArray& operator=(PageArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~PageArray() {
    if (data_) free_pages(data_, size_bytes_of(size_));
  }

  T* data() const { return data_; }
  int64_t size() const { return size_; }
  int64_t size_bytes() const { return static_cast<int64_t>(size_bytes_of(size_)); }
  T& operator[](int64_t i) const { return data_[i]; }

 private:
  static size_t size_bytes_of(int64_t size) { return static_cast<size_t>(size) * sizeof(T); }

  T* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace tropilla
