//! Every sink, one file each.

mod batch;
mod elastic;
mod file;
mod kafka;
mod loki;
mod nats;
mod otlp;
mod redis;
mod splunk_hec;
mod syslog;
mod webhook;

use std::sync::Arc;

use crate::compile::Compiled;
use crate::deliver::Deliver;
use crate::running::Surroundings;
use crate::settings::Kind;

/// Makes what delivers for a sink. Nothing is opened or connected before the first batch.
pub(crate) fn make(compiled: &Arc<Compiled>, surroundings: &Surroundings) -> Box<dyn Deliver> {
    let timeout = compiled.settings.timeout.0;
    let is_json = compiled.format().is_json();
    let node = &surroundings.node;
    let tls = &compiled.tls;
    let http = |url: String| batch::Http {
        client: Arc::clone(&surroundings.client),
        url: url.into(),
        tls: Arc::clone(tls),
        timeout,
    };
    match &compiled.kind {
        Kind::Elastic(settings) => Box::new(elastic::new(settings, http)),
        Kind::File(settings) => Box::new(file::Lines::to_file(settings)),
        Kind::Kafka(settings) => Box::new(kafka::Kafka::new(settings, tls, timeout)),
        Kind::Loki(settings) => Box::new(loki::new(settings, &node.host, http)),
        Kind::Nats(settings) => {
            let credentials = compiled.credentials.clone();
            Box::new(nats::Nats::new(settings, (tls, credentials), timeout))
        }
        Kind::Otlp(settings) => Box::new(otlp::new(settings, node, http)),
        Kind::Redis(settings) => Box::new(redis::Redis::new(settings, tls, timeout)),
        Kind::SplunkHec(settings) => {
            Box::new(splunk_hec::new(settings, (is_json, &node.host), http))
        }
        Kind::Stdout => Box::new(file::Lines::to_stdout()),
        Kind::Syslog(settings) => Box::new(syslog::Syslog::new(settings, node, tls, timeout)),
        Kind::Webhook(settings) => Box::new(webhook::new(settings, is_json, http)),
    }
}
