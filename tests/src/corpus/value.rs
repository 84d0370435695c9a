//! Values as their issuers make them.

use weir::config::Detector;

use super::random::{BASE32, BASE62, BASE64, BASE64URL, DIGITS, HEX, LOWER, Random, UPPER};

/// A value that the detector should find.
pub(super) fn of(detector: Detector, round: usize, random: &mut Random) -> String {
    match detector {
        Detector::AwsKey => aws(round, random),
        Detector::PrivateKey => private_key(round, random),
        Detector::Jwt => jwt(round, random),
        Detector::GithubToken => github(round, random),
        Detector::GitlabToken => gitlab(round, random),
        Detector::SlackToken => slack(round, random),
        Detector::StripeKey => stripe(round, random),
        Detector::GoogleKey => google(round, random),
        Detector::ApiKey => api(round, random),
        Detector::OauthToken => oauth(round, random),
        Detector::CardNumber => card(round, random),
        Detector::Iban => iban(round, random),
        Detector::Email => email(round, random),
        Detector::Ssn => ssn(round, random),
        Detector::Phone => phone(round, random),
        Detector::HighEntropy => secret(round, random),
    }
}

fn aws(round: usize, random: &mut Random) -> String {
    match round % 4 {
        0 | 1 => random.one_of(&["AKIA", "ASIA", "ABIA", "ACCA"]).to_owned() + &random.letters(BASE32, 16),
        2 => random.letters(BASE64, 40),
        _ => random.one_of(&["FwoGZXIvYXdz", "IQoJb3JpZ2lu"]).to_owned() + &random.letters(BASE64, 340) + "==",
    }
}

fn private_key(round: usize, random: &mut Random) -> String {
    let kind = random.one_of(&["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", "DSA "]);
    let lines: Vec<String> = (0..4 + round % 9).map(|_| random.letters(BASE64, 64)).collect();
    format!("-----BEGIN {kind}PRIVATE KEY-----\n{}\n-----END {kind}PRIVATE KEY-----", lines.join("\n"))
}

fn base64url(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            text.push(char::from(BASE64URL.as_bytes()[bits >> (18 - 6 * at) & 63]));
        }
    }
    text
}

fn jwt(round: usize, random: &mut Random) -> String {
    if round.is_multiple_of(8) {
        let header = base64url(br#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#);
        let parts: Vec<String> = [342, 16, 96, 22].iter().map(|length| random.letters(BASE64URL, *length)).collect();
        return format!("{header}.{}", parts.join("."));
    }
    let alg = random.one_of(&["HS256", "RS256", "ES256", "EdDSA", "PS512"]);
    let header = format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"{}"}}"#, random.letters(HEX, 8));
    let claims = format!(r#"{{"sub":"{}","exp":{},"name":"Zoë 李"}}"#, random.letters(LOWER, 9), 1_700_000_000 + round);
    format!("{}.{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()), random.letters(BASE64URL, 43))
}

/// GitHub's and npm's form: a prefix, random letters, and their CRC-32 (IEEE 802.3) in base62.
pub(super) fn with_checksum(prefix: &str, random: &mut Random) -> String {
    let body = random.letters(BASE62, 30);
    let mut checksum = usize::try_from(crc32(body.as_bytes())).unwrap_or_default();
    let mut digits = Vec::new();
    for _ in 0..6 {
        digits.push(char::from(BASE62.as_bytes()[checksum % 62]));
        checksum /= 62;
    }
    prefix.to_owned() + &body + &digits.iter().rev().collect::<String>()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

fn github(round: usize, random: &mut Random) -> String {
    match round % 6 {
        5 => format!("github_pat_{}_{}", random.letters(BASE62, 22), random.letters(BASE62, 59)),
        kind => with_checksum(["ghp_", "gho_", "ghu_", "ghs_", "ghr_"][kind], random),
    }
}

fn gitlab(round: usize, random: &mut Random) -> String {
    match round % 5 {
        0 => "glpat-".to_owned() + &random.letters(BASE64URL, 20),
        1 => random.one_of(&["gldt-", "glrt-", "glcbt-", "glft-", "glimt-"]).to_owned() + &random.letters(BASE62, 20),
        2 => "glptt-".to_owned() + &random.letters(HEX, 40),
        3 => "gloas-".to_owned() + &random.letters(HEX, 64),
        _ => {
            format!("glpat-{}.{}.{}", random.letters(BASE62, 27), random.letters("01abcdef", 2), random.letters(HEX, 9))
        }
    }
}

fn slack(round: usize, random: &mut Random) -> String {
    let (a, b) = (random.letters("123456789", 12), random.letters("123456789", 13));
    match round % 5 {
        0 => format!("xoxb-{a}-{b}-{}", random.letters(BASE62, 24)),
        1 => format!("xoxp-{a}-{b}-{a}-{}", random.letters(HEX, 32)),
        2 => format!("xoxe.xoxp-1-{}", random.letters(BASE62, 146)),
        3 => format!("xapp-1-A{}-{b}-{}", random.letters(UPPER, 10), random.letters(HEX, 64)),
        _ => format!(
            "hooks.slack.com/services/T{}/B{}/{}",
            random.letters(UPPER, 9),
            random.letters(UPPER, 10),
            random.letters(BASE62, 24)
        ),
    }
}

fn stripe(round: usize, random: &mut Random) -> String {
    match round % 3 {
        0 => format!("sk_live_{}", random.letters(BASE62, 24)),
        1 => format!("rk_test_{}", random.letters(BASE62, 99)),
        _ => format!("whsec_{}", random.letters(BASE62, 32)),
    }
}

fn google(round: usize, random: &mut Random) -> String {
    match round % 4 {
        0 => format!("AIza{}", random.letters(BASE64URL, 34) + "a"),
        1 => format!("GOCSPX-{}", random.letters(BASE64URL, 27) + "b"),
        2 => format!("ya29.{}", random.letters(BASE64URL, 60) + "c"),
        _ => format!("1//0{}", random.letters(BASE64URL, 50) + "d"),
    }
}

fn api(round: usize, random: &mut Random) -> String {
    match round % 12 {
        0 => format!("sk-ant-api03-{}AA", random.letters(BASE64URL, 93)),
        1 => format!("sk-{}T3BlbkFJ{}", random.letters(BASE62, 20), random.letters(BASE62, 20)),
        2 => format!("sk-proj-{}A", random.letters(BASE64URL, 73)),
        3 => format!("hf_{}", random.letters(BASE62, 34)),
        4 => with_checksum("npm_", random),
        5 => format!("pypi-AgEIcHlwaS5vcmc{}", random.letters(BASE62, 150)),
        6 => format!("dop_v1_{}", random.letters(HEX, 64)),
        7 => format!("SG.{}.{}", random.letters(BASE62, 22), random.letters(BASE62, 43)),
        8 => format!("hvs.{}", random.letters(BASE62, 90)),
        9 => format!("shpat_{}", random.letters(HEX, 32)),
        10 => format!("dapi{}", random.letters(HEX, 32)),
        _ => format!("lin_api_{}", random.letters(BASE62, 40)),
    }
}

fn oauth(round: usize, random: &mut Random) -> String {
    match round % 3 {
        0 => random.letters(BASE64URL, 42) + "1xY",
        1 => random.letters(BASE62, 32) + "7",
        _ => format!("{}.{}", random.letters(BASE62, 24), random.letters(BASE62, 24)),
    }
}

/// Digits with Luhn's check digit (ISO/IEC 7812-1, annex B).
pub(super) fn with_luhn(start: &str, length: usize, random: &mut Random) -> String {
    let mut number = start.to_owned() + &random.letters(DIGITS, length - 1 - start.len());
    let sum: usize = number
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, digit)| match (usize::from(digit - b'0'), at % 2) {
            (digit, 0) => digit * 2 / 10 + digit * 2 % 10,
            (digit, _) => digit,
        })
        .sum();
    number.push(char::from(b'0' + u8::try_from((10 - sum % 10) % 10).unwrap_or_default()));
    number
}

pub(super) fn grouped(number: &str, sizes: &[usize], separator: &str) -> String {
    let mut rest = number;
    let mut groups = Vec::new();
    for size in sizes.iter().copied().chain(std::iter::repeat(4)) {
        let (group, more) = rest.split_at(size.min(rest.len()));
        groups.push(group);
        rest = more;
        if rest.is_empty() {
            break;
        }
    }
    groups.join(separator)
}

fn card(round: usize, random: &mut Random) -> String {
    let issuers = [
        ("4", 16),
        ("51", 16),
        ("2512", 16),
        ("37", 15),
        ("6011", 16),
        ("36", 14),
        ("3540", 16),
        ("62", 19),
        ("4", 19),
    ];
    let (start, length) = issuers[round % issuers.len()];
    let number = with_luhn(start, length, random);
    let sizes: &[usize] = match length {
        15 => &[4, 6, 5],
        14 => &[4, 6, 4],
        _ => &[],
    };
    match round / issuers.len() % 3 {
        0 => number,
        1 => grouped(&number, sizes, " "),
        _ => grouped(&number, sizes, "-"),
    }
}

/// An account number with ISO 7064's two check digits.
pub(super) fn with_check_digits(country: &str, account: &str) -> String {
    let digits: String = format!("{account}{country}00")
        .chars()
        .map(|c| c.to_digit(36).map(|digit| digit.to_string()).unwrap_or_default())
        .collect();
    let remainder = digits.bytes().fold(0, |sum, digit| (sum * 10 + u32::from(digit - b'0')) % 97);
    format!("{country}{:02}{account}", 98 - remainder)
}

fn iban(round: usize, random: &mut Random) -> String {
    let (country, bank, digits) = [
        ("DE", 0, 18),
        ("GB", 4, 14),
        ("FR", 0, 23),
        ("NL", 4, 10),
        ("ES", 0, 20),
        ("IT", 1, 22),
        ("NO", 0, 11),
        ("CH", 0, 17),
        ("PL", 0, 24),
        ("SE", 0, 20),
        ("MT", 4, 23),
        ("SA", 0, 20),
    ][round % 12];
    let account = random.letters(UPPER, bank) + &random.letters(DIGITS, digits);
    let iban = with_check_digits(country, &account);
    match round / 12 % 3 {
        0 => iban,
        1 => grouped(&iban, &[], " "),
        _ => grouped(&iban, &[], "-"),
    }
}

fn email(round: usize, random: &mut Random) -> String {
    let word = |random: &mut Random| {
        random.one_of(&["ada", "grace.hopper", "j_doe", "müller", "o+tag", "x1", "renée-c", "team"])
    };
    let host =
        random.one_of(&["example.com", "mail.example.co.uk", "exämple.de", "sub-1.example.io", "xn--exmple-cua.org"]);
    match round % 8 {
        6 => {
            random.one_of(&["用户@例子.公司", "иван@пример.рф", "山田@例え.テスト", "उपयोगकर्ता@उदाहरण.भारत"]).to_owned()
        }
        7 => format!("{}{}@{host}", word(random), random.letters(DIGITS, 4)),
        _ => format!("{}@{host}", word(random)),
    }
}

fn ssn(round: usize, random: &mut Random) -> String {
    let area = 1 + random.below(665);
    let (group, serial) = (1 + random.below(99), 1 + random.below(9999));
    let separator = ["-", "-", " ", ""][round % 4];
    format!("{area:03}{separator}{group:02}{separator}{serial:04}")
}

fn phone(round: usize, random: &mut Random) -> String {
    let d = |random: &mut Random, count| random.letters("23456789", count);
    match round % 8 {
        0 => format!("+49 {} {}", d(random, 3), d(random, 7)),
        1 => format!("+1 ({}) {}-{}", d(random, 3), d(random, 3), d(random, 4)),
        2 => format!("+44{}", d(random, 10)),
        3 => format!("({}) {}-{}", d(random, 3), d(random, 3), d(random, 4)),
        4 => format!("{}-{}-{}", d(random, 3), d(random, 3), d(random, 4)),
        5 => format!("+33 {} {} {} {} {}", d(random, 1), d(random, 2), d(random, 2), d(random, 2), d(random, 2)),
        6 => format!("+86 {} {} {}", d(random, 3), d(random, 4), d(random, 4)),
        _ => format!("0{} {}", d(random, 3), d(random, 6)),
    }
}

fn secret(round: usize, random: &mut Random) -> String {
    match round % 4 {
        0 => random.letters(HEX, 40),
        1 => random.letters(BASE62, 24 + round % 20),
        2 => random.letters(BASE64, 43) + "=",
        _ => random.letters(BASE64URL, 31) + "k",
    }
}
