// Messages to FlatBuffers and back. The only code that sees the generated classes.
//
// Whatever a decoder accepts has passed the FlatBuffers verifier; anything else is Protocol.
#pragma once

#include <cstddef>
#include <span>
#include <variant>
#include <vector>

#include "transport/messages.h"

namespace mempool::transport {

/// InvalidArgument: a text in it is longer than decoders take, or than any path of a file.
Status check(const Request& request);

std::vector<std::byte> encode(const Hello& hello);
std::vector<std::byte> encode(const Request& request);
/// Of a very long message the middle is left out.
std::vector<std::byte> encode(const Reply& reply);

Result<std::variant<Hello, Request, Reply>> decode(std::span<const std::byte> message);

}  // namespace mempool::transport
