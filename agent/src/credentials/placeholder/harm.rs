//! What may go out again that is no message.

/// Whether the answer to a request could be AWS keys, by the service that it is signed for: the workload is not to have any. Of STS only
/// `GetCallerIdentity` gives none, in the form in which SDKs send it.
pub(in crate::credentials) fn gives_out_keys(service: &str, query: &str, body: Option<&[u8]>) -> Option<&'static str> {
    match service {
        "sts" => {
            let form: Vec<_> = url::form_urlencoded::parse(body.unwrap_or_default()).collect();
            let mut actions = form.iter().filter(|(name, _)| name.eq_ignore_ascii_case("action"));
            let only = actions.next().filter(|_| actions.next().is_none());
            let is_harmless =
                query.is_empty() && only.is_some_and(|(name, of)| name == "Action" && of == "GetCallerIdentity");
            (!is_harmless).then_some("STS")
        }
        // `CreateSession`: the SDKs' requests to directory buckets go with what it gives.
        "s3express" => Some("S3 Express"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_sts_only_the_question_who_one_is_passes() {
        let of = |query, body: &'static str| gives_out_keys("sts", query, Some(body.as_bytes())).is_none();
        assert!(of("", "Action=GetCallerIdentity&Version=2011-06-15"));
        for (query, body) in [
            ("", "Action=AssumeRole&Version=2011-06-15"),
            ("", "Action=GetCallerIdentity&Action=GetSessionToken"),
            ("", "Action=GetCallerIdentity&action=GetSessionToken"),
            ("Action=GetSessionToken", "Action=GetCallerIdentity"),
            ("", ""),
        ] {
            assert!(!of(query, body), "{query} {body}");
        }
        assert!(gives_out_keys("sts", "", None).is_some());
        assert!(gives_out_keys("s3express", "", None).is_some());
        assert!(gives_out_keys("dynamodb", "", None).is_none());
    }
}
