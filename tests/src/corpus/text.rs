//! Texts around values: prose in several languages, and what programs write.

use weir::config::Detector;

/// For what needs no words around it.
const ANYWHERE: [(&str, &str); 26] = [
    ("text", "{}"),
    ("text", "Here you go: {}"),
    ("text", "Please use {} for this, and tell nobody."),
    ("text", "Bitte verwenden Sie {} für die Zahlung."),
    ("text", "Merci d'utiliser {} à partir de demain."),
    ("text", "Por favor, utilice {} a partir de mañana."),
    ("text", "Si prega di usare {} da domani."),
    ("text", "Use {} a partir de amanhã, por favor."),
    ("text", "Пожалуйста, используйте {} с завтрашнего дня."),
    ("text", "明日から「{}」を使ってください。"),
    ("text", "请从明天开始使用 {}，谢谢。"),
    ("text", "내일부터 {} 을(를) 사용하세요."),
    ("text", "استخدم {} من الغد"),
    ("text", "कृपया कल से {} का उपयोग करें।"),
    ("arguments", "[{}]"),
    ("line", "2026-11-23T07:27:48Z INFO handler value={} status=200"),
    ("text", "| name | value |\n|---|---|\n| ada | {} |"),
    ("text", "{\"note\": \"ok\", \"value\": \"{}\"}"),
    ("text", "<value>{}</value>"),
    ("text", "first\n\n\t- `{}`\n\t- other"),
    ("text", "(see {})"),
    ("text", "\"{}\""),
    ("text", "old: {}; new: none"),
    ("text", "It was {}. Then it changed."),
    ("yaml", "value: {}\nother: 1"),
    ("text", "a {} b"),
];

/// For what only words around it tell from identifiers.
const SECRETS: [(&str, &str); 18] = [
    ("password", "{}"),
    ("client_secret", "{}"),
    ("apiKey", "{}"),
    ("text", "password: {}"),
    ("env", "DB_PASSWORD={}\nDB_HOST=db"),
    ("env", "export API_SECRET=\"{}\""),
    ("text", "The password is {} until Friday."),
    ("text", "Das Passwort lautet {} und gilt bis Freitag."),
    ("text", "Le mot de passe est {} jusqu'à vendredi."),
    ("text", "La contraseña es {} hasta el viernes."),
    ("text", "A senha é {} até sexta."),
    ("text", "Пароль: {} до пятницы."),
    ("text", "パスワードは {} です。"),
    ("text", "密码是 {} 。"),
    ("text", "비밀번호: {}"),
    ("text", "{\"config\": {\"secret_key\": \"{}\"}}"),
    ("headers", "x-api-key: {}"),
    ("yaml", "credentials:\n  token: {}\n"),
];

const AWS_SECRETS: [(&str, &str); 8] = [
    ("secretAccessKey", "{}"),
    ("text", "[default]\nregion = eu-central-1\naws_secret_access_key = {}\n"),
    ("env", "AWS_SECRET_ACCESS_KEY={}"),
    ("text", "{\"SecretAccessKey\": \"{}\"}"),
    ("text", "The AWS secret is {}, rotate it."),
    ("text", "Der geheime AWS-Schlüssel ist {}."),
    ("text", "AWSの秘密鍵は {} です"),
    ("yaml", "aws:\n  secret: {}"),
];

const BEARERS: [(&str, &str); 8] = [
    ("headers", "Authorization: Bearer {}"),
    ("access_token", "{}"),
    ("text", "{\"access_token\": \"{}\", \"expires_in\": 3600}"),
    ("text", "curl -H 'authorization: bearer {}' https://api.example.com/v1"),
    ("url", "https://app.example.com/cb#access_token={}&token_type=bearer"),
    ("text", "refresh_token={}"),
    ("clientSecret", "{}"),
    ("text", "Zugriff mit `Authorization: Bearer {}` im Kopf."),
];

const SOCIAL: [(&str, &str); 8] = [
    ("ssn", "{}"),
    ("text", "SSN: {}"),
    ("text", "Her social security number is {}."),
    ("text", "Número de seguro social: {}"),
    ("text", "Die US Social Security Number lautet {}."),
    ("text", "他的社会保障号 SSN 是 {}。"),
    ("text", "name,ssn\nada,{}\n"),
    ("text", "{\"social_security_number\": \"{}\"}"),
];

const CALLS: [(&str, &str); 10] = [
    ("phone", "{}"),
    ("text", "Phone: {}"),
    ("text", "Call me at {} tomorrow."),
    ("text", "Telefon: {}"),
    ("text", "Téléphone : {} (bureau)"),
    ("text", "Teléfono {}"),
    ("text", "Телефон: {}"),
    ("text", "电话：{}"),
    ("text", "mobile {}"),
    ("text", "{\"mobile\": \"{}\"}"),
];

/// A text with the value in it, and the name of the member that holds it.
pub(super) fn around(detector: Detector, value: &str, round: usize) -> (&'static str, String) {
    let texts: &[_] = match detector {
        Detector::HighEntropy => &SECRETS,
        Detector::OauthToken => &BEARERS,
        Detector::AwsKey if value.len() == 40 => &AWS_SECRETS,
        Detector::Ssn => &SOCIAL,
        Detector::Phone if value.starts_with('0') => &CALLS,
        _ => &ANYWHERE,
    };
    filled(texts, value, round / 2)
}

/// The same for what should not be found. Words of secrets would make secrets of it.
pub(super) fn around_near_miss(detector: Detector, value: &str, round: usize) -> (&'static str, String) {
    let texts: &[_] = match detector {
        Detector::Ssn => &SOCIAL,
        Detector::OauthToken => &BEARERS,
        _ => &ANYWHERE,
    };
    filled(texts, value, round / 2)
}

fn filled(texts: &[(&'static str, &'static str)], value: &str, round: usize) -> (&'static str, String) {
    let (name, text) = texts[round % texts.len()];
    (name, text.replacen("{}", value, 1))
}
