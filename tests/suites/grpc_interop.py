"""gRPC's interoperability cases with grpcio as server and client, for `grpc-interop`.

    grpc_interop.py serve PORT
    grpc_interop.py call ADDRESS [CA_FILE]     prints `CASE ok` or `CASE: what went wrong`

The messages and cases are those of grpc.testing.TestService and of gRPC's description of its
interoperability tests. grpcio does not tell a server whether a message came compressed, so the
compressed cases run without their probe; `grpc-interop` sees from the bytes on the way that they
were. Cases that need Google's credentials are left out.
"""

import concurrent.futures
import queue
import sys
import threading
import time

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "/grpc.testing.TestService/"
INITIAL, TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"
REQUEST_SIZES, RESPONSE_SIZES = (27182, 8, 1828, 45904), (31415, 9, 2653, 58979)

# Name of a message: its fields, as name, number, type (* in front: repeated).
MESSAGES = {
    "Empty": [],
    "Payload": [("type", 1, "int32"), ("body", 2, "bytes")],
    "EchoStatus": [("code", 1, "int32"), ("message", 2, "string")],
    "BoolValue": [("value", 1, "bool")],
    "SimpleRequest": [
        ("response_size", 2, "int32"), ("payload", 3, "Payload"),
        ("response_compressed", 6, "BoolValue"), ("response_status", 7, "EchoStatus"),
        ("expect_compressed", 8, "BoolValue")],
    "SimpleResponse": [("payload", 1, "Payload")],
    "StreamingInputCallRequest": [("payload", 1, "Payload"), ("expect_compressed", 2, "BoolValue")],
    "StreamingInputCallResponse": [("aggregated_payload_size", 1, "int32")],
    "ResponseParameters": [
        ("size", 1, "int32"), ("interval_us", 2, "int32"), ("compressed", 3, "BoolValue")],
    "StreamingOutputCallRequest": [
        ("response_parameters", 2, "*ResponseParameters"), ("payload", 3, "Payload"),
        ("response_status", 7, "EchoStatus")],
    "StreamingOutputCallResponse": [("payload", 1, "Payload")],
}
METHODS = {
    "EmptyCall": ("unary_unary", "Empty", "Empty"),
    "UnaryCall": ("unary_unary", "SimpleRequest", "SimpleResponse"),
    "CacheableUnaryCall": ("unary_unary", "SimpleRequest", "SimpleResponse"),
    "StreamingInputCall": (
        "stream_unary", "StreamingInputCallRequest", "StreamingInputCallResponse"),
    "StreamingOutputCall": (
        "unary_stream", "StreamingOutputCallRequest", "StreamingOutputCallResponse"),
    "FullDuplexCall": (
        "stream_stream", "StreamingOutputCallRequest", "StreamingOutputCallResponse"),
}


def messages():
    """Classes of the messages, by name."""
    file = descriptor_pb2.FileDescriptorProto(
        name="tidegate.suite.proto", package="grpc.testing", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            added = message.field.add(name=field, number=number)
            added.label = added.LABEL_REPEATED if kind[0] == "*" else added.LABEL_OPTIONAL
            kind = kind.lstrip("*")
            if kind in MESSAGES:
                added.type, added.type_name = added.TYPE_MESSAGE, f".grpc.testing.{kind}"
            else:
                added.type = getattr(added, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    find = lambda name: pool.FindMessageTypeByName(f"grpc.testing.{name}")
    return {name: message_factory.GetMessageClass(find(name)) for name in MESSAGES}


M = messages()


def zeros(size):
    return M["Payload"](body=bytes(size))


# The server.

def echo(context):
    """Sends back the metadata that a client asks to be sent back."""
    sent = dict(context.invocation_metadata())
    if INITIAL in sent:
        context.send_initial_metadata(((INITIAL, sent[INITIAL]),))
    if TRAILING in sent:
        context.set_trailing_metadata(((TRAILING, sent[TRAILING]),))


def status(request, context):
    if request.HasField("response_status"):
        code = request.response_status.code
        codes = {code.value[0]: code for code in grpc.StatusCode}
        context.abort(codes[code], request.response_status.message)


def unary(request, context):
    echo(context)
    status(request, context)
    if request.response_compressed.value:
        context.set_compression(grpc.Compression.Gzip)
    return M["SimpleResponse"](payload=zeros(request.response_size))


def cacheable(_request, context):
    stamp = str(time.time_ns()).encode()
    context.send_initial_metadata((("cache-control", "max-age=60"),))
    return M["SimpleResponse"](payload=M["Payload"](body=stamp))


def streaming_output(request, context):
    status(request, context)
    if any(wanted.compressed.value for wanted in request.response_parameters):
        context.set_compression(grpc.Compression.Gzip)
    for wanted in request.response_parameters:
        if wanted.HasField("compressed") and not wanted.compressed.value:
            context.disable_next_message_compression()
        time.sleep(wanted.interval_us / 1e6)
        yield M["StreamingOutputCallResponse"](payload=zeros(wanted.size))


def streaming_input(requests, _context):
    size = sum(len(request.payload.body) for request in requests)
    return M["StreamingInputCallResponse"](aggregated_payload_size=size)


def full_duplex(requests, context):
    echo(context)
    for request in requests:
        yield from streaming_output(request, context)


HANDLERS = {
    "EmptyCall": lambda _request, _context: M["Empty"](), "UnaryCall": unary,
    "CacheableUnaryCall": cacheable, "StreamingInputCall": streaming_input,
    "StreamingOutputCall": streaming_output, "FullDuplexCall": full_duplex,
}


class Service(grpc.GenericRpcHandler):
    def service(self, details):
        name = details.method.removeprefix(SERVICE)
        if name not in HANDLERS:
            return None
        kind, request, response = METHODS[name]
        handler = getattr(grpc, f"{kind}_rpc_method_handler")
        return handler(HANDLERS[name], M[request].FromString, M[response].SerializeToString)


def serve(port):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(32), [Service()])
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


# The client.

class Stub:
    """Callables for the methods of the service."""

    def __init__(self, channel):
        self.channel = channel

    def __getattr__(self, name):
        kind, request, response = METHODS[name]
        return getattr(self.channel, kind)(
            SERVICE + name, M[request].SerializeToString, M[response].FromString)


def expect(found, wanted):
    if found != wanted:
        raise AssertionError(f"{found!r} instead of {wanted!r}")


def pipe():
    """What is put into the queue is sent; None ends the stream."""
    waiting = queue.Queue()
    return waiting, iter(waiting.get, None)


def output_request(*sizes, payload=0, **fields):
    wanted = [M["ResponseParameters"](size=size) for size in sizes]
    return M["StreamingOutputCallRequest"](
        response_parameters=wanted, payload=zeros(payload), **fields)


def empty_unary(stub):
    expect(stub.EmptyCall(M["Empty"](), timeout=10), M["Empty"]())


def cacheable_unary(stub):
    """No cache is asked for: both calls must arrive and be answered."""
    request = M["SimpleRequest"](payload=M["Payload"](body=str(time.time_ns()).encode()))
    forwarded = (("x-user-ip", "1.2.3.4"),)
    for _ in range(2):
        answer = stub.CacheableUnaryCall(request, metadata=forwarded, timeout=10)
        expect(len(answer.payload.body) > 0, True)


def large(stub, compression=None, **fields):
    request = M["SimpleRequest"](response_size=314159, payload=zeros(271828), **fields)
    answer = stub.UnaryCall(request, timeout=20, compression=compression)
    expect(answer.payload.body, bytes(314159))


def large_unary(stub):
    large(stub)


def client_compressed_unary(stub):
    large(stub, grpc.Compression.Gzip, expect_compressed=M["BoolValue"](value=True))
    large(stub, expect_compressed=M["BoolValue"](value=False))


def server_compressed_unary(stub):
    large(stub, response_compressed=M["BoolValue"](value=True))
    large(stub, response_compressed=M["BoolValue"](value=False))


def client_streaming(stub, compression=None):
    requests = (M["StreamingInputCallRequest"](payload=zeros(size)) for size in REQUEST_SIZES)
    answer = stub.StreamingInputCall(requests, timeout=20, compression=compression)
    expect(answer.aggregated_payload_size, sum(REQUEST_SIZES))


def client_compressed_streaming(stub):
    client_streaming(stub, grpc.Compression.Gzip)


def server_streaming(stub):
    answers = stub.StreamingOutputCall(output_request(*RESPONSE_SIZES), timeout=20)
    expect([len(answer.payload.body) for answer in answers], list(RESPONSE_SIZES))


def server_compressed_streaming(stub):
    request = output_request(31415, 92653)
    for wanted, compressed in zip(request.response_parameters, (True, False)):
        wanted.compressed.value = compressed
    answers = stub.StreamingOutputCall(request, timeout=20)
    expect([len(answer.payload.body) for answer in answers], [31415, 92653])


def ping_pong(stub):
    waiting, requests = pipe()
    answers = stub.FullDuplexCall(requests, timeout=20)
    for size, payload in zip(RESPONSE_SIZES, REQUEST_SIZES):
        waiting.put(output_request(size, payload=payload))
        expect(len(next(answers).payload.body), size)
    waiting.put(None)
    expect(list(answers), [])
    expect(answers.code(), grpc.StatusCode.OK)


def empty_stream(stub):
    expect(list(stub.FullDuplexCall(iter(()), timeout=10)), [])


def custom_metadata(stub):
    metadata = ((INITIAL, "test_initial_metadata_value"), (TRAILING, b"\xab\xab\xab"))
    _, call = stub.UnaryCall.with_call(
        M["SimpleRequest"](response_size=314159, payload=zeros(271828)), metadata=metadata,
        timeout=20)
    answers = stub.FullDuplexCall(
        iter((output_request(314159, payload=271828),)), metadata=metadata, timeout=20)
    expect(len(list(answers)), 1)
    for ended in (call, answers):
        expect(dict(ended.initial_metadata())[INITIAL], "test_initial_metadata_value")
        expect(dict(ended.trailing_metadata())[TRAILING], b"\xab\xab\xab")


def ends_with(call, code, details=None):
    expect(call.code(), code)
    if details is not None:
        expect(call.details(), details)


def status_code_and_message(stub, details="test status message"):
    wanted = M["EchoStatus"](code=2, message=details)
    call = stub.UnaryCall.future(M["SimpleRequest"](response_status=wanted), timeout=10)
    ends_with(call, grpc.StatusCode.UNKNOWN, details)
    request = output_request(response_status=wanted)
    ends_with(stub.FullDuplexCall(iter((request,)), timeout=10), grpc.StatusCode.UNKNOWN, details)


def special_status_message(stub):
    status_code_and_message(stub, "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n")


def unimplemented(stub, path):
    call = stub.channel.unary_unary(path).future(b"", timeout=10)
    ends_with(call, grpc.StatusCode.UNIMPLEMENTED)


def unimplemented_method(stub):
    unimplemented(stub, SERVICE + "UnimplementedCall")


def unimplemented_service(stub):
    unimplemented(stub, "/grpc.testing.UnimplementedService/UnimplementedCall")


def cancel_after_begin(stub):
    waiting, requests = pipe()
    call = stub.StreamingInputCall.future(requests)
    call.cancel()
    waiting.put(None)
    ends_with(call, grpc.StatusCode.CANCELLED)


def cancel_after_first_response(stub):
    waiting, requests = pipe()
    answers = stub.FullDuplexCall(requests, timeout=20)
    waiting.put(output_request(31415, payload=27182))
    expect(len(next(answers).payload.body), 31415)
    answers.cancel()
    waiting.put(None)
    ends_with(answers, grpc.StatusCode.CANCELLED)


def timeout_on_sleeping_server(stub):
    waiting, requests = pipe()
    answers = stub.FullDuplexCall(requests, timeout=0.001)
    waiting.put(output_request(31415, payload=27182))
    ends_with(answers, grpc.StatusCode.DEADLINE_EXCEEDED)
    waiting.put(None)


def rpc_soak(stub):
    for _ in range(50):
        large_unary(stub)


def channel_soak(stub):
    for _ in range(50):
        with stub.another() as channel:
            large_unary(Stub(channel))


def concurrent_large_unary(stub):
    failures = []

    def one():
        try:
            large_unary(stub)
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=one) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(failures, [])


CASES = [
    empty_unary, cacheable_unary, large_unary, client_compressed_unary, server_compressed_unary,
    client_streaming, client_compressed_streaming, server_streaming, server_compressed_streaming,
    ping_pong, empty_stream, custom_metadata, status_code_and_message, special_status_message,
    unimplemented_method, unimplemented_service, cancel_after_begin, cancel_after_first_response,
    timeout_on_sleeping_server, rpc_soak, channel_soak, concurrent_large_unary,
]


def call(address, ca=None):
    def channel():
        options = [("grpc.use_local_subchannel_pool", 1)]
        if ca is None:
            return grpc.insecure_channel(address, options)
        with open(ca, "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        return grpc.secure_channel(address, credentials, options)

    stub = Stub(channel())
    stub.another = channel
    for case in CASES:
        try:
            case(stub)
            print(case.__name__, "ok", flush=True)
        except Exception as failure:
            print(f"{case.__name__}: {failure!r}"[:1000], flush=True)


if __name__ == "__main__":
    {"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
