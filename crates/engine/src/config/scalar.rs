//! What an unquoted scalar means: the core schema of YAML 1.2 (§10.3.2), so that `no`, `off` and
//! `12:30` stay strings.

use super::tree::Value;

/// The value that an unquoted scalar stands for.
pub(crate) fn resolve(text: &str) -> Value {
    match text {
        "" => Value::Empty,
        "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).unwrap_or_else(|| Value::String(text.to_owned())),
    }
}

fn number(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    integer(text).map(Value::Int).or_else(|| float(text, unsigned).map(Value::Float))
}

/// An integer that fits a machine word of either sign.
fn integer(text: &str) -> Option<i128> {
    let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).ok().map(i128::from);
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let value: i128 = text.parse().ok()?;
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value).then_some(value)
}

fn float(text: &str, unsigned: &str) -> Option<f64> {
    let negative = text.starts_with('-');
    match unsigned {
        ".inf" | ".Inf" | ".INF" if negative => return Some(f64::NEG_INFINITY),
        ".inf" | ".Inf" | ".INF" => return Some(f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ => {}
    }
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    unsigned.chars().all(numeric).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, value: &Value) {
        assert_eq!(resolve(text), *value, "{text}");
    }

    #[test]
    fn unquoted_scalars_follow_the_core_schema() {
        check("", &Value::Empty);
        check("~", &Value::Null);
        check("true", &Value::Bool(true));
        check("-12", &Value::Int(-12));
        check("0x1F", &Value::Int(31));
        check("0o17", &Value::Int(15));
        check("1.3", &Value::Float(1.3));
        check("-.inf", &Value::Float(f64::NEG_INFINITY));
        check("18446744073709551615", &Value::Int(u64::MAX.into()));
        for text in ["no", "off", "12:30", "10.0.0.1", "10.0.0.1:80", "1_000", "5%", "30s", "0xg"] {
            check(text, &Value::String(text.to_owned()));
        }
    }
}
