#include "pages.h"

#include <new>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#else
#include <sys/mman.h>
#endif

namespace tropilla {

int64_t size_product(std::initializer_list<int64_t> sizes) {
  constexpr int64_t kLargest = int64_t{1} << 56;
  int64_t product = 1;
  for (const int64_t size : sizes) {
    if (size > 0 && product > kLargest / size) throw std::bad_alloc();
    product *= size;
  }
  return product;
}

#ifdef _WIN32

void* allocate_pages(size_t size_bytes) {
  void* pages = VirtualAlloc(nullptr, size_bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
  if (!pages) throw std::bad_alloc();
  return pages;
}

void free_pages(void* pages, size_t) noexcept { VirtualFree(pages, 0, MEM_RELEASE); }

void advise_huge_pages(void*, size_t) noexcept {}

#else

void* allocate_pages(size_t size_bytes) {
  void* pages =
      mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  return pages;
}

void free_pages(void* pages, size_t size_bytes) noexcept { munmap(pages, size_bytes); }

void advise_huge_pages([[maybe_unused]] void* pages, [[maybe_unused]] size_t size_bytes) noexcept {
#ifdef MADV_HUGEPAGE
  madvise(pages, size_bytes, MADV_HUGEPAGE);
#endif
}

#endif

}  // namespace tropilla
