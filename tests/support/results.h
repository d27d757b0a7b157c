// Results in tests: must() unwraps or fails the test, code() and message() say what came instead.
#pragma once

#include <ostream>
#include <stdexcept>
#include <string>

#include <mempool/result.h>

namespace mempool {

inline void PrintTo(Code code, std::ostream* out) {
  *out << to_string(code);
}

namespace test {

template <class T>
Code code(const Result<T>& result) {
  return result ? Code::kOk : result.error().code;
}

template <class T>
std::string message(const Result<T>& result) {
  return result ? "(no error)" : result.error().to_string();
}

/// The value; without one the exception ends the test with the error's text.
template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error("unexpected error: " + result.error().to_string());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace test
}  // namespace mempool
