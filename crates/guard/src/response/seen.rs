//! What happened, as rules look at it: a request's event, or a notice.

use std::cell::OnceCell;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use http::HeaderName;
use tidegate_core::decision::Sample;
use tidegate_core::{Event, Notice};

use super::geo::{Geo, Place};

/// What happened.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub(super) what: What<'a>,
    geo: &'a Geo,
    place: OnceCell<Place<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What<'a> {
    Request(&'a Event<'a>),
    Notice(&'a Notice),
}

impl<'a> Seen<'a> {
    pub(super) fn new(what: What<'a>, geo: &'a Geo) -> Self {
        Self { what, geo, place: OnceCell::new() }
    }

    pub(super) fn request(&self) -> Option<&'a Event<'a>> {
        match self.what {
            What::Request(event) => Some(event),
            What::Notice(_) => None,
        }
    }

    pub(super) fn client(&self) -> Option<IpAddr> {
        match self.what {
            What::Request(event) => Some(event.client),
            What::Notice(notice) => notice.client,
        }
    }

    pub(super) fn upstream(&self) -> Option<&'a str> {
        match self.what {
            What::Request(event) => event.upstream,
            What::Notice(notice) => notice.upstream.as_deref(),
        }
    }

    pub(super) fn endpoint(&self) -> Option<SocketAddr> {
        match self.what {
            What::Request(event) => event.endpoint,
            What::Notice(notice) => notice.endpoint,
        }
    }

    /// The value of a request header, of several fields the first. Two are known where the fields
    /// are not.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&'a [u8]> {
        let event = self.request()?;
        if let Some(fields) = event.headers {
            return fields.get(name).map(http::HeaderValue::as_bytes);
        }
        let text = match *name {
            http::header::USER_AGENT => event.user_agent,
            http::header::REFERER => event.referer,
            _ => None,
        };
        text.map(str::as_bytes)
    }

    /// Where the client is; looked up once, and only if the event does not say it.
    pub(super) fn place(&self) -> Place<'a> {
        *self.place.get_or_init(|| {
            let found = self.client().map(|client| self.geo.place(client)).unwrap_or_default();
            let event = self.request();
            Place {
                country: event.and_then(|event| event.country).or(found.country),
                asn: event.and_then(|event| event.asn).or(found.asn),
            }
        })
    }

    /// What a decision tells of it; nothing of a notice.
    pub(super) fn sample(&self, time: SystemTime) -> Option<Sample> {
        let event = self.request()?;
        Some(Sample {
            time,
            request_id: event.request_id.into(),
            client: event.client,
            route: event.route.map(Into::into),
            status: event.status,
            reason: event.reason,
        })
    }
}
