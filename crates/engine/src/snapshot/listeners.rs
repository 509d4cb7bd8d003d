//! What can be wrong with listeners, the admin listener and limits.

use std::net::{IpAddr, SocketAddr};

use tidegate_core::SettingsError;

use super::files::{self, Pem};
use crate::config::Config;
use crate::settings::{AdminSettings, LimitsSettings, ListenerSettings, TlsSettings};

/// Notes everything that is wrong with them.
pub(super) fn check(config: &Config, errors: &mut Vec<SettingsError>) {
    let settings = &config.settings;
    if !config.has_elements("listeners") {
        errors.push(
            SettingsError::new(["listeners"], "there is no listener")
                .with_hint("add `listeners: [{ address: 0.0.0.0:8080 }]`"),
        );
    }
    for (index, listener) in settings.listeners.iter().enumerate() {
        let index = index.to_string();
        let mut own = Vec::new();
        check_listener(listener, &mut own);
        errors.extend(own.into_iter().map(|error| error.under(["listeners", &index])));
    }
    check_addresses(&settings.listeners, errors);
    check_admin(config, errors);
    check_limits(&settings.limits, errors);
}

fn check_listener(listener: &ListenerSettings, errors: &mut Vec<SettingsError>) {
    if let Some(tls) = &listener.tls {
        check_tls(tls, errors);
        if listener.h2c {
            errors.push(
                SettingsError::new(["h2c"], "`h2c` is for listeners without `tls`")
                    .with_hint("remove it; with `tls` HTTP/2 is offered by `alpn`"),
            );
        }
    }
    if listener.proxy_protocol.as_ref().is_some_and(|proxy| proxy.from.is_empty()) {
        errors.push(
            SettingsError::new(["proxy_protocol", "from"], "no peer may send a PROXY header")
                .with_hint("list the load balancer's addresses, such as [10.0.0.0/8]"),
        );
    }
}

fn check_tls(tls: &TlsSettings, errors: &mut Vec<SettingsError>) {
    match (&tls.cert, &tls.key) {
        (Some(_), None) => {
            errors.push(SettingsError::new(["tls", "cert"], "`cert` needs a `key`"));
        }
        (None, Some(_)) => {
            errors.push(SettingsError::new(["tls", "key"], "`key` needs a `cert`"));
        }
        (None, None) if tls.certificates.is_empty() => errors.push(
            SettingsError::new(["tls"], "there is no certificate")
                .with_hint("add `cert` and `key`, or `certificates`"),
        ),
        _ => {}
    }
    let short = [(&tls.cert, Pem::Certificate, "cert"), (&tls.key, Pem::Key, "key")];
    for (file, pem, field) in short {
        if let Some(file) = file {
            files::check(file, pem, &["tls", field], errors);
        }
    }
    for (index, pair) in tls.certificates.iter().enumerate() {
        let index = index.to_string();
        let path = |field| ["tls", "certificates", index.as_str(), field];
        files::check(&pair.cert, Pem::Certificate, &path("cert"), errors);
        files::check(&pair.key, Pem::Key, &path("key"), errors);
    }
    if let Some(auth) = &tls.client_auth {
        files::check(&auth.ca, Pem::Certificate, &["tls", "client_auth", "ca"], errors);
    }
    if tls.alpn.as_ref().is_some_and(Vec::is_empty) {
        errors.push(
            SettingsError::new(["tls", "alpn"], "no protocol is offered")
                .with_hint("write [h2, http/1.1]"),
        );
    }
}

/// Two listeners cannot have the same address, nor can one have all of a port's addresses and
/// another one of them.
fn check_addresses(listeners: &[ListenerSettings], errors: &mut Vec<SettingsError>) {
    for (index, listener) in listeners.iter().enumerate() {
        let taken = listeners
            .iter()
            .take(index)
            .position(|other| conflict(other.address.0, listener.address.0));
        if let Some(other) = taken {
            let message = format!("`{}` is taken by listeners[{other}]", listener.address);
            let path = ["listeners", &index.to_string(), "address"];
            errors.push(SettingsError::new(path, message));
        }
    }
}

fn conflict(one: SocketAddr, other: SocketAddr) -> bool {
    // `[::]` takes IPv6 only, or both families, as the system says; side by side is common.
    let covers = |wide: IpAddr, narrow: IpAddr| {
        wide == narrow || (wide.is_unspecified() && wide.is_ipv4() == narrow.is_ipv4())
    };
    one.port() == other.port()
        && one.port() != 0
        && (covers(one.ip(), other.ip()) || covers(other.ip(), one.ip()))
}

fn check_admin(config: &Config, errors: &mut Vec<SettingsError>) {
    let AdminSettings { address, token, insecure_remote } = &config.settings.admin;
    if !address.0.ip().is_loopback() && !insecure_remote {
        errors.push(
            SettingsError::new(["admin", "address"], format!("`{address}` is not loopback"))
                .with_hint("the admin listener speaks plain HTTP; if that is meant, add `insecure_remote: true`"),
        );
    }
    if !address.0.ip().is_loopback() && token.is_none() && *insecure_remote {
        errors.push(
            SettingsError::new(["admin"], "a remote admin listener needs a `token`")
                .with_hint("add `token: ${env:TIDEGATE_ADMIN_TOKEN}`"),
        );
    }
    if let Some(token) = token {
        let path = ["admin", "token"];
        if !config.is_secret(&path) {
            errors.push(
                SettingsError::new(path, "a secret stands in the configuration")
                    .with_hint("write `${env:NAME}` or `${file:path}`"),
            );
        } else if token.reveal().len() < 16 {
            errors.push(
                SettingsError::new(path, "the token is shorter than 16 characters")
                    .with_hint("make one with `openssl rand -hex 32`"),
            );
        }
    }
    let listeners = &config.settings.listeners;
    if let Some(taken) = listeners.iter().position(|other| conflict(other.address.0, address.0)) {
        let message = format!("the admin listener's `{address}` is taken by listeners[{taken}]");
        errors.push(
            SettingsError::new(["admin", "address"], message)
                .with_hint("give it another one: `admin: { address: 127.0.0.1:9901 }`"),
        );
    }
}

fn check_limits(limits: &LimitsSettings, errors: &mut Vec<SettingsError>) {
    let counts = [
        ("connections", limits.connections),
        ("connections_per_client", limits.connections_per_client),
        ("header_fields", limits.header_fields),
        ("requests_per_connection", limits.requests_per_connection),
        ("h2_streams", limits.h2_streams),
        ("h2_resets", limits.h2_resets),
        ("h2_control_frames", limits.h2_control_frames),
    ];
    let spans = [
        ("handshake_timeout", limits.handshake_timeout),
        ("header_timeout", limits.header_timeout),
        ("idle_timeout", limits.idle_timeout),
        ("body_timeout", limits.body_timeout),
        ("send_timeout", limits.send_timeout),
    ];
    let zero = counts.into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name);
    let zero = zero.chain(spans.into_iter().filter(|(_, span)| span.0.is_zero()).map(|(n, _)| n));
    for name in zero {
        let error = SettingsError::new(["limits", name], "zero would let nothing pass");
        errors.push(error.with_hint("remove the key to get the default"));
    }
    for (name, size, least) in
        [("header_bytes", limits.header_bytes, 1024), ("uri_bytes", limits.uri_bytes, 256)]
    {
        if size.0 < least {
            let message = format!("{size} is too small for ordinary requests");
            let error = SettingsError::new(["limits", name], message);
            errors.push(error.with_hint(format!("write at least {least}B")));
        }
    }
}
