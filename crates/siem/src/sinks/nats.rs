//! A subject of NATS that a stream of JetStream takes in. `Nats-Msg-Id` is our idempotency key:
//! within its window the stream drops duplicates by itself.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, HeaderMap};
use async_trait::async_trait;
use tokio::time::timeout;

use crate::deliver::{Deliver, DeliverError, Delivered};
use crate::record::Record;
use crate::settings::NatsSettings;
use crate::tls::TlsMaterial;

/// So many records may be on their way without an answer.
const IN_FLIGHT: usize = 1000;

pub(super) struct Nats {
    settings: NatsSettings,
    credentials: Option<String>,
    tls: Arc<TlsMaterial>,
    timeout: Duration,
    connection: Option<(Client, Context)>,
}

impl Nats {
    pub(super) fn new(
        settings: &NatsSettings,
        (tls, credentials): (&Arc<TlsMaterial>, Option<String>),
        timeout: Duration,
    ) -> Self {
        let (settings, tls) = (settings.clone(), Arc::clone(tls));
        Self { settings, credentials, tls, timeout, connection: None }
    }

    async fn connect(&self) -> Result<(Client, Context), DeliverError> {
        let client = self.options().map_err(|error| DeliverError::again(error.to_string()))?;
        let client = client.connect(&self.settings.url).await;
        let client = client.map_err(|error| DeliverError::again(error.to_string()))?;
        let context = jetstream::ContextBuilder::new()
            .timeout(self.timeout / 2)
            .max_ack_inflight(IN_FLIGHT)
            .build(client.clone());
        Ok((client, context))
    }

    fn options(&self) -> io::Result<ConnectOptions> {
        let settings = &self.settings;
        let mut options = ConnectOptions::new()
            .name("tidegate")
            // Our own pauses come between attempts; a client that lost its server is replaced.
            .max_reconnects(1)
            .connection_timeout(self.timeout / 2);
        if let Some(credentials) = &self.credentials {
            options = options.credentials(credentials)?;
        }
        if let Some(token) = &settings.token {
            options = options.token(token.reveal().to_owned());
        }
        if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
            options = options.user_and_password(user.clone(), password.reveal().to_owned());
        }
        if settings.url.starts_with("tls:") {
            let config = self.tls.client_config().map_err(io::Error::other)?;
            options = options.require_tls(true).tls_client_config(config);
        }
        Ok(options)
    }

    async fn send(&self, context: &Context, batch: &[Record]) -> Result<Delivered, DeliverError> {
        let mut delivered = Delivered::default();
        let mut answers = Vec::with_capacity(batch.len());
        for (index, record) in batch.iter().enumerate() {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", record.key.to_string());
            headers.insert("Tidegate-Kind", record.kind);
            headers.insert("Tidegate-Severity", record.severity.name());
            let subject = self.settings.subject.clone();
            let sent = context.publish_with_headers(subject, headers, record.body.clone()).await;
            match sent {
                Ok(answer) => answers.push((index, answer)),
                Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                    delivered.refused.push(index);
                    delivered.why.get_or_insert(error.to_string());
                }
                Err(error) => return Err(DeliverError::again(error.to_string())),
            }
        }
        for (index, answer) in answers {
            if let Err(error) = answer.await {
                if is_too_large(&error.to_string()) {
                    delivered.refused.push(index);
                    delivered.why.get_or_insert(error.to_string());
                    continue;
                }
                delivered.again.push(index);
                delivered.why.get_or_insert(error.to_string());
                if error.kind() == PublishErrorKind::TimedOut {
                    // The others of the batch would each wait as long.
                    return Err(DeliverError::again(error.to_string()));
                }
            }
        }
        Ok(delivered)
    }
}

/// Whether the stream's own limit is meant (STREAM_MESSAGE_EXCEEDS_MAXIMUM).
fn is_too_large(error: &str) -> bool {
    error.contains("10054") || error.contains("message size exceeds maximum")
}

#[async_trait]
impl Deliver for Nats {
    async fn deliver(&mut self, batch: &[Record]) -> Result<Delivered, DeliverError> {
        let late = |_elapsed| DeliverError::again("no answer in time");
        let (client, context) = match self.connection.take() {
            Some(connection) => connection,
            None => timeout(self.timeout, self.connect()).await.map_err(late)??,
        };
        // A batch larger than what may be on its way is sent in parts, each with its answers.
        let mut whole = Delivered::default();
        for (part, start) in batch.chunks(IN_FLIGHT).zip((0..).step_by(IN_FLIGHT)) {
            let sent = timeout(self.timeout, self.send(&context, part)).await.map_err(late)??;
            whole.again.extend(sent.again.into_iter().map(|index| start + index));
            whole.refused.extend(sent.refused.into_iter().map(|index| start + index));
            whole.why = whole.why.or(sent.why);
        }
        if whole.again.is_empty() {
            self.connection = Some((client, context));
        }
        Ok(whole)
    }
}
