#include "raw_fabric.h"

#include <cstdio>
#include <cstdlib>

#include <rdma/fi_cm.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <unistd.h>

#include "support.h"
#include "transport/provider.h"

namespace mempool::bench {
namespace {

constexpr std::size_t kTargetBytes = 2 * kMiB;

/// A polling reader or target would starve its own threads.
bool sleeps(const transport::Provider& provider) {
  return provider.spin_us == 0;
}

void check(const char* call, std::int64_t status) {
  if (status < 0) stop(std::string(call) + ": " + fi_strerror(static_cast<int>(-status)));
}

}  // namespace

RawFabric::RawFabric(const transport::Provider& provider, const std::string& host,
                     transport::FabricUse use)
    : sleeps_(sleeps(provider)), info_(transport::query_provider(provider, host, use)) {
  if (!info_) stop("provider " + std::string(provider.name) + " has nothing to offer for " + host);
  fid_fabric* fabric = nullptr;
  check("fi_fabric", fi_fabric(info_->fabric_attr, &fabric, nullptr));
  fabric_.reset(fabric);
  fid_domain* domain = nullptr;
  check("fi_domain", fi_domain(fabric, info_.get(), &domain, nullptr));
  domain_.reset(domain);
  fi_av_attr av_attr{};
  fid_av* av = nullptr;
  check("fi_av_open", fi_av_open(domain, &av_attr, &av, nullptr));
  av_.reset(av);
  fi_cq_attr cq_attr{};
  cq_attr.format = FI_CQ_FORMAT_CONTEXT;
  cq_attr.wait_obj = sleeps_ ? FI_WAIT_UNSPEC : FI_WAIT_NONE;
  fid_cq* cq = nullptr;
  check("fi_cq_open", fi_cq_open(domain, &cq_attr, &cq, nullptr));
  cq_.reset(cq);
  fid_ep* endpoint = nullptr;
  check("fi_endpoint", fi_endpoint(domain, info_.get(), &endpoint, nullptr));
  endpoint_.reset(endpoint);
  check("fi_ep_bind", fi_ep_bind(endpoint, &av->fid, 0));
  check("fi_ep_bind", fi_ep_bind(endpoint, &cq->fid, FI_TRANSMIT | FI_RECV));
  check("fi_enable", fi_enable(endpoint));
}

RawFabric::Exposed RawFabric::expose(std::span<std::byte> memory) {
  fid_mr* region = nullptr;
  check("fi_mr_reg", fi_mr_reg(domain_.get(), memory.data(), memory.size(), FI_REMOTE_READ, 0,
                               /*requested_key=*/regions_.size() + 1, 0, &region, nullptr));
  regions_.emplace_back(region);
  const bool by_address = (info_->domain_attr->mr_mode & FI_MR_VIRT_ADDR) != 0;
  return {fi_mr_key(region), by_address ? reinterpret_cast<std::uint64_t>(memory.data()) : 0};
}

std::vector<std::byte> RawFabric::address() const {
  std::size_t bytes = 0;
  fi_getname(&endpoint_->fid, nullptr, &bytes);
  std::vector<std::byte> address(bytes);
  check("fi_getname", fi_getname(&endpoint_->fid, address.data(), &bytes));
  return address;
}

void RawFabric::poll() {
  fi_cq_read(cq_.get(), nullptr, 0);
}

fi_addr_t RawFabric::insert(const std::vector<std::byte>& peer) {
  fi_addr_t address = FI_ADDR_UNSPEC;
  if (fi_av_insert(av_.get(), peer.data(), 1, &address, 0, nullptr) != 1) stop("fi_av_insert");
  return address;
}

void RawFabric::use_as_destination(std::span<std::byte> memory) {
  if ((info_->domain_attr->mr_mode & FI_MR_LOCAL) == 0) return;
  fid_mr* region = nullptr;
  check("fi_mr_reg", fi_mr_reg(domain_.get(), memory.data(), memory.size(), FI_READ, 0,
                               regions_.size() + 1, 0, &region, nullptr));
  regions_.emplace_back(region);
  destination_descriptor_ = fi_mr_desc(region);
}

void RawFabric::start(const Source& source, Slot& slot) {
  for (;;) {
    const auto status =
        fi_read(endpoint_.get(), slot.into.data(), slot.into.size(), destination_descriptor_,
                source.peer, source.address, source.key, &slot.context);
    if (status == 0) return;
    if (status != -FI_EAGAIN) check("fi_read", status);
    poll();  // still connecting
  }
}

RawFabric::Slot& RawFabric::finish_any() {
  fi_cq_entry entry;
  for (;;) {
    const auto count = sleeps_ ? fi_cq_sread(cq_.get(), &entry, 1, nullptr, 1000)
                               : fi_cq_read(cq_.get(), &entry, 1);
    if (count == 1) return *static_cast<Slot*>(entry.op_context);
    if (count != -FI_EAGAIN) check("fi_cq_read", count);
  }
}

void serve_raw_target(const transport::Provider& provider, const std::string& host) {
  RawFabric fabric(provider, host, transport::FabricUse::kListen);
  auto memory = make_bytes(kTargetBytes);
  const auto exposed = fabric.expose(memory);
  std::printf("ready address=%s key=%llu base=%llu\n", to_hex(fabric.address()).c_str(),
              static_cast<unsigned long long>(exposed.key),
              static_cast<unsigned long long>(exposed.base));
  std::fflush(stdout);
  if (sleeps(provider))
    for (;;) ::pause();
  for (;;) fabric.poll();
}

std::string to_hex(const std::vector<std::byte>& bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", std::to_integer<unsigned>(byte));
    text += digits;
  }
  return text;
}

std::vector<std::byte> from_hex(const std::string& text) {
  std::vector<std::byte> bytes;
  for (std::size_t at = 0; at + 1 < text.size(); at += 2)
    bytes.push_back(static_cast<std::byte>(std::stoul(text.substr(at, 2), nullptr, 16)));
  return bytes;
}

}  // namespace mempool::bench
