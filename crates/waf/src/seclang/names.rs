//! The names that SecLang knows: variables, operators and transformations, each by the one name
//! that the rest of the engine sees. Letters have no case here.

/// The one name of a variable.
pub(super) fn variable(name: &str) -> Option<&'static str> {
    known(VARIABLES, name)
}

/// Every variable's name.
pub(super) fn variables() -> impl Iterator<Item = &'static str> {
    VARIABLES.iter().copied()
}

/// An operator's name, and why it is refused, if it is.
pub(super) fn operator(name: &str) -> Option<(&'static str, Option<&'static str>)> {
    let name = match name.to_ascii_lowercase().as_str() {
        "pmf" => "pmFromFile".to_owned(),
        "ipmatchf" => "ipMatchFromFile".to_owned(),
        _ => name.to_owned(),
    };
    let refused = || {
        let row = REFUSED.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name));
        row.map(|(known, why)| (*known, Some(*why)))
    };
    known(OPERATORS, &name).map(|name| (name, None)).or_else(refused)
}

/// Every operator's name.
pub(super) fn operators() -> impl Iterator<Item = &'static str> {
    OPERATORS.iter().copied().chain(REFUSED.iter().map(|(name, _)| *name))
}

/// The one name of a transformation.
pub(super) fn transformation(name: &str) -> Option<&'static str> {
    let name = match name.to_ascii_lowercase().as_str() {
        "normalisepath" => "normalizePath",
        "normalisepathwin" => "normalizePathWin",
        _ => name,
    };
    known(TRANSFORMATIONS, name)
}

/// Every transformation's name.
pub(super) fn transformations() -> impl Iterator<Item = &'static str> {
    TRANSFORMATIONS.iter().copied().chain(["none"])
}

fn known(table: &[&'static str], name: &str) -> Option<&'static str> {
    table.iter().copied().find(|known| known.eq_ignore_ascii_case(name))
}

const VARIABLES: &[&str] = &[
    "ARGS",
    "ARGS_COMBINED_SIZE",
    "ARGS_GET",
    "ARGS_GET_NAMES",
    "ARGS_NAMES",
    "ARGS_POST",
    "ARGS_POST_NAMES",
    "AUTH_TYPE",
    "DURATION",
    "ENV",
    "FILES",
    "FILES_COMBINED_SIZE",
    "FILES_NAMES",
    "FILES_SIZES",
    "FILES_TMPNAMES",
    "FILES_TMP_CONTENT",
    "FULL_REQUEST",
    "FULL_REQUEST_LENGTH",
    "GEO",
    "GLOBAL",
    "HIGHEST_SEVERITY",
    "INBOUND_DATA_ERROR",
    "IP",
    "MATCHED_VAR",
    "MATCHED_VARS",
    "MATCHED_VARS_NAMES",
    "MATCHED_VAR_NAME",
    "MODSEC_BUILD",
    "MSC_PCRE_ERROR",
    "MSC_PCRE_LIMITS_EXCEEDED",
    "MULTIPART_BOUNDARY_QUOTED",
    "MULTIPART_BOUNDARY_WHITESPACE",
    "MULTIPART_CRLF_LF_LINES",
    "MULTIPART_DATA_AFTER",
    "MULTIPART_DATA_BEFORE",
    "MULTIPART_FILENAME",
    "MULTIPART_FILE_LIMIT_EXCEEDED",
    "MULTIPART_HEADER_FOLDING",
    "MULTIPART_INVALID_HEADER_FOLDING",
    "MULTIPART_INVALID_PART",
    "MULTIPART_INVALID_QUOTING",
    "MULTIPART_LF_LINE",
    "MULTIPART_MISSING_SEMICOLON",
    "MULTIPART_NAME",
    "MULTIPART_PART_HEADERS",
    "MULTIPART_SEMICOLON_MISSING",
    "MULTIPART_STRICT_ERROR",
    "MULTIPART_UNMATCHED_BOUNDARY",
    "OUTBOUND_DATA_ERROR",
    "PATH_INFO",
    "QUERY_STRING",
    "REMOTE_ADDR",
    "REMOTE_HOST",
    "REMOTE_PORT",
    "REMOTE_USER",
    "REQBODY_ERROR",
    "REQBODY_ERROR_MSG",
    "REQBODY_PROCESSOR",
    "REQBODY_PROCESSOR_ERROR",
    "REQBODY_PROCESSOR_ERROR_MSG",
    "REQUEST_BASENAME",
    "REQUEST_BODY",
    "REQUEST_BODY_LENGTH",
    "REQUEST_COOKIES",
    "REQUEST_COOKIES_NAMES",
    "REQUEST_FILENAME",
    "REQUEST_HEADERS",
    "REQUEST_HEADERS_NAMES",
    "REQUEST_LINE",
    "REQUEST_METHOD",
    "REQUEST_PROTOCOL",
    "REQUEST_URI",
    "REQUEST_URI_RAW",
    "RESOURCE",
    "RESPONSE_BODY",
    "RESPONSE_CONTENT_LENGTH",
    "RESPONSE_CONTENT_TYPE",
    "RESPONSE_HEADERS",
    "RESPONSE_HEADERS_NAMES",
    "RESPONSE_PROTOCOL",
    "RESPONSE_STATUS",
    "RULE",
    "SERVER_ADDR",
    "SERVER_NAME",
    "SERVER_PORT",
    "SESSION",
    "SESSIONID",
    "STATUS_LINE",
    "TIME",
    "TIME_DAY",
    "TIME_EPOCH",
    "TIME_HOUR",
    "TIME_MIN",
    "TIME_MON",
    "TIME_SEC",
    "TIME_WDAY",
    "TIME_YEAR",
    "TX",
    "UNIQUE_ID",
    "URLENCODED_ERROR",
    "USER",
    "USERID",
    "WEBAPPID",
    "XML",
];

const OPERATORS: &[&str] = &[
    "beginsWith",
    "contains",
    "containsWord",
    "detectSQLi",
    "detectXSS",
    "endsWith",
    "eq",
    "ge",
    "gt",
    "ipMatch",
    "ipMatchFromFile",
    "le",
    "lt",
    "noMatch",
    "pm",
    "pmFromFile",
    "rx",
    "rxGlobal",
    "streq",
    "strmatch",
    "unconditionalMatch",
    "validateByteRange",
    "validateUrlEncoding",
    "validateUtf8Encoding",
    "verifyCC",
    "verifyCPF",
    "verifySSN",
    "verifySVNR",
    "within",
];

const REFUSED: &[(&str, &str)] = &[
    ("fuzzyHash", "fuzzy hashes are not computed"),
    ("geoLookup", "there is no database of places; deny networks by `deny:` in the configuration"),
    ("gsbLookup", "nothing is looked up elsewhere while a request waits"),
    ("inspectFile", "no program runs on a request"),
    ("ipMatchFromDataset", "put the networks into a file and use @ipMatchFromFile"),
    ("pmFromDataset", "put the phrases into a file and use @pmFromFile"),
    ("rbl", "nothing is looked up in DNS while a request waits"),
    ("restpath", "match REQUEST_FILENAME with @rx"),
    ("rsub", "a rule never changes a request or response"),
    ("validateDTD", "XML is not validated"),
    ("validateHash", "links are not signed with hashes"),
    ("validateNid", "use @rx and one of @verifyCC, @verifySSN, @verifyCPF"),
    ("validateSchema", "XML is not validated"),
];

const TRANSFORMATIONS: &[&str] = &[
    "base64Decode",
    "base64DecodeExt",
    "base64Encode",
    "cmdLine",
    "compressWhitespace",
    "cssDecode",
    "escapeSeqDecode",
    "hexDecode",
    "hexEncode",
    "htmlEntityDecode",
    "jsDecode",
    "length",
    "lowercase",
    "md5",
    "normalizePath",
    "normalizePathWin",
    "parityEven7bit",
    "parityOdd7bit",
    "parityZero7bit",
    "removeComments",
    "removeCommentsChar",
    "removeNulls",
    "removeWhitespace",
    "replaceComments",
    "replaceNulls",
    "sha1",
    "sqlHexDecode",
    "trim",
    "trimLeft",
    "trimRight",
    "uppercase",
    "urlDecode",
    "urlDecodeUni",
    "urlEncode",
    "utf8toUnicode",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_case_and_aliases() {
        assert_eq!(variable("args_get"), Some("ARGS_GET"));
        assert_eq!(operator("PMF"), Some(("pmFromFile", None)));
        assert!(operator("rbl").is_some_and(|(_, refused)| refused.is_some()));
        assert_eq!(transformation("normalisepath"), Some("normalizePath"));
        assert_eq!(transformation("none"), None);
    }

    #[test]
    fn every_name_has_an_implementation() {
        for name in OPERATORS {
            assert!(crate::operators::seclang::operator(name).is_some(), "@{name}");
        }
        for name in TRANSFORMATIONS {
            assert!(crate::transformations::seclang::step(name).is_some(), "t:{name}");
        }
    }
}
