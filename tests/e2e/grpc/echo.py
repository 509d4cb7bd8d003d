"""A gRPC server and a client that checks it, with nothing but grpcio: messages are raw bytes.

    echo.py serve ADDRESS           a server, with grpc.health.v1.Health
    echo.py call ADDRESS [CA]       all kinds of calls; says so when each went as expected
    echo.py insist ADDRESS FILE     calls until FILE exists; says how many calls went well
    echo.py fail ADDRESS            makes the server's health NOT_SERVING
    echo.py unavailable ADDRESS     succeeds if a call ends in UNAVAILABLE
"""

import concurrent.futures
import os
import sys

import grpc

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"  # HealthCheckResponse { status }
health = SERVING


def unary(request, context):
    context.send_initial_metadata((("x-initial", "i"),))
    context.set_trailing_metadata((("x-trailing", "t"), ("x-data-bin", b"\x00\xff")))
    return request


def fails(_request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: 100% sure")


def down(request, _context):
    for _ in range(int(request)):
        yield b"x" * 1000


def up(requests, _context):
    return str(sum(len(request) for request in requests)).encode()


def both(requests, _context):
    for request in requests:
        yield request


def become_unhealthy(_request, _context):
    global health
    health = NOT_SERVING
    return b""


class Handlers(grpc.GenericRpcHandler):
    def service(self, details):
        return {
            "/echo.Echo/Unary": grpc.unary_unary_rpc_method_handler(unary),
            "/echo.Echo/Fails": grpc.unary_unary_rpc_method_handler(fails),
            "/echo.Echo/Down": grpc.unary_stream_rpc_method_handler(down),
            "/echo.Echo/Up": grpc.stream_unary_rpc_method_handler(up),
            "/echo.Echo/Both": grpc.stream_stream_rpc_method_handler(both),
            "/echo.Echo/BecomeUnhealthy": grpc.unary_unary_rpc_method_handler(become_unhealthy),
            "/grpc.health.v1.Health/Check": grpc.unary_unary_rpc_method_handler(
                lambda _request, _context: health
            ),
        }.get(details.method)


def serve(address):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((Handlers(),))
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


def call(address, ca=None):
    if ca is None:
        channel = grpc.insecure_channel(address)
    else:
        with open(ca, "rb") as file:
            channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(file.read()))
    reply, done = channel.unary_unary("/echo.Echo/Unary").with_call(b"hello", timeout=10)
    assert reply == b"hello"
    assert ("x-initial", "i") in done.initial_metadata()
    trailing = done.trailing_metadata()
    assert ("x-trailing", "t") in trailing and ("x-data-bin", b"\x00\xff") in trailing, trailing
    big = b"y" * 1_000_000
    assert channel.unary_unary("/echo.Echo/Unary")(big, timeout=10) == big
    assert_fails(channel, "Fails", grpc.StatusCode.FAILED_PRECONDITION, "not now: 100% sure")
    assert_fails(channel, "Absent", grpc.StatusCode.UNIMPLEMENTED, None)
    assert len(list(channel.unary_stream("/echo.Echo/Down")(b"50", timeout=10))) == 50
    assert channel.stream_unary("/echo.Echo/Up")(iter([b"abc"] * 50), timeout=10) == b"150"
    parts = [str(number).encode() for number in range(50)]
    assert list(channel.stream_stream("/echo.Echo/Both")(iter(parts), timeout=10)) == parts
    print("all calls as expected")


def assert_fails(channel, method, code, details):
    try:
        channel.unary_unary(f"/echo.Echo/{method}")(b"", timeout=10)
    except grpc.RpcError as error:
        assert error.code() == code, error
        assert details is None or error.details() == details, error
    else:
        raise AssertionError(f"{method} succeeded")


def insist(address, file):
    """Four callers share one channel, as in a service; each failed call is an error."""
    channel = grpc.insecure_channel(address)
    echo = channel.unary_unary("/echo.Echo/Unary")

    def calls():
        count = 0
        while not os.path.exists(file) or count == 0:
            assert echo(b"hello", timeout=10) == b"hello"
            count += 1
        return count

    with concurrent.futures.ThreadPoolExecutor(4) as callers:
        counts = [caller.result() for caller in [callers.submit(calls) for _ in range(4)]]
    print(f"{sum(counts)} calls as expected")


def fail(address):
    grpc.insecure_channel(address).unary_unary("/echo.Echo/BecomeUnhealthy")(b"", timeout=10)


def unavailable(address):
    assert_fails(grpc.insecure_channel(address), "Unary", grpc.StatusCode.UNAVAILABLE, None)


if __name__ == "__main__":
    commands = (serve, call, insist, fail, unavailable)
    {command.__name__: command for command in commands}[sys.argv[1]](*sys.argv[2:])
