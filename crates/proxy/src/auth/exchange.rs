//! Calls for a token in exchange for the caller's (RFC 8693): one per token at a time, whoever
//! waits for it. No token is no leave.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use tidegate_auth::exchange::TradeError;
use tidegate_auth::{Trade, Traded};
use tidegate_observe::Exchanged;

use super::running::{Key, RunningCalls};
use crate::edge::Edge;
use crate::outbound::{Call, CallError, Outbound, Trust};

/// More is no answer about one token.
const MAX_ANSWER: usize = 128 * 1024;

/// The calls that run.
#[derive(Default)]
pub(super) struct Exchanges(RunningCalls<Traded>);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error(transparent)]
    Answer(#[from] TradeError),
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Exchanges {
    /// Exchanges a token, or waits for the call that does; `None` if nobody could.
    pub(super) async fn ask(
        &self,
        trade: &Trade,
        trust: Trust,
        outbound: &Arc<Outbound>,
        edge: &Arc<Edge>,
    ) -> Option<Traded> {
        let key = Key {
            endpoint: Arc::clone(trade.exchanger.name()),
            instance: trade.exchanger.instance(),
            trust: trust.group,
            digest: trade.digest,
        };
        let (trade, outbound, edge) = (trade.clone(), Arc::clone(outbound), Arc::clone(edge));
        let call = async move {
            let traded = Box::pin(exchange(&trade, trust, &outbound, &edge)).await;
            tell(trade.exchanger.name(), &traded, &edge);
            traded.ok()
        };
        self.0.share(key, call).await
    }
}

async fn exchange(
    trade: &Trade,
    trust: Trust,
    outbound: &Outbound,
    edge: &Edge,
) -> Result<Traded, ExchangeError> {
    let settings = trade.exchanger.settings();
    let inquiry = trade.exchanger.inquiry(&trade.token);
    let call = Call {
        method: Method::POST,
        url: &settings.url,
        headers: inquiry.headers,
        body: inquiry.body.map(Bytes::from).unwrap_or_default(),
        trust,
        timeout: settings.timeout.0,
        max_body: MAX_ANSWER,
    };
    // The token's time runs from before the call.
    let asked = super::seconds(edge.clock().wall());
    let answer = outbound.call(&call).await?;
    Ok(trade.exchanger.learn(trade, (answer.status, &answer.body), asked)?)
}

fn tell(exchange: &str, traded: &Result<Traded, ExchangeError>, edge: &Edge) {
    let result = match traded {
        Ok(Traded::Token(_)) => Exchanged::Issued,
        Ok(Traded::Invalid(_) | Traded::Forbidden(_)) => Exchanged::Refused,
        Err(_error) => Exchanged::Failed,
    };
    edge.provider_answered("exchange", exchange, traded.as_ref().map(|_traded| ()));
    edge.metrics().token_exchanged(exchange, result);
}
