// PendingView: a get that is under way.
#pragma once

#include <memory>
#include <utility>

#include <mempool/result.h>
#include <mempool/view.h>

namespace mempool {

/// What a Pool started. Dropping it cancels the get: nobody waits for it any more, and memory that
/// bytes may still arrive in stays with the pool. It must end before its Pool. One thread at a
/// time.
class PendingView {
 public:
  /// The implementation's.
  class Work {
   public:
    virtual ~Work() = default;
    virtual Result<View> finish() = 0;
  };

  explicit PendingView(std::unique_ptr<Work> work) noexcept : work_(std::move(work)) {}

  /// The view, or what went wrong; Timeout when the time that the options gave has passed since the
  /// start. Once.
  Result<View> wait() {
    if (!work_) return fail(Code::kClosed, "this get was waited for already");
    return std::exchange(work_, nullptr)->finish();
  }

 private:
  std::unique_ptr<Work> work_;
};

}  // namespace mempool
