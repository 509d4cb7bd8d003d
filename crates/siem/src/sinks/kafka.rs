//! A topic of Kafka. Batches go to its partitions in turn; each record's key is our idempotency
//! key, so that a consumer can tell duplicates.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rskafka::BackoffConfig;
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record as KafkaRecord;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::deliver::{Deliver, DeliverError, Delivered, Then};
use crate::record::Record;
use crate::settings::{KafkaSettings, Sasl};
use crate::tls::TlsMaterial;

pub(super) struct Kafka {
    settings: KafkaSettings,
    tls: Arc<TlsMaterial>,
    timeout: Duration,
    partitions: Vec<PartitionClient>,
    next: usize,
}

impl Kafka {
    pub(super) fn new(settings: &KafkaSettings, tls: &Arc<TlsMaterial>, timeout: Duration) -> Self {
        let (settings, tls) = (settings.clone(), Arc::clone(tls));
        Self { settings, tls, timeout, partitions: Vec::new(), next: 0 }
    }

    async fn connect(&self) -> Result<Vec<PartitionClient>, DeliverError> {
        let client = Arc::new(self.client().await?);
        let topics = client.list_topics().await.map_err(told)?;
        let topic = topics.into_iter().find(|topic| topic.name == self.settings.topic);
        let topic = topic.ok_or_else(|| DeliverError::again("there is no such topic"))?;
        // All at once: one without a leader is asked for until its time is over.
        let mut asked = JoinSet::new();
        for partition in topic.partitions {
            let (client, name) = (Arc::clone(&client), topic.name.clone());
            asked.spawn(async move {
                client.partition_client(name, partition, UnknownTopicHandling::Error).await
            });
        }
        let mut partitions = Vec::new();
        while let Some(asked) = asked.join_next().await {
            // The others may have a leader.
            partitions.extend(asked.ok().and_then(Result::ok));
        }
        Ok(partitions)
    }

    async fn client(&self) -> Result<Client, DeliverError> {
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(1),
            base: 2.0,
            // Our own pauses come between attempts.
            deadline: Some(self.timeout / 2),
        };
        let mut builder = ClientBuilder::new(self.settings.brokers.clone())
            .client_id("tidegate")
            .backoff_config(backoff);
        if self.settings.tls.is_some() {
            let config = self.tls.client_config();
            let config = config.map_err(|error| DeliverError::again(error.to_string()))?;
            builder = builder.tls_config(Arc::new(config));
        }
        if let (Some(user), Some(password)) = (&self.settings.user, &self.settings.password) {
            let credentials = Credentials::new(user.clone(), password.reveal().to_owned());
            builder = builder.sasl_config(match self.settings.sasl {
                Sasl::Plain => SaslConfig::Plain(credentials),
                Sasl::ScramSha256 => SaslConfig::ScramSha256(credentials),
                Sasl::ScramSha512 => SaslConfig::ScramSha512(credentials),
            });
        }
        builder.build().await.map_err(told)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` wants")]
fn told(error: Error) -> DeliverError {
    DeliverError::again(error.to_string())
}

#[async_trait]
impl Deliver for Kafka {
    async fn deliver(&mut self, batch: &[Record]) -> Result<Delivered, DeliverError> {
        let late = |_elapsed| DeliverError::again("no answer in time");
        if self.partitions.is_empty() {
            self.partitions = timeout(self.timeout, self.connect()).await.map_err(late)??;
        }
        let count = self.partitions.len().max(1);
        let Some(partition) = self.partitions.get(self.next % count) else {
            return Err(DeliverError::again("no partition of the topic has a leader"));
        };
        let records = batch.iter().map(kafka_record).collect();
        let produced =
            timeout(self.timeout, partition.produce(records, Compression::NoCompression));
        match produced
            .await
            .map_err(late)
            .and_then(|produced| produced.map_err(|error| judge(&error)))
        {
            Ok(_offsets) => {
                self.next = (self.next + 1) % count;
                Ok(Delivered::all())
            }
            Err(error) => {
                if error.then != Then::Split {
                    // Leaders may have moved.
                    self.partitions.clear();
                }
                Err(error)
            }
        }
    }
}

fn judge(error: &Error) -> DeliverError {
    match error {
        Error::ServerError {
            protocol_error:
                ProtocolError::MessageTooLarge
                | ProtocolError::RecordListTooLarge
                | ProtocolError::InvalidRecord,
            ..
        } => DeliverError::split(error.to_string()),
        _ => DeliverError::again(error.to_string()),
    }
}

fn kafka_record(record: &Record) -> KafkaRecord {
    let headers = [
        ("tidegate-kind", record.kind.as_bytes()),
        ("tidegate-severity", record.severity.name().as_bytes()),
    ];
    KafkaRecord {
        key: Some(record.key.to_string().into_bytes()),
        value: Some(record.body.to_vec()),
        headers: BTreeMap::from(headers.map(|(name, value)| (name.to_owned(), value.to_vec()))),
        timestamp: DateTime::<Utc>::from(record.time),
    }
}
