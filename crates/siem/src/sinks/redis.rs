//! A stream of Redis or Valkey: each record an entry with the fields `key`, `kind`, `severity` and
//! `record`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, IntoConnectionInfo as _, Pipeline, RedisResult,
    TlsCertificates,
};

use crate::deliver::{Deliver, DeliverError, Delivered};
use crate::record::Record;
use crate::settings::RedisSettings;
use crate::tls::TlsMaterial;

pub(super) struct Redis {
    settings: RedisSettings,
    tls: Arc<TlsMaterial>,
    timeout: Duration,
    connection: Option<MultiplexedConnection>,
}

impl Redis {
    pub(super) fn new(settings: &RedisSettings, tls: &Arc<TlsMaterial>, timeout: Duration) -> Self {
        let (settings, tls) = (settings.clone(), Arc::clone(tls));
        Self { settings, tls, timeout, connection: None }
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let mut info = self.settings.url.as_str().into_connection_info()?;
        let mut who = info.redis_settings().clone();
        if let Some(user) = &self.settings.user {
            who = who.set_username(user);
        }
        if let Some(password) = &self.settings.password {
            who = who.set_password(password.reveal());
        }
        info = info.set_redis_settings(who);
        let client = if self.settings.url.starts_with("rediss:") {
            let identity = self.tls.identity_pem().map(|(cert, key)| ClientTlsConfig {
                client_cert: cert.to_vec(),
                client_key: key.to_vec(),
            });
            let root_cert = self.tls.authorities_pem().map(<[u8]>::to_vec);
            Client::build_with_tls(info, TlsCertificates { client_tls: identity, root_cert })?
        } else {
            Client::open(info)?
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    fn commands(&self, batch: &[Record]) -> Pipeline {
        let mut pipeline = redis::pipe();
        for record in batch {
            let add = pipeline.cmd("XADD").arg(&self.settings.stream);
            if let Some(most) = self.settings.max_length {
                add.arg("MAXLEN").arg("~").arg(most);
            }
            add.arg("*").arg("key").arg(record.key.to_string()).arg("kind").arg(record.kind);
            add.arg("severity").arg(record.severity.name()).arg("record").arg(&*record.body);
            add.ignore();
        }
        pipeline
    }
}

#[async_trait]
impl Deliver for Redis {
    async fn deliver(&mut self, batch: &[Record]) -> Result<Delivered, DeliverError> {
        let told = |error: redis::RedisError| DeliverError::again(error.to_string());
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await.map_err(told)?,
        };
        let commands = self.commands(batch);
        commands.query_async::<()>(&mut connection).await.map_err(told)?;
        self.connection = Some(connection);
        Ok(Delivered::all())
    }
}
