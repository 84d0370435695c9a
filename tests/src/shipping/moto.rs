//! What `moto` offers besides Kinesis: users, buckets, and whether it verifies signatures.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::Path,
};

use super::Emulator;

/// Makes nothing verify.
const NEVER: &str = "1000000";

impl Emulator {
    /// Makes a user of moto's that may do everything in one service: its access key id and secret.
    ///
    /// # Panics
    ///
    /// When the emulator is not moto, or verifies signatures already.
    #[must_use]
    pub fn user_of(&self, service: &str) -> (String, String) {
        let iam = |action: &str| {
            self.ask("POST", "/", "iam", &format!("Version=2010-05-08&UserName=weir&Action={action}")).expect("IAM")
        };
        iam("CreateUser");
        let policy = format!(
            "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22{service}%3A%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D"
        );
        iam(&format!("PutUserPolicy&PolicyName=ship&PolicyDocument={policy}"));
        let made = iam("CreateAccessKey");
        let text = |tag: &str| between(&made, &format!("<{tag}>"), "</").to_owned();
        (text("AccessKeyId"), text("SecretAccessKey"))
    }

    /// Makes a key in KMS that signs by ECDSA on P-256: its id.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[must_use]
    pub fn signing_key(&self) -> String {
        let key = r#"{"KeySpec":"ECC_NIST_P256","KeyUsage":"SIGN_VERIFY"}"#;
        let made = self.ask("POST", "/", "kms", key).expect("make a key");
        between(&made, r#""KeyId": ""#, "\"").to_owned()
    }

    /// From now on moto verifies signatures, and what who signs may do; or it does not any more.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub fn verify_signatures(&self, verify: bool) {
        let without = if verify { "0" } else { NEVER };
        self.ask("POST", "/moto-api/reset-auth", "moto", without).expect("moto takes it");
    }

    /// Makes a bucket. Moto must not verify signatures.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn make_bucket(&self, name: &str) {
        self.ask("PUT", &format!("/{name}"), "s3", "").expect("make a bucket");
    }

    /// The names of a bucket's objects, at most a thousand. Moto must not verify signatures.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    #[must_use]
    pub fn objects(&self, bucket: &str) -> Vec<String> {
        let list = self.ask("GET", &format!("/{bucket}?list-type=2"), "s3", "").expect("list a bucket");
        list.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap_or_default().to_owned()).collect()
    }

    /// An object's text. Moto must not verify signatures.
    ///
    /// # Panics
    ///
    /// When it is not there.
    #[must_use]
    pub fn object(&self, bucket: &str, key: &str) -> String {
        self.ask("GET", &format!("/{bucket}/{key}"), "s3", "").expect("get an object")
    }

    /// The body of an answer that says yes.
    fn ask(&self, method: &str, path: &str, service: &str, body: &str) -> Result<String, String> {
        let port = self.port();
        let mut wire = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect to moto");
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=x"
        );
        let kind = match service {
            "iam" => "application/x-www-form-urlencoded",
            "kms" => "application/x-amz-json-1.1\r\nx-amz-target: TrentService.CreateKey",
            _ => "text/plain",
        };
        let length = body.len();
        write!(
            wire,
            "{method} {path} HTTP/1.0\r\nhost: 127.0.0.1:{port}\r\nauthorization: {authorization}\r\n\
             content-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
        .expect("ask moto");
        let mut answer = String::new();
        wire.read_to_string(&mut answer).expect("moto's answer");
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
            _ => Err(answer),
        }
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let rest = text.split_once(start).unwrap_or_else(|| panic!("no {start} in {text}")).1;
    rest.split_once(end).unwrap_or_else(|| panic!("no {end} in {text}")).0
}

/// Writes a file of credentials, in the place of another.
///
/// # Panics
///
/// When it cannot be written.
pub fn credentials(path: &Path, keys: (&str, &str)) {
    session(path, keys, None);
}

/// The same of a session, by its token.
///
/// # Panics
///
/// When it cannot be written.
pub fn session(path: &Path, (id, secret): (&str, &str), token: Option<&str>) {
    let new = path.with_extension("new");
    let token = token.map(|token| format!("aws_session_token = {token}\n")).unwrap_or_default();
    let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n{token}");
    fs::write(&new, text).expect("write");
    fs::rename(new, path).expect("replace the credentials");
}
