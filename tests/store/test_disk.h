// A small real disk for the store's tests: plain files in a temporary directory, with switches that
// make a write fail or wait at a gate. Payloads only; overhead is counted as if there were a
// header.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "store/disk.h"

namespace mempool::store::testing {

/// Stops those who pass until it is opened. Every wait is bounded.
class Gate {
 public:
  void close();
  void open();
  /// Called by the disk.
  void pass();
  /// Until `count` threads stand at the closed gate.
  bool wait_for_arrivals(int count);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool closed_ = false;
  int waiting_ = 0;
};

/// What a test sees and switches while the store owns the disk.
struct DiskControl {
  static constexpr std::uint64_t kOverhead = 4096;

  std::filesystem::path directory;
  std::atomic<std::uint64_t> quota{0};  // 0: no limit
  std::atomic<std::uint64_t> used{0};
  std::atomic<int> created{0};
  std::atomic<int> mapped{0};  // ever
  std::atomic<int> mapped_now{0};
  std::atomic<int> may_be_mapped{1000};
  std::atomic<int> read{0};
  std::atomic<int> writes_until_failure{-1};  // 0: the next append fails; negative: never
  std::atomic<bool> fail_maps{false};
  std::atomic<bool> fail_removes{false};
  std::atomic<bool> removes_throw{false};
  std::atomic<bool> out_of_memory{false};  // whatever needs some throws
  std::function<void()> on_file_drop;      // when a DiskFile goes
  std::function<void()> on_end;            // when the disk goes
  Gate write_gate;
  Gate map_gate;

  DiskControl();
  ~DiskControl();
  DiskControl(const DiskControl&) = delete;
  DiskControl& operator=(const DiskControl&) = delete;

  std::size_t files() const;
  void take_memory() const;  // of the disk
};

std::unique_ptr<Disk> make_test_disk(std::shared_ptr<DiskControl> control);
/// A file that stands in the directory already, counted nowhere, as one that is adopted does.
std::shared_ptr<DiskFile> make_test_file(std::shared_ptr<DiskControl> control,
                                         const std::string& name, std::span<const std::byte> bytes);

}  // namespace mempool::store::testing
