//! What looks like a value and is none: wrong check digits, other issuers, identifiers, digests, prose.

use weir::config::Detector;

use super::{
    random::{BASE62, BASE64, DIGITS, HEX, LOWER, Random, UPPER},
    value,
};

/// A near miss, made at random.
pub(super) fn of(detector: Detector, round: usize, random: &mut Random) -> String {
    match detector {
        Detector::AwsKey => match round % 4 {
            0 => "AKIA".to_owned() + &random.letters("0189abc", 16),
            1 => random.letters(HEX, 40),
            2 => "AKIA".to_owned() + &random.letters(UPPER, 12),
            _ => random.letters(BASE64, 40),
        },
        Detector::PrivateKey => {
            let kind = random.one_of(&["CERTIFICATE", "PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE REQUEST"]);
            format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----", random.letters(BASE64, 64))
        }
        Detector::Jwt => match round % 3 {
            0 => {
                format!("eyJ{}.{}.{}", random.letters(LOWER, 20), random.letters(LOWER, 20), random.letters(LOWER, 20))
            }
            1 => format!("eyJhbGciOiJIUzI1NiJ9.{}", random.letters(BASE62, 30)),
            _ => {
                format!("{}.{}.{}", random.letters(BASE62, 30), random.letters(BASE62, 30), random.letters(BASE62, 30))
            }
        },
        Detector::GithubToken => match round % 3 {
            0 => format!("ghp_{}000000", random.letters(BASE62, 30)),
            1 => format!("ghq_{}", random.letters(BASE62, 36)),
            _ => format!("ghp_{}", random.letters(BASE62, 20)),
        },
        Detector::GitlabToken => {
            format!("gl{}{}", random.one_of(&["pat-", "obal-", "rt_", "yph-"]), random.letters(BASE62, 12))
        }
        Detector::SlackToken => {
            format!("{}{}", random.one_of(&["xoxz-", "xoxb-", "boxb-"]), random.letters(DIGITS, 12))
        }
        Detector::StripeKey => {
            format!(
                "{}{}",
                random.one_of(&["pk_live_", "pk_test_", "sk_prod_", "cus_", "pi_"]),
                random.letters(BASE62, 24)
            )
        }
        Detector::GoogleKey => format!("{}{}", random.one_of(&["AIzb", "AIza", "ya30."]), random.letters(BASE62, 20)),
        Detector::ApiKey => match round % 4 {
            0 => format!("npm_{}000000", random.letters(BASE62, 30)),
            1 => format!("sk-{}", random.letters(LOWER, 30)),
            2 => format!("hf_{}", random.letters(LOWER, 12)),
            _ => format!("dapi{}", random.letters(LOWER, 32)),
        },
        Detector::OauthToken => match round % 3 {
            0 => random
                .one_of(&["authentication", "$ACCESS_TOKEN", "<token>", "YOUR_TOKEN_HERE", "{{access_token}}"])
                .to_owned(),
            1 => random.letters(LOWER, 9),
            _ => format!("the-{}-token-of-the-user", random.letters(LOWER, 6)),
        },
        Detector::CardNumber => match round % 5 {
            0 => wrong_last_digit(&value::with_luhn("4", 16, random)),
            1 => wrong_last_digit(&value::grouped(&value::with_luhn("51", 16, random), &[], " ")),
            2 => value::with_luhn("17", 19, random),
            3 => format!("{}{}", value::with_luhn("4", 16, random), random.letters(DIGITS, 6)),
            _ => format!("0.{}", value::with_luhn("4", 16, random)),
        },
        Detector::Iban => match round % 3 {
            0 => wrong_last_digit(&value::with_check_digits("DE", &random.letters(DIGITS, 18))),
            1 => value::with_check_digits("XX", &random.letters(DIGITS, 18)),
            _ => value::with_check_digits("DE", &random.letters(DIGITS, 15)),
        },
        Detector::Email => match round % 5 {
            0 => format!("@{}/{}@{}.{}.0", random.letters(LOWER, 5), random.letters(LOWER, 6), round, random.below(9)),
            1 => format!("{}@{}x.png", random.letters(LOWER, 6), 1 + round % 3),
            2 => format!("@{}", random.letters(LOWER, 9)),
            3 => format!("git@github.com:{}/{}.git", random.letters(LOWER, 5), random.letters(LOWER, 5)),
            _ => format!("{}@localhost", random.letters(LOWER, 5)),
        },
        Detector::Ssn => {
            let (group, serial) = (1 + random.below(99), 1 + random.below(9999));
            match round % 5 {
                0 => format!("9{:02}-{group:02}-{serial:04}", random.below(100)),
                1 => format!("666-{group:02}-{serial:04}"),
                2 => format!("{}-00-{serial:04}", 100 + random.below(500)),
                3 => format!("{}-{group:02}-{serial:04}-1", 100 + random.below(500)),
                _ => format!("{}-{group:02}-{}", 100 + random.below(500), random.letters(DIGITS, 5)),
            }
        }
        Detector::Phone => match round % 5 {
            0 => format!("2026-{:02}-{:02} 12:30", 1 + round % 12, 1 + round % 28),
            1 => format!("10.{}.{}.{}", random.below(255), random.below(255), random.below(255)),
            2 => format!("+0{}", random.letters(DIGITS, 9)),
            3 => random.letters("123456789", 13),
            _ => format!("{}.{}", random.letters("123456789", 5), random.letters("123456789", 9)),
        },
        Detector::HighEntropy => match round % 5 {
            0 => random.letters(HEX, 40),
            1 => random.letters(BASE62, 32),
            2 => format!("sha256:{}", random.letters(HEX, 64)),
            3 => format!(
                "{}-{}-4{}-a{}-{}",
                random.letters(HEX, 8),
                random.letters(HEX, 4),
                random.letters(HEX, 3),
                random.letters(HEX, 3),
                random.letters(HEX, 12)
            ),
            _ => random.letters(BASE64, 64),
        },
    }
}

fn wrong_last_digit(number: &str) -> String {
    let (rest, last) = number.split_at(number.len() - 1);
    let digit: u32 = last.parse().unwrap_or_default();
    format!("{rest}{}", (digit + 1) % 10)
}

/// Near misses from life.
pub(super) fn by_hand(detector: Detector) -> &'static [&'static str] {
    match detector {
        Detector::AwsKey => &[
            "AKIA is how key ids begin, and ASIA those of sessions.",
            "ASIA-PACIFIC REGION, MALAYSIA2ANDTHAILAND",
            "the laws say da39a3ee5e6b4b0d3255bfef95601890afd80709 is a SHA-1 of the aws bundle",
            "aws s3 cp s3://my-very-long-bucket-name-for-testing/path",
            "x-amz-request-id: 4442587FB7D0A2F9",
        ],
        Detector::PrivateKey => &[
            "Never commit a file that holds BEGIN PRIVATE KEY lines.",
            "-----BEGIN PGP MESSAGE-----\nabc\n-----END PGP MESSAGE-----",
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ ada@host",
        ],
        Detector::Jwt => &[
            "the header eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9 alone is no token",
            "com.example.application.module.Component",
            "a.b.c and hey.joe.song-of-the-sixties",
        ],
        Detector::GithubToken => &[
            "ghp_ is the prefix of personal tokens",
            "use ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx here",
            "github_pat_xxxxxxxx",
            "https://github.com/octocat/Hello-World/commit/7fd1a60b01f91b314f59955a4e4d4e80d8edf11d",
        ],
        Detector::GitlabToken => {
            &["glpat-xxxx", "glittering-generalities", "gitlab-ci-token: $CI_JOB_TOKEN", "glrt-is-for-runners"]
        }
        Detector::SlackToken => {
            &["xoxb-your-token", "https://hooks.slack.com/", "https://slack.com/app_redirect?channel=C123456"]
        }
        Detector::StripeKey => {
            &["sk_live_...", "pk_test_TYooMQauvdEDq54NiTphI7jx", "task_live_reporting_dashboard_for_everyone"]
        }
        Detector::GoogleKey => &["AIza...", "GOCSPX-secret", "https://www.googleapis.com/oauth2/v4/token"],
        Detector::ApiKey => &[
            "sk-learn is scikit-learn's short name",
            "risk-proj-and-other-long-hyphenated-words-in-a-row-that-go-on",
            "hf_transfer",
            "npm_config_registry=https://registry.npmjs.org",
            "dapi_version",
        ],
        Detector::OauthToken => &[
            "Bearer tokens are described in RFC 6750, section 2.1.",
            "grant_type=authorization_code&client_id=dashboard-frontend",
            "Basic understanding of authentication-and-authorization is required",
            "https://example.com/users/ada@home",
            "postgres://user:$PASSWORD@db.example.com/app",
            "access_token=REDACTED_BY_THE_SERVER",
            "token_type=bearer",
        ],
        Detector::CardNumber => &[
            "1732347668123456789",
            "order 4111-2222-3333 4444 of 2026",
            "4444 4444 4444 4444",
            "0000000000000000",
            "timestamps 1700000000000 and 1700000000001",
            "ISBN 978-3-16-148410-0",
            "9007199254740993",
            "3.1415926535897932384626433",
            "192.168.100.100 10.255.255.255",
            "4b1a-4111111111111111-88e0f",
        ],
        Detector::Iban => &[
            "DE89 3704 0044 0532 0130 01",
            "GB00 WEST 1234 5698 7654 32",
            "SE3550000000054910000000000003",
            "INVOICE 2026 1123 4455 6677 8899",
            "NO ONE KNOWS 1234 5678 9012 3456",
        ],
        Detector::Email => &[
            "npm install @types/node@18.1.0 lodash@4.17.21",
            "@Override public void run()",
            "user@host and root@server say nothing",
            "ssh://git@code.example.com:7999/team/repo.git",
            "image@2x.png, logo@3x.webp",
            "meet me @ 5.pm",
            "a@b",
            "docker pull app@sha256:0123",
        ],
        Detector::Ssn => &[
            "000-12-3456",
            "the famous 078-05-1120",
            "call 1-123-45-6789",
            "part 123-45-6789-A",
            "2026-11-23",
            "123-456-7890",
            "version 123.45.6789",
            "order 123456789",
        ],
        Detector::Phone => &[
            "2026-11-23T07:27:48+00:00",
            "192.168.100.200",
            "version 10.20.30-40",
            "(2026) 11-23",
            "9780306406157",
            "1234-5678-9012-3456",
            "12:30:45.123456",
            "ticket 20261123-000042",
            "+1000000",
            "pi is 3.14159265358979",
        ],
        Detector::HighEntropy => &[
            "the secret of good tea is patience and hot-but-not-boiling-water",
            "password requirements: at least 12 characters, upper-and-lowercase",
            "nextToken: AAAAKgAAAAIAAAACAAAADGFzZGZhc2RmMTIzNDU2Nzg5",
            "commit 7fd1a60b01f91b314f59955a4e4d4e80d8edf11d",
            "token usage: prompt_tokens=123456 completion_tokens=654321",
            "the password is stored in /etc/application/configuration/database.yml",
            "public key fingerprint: SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8",
            "reset your password at https://accounts.example.com/password/reset/start",
            "SecretManagerServiceClientConfigurationBuilder",
            "secret_name = production-database-credentials-v2",
        ],
    }
}
