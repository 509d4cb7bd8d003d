"""A broker of Kafka's protocol for a test: librdkafka's mock cluster, which other processes can use.

    kafka.py serve TOPIC              prints the brokers' addresses and serves until it is killed
    kafka.py read BROKERS TOPIC       prints each record as one line: partition, offset, key, value

Both end when their standard input is closed.
"""

import sys
import threading
import os


def until_stdin_closes():
    def watch():
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def serve(topic):
    from confluent_kafka import Producer

    keeper = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": ""})
    # The mock makes a topic, with four partitions, when it is first written to.
    keeper.produce(topic, b"made", key=b"made")
    keeper.flush(10)
    brokers = keeper.list_topics(timeout=10).brokers.values()
    print(",".join(f"{broker.host}:{broker.port}" for broker in brokers), flush=True)
    threading.Event().wait()


def read(brokers, topic):
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(
        {"bootstrap.servers": brokers, "group.id": "test", "enable.auto.commit": False}
    )
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    while True:
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue
        key = message.key().decode()
        value = message.value().decode()
        print(message.partition(), message.offset(), key, value, flush=True)


if __name__ == "__main__":
    until_stdin_closes()
    {"serve": serve, "read": read}[sys.argv[1]](*sys.argv[2:])
