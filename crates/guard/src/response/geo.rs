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
        let asn = self
            .asn
            .as_ref()
            .and_then(|database| database.lookup(address).ok()?.decode_path::<u32>(ASN).ok()?);
        Place { country, asn }
    }

    /// Whether countries are known, and whether autonomous systems are.
    #[must_use]
    pub fn knows(&self) -> (bool, bool) {
        (self.country.is_some(), self.asn.is_some())
    }
}
