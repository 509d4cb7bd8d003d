//! Where an address is, by databases in MaxMind's format.

use std::net::IpAddr;

use maxminddb::{PathElement, Reader};

/// The databases that are there.
#[derive(Debug, Default)]
pub struct Geo {
    country: Option<Reader<Vec<u8>>>,
    asn: Option<Reader<Vec<u8>>>,
}

/// A file that is no such database.
#[derive(Debug, thiserror::Error)]
#[error("not a database in MaxMind's format")]
pub struct NotADatabase(#[from] maxminddb::MaxMindDbError);

/// Where an address is, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place<'a> {
    /// The country's two letters (ISO 3166-1).
    pub country: Option<&'a str>,
    /// The number of the autonomous system.
    pub asn: Option<u32>,
}

/// A number, of whatever width it is written in.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Number {
    Any(u32),
}

impl Geo {
    /// Takes the bytes of the files.
    ///
    /// # Errors
    ///
    /// The bytes of one of them, `country` first, are no database.
    pub fn new(country: Option<Vec<u8>>, asn: Option<Vec<u8>>) -> Result<Self, NotADatabase> {
        let open = |bytes: Option<Vec<u8>>| bytes.map(Reader::from_source).transpose();
        Ok(Self { country: open(country)?, asn: open(asn)? })
    }

    /// These databases, with the other's of autonomous systems.
    #[must_use]
    pub fn with_asn(self, other: Self) -> Self {
        Self { asn: other.asn, ..self }
    }

    /// Where the address is.
    #[must_use]
    pub fn place(&self, address: IpAddr) -> Place<'_> {
        const COUNTRY: &[PathElement<'_>] =
            &[PathElement::Key("country"), PathElement::Key("iso_code")];
        const ASN: &[PathElement<'_>] = &[PathElement::Key("autonomous_system_number")];
        let address = address.to_canonical();
        let country = self.country.as_ref().and_then(|database| {
            database.lookup(address).ok()?.decode_path::<&str>(COUNTRY).ok()?
        });
        let asn = self.asn.as_ref().and_then(|database| {
            let Number::Any(asn) = database.lookup(address).ok()?.decode_path(ASN).ok()??;
            Some(asn)
        });
        Place { country, asn }
    }

    /// Whether countries are known, and whether autonomous systems are.
    #[must_use]
    pub fn knows(&self) -> (bool, bool) {
        (self.country.is_some(), self.asn.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database (format 2.0) of IPv4 that knows one network and says `data` of it.
    fn database(network: [u8; 3], data: &[u8]) -> Vec<u8> {
        let number = |value: u32| value.to_be_bytes()[1..].to_vec();
        let mut bytes = Vec::new();
        for bit in 0..24_u32 {
            let on = if bit == 23 { 24 + 16 } else { bit + 1 };
            let is_set = network[(bit / 8) as usize] & (0x80 >> (bit % 8)) != 0;
            let [left, right] = if is_set { [24, on] } else { [on, 24] };
            bytes.extend([number(left), number(right)].concat());
        }
        bytes.extend([0; 16]);
        bytes.extend(data);
        bytes.extend(b"\xab\xcd\xefMaxMind.com\xe9");
        let text =
            |text: &str| [&[0x40 | u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        for (key, value) in [
            ("binary_format_major_version", b"\xa1\x02".to_vec()),
            ("binary_format_minor_version", b"\xa1\x00".to_vec()),
            ("build_epoch", b"\x01\x02\x01".to_vec()),
            ("database_type", text("Test")),
            ("description", b"\xe0".to_vec()),
            ("ip_version", b"\xa1\x04".to_vec()),
            ("languages", b"\x00\x04".to_vec()),
            ("node_count", b"\xc1\x18".to_vec()),
            ("record_size", b"\xa1\x18".to_vec()),
        ] {
            bytes.extend([text(key), value].concat());
        }
        bytes
    }

    #[test]
    fn databases_tell_country_and_system() {
        let country = database([198, 51, 100], b"\xe1\x47country\xe1\x48iso_code\x42DE");
        let asn = database([203, 0, 113], b"\xe1\x58autonomous_system_number\xc2\xfb\xf4");
        let geo = Geo::new(Some(country), Some(asn)).unwrap();
        let place = |address: &str| geo.place(address.parse().unwrap());
        let germany = Place { country: Some("DE"), asn: None };
        assert_eq!(place("198.51.100.7"), germany);
        assert_eq!(place("::ffff:198.51.100.7"), germany);
        assert_eq!(place("203.0.113.9"), Place { country: None, asn: Some(64_500) });
        assert_eq!(place("192.0.2.1"), Place::default());
        assert_eq!(place("2001:db8::1"), Place::default());
        assert_eq!(geo.knows(), (true, true));
        let narrow = database([203, 0, 113], b"\xe1\x58autonomous_system_number\xa2\xfb\xf4");
        let geo = Geo::new(None, Some(narrow)).unwrap();
        assert_eq!(geo.place("203.0.113.9".parse().unwrap()).asn, Some(64_500));
    }

    #[test]
    fn what_is_no_database_is_refused() {
        let error = Geo::new(Some(b"plain text".to_vec()), None).unwrap_err();
        assert_eq!(error.to_string(), "not a database in MaxMind's format");
    }
}
