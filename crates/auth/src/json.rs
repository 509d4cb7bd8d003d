//! Strict JSON: a member that stands twice in an object is refused, since two readers could take
//! different ones (RFC 8725 §2.6, RFC 7519 §4). Depth is bounded by the parser, size by callers.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// A JSON value, kept small: no map, no spare capacity.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any number.
    Number(Number),
    /// A string.
    String(Box<str>),
    /// An array.
    List(Box<[Self]>),
    /// An object.
    Object(Object),
}

/// A JSON object, its members sorted by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(Box<[(Box<str>, Json)]>);

/// Reads one JSON object and nothing behind it.
///
/// # Errors
/// The text is no JSON, no object, or names a member twice.
pub fn object(bytes: &[u8]) -> Result<Object, serde_json::Error> {
    match serde_json::from_slice(bytes)? {
        Json::Object(object) => Ok(object),
        _ => Err(de::Error::custom("not an object")),
    }
}

/// About what an allocation of so many bytes takes: allocators round up, and note the size.
pub(crate) fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}

impl Json {
    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value's object.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The strings of a string (itself) or of an array of strings; `None` for anything else.
    #[must_use]
    pub fn strings(&self) -> Option<Vec<&str>> {
        match self {
            Self::String(text) => Some(vec![text]),
            Self::List(items) => items.iter().map(Self::as_str).collect(),
            _ => None,
        }
    }

    /// A `NumericDate` (RFC 7519 §2) in whole seconds, fractions dropped; `None` if it is none, or
    /// before 1970.
    #[must_use]
    pub fn as_seconds(&self) -> Option<u64> {
        let Self::Number(number) = self else { return None };
        number.as_u64().or_else(|| {
            let seconds = number.as_f64().filter(|seconds| (0.0..9e15).contains(seconds))?;
            // In range, as was just looked at.
            format!("{:.0}", seconds.trunc()).parse().ok()
        })
    }

    /// About how many bytes of memory it takes, beside those of the value itself.
    #[must_use]
    pub fn footprint(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 0,
            Self::String(text) => allocated(text.len()),
            Self::List(items) => {
                let inner: usize = items.iter().map(Self::footprint).sum();
                allocated(size_of_val(&**items)) + inner
            }
            Self::Object(object) => object.footprint(),
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::String(text) => f.write_str(&serde_json::Value::from(&**text).to_string()),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    item.fmt(f)?;
                }
                f.write_str("]")
            }
            Self::Object(object) => object.fmt(f),
        }
    }
}

impl Object {
    /// The member with this name.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Json> {
        let index = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.0.get(index).map(|(_, value)| value)
    }

    /// The text of a string member.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.member(name).and_then(Json::as_str)
    }

    /// The member at a path: a name as it is, such as `https://example.com/role`, or names with
    /// dots between them that lead through objects, such as `realm_access.roles`.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Json> {
        self.member(path).or_else(|| {
            let (first, rest) = path.split_once('.')?;
            self.member(first)?.as_object()?.at(rest)
        })
    }

    /// The members, by name.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// About how many bytes of memory it takes, beside those of the object itself.
    #[must_use]
    pub fn footprint(&self) -> usize {
        let member = |(name, value): &(Box<str>, Json)| allocated(name.len()) + value.footprint();
        let inner: usize = self.0.iter().map(member).sum();
        allocated(size_of_val(&*self.0)) + inner
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            write!(f, "{}:{value}", serde_json::Value::from(&**name))?;
        }
        f.write_str("}")
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Json, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::String(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members: Vec<(Box<str>, Json)> = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut pairs = members.iter().zip(members.iter().skip(1));
        if pairs.any(|((one, _), (other, _))| one == other) {
            return Err(de::Error::custom("an object names a member twice"));
        }
        Ok(Json::Object(Object(members.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_stands_twice_is_refused_at_any_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"\u0061":3}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"x":[{"a":1,"a":2}]}"#,
        ] {
            assert!(object(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn only_one_object_is_read() {
        for text in ["", "1", "[]", "null", "{}{}", "{} x", "{\"a\":01}", "{\"a\":NaN}", "{'a':1}"]
        {
            assert!(object(text.as_bytes()).is_err(), "{text}");
        }
        assert!(object(&[b'{', b'"', 0xff, b'"', b':', b'1', b'}']).is_err());
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(object(deep.as_bytes()).is_err(), "depth is bounded");
    }

    #[test]
    fn members_are_found_by_name_and_by_path() {
        let claims = object(br#"{"b.c":1,"b":{"c":2,"d":{"e":"f"}},"a":[1.5,true,null]}"#).unwrap();
        assert_eq!(claims.at("b.c"), Some(&Json::Number(1.into())));
        assert_eq!(claims.at("b.d.e").and_then(Json::as_str), Some("f"));
        assert_eq!(claims.at("b.x"), None);
        assert_eq!(
            claims.to_string(),
            r#"{"a":[1.5,true,null],"b":{"c":2,"d":{"e":"f"}},"b.c":1}"#
        );
    }

    #[test]
    fn dates_are_whole_seconds_after_1970() {
        let seconds = |text: &str| serde_json::from_str::<Json>(text).unwrap().as_seconds();
        assert_eq!(seconds("1700000000"), Some(1_700_000_000));
        assert_eq!(seconds("1700000000.9"), Some(1_700_000_000));
        assert_eq!(seconds("-1"), None);
        assert_eq!(seconds("1e300"), None);
        assert_eq!(seconds("\"1700000000\""), None);
    }
}
