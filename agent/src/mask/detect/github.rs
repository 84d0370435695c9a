//! GitHub's tokens ("Behind GitHub's new authentication token formats", 2021): a prefix, 30 letters of base62 and the CRC-32 of
//! these in six more. Fine-grained ones have a form of their own, without a published checksum.

use super::token::{Form, plain};
use crate::config::Detector::GithubToken;

const CLASSIC: &str = "gh[pousr]_[0-9A-Za-z]{36}";

const fn classic(prefix: &'static str) -> Form {
    Form { detector: GithubToken, prefix, pattern: CLASSIC, check: ends_with_checksum }
}

pub(super) const FORMS: &[Form] = &[
    classic("ghp_"),
    classic("gho_"),
    classic("ghu_"),
    classic("ghs_"),
    classic("ghr_"),
    plain(GithubToken, "github_pat_", "github_pat_[0-9A-Za-z]{22}_[0-9A-Za-z]{59}"),
];

/// Whether the last six letters are the CRC-32 of what stands between them and the prefix, in base62. npm's tokens are made
/// the same way.
pub(super) fn ends_with_checksum(token: &str) -> bool {
    let Some((_, body)) = token.split_once('_') else { return false };
    let Some((random, checksum)) = body.len().checked_sub(6).and_then(|at| body.split_at_checked(at)) else {
        return false;
    };
    base62(checksum) == Some(u64::from(crc32fast::hash(random.as_bytes())))
}

fn base62(text: &str) -> Option<u64> {
    text.bytes().try_fold(0_u64, |sum, letter| {
        let digit = match letter {
            b'0'..=b'9' => letter - b'0',
            b'A'..=b'Z' => letter - b'A' + 10,
            b'a'..=b'z' => letter - b'a' + 36,
            _ => return None,
        };
        sum.checked_mul(62)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_githubs() {
        // An expired token without rights, published by its owner.
        assert!(ends_with_checksum("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"));
        assert!(!ends_with_checksum("ghp_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq18"));
        assert!(!ends_with_checksum("ghp_") && !ends_with_checksum("ghp"));
    }
}
