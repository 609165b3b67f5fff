"""The socket on which the gateway listens."""

import socket

from sandbox_gateway.serve import open_listener


def test_pieces_of_a_stream_are_sent_at_once():
    with open_listener("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
