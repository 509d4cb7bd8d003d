//! "Did you mean": the known name that is closest to an unknown one.

/// The candidate that was probably meant, if one is close enough.
#[must_use]
pub fn closest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let folded = fold(word);
    let letters = folded.chars().filter(|c| c.is_alphabetic()).count();
    // `h3` and `1.1` are no slips of the pen for `h2` and `1.2`.
    let reach = if letters < 3 { 0 } else { 1 + letters / 4 };
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&folded, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= reach && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The hint that names it.
#[must_use]
pub fn hint<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<String> {
    closest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

fn fold(word: &str) -> String {
    word.to_lowercase().replace(['-', ' '], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_is_meant() {
        let names = ["address", "tls", "proxy_protocol"];
        assert_eq!(closest("adress", names), Some("address"));
        assert_eq!(closest("proxy-protocol", names), Some("proxy_protocol"));
        assert_eq!(closest("TLS", names), Some("tls"));
        assert_eq!(closest("xyz", names), None);
        assert_eq!(closest("", names), None);
        assert_eq!(closest("h3", ["h2", "http/1.1"]), None);
    }
}
