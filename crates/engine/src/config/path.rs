//! Where a setting stands inside the configuration, as `listeners[0].tls.cert`.

use std::fmt;

/// The steps from the root to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Path(pub(crate) Vec<Segment>);

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Segment {
    Index(usize),
    Key(String),
}

impl Path {
    /// One step further down.
    pub(crate) fn join(&self, segment: Segment) -> Self {
        let mut path = self.clone();
        path.0.push(segment);
        path
    }

    /// One step further down, to a key.
    pub(crate) fn key(&self, key: &str) -> Self {
        self.join(Segment::Key(key.to_owned()))
    }

    /// One step further down, to a list element.
    pub(crate) fn index(&self, index: usize) -> Self {
        self.join(Segment::Index(index))
    }

    /// The node above; `None` at the root.
    pub(crate) fn parent(&self) -> Option<Self> {
        let (_, above) = self.0.split_last()?;
        Some(Self(above.to_vec()))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => {
                    let dot = if position > 0 { "." } else { "" };
                    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/');
                    match key.chars().all(plain) && !key.is_empty() {
                        true => write!(f, "{dot}{key}")?,
                        false => write!(f, "{dot}{key:?}")?,
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_like_an_access() {
        let path = Path::default().key("listeners").index(0).key("tls").key("a.b");
        assert_eq!(path.to_string(), r#"listeners[0].tls."a.b""#);
    }
}
