//! What can be wrong with each kind of sink.

use std::collections::BTreeMap;

use tidegate_core::Secret;
use tidegate_core::units::ByteSize;

use super::super::{FileSettings, KafkaSettings, Kind, Sasl, SyslogSettings};
use super::Errors;
use crate::address::{self, Address};

impl Kind {
    pub(super) fn check(&self, errors: &mut Errors) {
        match self {
            Self::Elastic(elastic) => {
                http(&elastic.url, elastic.insecure_http, "elastic", errors);
                name(&elastic.index, &["elastic", "index"], errors);
                pair(elastic.user.as_ref(), elastic.password.as_ref(), "elastic", errors);
                if elastic.api_key.is_some() && elastic.user.is_some() {
                    let hint = "leave one out";
                    errors.add(&["elastic", "api_key"], "there is a user already", hint);
                }
            }
            Self::File(file) => check_file(file, errors),
            Self::Kafka(kafka) => check_kafka(kafka, errors),
            Self::Loki(loki) => {
                http(&loki.url, loki.insecure_http, "loki", errors);
                pair(loki.user.as_ref(), loki.password.as_ref(), "loki", errors);
                labels(&loki.labels, errors);
            }
            Self::Nats(nats) => {
                let given = nats.token.is_some() || nats.password.is_some();
                let secret = given || nats.credentials.is_some();
                let clear = secret && !nats.insecure_plaintext;
                other(&nats.url, &["nats", "tls"], ("nats", clear), errors);
                name(&nats.subject, &["nats", "subject"], errors);
                pair(nats.user.as_ref(), nats.password.as_ref(), "nats", errors);
            }
            Self::Otlp(otlp) => {
                http(&otlp.url, otlp.insecure_http, "otlp", errors);
                headers(&otlp.headers, "otlp", errors);
            }
            Self::Redis(redis) => {
                let clear = redis.password.is_some() && !redis.insecure_plaintext;
                other(&redis.url, &["redis", "rediss"], ("redis", clear), errors);
                name(&redis.stream, &["redis", "stream"], errors);
                if redis.user.is_some() && redis.password.is_none() {
                    errors.add(&["redis", "user"], "a user needs a `password`", "");
                }
            }
            Self::SplunkHec(splunk) => {
                http(&splunk.url, splunk.insecure_http, "splunk_hec", errors);
            }
            Self::Stdout => {}
            Self::Syslog(syslog) => syslog_address(syslog, errors),
            Self::Webhook(webhook) => {
                http(webhook.url.reveal(), webhook.insecure_http, "webhook", errors);
                headers(&webhook.headers, "webhook", errors);
            }
        }
        self.check_tls(errors);
    }

    /// What says how TLS is spoken would be ignored at an address without it.
    fn check_tls(&self, errors: &mut Errors) {
        let (url, clear) = match self {
            Self::Elastic(elastic) => (&*elastic.url, "http"),
            Self::Loki(loki) => (&*loki.url, "http"),
            Self::Nats(nats) => (&*nats.url, "nats"),
            Self::Otlp(otlp) => (&*otlp.url, "http"),
            Self::Redis(redis) => (&*redis.url, "redis"),
            Self::SplunkHec(splunk) => (&*splunk.url, "http"),
            Self::Syslog(syslog) => (&*syslog.address, "tcp"),
            Self::Webhook(webhook) => (webhook.url.reveal(), "http"),
            Self::File(_) | Self::Kafka(_) | Self::Stdout => return,
        };
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        if self.tls().is_some() && scheme.is_some_and(|found| found == clear || found == "udp") {
            errors.add(&[self.name(), "tls"], "the address is one without TLS", "leave one out");
        }
    }
}

fn check_file(file: &FileSettings, errors: &mut Errors) {
    if file.path.is_dir() || file.path.as_os_str().is_empty() {
        errors.add(&["file", "path"], "this is no file", "");
    }
    let size = file.rotate.as_ref().map(|rotate| rotate.size);
    if size.is_some_and(|size| size < ByteSize::kib(64)) {
        errors.add(&["file", "rotate", "size"], "write at least 64KiB", "write 100MiB");
    }
}

fn check_kafka(kafka: &KafkaSettings, errors: &mut Errors) {
    if kafka.brokers.is_empty() {
        errors.add(&["kafka", "brokers"], "there is no broker", "write host:9092");
    }
    let mut here = true;
    for (index, broker) in kafka.brokers.iter().enumerate() {
        match address::host_and_port(broker) {
            Some((host, _port)) if kafka.tls.is_some() && host.contains(':') => {
                let path = ["kafka", "brokers", &index.to_string()];
                errors.add(&path, "TLS needs a name or an IPv4 address", "write host:9093");
            }
            Some((host, _port)) => here &= address::is_here(host),
            None => {
                let path = ["kafka", "brokers", &index.to_string()];
                errors.add(&path, format!("`{broker}` is no broker"), "write host:9092");
            }
        }
    }
    name(&kafka.topic, &["kafka", "topic"], errors);
    pair(kafka.user.as_ref(), kafka.password.as_ref(), "kafka", errors);
    if kafka.sasl != Sasl::default() && kafka.user.is_none() {
        errors.add(&["kafka", "sasl"], "there is nobody to log in as", "add `user` and `password`");
    }
    let clear = kafka.tls.is_none() && !here && !kafka.insecure_plaintext;
    if clear && kafka.password.is_some() {
        errors.add(
            &["kafka", "password"],
            IN_CLEAR,
            "add `tls: {}`, or `insecure_plaintext: true`",
        );
    }
}

/// What is wrong with a password over a connection without TLS.
const IN_CLEAR: &str = "what is sent without TLS can be read by others";

fn syslog_address(syslog: &SyslogSettings, errors: &mut Errors) {
    let path = ["syslog", "address"];
    let schemes = ["udp", "tcp", "tls"];
    let hint = "write it as tls://siem.example.com:6514, tcp://… or udp://…";
    match Address::parse(&syslog.address, &schemes) {
        Err(message) => errors.add(&path, message, hint),
        Ok(address) if address.port.is_none() => errors.add(&path, "the port is missing", hint),
        Ok(_) => {}
    }
    let printable = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if !printable(&syslog.app) || syslog.app.len() > 48 {
        errors.add(&["syslog", "app"], "write up to 48 printable ASCII characters", "");
    }
    if syslog.host.as_deref().is_some_and(|host| !printable(host) || host.len() > 255) {
        errors.add(&["syslog", "host"], "write up to 255 printable ASCII characters", "");
    }
    if !(480..=65_000).contains(&syslog.max_datagram.0) {
        errors.add(&["syslog", "max_datagram"], "write from 480B to 65000B", "write 8KiB");
    }
}

/// An address of HTTP: TLS, or this machine, or said to be meant.
fn http(url: &str, insecure: bool, kind: &str, errors: &mut Errors) {
    match Address::parse(url, &["https", "http"]) {
        Err(message) => errors.add(&[kind, "url"], message, "write https://host/path"),
        Ok(address) if address.scheme == "http" && !address.is_here() && !insecure => errors.add(
            &[kind, "url"],
            IN_CLEAR,
            "use https; if plain HTTP is meant, add `insecure_http: true`",
        ),
        Ok(_) => {}
    }
}

/// An address with a scheme for TLS and one without; `clear` says whether that one will not do.
fn other(url: &str, schemes: &[&str; 2], (kind, clear): (&str, bool), errors: &mut Errors) {
    let [plain, tls] = schemes;
    match Address::parse(url, schemes) {
        Err(message) => {
            let hint = format!("write it as {plain}://host:port or {tls}://host:port");
            errors.add(&[kind, "url"], message, &hint);
        }
        Ok(address) if clear && address.scheme == *plain && !address.is_here() => {
            let hint = format!("write {tls}://, or add `insecure_plaintext: true`");
            errors.add(&[kind, "url"], IN_CLEAR, &hint);
        }
        Ok(_) => {}
    }
}

fn name(text: &str, path: &[&str], errors: &mut Errors) {
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '*' | '>' | '/' | '?');
    if text.is_empty() || text.contains(odd) {
        errors.add(path, "this is no name", "write it without spaces, `*`, `>`, `/` and `?`");
    }
}

fn pair(user: Option<&String>, password: Option<&Secret>, kind: &str, errors: &mut Errors) {
    match (user, password) {
        (Some(_), None) => errors.add(&[kind, "user"], "a user needs a `password`", ""),
        (None, Some(_)) => errors.add(&[kind, "password"], "a password needs a `user`", ""),
        _ => {}
    }
}

fn headers(headers: &BTreeMap<String, Secret>, kind: &str, errors: &mut Errors) {
    for (name, value) in headers {
        let path = [kind, "headers", name];
        if http::HeaderName::try_from(name).is_err() {
            errors.add(&path, "this is no name of a field", "");
        } else if http::HeaderValue::try_from(value.reveal()).is_err() {
            errors.add(&path, "this is no value of a field", "");
        }
    }
}

/// Loki's grammar of labels.
fn labels(labels: &BTreeMap<String, String>, errors: &mut Errors) {
    if labels.is_empty() {
        errors.add(
            &["loki", "labels"],
            "a stream has at least one label",
            "service_name: tidegate",
        );
    }
    for name in labels.keys() {
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if !first || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            errors.add(
                &["loki", "labels", name],
                "this is no name of a label",
                "letters, digits, _",
            );
        }
    }
}
