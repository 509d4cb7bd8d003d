//! The variables of SecLang, as libmodsecurity 3 knows them, and the kinds of values that each
//! stands for.

use super::{Target, TargetSet};

impl TargetSet {
    /// The kinds that a variable stands for; `path` is the XPath expression behind `XML:`.
    ///
    /// # Errors
    /// Names that are no variable, or one that the engine keeps itself; `XML` with another path
    /// than the two that rules use.
    pub(crate) fn of_seclang(name: &str, path: Option<&str>) -> Result<Self, UnknownVariable> {
        if name.eq_ignore_ascii_case("XML") {
            return match path {
                Some("/*") => Ok(Self::of(&[Target::XmlText])),
                Some("//@*") => Ok(Self::of(&[Target::XmlAttributes])),
                other => Err(UnknownVariable::Path(other.unwrap_or_default().to_owned())),
            };
        }
        let known = |row: &&(&str, Shape, &[Target])| row.0.eq_ignore_ascii_case(name);
        let (_, _, targets) =
            ROWS.iter().find(known).ok_or_else(|| UnknownVariable::Name(name.to_owned()))?;
        Ok(Self::of(targets))
    }
}

/// A variable that has no values here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnknownVariable {
    #[error("`{0}` is no variable; known are XML, {known}", known = names())]
    Name(String),
    #[error("`XML:{0}` is not supported; known are `XML:/*` and `XML://@*`")]
    Path(String),
}

fn names() -> String {
    let names: Vec<&str> = ROWS.iter().map(|(name, _, _)| *name).collect();
    names.join(", ")
}

pub(super) fn is_single(target: Target) -> bool {
    ROWS.iter().any(|(_, shape, targets)| *shape == Single && targets.contains(&target))
}

/// The first variable that stands for the kind.
pub(super) fn name(target: Target) -> &'static str {
    match target {
        Target::XmlAttributes | Target::XmlText => "XML",
        _ => {
            let row = ROWS.iter().find(|(_, _, targets)| targets.contains(&target));
            row.map_or("", |(name, _, _)| name)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Any number of values with names, which selectors choose by.
    Many,
    /// One value without a name.
    Single,
}

use Shape::{Many, Single};

const ROWS: &[(&str, Shape, &[Target])] = &[
    ("ARGS", Many, &[Target::ArgsGet, Target::ArgsPost, Target::ArgsJson]),
    ("ARGS_COMBINED_SIZE", Single, &[Target::ArgsCombinedSize]),
    ("ARGS_GET", Many, &[Target::ArgsGet]),
    ("ARGS_GET_NAMES", Many, &[Target::ArgsGetNames]),
    ("ARGS_NAMES", Many, &[Target::ArgsGetNames, Target::ArgsPostNames, Target::ArgsJsonNames]),
    ("ARGS_POST", Many, &[Target::ArgsPost]),
    ("ARGS_POST_NAMES", Many, &[Target::ArgsPostNames]),
    ("AUTH_TYPE", Single, &[Target::AuthType]),
    ("DURATION", Single, &[Target::Duration]),
    ("FILES", Many, &[Target::Files]),
    ("FILES_COMBINED_SIZE", Single, &[Target::FilesCombinedSize]),
    ("FILES_NAMES", Many, &[Target::FilesNames]),
    ("FILES_SIZES", Many, &[Target::FilesSizes]),
    ("FILES_TMPNAMES", Many, &[Target::FilesTmpNames]),
    ("FILES_TMP_CONTENT", Many, &[Target::FilesTmpContent]),
    ("FULL_REQUEST", Single, &[Target::FullRequest]),
    ("FULL_REQUEST_LENGTH", Single, &[Target::FullRequestLength]),
    ("GEO", Many, &[Target::Geo]),
    ("HIGHEST_SEVERITY", Single, &[Target::HighestSeverity]),
    ("INBOUND_DATA_ERROR", Single, &[Target::InboundDataError]),
    ("MODSEC_BUILD", Single, &[Target::ModsecBuild]),
    ("MSC_PCRE_ERROR", Single, &[Target::MscPcreError]),
    ("MSC_PCRE_LIMITS_EXCEEDED", Single, &[Target::MscPcreLimitsExceeded]),
    ("MULTIPART_BOUNDARY_QUOTED", Single, &[Target::MultipartBoundaryQuoted]),
    ("MULTIPART_BOUNDARY_WHITESPACE", Single, &[Target::MultipartBoundaryWhitespace]),
    ("MULTIPART_CRLF_LF_LINES", Single, &[Target::MultipartCrlfLfLines]),
    ("MULTIPART_DATA_AFTER", Single, &[Target::MultipartDataAfter]),
    ("MULTIPART_DATA_BEFORE", Single, &[Target::MultipartDataBefore]),
    ("MULTIPART_FILENAME", Many, &[Target::MultipartFilename]),
    ("MULTIPART_FILE_LIMIT_EXCEEDED", Single, &[Target::MultipartFileLimitExceeded]),
    ("MULTIPART_HEADER_FOLDING", Single, &[Target::MultipartHeaderFolding]),
    ("MULTIPART_INVALID_HEADER_FOLDING", Single, &[Target::MultipartInvalidHeaderFolding]),
    ("MULTIPART_INVALID_PART", Single, &[Target::MultipartInvalidPart]),
    ("MULTIPART_INVALID_QUOTING", Single, &[Target::MultipartInvalidQuoting]),
    ("MULTIPART_LF_LINE", Single, &[Target::MultipartLfLine]),
    ("MULTIPART_MISSING_SEMICOLON", Single, &[Target::MultipartMissingSemicolon]),
    ("MULTIPART_NAME", Many, &[Target::MultipartName]),
    ("MULTIPART_PART_HEADERS", Many, &[Target::MultipartPartHeaders]),
    ("MULTIPART_SEMICOLON_MISSING", Single, &[Target::MultipartMissingSemicolon]),
    ("MULTIPART_STRICT_ERROR", Single, &[Target::MultipartStrictError]),
    ("MULTIPART_UNMATCHED_BOUNDARY", Single, &[Target::MultipartUnmatchedBoundary]),
    ("OUTBOUND_DATA_ERROR", Single, &[Target::OutboundDataError]),
    ("PATH_INFO", Single, &[Target::PathInfo]),
    ("QUERY_STRING", Single, &[Target::QueryString]),
    ("REMOTE_ADDR", Single, &[Target::RemoteAddr]),
    ("REMOTE_HOST", Single, &[Target::RemoteHost]),
    ("REMOTE_PORT", Single, &[Target::RemotePort]),
    ("REMOTE_USER", Single, &[Target::RemoteUser]),
    ("REQBODY_ERROR", Single, &[Target::ReqbodyError]),
    ("REQBODY_ERROR_MSG", Single, &[Target::ReqbodyErrorMsg]),
    ("REQBODY_PROCESSOR", Single, &[Target::ReqbodyProcessor]),
    ("REQBODY_PROCESSOR_ERROR", Single, &[Target::ReqbodyProcessorError]),
    ("REQBODY_PROCESSOR_ERROR_MSG", Single, &[Target::ReqbodyProcessorErrorMsg]),
    ("REQUEST_BASENAME", Single, &[Target::RequestBasename]),
    ("REQUEST_BODY", Single, &[Target::RequestBody]),
    ("REQUEST_BODY_LENGTH", Single, &[Target::RequestBodyLength]),
    ("REQUEST_COOKIES", Many, &[Target::RequestCookies]),
    ("REQUEST_COOKIES_NAMES", Many, &[Target::RequestCookiesNames]),
    ("REQUEST_FILENAME", Single, &[Target::RequestFilename]),
    ("REQUEST_HEADERS", Many, &[Target::RequestHeaders, Target::CookieHeader]),
    ("REQUEST_HEADERS_NAMES", Many, &[Target::RequestHeadersNames]),
    ("REQUEST_LINE", Single, &[Target::RequestLine]),
    ("REQUEST_METHOD", Single, &[Target::RequestMethod]),
    ("REQUEST_PROTOCOL", Single, &[Target::RequestProtocol]),
    ("REQUEST_URI", Single, &[Target::RequestUri]),
    ("REQUEST_URI_RAW", Single, &[Target::RequestUriRaw]),
    ("RESPONSE_BODY", Single, &[Target::ResponseBody]),
    ("RESPONSE_CONTENT_LENGTH", Single, &[Target::ResponseContentLength]),
    ("RESPONSE_CONTENT_TYPE", Single, &[Target::ResponseContentType]),
    ("RESPONSE_HEADERS", Many, &[Target::ResponseHeaders]),
    ("RESPONSE_HEADERS_NAMES", Many, &[Target::ResponseHeadersNames]),
    ("RESPONSE_PROTOCOL", Single, &[Target::ResponseProtocol]),
    ("RESPONSE_STATUS", Single, &[Target::ResponseStatus]),
    ("SERVER_ADDR", Single, &[Target::ServerAddr]),
    ("SERVER_NAME", Single, &[Target::ServerName]),
    ("SERVER_PORT", Single, &[Target::ServerPort]),
    ("SESSIONID", Single, &[Target::SessionId]),
    ("STATUS", Single, &[Target::ResponseStatus]),
    ("STATUS_LINE", Single, &[Target::ResponseStatus]),
    ("TIME", Single, &[Target::Time]),
    ("TIME_DAY", Single, &[Target::TimeDay]),
    ("TIME_EPOCH", Single, &[Target::TimeEpoch]),
    ("TIME_HOUR", Single, &[Target::TimeHour]),
    ("TIME_MIN", Single, &[Target::TimeMin]),
    ("TIME_MON", Single, &[Target::TimeMon]),
    ("TIME_SEC", Single, &[Target::TimeSec]),
    ("TIME_WDAY", Single, &[Target::TimeWday]),
    ("TIME_YEAR", Single, &[Target::TimeYear]),
    ("UNIQUE_ID", Single, &[Target::UniqueId]),
    ("URLENCODED_ERROR", Single, &[Target::UrlencodedError]),
    ("USERID", Single, &[Target::UserId]),
    ("WEBAPPID", Single, &[Target::WebAppId]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, path: Option<&str>, targets: &[Target]) {
        assert_eq!(TargetSet::of_seclang(name, path), Ok(TargetSet::of(targets)), "{name}");
    }

    #[test]
    fn a_variable_stands_for_its_kinds() {
        check("args", None, &[Target::ArgsGet, Target::ArgsPost, Target::ArgsJson]);
        check("REQUEST_HEADERS", None, &[Target::RequestHeaders, Target::CookieHeader]);
        check("STATUS_LINE", None, &[Target::ResponseStatus]);
        check("XML", Some("/*"), &[Target::XmlText]);
        check("XML", Some("//@*"), &[Target::XmlAttributes]);
        assert!(Target::RequestUri.is_single() && !Target::ArgsGet.is_single());
    }

    #[test]
    fn an_unknown_variable_is_told_with_those_that_are_known() {
        let error = TargetSet::of_seclang("ARG", None).unwrap_err().to_string();
        assert!(error.contains("`ARG` is no variable") && error.contains("ARGS_GET,"));
        let error = TargetSet::of_seclang("XML", Some("/a/b")).unwrap_err().to_string();
        assert!(error.contains("`XML:/a/b` is not supported"));
    }
}
