// Sockets that end with this process, also where it has started a program that goes on.
#pragma once

#include <fcntl.h>

namespace mempool::transport {

/// asio opens and accepts sockets that a program started from here (exec) inherits: it would keep
/// the port, and peers would not see that this process ended. To be called as soon as the socket is
/// there. A program that another thread starts in the moment before still inherits it: asio has no
/// way to ask for both at once.
template <class Socket>
void close_on_exec(Socket& socket) noexcept {
  ::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
}

}  // namespace mempool::transport
