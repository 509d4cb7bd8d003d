//! Which parts of a request or response a rule looks at: kinds of values ([`Target`]), sets of them
//! ([`TargetSet`]), the variables of SecLang that stand for them (`variable`), and the selectors of
//! YAML rules and exclusions (`selector`).
//!
//! Both front ends share a kind where they mean the same. What the engine itself keeps (`TX`,
//! `MATCHED_VAR`, `RULE`, `ENV` and the collections) is no kind of value.

mod selector;
mod variable;

pub(crate) use selector::Selector;
pub use selector::reference;

/// A kind of value. Its number is its bit in a [`TargetSet`]; the SecLang variable of the same
/// name says what it holds, where none else is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    ArgsCombinedSize,
    ArgsGet,
    ArgsGetNames,
    /// Values of a JSON body: in `ARGS`, but in neither `ARGS_GET` nor `ARGS_POST`.
    ArgsJson,
    /// Their names.
    ArgsJsonNames,
    ArgsPost,
    ArgsPostNames,
    AuthType,
    /// The names of a body as YAML rules see them: of JSON, each key once, without its path.
    BodyName,
    /// The field `Cookie`, which `REQUEST_HEADERS` has and the YAML word `header` has not.
    CookieHeader,
    Duration,
    Files,
    FilesCombinedSize,
    FilesNames,
    FilesSizes,
    FilesTmpContent,
    FilesTmpNames,
    /// What the parsers objected to, for YAML rules.
    Finding,
    FullRequest,
    FullRequestLength,
    Geo,
    HighestSeverity,
    InboundDataError,
    ModsecBuild,
    MscPcreError,
    MscPcreLimitsExceeded,
    MultipartBoundaryQuoted,
    MultipartBoundaryWhitespace,
    MultipartCrlfLfLines,
    MultipartDataAfter,
    MultipartDataBefore,
    MultipartFileLimitExceeded,
    MultipartFilename,
    MultipartHeaderFolding,
    MultipartInvalidHeaderFolding,
    MultipartInvalidPart,
    MultipartInvalidQuoting,
    MultipartLfLine,
    MultipartMissingSemicolon,
    MultipartName,
    MultipartPartHeaders,
    MultipartStrictError,
    MultipartUnmatchedBoundary,
    OutboundDataError,
    /// The canonical path, decoded once, for YAML rules.
    Path,
    PathInfo,
    QueryString,
    /// A text body that no parser took, for YAML rules.
    RawBody,
    RemoteAddr,
    RemoteHost,
    RemotePort,
    RemoteUser,
    ReqbodyError,
    ReqbodyErrorMsg,
    ReqbodyProcessor,
    ReqbodyProcessorError,
    ReqbodyProcessorErrorMsg,
    RequestBasename,
    RequestBody,
    RequestBodyLength,
    RequestCookies,
    RequestCookiesNames,
    RequestFilename,
    RequestHeaders,
    RequestHeadersNames,
    RequestLine,
    RequestMethod,
    RequestProtocol,
    RequestUri,
    RequestUriRaw,
    ResponseBody,
    ResponseContentLength,
    ResponseContentType,
    ResponseHeaders,
    ResponseHeadersNames,
    ResponseProtocol,
    ResponseStatus,
    ServerAddr,
    ServerName,
    ServerPort,
    SessionId,
    Time,
    TimeDay,
    TimeEpoch,
    TimeHour,
    TimeMin,
    TimeMon,
    TimeSec,
    TimeWday,
    TimeYear,
    UniqueId,
    UrlencodedError,
    UserId,
    WebAppId,
    /// `XML://@*`.
    XmlAttributes,
    /// `XML:/*`.
    XmlText,
}

impl Target {
    pub(crate) const ALL: [Self; 96] = [
        Self::ArgsCombinedSize,
        Self::ArgsGet,
        Self::ArgsGetNames,
        Self::ArgsJson,
        Self::ArgsJsonNames,
        Self::ArgsPost,
        Self::ArgsPostNames,
        Self::AuthType,
        Self::BodyName,
        Self::CookieHeader,
        Self::Duration,
        Self::Files,
        Self::FilesCombinedSize,
        Self::FilesNames,
        Self::FilesSizes,
        Self::FilesTmpContent,
        Self::FilesTmpNames,
        Self::Finding,
        Self::FullRequest,
        Self::FullRequestLength,
        Self::Geo,
        Self::HighestSeverity,
        Self::InboundDataError,
        Self::ModsecBuild,
        Self::MscPcreError,
        Self::MscPcreLimitsExceeded,
        Self::MultipartBoundaryQuoted,
        Self::MultipartBoundaryWhitespace,
        Self::MultipartCrlfLfLines,
        Self::MultipartDataAfter,
        Self::MultipartDataBefore,
        Self::MultipartFileLimitExceeded,
        Self::MultipartFilename,
        Self::MultipartHeaderFolding,
        Self::MultipartInvalidHeaderFolding,
        Self::MultipartInvalidPart,
        Self::MultipartInvalidQuoting,
        Self::MultipartLfLine,
        Self::MultipartMissingSemicolon,
        Self::MultipartName,
        Self::MultipartPartHeaders,
        Self::MultipartStrictError,
        Self::MultipartUnmatchedBoundary,
        Self::OutboundDataError,
        Self::Path,
        Self::PathInfo,
        Self::QueryString,
        Self::RawBody,
        Self::RemoteAddr,
        Self::RemoteHost,
        Self::RemotePort,
        Self::RemoteUser,
        Self::ReqbodyError,
        Self::ReqbodyErrorMsg,
        Self::ReqbodyProcessor,
        Self::ReqbodyProcessorError,
        Self::ReqbodyProcessorErrorMsg,
        Self::RequestBasename,
        Self::RequestBody,
        Self::RequestBodyLength,
        Self::RequestCookies,
        Self::RequestCookiesNames,
        Self::RequestFilename,
        Self::RequestHeaders,
        Self::RequestHeadersNames,
        Self::RequestLine,
        Self::RequestMethod,
        Self::RequestProtocol,
        Self::RequestUri,
        Self::RequestUriRaw,
        Self::ResponseBody,
        Self::ResponseContentLength,
        Self::ResponseContentType,
        Self::ResponseHeaders,
        Self::ResponseHeadersNames,
        Self::ResponseProtocol,
        Self::ResponseStatus,
        Self::ServerAddr,
        Self::ServerName,
        Self::ServerPort,
        Self::SessionId,
        Self::Time,
        Self::TimeDay,
        Self::TimeEpoch,
        Self::TimeHour,
        Self::TimeMin,
        Self::TimeMon,
        Self::TimeSec,
        Self::TimeWday,
        Self::TimeYear,
        Self::UniqueId,
        Self::UrlencodedError,
        Self::UserId,
        Self::WebAppId,
        Self::XmlAttributes,
        Self::XmlText,
    ];

    /// Every kind, in the order of their numbers.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter()
    }

    /// Whether a message has exactly one value of it, which may be empty, and no name.
    pub(crate) fn is_single(self) -> bool {
        variable::is_single(self)
    }

    /// What logs call it: the word of YAML rules, or else SecLang's.
    pub(crate) fn name(self) -> &'static str {
        selector::word(self).unwrap_or_else(|| variable::name(self))
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TargetSet(u128);

impl TargetSet {
    pub(crate) const fn of(mut targets: &[Target]) -> Self {
        let mut set = 0;
        while let [target, rest @ ..] = targets {
            set |= 1 << *target as u32;
            targets = rest;
        }
        Self(set)
    }

    pub(crate) fn contains(self, target: Target) -> bool {
        self.0 >> target as u32 & 1 == 1
    }

    pub(crate) fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Its kinds, in the order of their numbers.
    pub(crate) fn iter(self) -> impl Iterator<Item = Target> {
        Target::all().filter(move |target| self.contains(*target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_bit() {
        for (index, target) in Target::all().enumerate() {
            assert_eq!(target as usize, index);
            assert!(!target.name().is_empty(), "{target:?}");
            assert_eq!(TargetSet::of(&[target]).iter().collect::<Vec<_>>(), [target]);
        }
    }
}
